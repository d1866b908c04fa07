"""The parts of bench.stream that need no browser."""

from __future__ import annotations

import numpy as np
import pytest

from bench.streaming.picture import MovingPicture
from bench.streaming.scenarios import SCENARIOS, WrongPictures, judged, p99
from bench.streaming.watch import Shown, Watched
from mesh.stream import barcode


@pytest.fixture(scope="module")
def moving():
    return MovingPicture(640, 360)


def drawn(moving, number):
    picture = np.empty((moving.height * 3 // 2, moving.width), np.uint8)
    moving.draw(picture, number)
    return picture


def test_the_picture_is_stamped_moves_and_repeats_by_its_seed(moving):
    first, later = drawn(moving, 5), drawn(moving, 6)
    assert barcode.read(first[: moving.height]) == 5
    assert barcode.read(later[: moving.height]) == 6
    assert (first != later).mean() > 0.5
    assert (first == drawn(MovingPicture(640, 360), 5)).all()


def seen(shown, made_us, begin_us=0, end_us=100_000):
    pictures = [Shown(at_us, at_us - 1_000, number) for at_us, number in shown]
    return Watched(begin_us, end_us, 0.1, made_us, pictures, {}, {}, {})


def test_ages_are_from_made_to_first_shown_within_the_window():
    watched = seen([(-5, 1), (20_000, 2), (21_000, 2), (60_000, 3)], {1: -9, 2: 15_000, 3: 50_000})
    assert watched.ages_ms() == [5, 10]
    assert watched.arrivals_ms() == [4, 9]
    assert watched.fps == pytest.approx(20)
    assert watched.freeze_ms == 40
    assert watched.ages_ms(30_000, 90_000) == [10]


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ([(10, None)], "without a readable number"),
        ([(10, 9)], "never made"),
        ([(10, 3)], "before it was made"),
        ([(50_200, 3), (50_300, 2)], "came after 3"),
    ],
)
def test_wrong_pictures_are_not_excused(shown, why):
    with pytest.raises(WrongPictures, match=why):
        judged(seen(shown, {1: 0, 2: 0, 3: 50_000}))


def test_p99_is_the_nearest_rank():
    assert p99([float(n) for n in range(1, 201)]) == 198
    assert p99([7.0]) == 7


def test_the_figures_that_others_rely_on_have_their_names():
    names = {name for scenario in SCENARIOS for name in scenario.figures}
    assert names >= {
        *("fps_720p60", "shown_ms_p50_canvas", "shown_ms_p99_canvas", "shown_ms_p50_video"),
        *("shown_ms_p99_video", "stock_aiortc_shown_ms_p50", "gstreamer_shown_ms_p50"),
        *("step_p99_ms_after_1s", "step_freeze_ms_max", "step_keyframes", "loss1_p99_ms"),
        *("loss5_fps", "loss5_p99_ms", "loss5_idr", "foveated_bits_saved_pct"),
        "cpu_8_viewers_to_1",
    }
