"""A bound on what a native decoder may take where its input cannot be measured beforehand."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLACK_BYTES = 256 << 20  # for what else the process does meanwhile: a body of 64 MiB may come
_one = threading.Lock()  # the limit is the process's: two at a time would restore each other's


@contextmanager
def bounded_heap(nbytes: int) -> Iterator[None]:
    """In here the process may take `nbytes`, and `SLACK_BYTES`, more than it has.

    What asks for more gets no memory: std::bad_alloc in C++, MemoryError in Python. It holds for
    every thread (RLIMIT_DATA, getrlimit(2)), so it is for decoders that take about what is
    expected of them unless their input means harm. Calls wait for each other.
    """
    with _one:
        before, most = resource.getrlimit(resource.RLIMIT_DATA)
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])  # data and stacks
        bound = pages * resource.getpagesize() + nbytes + SLACK_BYTES
        if before != resource.RLIM_INFINITY:
            bound = min(bound, before)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, most))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (before, most))
