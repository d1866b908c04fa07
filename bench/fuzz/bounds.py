"""What no input may take: time, memory, the loader's own limits scaled down to match."""

from __future__ import annotations

import faulthandler
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANG_S = 2.0  # of CPU time for one input, so that a busy machine looks no different
MEMORY_BYTES = 512 << 20  # more than before, address space
SHARE = 16  # of what the loaders let in otherwise: a scene at their limits takes seconds, rightly

_SCALED = (
    "MAX_VERTICES", "MAX_INDICES", "MAX_DRAWN_VERTICES", "MAX_BENT_VERTICES", "MAX_MORPH_VERTICES",
    "MAX_KEY_NUMBERS", "MAX_DRAWS", "MAX_PIXELS", "MAX_ENVIRONMENT_PIXELS",
)  # fmt: skip
_LIMITS = ("render.gltf.limits", "render.environment.limits")  # imported by what is fuzzed


@contextmanager
def lowered_limits() -> Iterator[None]:
    """The loaders' limits at a `SHARE`th, in every module that has taken them over."""
    undo = []
    for home in filter(None, map(sys.modules.get, _LIMITS)):
        for name in _SCALED:
            full = getattr(home, name, None)
            for module in [m for key, m in sys.modules.items() if key.startswith("render.")]:
                if full is not None and getattr(module, name, None) == full:
                    undo.append((module, name, full))
                    setattr(module, name, full // SHARE)
    try:
        yield
    finally:
        for module, name, full in undo:
            setattr(module, name, full)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """In here no more than `MEMORY_BYTES` beyond what the process has: allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


def die_of_hangs() -> None:
    """Have the process end, with its stack on stderr, when `stopwatch` runs out."""
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # then what the signal does by itself


@contextmanager
def stopwatch(cpu_s: float) -> Iterator[None]:
    """Send SIGPROF once so much CPU time is spent in here."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def reset_peak() -> None:
    """Have `peak_bytes` count from here."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most that was resident at once."""
    with Path("/proc/self/status").open("rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def exhausted(problem: BaseException) -> bool:
    """Whether an allocation failed anywhere behind an error, and nobody had reckoned with it."""
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, MemoryError):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False
