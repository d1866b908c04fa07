"""Which part of a smaller picture a tile needs: all that the filter reads, and little more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from render.pieces import MAX_SIDE, MIN_SIDE
from render.tiles import Rect
from render.upscale import FRACTION, FULL, SCALES, Scale, base, scaled_size, source_rect, steps

sides = st.integers(MIN_SIDE // 2, MAX_SIDE // 2).map(lambda half: 2 * half)


@given(sides, sides, st.sampled_from(SCALES))
def test_a_scaled_picture_has_even_sides_of_about_that_share(width: int, height: int, scale: Scale):
    for side, small in zip((width, height), scaled_size((width, height), scale), strict=True):
        assert small % 2 == 0
        assert abs(small - side * scale / FULL) <= 1
    assert scaled_size((width, height), FULL) == (width, height)


@given(sides, st.sampled_from(SCALES))
def test_positions_are_where_they_should_be_to_a_hundredth_of_a_pixel(side: int, scale: Scale):
    small, _ = scaled_size((side, side), scale)
    step, start = steps(side, small)
    for pixel in (0, 1, side // 3, side // 2, side - 1):
        exact = (pixel + 0.5) * small / side - 0.5
        assert abs((pixel * step + start) / 2**FRACTION - exact) < 0.01
        assert abs(pixel * step + start) < 2**31  # as the shader counts


@given(st.data(), sides, sides, st.sampled_from(SCALES[1:]))
def test_a_tile_gets_every_pixel_that_its_filter_reads(
    data: st.DataObject, width: int, height: int, scale: Scale
):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    across = data.draw(st.integers(1, width - x))
    down = data.draw(st.integers(1, height - y))
    size, small = (width, height), scaled_size((width, height), scale)
    source = source_rect(Rect(x, y, across, down), size, small)
    for start, length, first, count, side, small_side in (
        (x, across, source.x, source.width, width, small[0]),
        (y, down, source.y, source.height, height, small[1]),
    ):
        low = min(max(base(start, side, small_side) - 1, 0), small_side - 1)
        high = min(max(base(start + length - 1, side, small_side) + 2, 0), small_side - 1)
        assert first <= low
        assert high < first + count <= small_side
        assert first % 2 == 0
        assert count % 2 == 0
        assert count <= length * scale / FULL + 8
