"""Pictures: which frame each shows, and their colours."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.sdk.frame import Frame
from clients.sdk.framebook import FrameBook

PERIOD_US = 33_333


def ticks(opened_us: int) -> int:
    return opened_us * 90_000 // 1_000_000


@given(
    start=st.integers(0, 2**32 - 1),
    first_us=st.integers(0, 2**40),
    facts_late_us=st.lists(st.integers(-3_000, 12_000), min_size=40, max_size=40),
    lost=st.sets(st.integers(0, 39), max_size=10),
)
def test_the_frame_of_a_picture_is_found_whichever_comes_first(
    start, first_us, facts_late_us, lost
):
    book = FrameBook()
    shown = {}
    coming = []
    for n, late_us in enumerate(facts_late_us):
        opened_us = first_us + n * PERIOD_US
        shown[n] = (start + ticks(opened_us)) % 2**32
        arrives_us = opened_us + 20_000
        coming.append((arrives_us, "picture", n))
        if n not in lost:
            coming.append((arrives_us + late_us, "facts", n))
    for at_us, kind, n in sorted(coming):
        if kind == "picture":
            book.add_picture(shown[n], at_us)
        else:
            book.add_facts({"frame": n, "opened_us": first_us + n * PERIOD_US}, at_us)
    for n, rtp in shown.items():
        facts = book.facts_of(rtp)
        assert (facts is None) if n in lost else (facts["frame"] == n)


@pytest.mark.parametrize("opened_us", [None, -1, 2**60, 1.5, True])
def test_facts_that_do_not_say_when_their_frame_was_opened_name_no_picture(opened_us):
    book = FrameBook()
    book.add_picture(0, 0)
    book.add_facts({"frame": 1, "opened_us": opened_us}, 0)
    assert book.facts_of(0) is None


def test_colours_are_bt709_whatever_the_codec_said():
    pixels = np.full((24, 16), 63, np.uint8)  # limited-range red is Y 63, U 102, V 240
    pixels[16:20], pixels[20:24] = 102, 240
    frame = Frame(av.VideoFrame.from_ndarray(pixels, format="yuv420p"), 0, 0, FrameBook())
    rgb = frame.rgb()
    assert rgb.shape == (16, 16, 3)
    assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 3
    np.testing.assert_array_equal(frame.to_ndarray(), pixels)
    assert frame.id is None
