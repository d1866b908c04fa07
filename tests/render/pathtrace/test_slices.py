"""A tile's work in submissions: all of it, once, in pieces that fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from render.pathtrace.slices import ROWS, Slicer
from render.tiles import Rect

rects = st.builds(Rect, st.just(16), st.just(32), st.integers(1, 400), st.integers(1, 300))


@given(rects, st.integers(1, 40), st.integers(1, 1 << 22), st.lists(st.integers(0, 10**6)))
def test_every_pixel_gets_its_samples_in_order_of_number(
    rect: Rect, samples: int, most: int, times: list[int]
):
    slicer = Slicer(50_000, most)
    rows = [0] * rect.height
    for made in slicer.slices(rect, samples):
        assert (made.rect.x, made.rect.width) == (rect.x, rect.width)
        top = made.rect.y - rect.y
        before = set(rows[top : top + made.rect.height])
        assert len(before) == 1
        assert min(before) < made.until
        rows[top : top + made.rect.height] = [made.until] * made.rect.height
        if times:
            slicer.learn(made, min(before), times.pop())
    assert rows == [samples] * rect.height


@given(rects, st.integers(1, 40), st.integers(1, 1 << 22))
def test_no_slice_is_larger_than_it_may_be(rect: Rect, samples: int, most: int):
    done: dict[int, int] = {}
    for made in Slicer(50_000, most).slices(rect, samples):
        new = made.until - done.get(made.rect.y, 0)
        done[made.rect.y] = made.until
        assert made.rect.area * new <= max(most, rect.width * ROWS)


def test_slices_come_to_take_the_time_wanted():
    slicer, took = Slicer(50_000, 100), []
    rect = Rect(0, 0, 640, 360)
    for made in slicer.slices(rect, 200):
        took.append(made.rect.area / 10)  # 0.1 us a sample
        slicer.learn(made, made.until - 1, int(took[-1]))
    assert max(took) < 100_000
    assert took[-2] > 20_000


def test_one_quick_slice_does_not_lead_to_an_endless_one():
    slicer = Slicer(50_000, 1000)
    [first, *_] = slicer.slices(Rect(0, 0, 1000, 1), 5)
    slicer.learn(first, 0, 0)
    [second, *_] = slicer.slices(Rect(0, 0, 1000, 1), 50)
    assert second.until == 2
