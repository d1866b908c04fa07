"""The perception kernels on the CPU: loops over parts, each part in a thread of Numba's.

How many parts there are is the caller's to say. For one, the same loops are compiled without
threads: entering a parallel region, even to do nothing, waits for every thread of the pool, which
on a busy machine is a time slice. OpenMP runs the threads, since its layer may be entered by
several Python threads at once; a process that has used it must not fork. Compiled code is cached
on disk like that of `infer.kernels.cpu`.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any

import numba

from infer.kernels.bind import bind
from infer.kernels.bodies import MODULES as BODIES
from infer.kernels.threaded import MODULES as THREADED

_config: Any = numba.config
_config.THREADING_LAYER = "omp"
# Threads that wait sleep: by default they spin, and take the processor from others at work.
# OpenMP reads this when its library is loaded, which is when a kernel first runs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_njit: Any = numba.njit  # _nrt is not in its types


def _digest() -> str:
    """Of all that compiled loops are made from; Numba's cache would notice a loop's own file."""
    sources = [inspect.getsource(module) for module in (*THREADED, *BODIES)]
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:12]


_DIGEST = _digest()


def _is_parallel(function: Any) -> bool:
    """Of a function, bare or compiled (it stays bare where NUMBA_DISABLE_JIT is set)."""
    return "prange" in getattr(function, "py_func", function).__code__.co_names


def _compiled(function: FunctionType, *, parallel: bool) -> Any:
    # No loop allocates: without Numba's runtime (_nrt) no array's references are counted.
    # Bodies become part of their loops, as LLVM would not do by itself: a call passes arrays as
    # seven numbers each, through memory.
    # The cache goes by the name and not by options.
    function.__qualname__ += f".{_DIGEST}.parallel" if parallel else f".{_DIGEST}"
    # Divisions are not checked, as on a GPU: bodies see to what must not be 0.
    return _njit(
        function,
        cache=True,
        nogil=True,
        parallel=parallel,
        forceinline=any(function.__module__ == module.__name__ for module in BODIES),
        error_model="numpy",
        _nrt=False,
    )


_SHARED = bind(
    (*BODIES, *THREADED), lambda function: _compiled(function, parallel=_is_parallel(function)), {}
)
_ALONE = bind(
    (*BODIES, *THREADED),
    lambda function: _compiled(function, parallel=False),
    {name: known for name, known in vars(_SHARED).items() if not _is_parallel(known)},
)


@cache
def kernels_for(threads: int) -> SimpleNamespace:
    """The kernels for as many threads, which is as many parts as they are given."""
    if threads == 1:
        return _ALONE
    most = min(threads, _config.NUMBA_NUM_THREADS)

    def within(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            numba.set_num_threads(most)  # of this thread's parallel regions
            return kernel(*arguments)

        return call

    return SimpleNamespace(
        **{
            name: within(kernel) if _is_parallel(kernel) else kernel
            for name, kernel in vars(_SHARED).items()
        }
    )
