"""Sectors are cut for the devices at hand, by what the last sweeps' sectors cost."""

from __future__ import annotations

import numpy as np
import pytest

from infer.codec import decode_result
from infer.grid import BINS
from infer.pieces import MAX_SECTORS
from infer.sectors import PIECE_OVERHEAD, SectorCosts, sector_sizes
from mesh.core.workload import CutHint, Lane, Surprise


def lanes(*us_per_unit: float, quantum_us: int = 0) -> CutHint:
    known = [Lane(0, {"sweep": us}) for us in us_per_unit]
    return CutHint(len(known), quantum_us, lanes=known)


def test_a_faster_device_gets_more_of_the_sweep():
    large, small = sector_sizes(100_000, "sweep", lanes(0.1, 0.3))
    assert 0.1 * (PIECE_OVERHEAD + 1e5 * large) == pytest.approx(
        0.3 * (PIECE_OVERHEAD + 1e5 * small), rel=0.05
    )


def test_a_count_that_was_asked_for_is_kept():
    assert sector_sizes(100_000, "sweep", CutHint(2), sectors=5) == [0.2] * 5
    assert len(sector_sizes(100_000, "sweep", lanes(0.1, 0.3, 0.3), sectors=5)) == 5


def test_there_are_never_more_sectors_than_a_result_can_name():
    assert len(sector_sizes(10**6, "sweep", lanes(1.0, quantum_us=1000))) == MAX_SECTORS
    assert len(sector_sizes(0, "sweep", CutHint(99))) == MAX_SECTORS


def test_costs_are_learnt_where_sectors_lay():
    costs = SectorCosts()
    hint = CutHint(2, surprises=[Surprise((-180, 0), 1.4), Surprise((0, 180), 1 / 1.4)])
    for _ in range(4):
        factors = costs.learn(hint)
    assert factors.shape == (BINS,)
    assert factors[: BINS // 2 - 2].min() > 1.1
    assert factors[BINS // 2 + 2 :].max() < 0.9


def test_unequal_sectors_find_the_same(bench, clip):
    whole = bench.open(clip[0])
    whole.accept(0, memoryview(bench.answer(whole, 0)))
    unit_us = {whole.pieces[0].kind: 0.1}, {whole.pieces[0].kind: 0.3}
    hint = CutHint(
        2,
        lanes=[Lane(0, us) for us in unit_us],
        surprises=[Surprise((-180, -90), 1.4), Surprise((-90, 180), 0.8)],
    )
    frame = bench.open(clip[0], hint=hint)
    large, small = sorted((piece.units for piece in frame.pieces), reverse=True)
    assert large > 2 * small
    for piece in frame.pieces:
        frame.accept(piece.index, memoryview(bench.answer(frame, piece.index)))
    one, other = decode_result(whole.finish()), decode_result(frame.finish())
    assert one.counts == other.counts
    np.testing.assert_array_equal(one.boxes.centres, other.boxes.centres)
