"""The check that judges a stream: what passes, and each thing that must not."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from clients.check import LEAST_CONTRAST, Seen, contrast_of, judge

ANNA, BERT = "anna@k3j2/vulkan0", "bert@p9x1/vulkan0"
BOX = (0, 0, 640, 360)


def record(frames: int, made: dict[str, int], filled: int = 0) -> dict:
    """What a page keeps of `frames` frames, 33 ms apart, all made alike."""
    return {
        "pictures": [[33 * number, number] for number in range(frames)],
        "facts": [[33 * number, number, -1, filled, made] for number in range(frames)],
        "roundTrips": [],
    }


GOOD = Seen(
    seconds=10,
    record=record(200, {ANNA: 2, BERT: 2}),
    counts={"repeated": 0, "backwards": 0},
    errors=(),
    contrast=40.0,
)


def failed(seen: Seen) -> list[str]:
    """The names of the conditions that do not hold."""
    report = judge(seen, min_frames=150, min_share=0.3)
    lacking = [condition.name for condition in report.conditions if not condition.holds]
    assert report.passed == (not lacking)
    return lacking


def test_a_good_stream_passes_and_the_report_says_what_was_found():
    assert failed(GOOD) == []
    told = str(judge(GOOD, min_frames=150, min_share=0.3))
    assert "200 in 10 s" in told
    assert f"{ANNA} 50%" in told
    assert "FAIL" not in told


FRAMES = "at least 150 distinct frames, by barcode"
ORDER = "every frame once and in order"
MAKERS = "two makers or more, each of at least 30% of the tiles"


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ({"record": record(149, {ANNA: 2, BERT: 2})}, FRAMES),
        ({"counts": {"repeated": 1, "backwards": 0}}, ORDER),
        ({"counts": {"repeated": 0, "backwards": 1}}, ORDER),
        ({"record": record(200, {ANNA: 4})}, MAKERS),
        ({"record": record(200, {})}, MAKERS),
        ({"record": record(200, {ANNA: 29, BERT: 71})}, MAKERS),
        ({"record": record(200, {ANNA: 2, BERT: 2}, filled=4)}, MAKERS),
        ({"errors": ("console: oh no",)}, "no console errors"),
        ({"contrast": LEAST_CONTRAST - 0.1}, "the picture shows something"),
    ],
)
def test_each_defect_alone_fails_the_check(change, lacking):
    seen = dataclasses.replace(GOOD, **change)
    assert failed(seen) == [lacking]
    assert "FAIL" in str(judge(seen, min_frames=150, min_share=0.3))


def test_a_frame_shown_often_or_with_an_unreadable_barcode_counts_once_or_not_at_all():
    shown = [[0, 7]] * 200 + [[0, None]] * 200
    assert failed(dataclasses.replace(GOOD, record=GOOD.record | {"pictures": shown})) == [FRAMES]


def test_a_console_error_is_quoted():
    seen = dataclasses.replace(GOOD, errors=("console: oh no",))
    assert "console: oh no" in str(judge(seen, min_frames=150, min_share=0.3))


def png(luminance: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(luminance.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_blank_picture_has_no_contrast_even_with_a_barcode_and_panels_on_it():
    blank = np.full((360, 640), 60)
    blank[:16, ::2] = 235  # the barcode
    blank[:120, 520:] = 20  # the panel
    blank[320:] = 20  # the buttons
    assert contrast_of(png(blank), BOX) == 0
    scene = blank.copy()
    scene[100:300, 200:400] = np.arange(200) % 2 * 100 + 60
    assert contrast_of(png(scene), BOX) > LEAST_CONTRAST


def test_contrast_is_of_the_picture_wherever_it_lies_on_the_page():
    page = np.zeros((720, 1280))
    page[0::2, 0:100] = 255  # beside the picture
    page[360:, 640:] = 90
    assert contrast_of(png(page), (640, 360, 640, 360)) == 0
