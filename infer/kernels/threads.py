"""The perception kernels on the CPU: loops over parts, each part in a thread of Numba's.

How many parts there are is the caller's to say: one is one thread. OpenMP runs them, since its
layer may be entered by several Python threads at once; a process that has used it must not fork.
Compiled code is cached on disk like that of `infer.kernels.cpu`.
"""

from __future__ import annotations

import hashlib
import inspect
from types import FunctionType
from typing import Any

import numba

from infer.kernels.bind import bind
from infer.kernels.bodies import MODULES as BODIES
from infer.kernels.threaded import MODULES as THREADED

_config: Any = numba.config
_config.THREADING_LAYER = "omp"

_njit: Any = numba.njit  # _nrt is not in its types


def _digest() -> str:
    """Of all that compiled loops are made from; Numba's cache would notice a loop's own file."""
    sources = [inspect.getsource(module) for module in (*THREADED, *BODIES)]
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:12]


_DIGEST = _digest()


def _compiled(function: FunctionType) -> Any:
    # No loop allocates: without Numba's runtime (_nrt) no array's references are counted.
    parallel = "prange" in function.__code__.co_names
    function.__qualname__ = f"{function.__qualname__}.{_DIGEST}"
    return _njit(function, cache=True, nogil=True, parallel=parallel, _nrt=False)


kernels = bind((*BODIES, *THREADED), _compiled, {})
