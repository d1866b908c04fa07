"""The bound on a native decoder's memory."""

from __future__ import annotations

import resource
import threading

import numpy as np
import pytest

from render.gltf.heap import SLACK_BYTES, bounded_heap

MIB = 1 << 20


def test_what_asks_for_more_gets_nothing_and_afterwards_all_is_as_before() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded_heap(100 * MIB):
        assert np.zeros(90 * MIB, np.uint8).nbytes
        with pytest.raises(MemoryError):
            np.zeros(SLACK_BYTES + 200 * MIB, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert np.zeros(SLACK_BYTES + 200 * MIB, np.uint8).nbytes


def test_an_error_takes_the_bound_away_too() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(ZeroDivisionError), bounded_heap(0):
        raise ZeroDivisionError
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_calls_wait_for_each_other() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    inside, order = threading.Barrier(2), []

    def other() -> None:
        inside.wait()
        with bounded_heap(MIB):
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with bounded_heap(MIB):
        inside.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
