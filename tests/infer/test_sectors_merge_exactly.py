"""A sweep in sectors gives, byte for byte, what it gives whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

WHOLE_SWEEPS = range(8)


@pytest.mark.parametrize("sweep", WHOLE_SWEEPS)
def test_a_real_sweep_is_the_same_in_any_number_of_sectors(bench, clip, same, sweep):
    whole = bench(clip[sweep])
    assert len(whole.boxes.yaws) > 50
    for sectors in (2, 3, 4, 8, 16):
        cut = bench(clip[sweep], sectors)
        assert cut.sectors == sectors
        same(whole, cut)


@given(
    seed=st.integers(0, 2**32 - 1),
    sectors=st.integers(2, 16),
    points=st.integers(0, 3000),
    spread=st.floats(2, 80),
)
@settings(max_examples=60)
def test_any_cloud_is_the_same_in_any_number_of_sectors(bench, same, seed, sectors, points, spread):
    """Clouds full of everything: blobs across borders, lone points, points where none may be."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-spread, spread, (1 + points // 50, 2))
    cloud = np.zeros((points, 4), np.float32)
    cloud[:, :2] = rng.choice(centres, points) + rng.normal(0, rng.uniform(0.05, 3), (points, 2))
    cloud[:, 2] = rng.uniform(-3, 3, points)
    few = rng.choice(points, points // 20, replace=False)
    cloud[few, rng.integers(0, 3)] = rng.choice([np.nan, np.inf, 5e3])
    same(bench(cloud), bench(cloud, sectors))


def test_a_long_thing_around_the_sensor_is_one_cluster_however_it_is_cut(bench, same):
    """A closed wall crosses every border; each sector alone sees a piece of it."""
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    wall = [np.stack((7 * np.cos(angle), 7 * np.sin(angle), np.full(4000, z))) for z in (-1.7, 0)]
    points = np.zeros((8000, 4), np.float32)
    points[:, :3] = np.concatenate(wall, axis=1).T
    whole = bench(points)
    assert len(whole.boxes.yaws) == 1
    for sectors in (2, 5, 16):
        same(whole, bench(points, sectors))


def test_the_order_of_answers_does_not_matter(bench, clip):
    frames = [bench.open(clip[0], 4) for _ in range(2)]
    for frame, order in zip(frames, (range(4), (2, 0, 3, 1)), strict=True):
        for index in order:
            frame.accept(index, memoryview(bench.answer(frame, index)))
    one, other = (frame.finish()[72:] for frame in frames)
    assert one == other


def test_sectors_of_a_real_sweep_have_about_equal_work(bench, clip):
    frame = bench.open(clip[0], 4)
    work = [piece.units for piece in frame.pieces]
    assert max(work) < 1.25 * min(work)


def test_empty_bins_all_around_still_give_sectors(bench, same):
    """Everything in one direction: the cut cannot be even, and must still be right."""
    points = np.zeros((400, 4), np.float32)
    points[:, 0] = np.linspace(9, 11, 400)
    points[:, 2] = np.tile((-1.7, -0.5), 200)
    same(bench(points), bench(points, 8))


def test_one_sector_is_the_sweep_itself_uncopied(bench, clip):
    [piece] = bench.open(clip[0], 1).pieces
    assert len(piece.inputs) == clip[0].nbytes


def test_a_missing_sector_is_named_and_what_touches_it_is_flagged(bench, clip):
    whole, cut = bench(clip[0]), bench(clip[0], 4, without=[2])
    assert cut.missing == 0b100
    assert cut.sectors == 4
    assert cut.boxes.flags.any()
    assert not whole.boxes.flags.any()
    # What does not touch the gap is as it was.
    known = {centre.tobytes() for centre in whole.boxes.centres}
    for centre, flag in zip(cut.boxes.centres, cut.boxes.flags, strict=True):
        assert flag or centre.tobytes() in known


def test_no_answer_at_all_is_a_result_that_says_so(bench, clip):
    nothing = bench(clip[0], 3, without=[0, 1, 2])
    assert nothing.missing == 0b111
    assert len(nothing.boxes.yaws) == 0
