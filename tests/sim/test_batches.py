"""Cameras that share a model beside players, in virtual time, as in bench/batching.py."""

from __future__ import annotations

from bench.batching import missed

RUN_US = 2_000_000


def test_together_twice_the_pictures_come_in_time_and_nobody_else_pays():
    alone = missed(24, together=False, seed=1, run_us=RUN_US)
    together = missed(24, together=True, seed=1, run_us=RUN_US)
    assert alone.cameras > 50, "this is no overload"
    assert together.cameras < 5
    assert together.players <= alone.players + 1


def test_where_one_by_one_would_do_nothing_is_lost():
    together = missed(4, together=True, seed=2, run_us=RUN_US)
    assert together.cameras < 1
    assert together.players < 1
