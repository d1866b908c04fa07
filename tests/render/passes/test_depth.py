"""The depth that tiles bring: the nearest of each block, whatever the tiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused
from render.camera import Orbit
from render.depth import BLOCKS, depth_bytes, paste, unknown_map, world_points
from render.pieces import SessionSpec, TileSpec, decode_session, encode
from render.scene import AlphaMode, Material, Scene
from render.tiles import Rect
from render.upscale import SCALES, Scale

SIZE = (90, 60)  # neither side a multiple of any block


@pytest.fixture
def depth_of(studio) -> Callable:
    """The depth map of a frame drawn tile by tile, float16 (rows, columns)."""
    renderer = studio.renderer

    def shoot(scene: Scene, view: TileSpec, block: int, rects: Sequence[Rect]) -> NDArray:
        made = unknown_map(*SIZE, block)
        canvas = renderer.create_canvas(*SIZE, block=block)
        loaded = renderer.upload(scene)
        try:
            for rect in rects:
                output = bytearray(canvas.tile_bytes(rect))
                assert len(output) == rect.i420_bytes + depth_bytes(rect, block)
                tile = msgspec.structs.replace(view, rect=tuple(rect))
                renderer.render(canvas, loaded, tile, memoryview(output))
                paste(made, rect, block, memoryview(output)[rect.i420_bytes :])
        finally:
            loaded.close()
            canvas.close()
        return made

    return shoot


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_holds_its_nearest_pixel(
    depth_of, scene_of, square, flat_view, random_tiling, block: int
):
    """A square over the middle, a nearer one in one of its quarters, nothing around them."""
    near = square(0.75, 0.25)
    scene = scene_of([square(0.25, 1.0), near], [Material()])
    width, height = SIZE
    x, y = np.meshgrid((np.arange(width) + 0.5) * 2 / width - 1, np.arange(height) * 2 / height - 1)
    y = y + 1 / height
    pixels = np.where((abs(x) < 0.5) & (abs(y) < 0.5), 0.25, 0.0)
    pixels[(abs(x) < 0.125) & (abs(y) < 0.125)] = 0.75
    rows, columns = -(-height // block), -(-width // block)
    padded = np.zeros((rows * block, columns * block))
    padded[:height, :width] = pixels
    wanted = padded.reshape(rows, block, columns, block).max(axis=(1, 3))
    for rects in ([Rect(0, 0, *SIZE)], random_tiling(SIZE, 5, seed=block)):
        made = depth_of(scene, flat_view(SIZE), block, rects)
        np.testing.assert_array_equal(made, wanted)


def test_depth_leads_back_into_the_scene_in_every_tiling(
    depth_of, courtyard, view_of, random_tiling
):
    pose = Orbit(0.4, 0.5, 12.0, (0.0, 1.0, 0.0))
    view = view_of(pose, SIZE)
    whole = depth_of(courtyard, view, 8, [Rect(0, 0, *SIZE)])
    points = world_points(whole, view.matrix(), *SIZE, 8)
    shown = points[np.isfinite(points).all(axis=2)]
    assert len(shown) > whole.size / 4
    # A block's nearest pixel may lie half a block away from its middle.
    slack = 0.05 * pose.distance
    assert (shown > courtyard.bounds_min - slack).all()
    assert (shown < courtyard.bounds_max + slack).all()
    for seed in range(3):
        tiled = depth_of(courtyard, view, 8, random_tiling(SIZE, 6, seed))
        np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize("scale", SCALES[1:])
def test_a_frame_drawn_smaller_has_depth_for_the_same_blocks(
    depth_of, courtyard, view_of, random_tiling, scale: Scale
):
    view = view_of(Orbit(0.4, 0.5, 6.0, (0.0, 1.0, 0.0)), SIZE)
    fine = depth_of(courtyard, view, 8, [Rect(0, 0, *SIZE)])
    smaller = msgspec.structs.replace(view, scale=scale)
    whole = depth_of(courtyard, smaller, 8, [Rect(0, 0, *SIZE)])
    # Fewer pixels, each at another place: outlines move by less than a block.
    around = np.pad(fine.astype(float), 1, mode="edge")
    near = sliding_window_view(around, (3, 3))
    within = (whole >= 0.9 * near.min(axis=(2, 3))) & (whole <= 1.1 * near.max(axis=(2, 3)))
    assert within.mean() > 0.97
    shown = fine > 0
    assert np.median(np.abs(whole[shown] / fine[shown].astype(float) - 1)) < 0.05
    tiled = depth_of(courtyard, smaller, 8, random_tiling(SIZE, 6, seed=scale))
    np.testing.assert_array_equal(tiled, whole)


def test_what_blends_leaves_no_depth(depth_of, scene_of, square, flat_view):
    glass = Material(base_color_factor=(1.0, 1.0, 1.0, 0.5), alpha_mode=AlphaMode.BLEND)
    made = depth_of(scene_of([square(0.5)], [glass]), flat_view(SIZE), 16, [Rect(0, 0, *SIZE)])
    assert not made.any()


def test_what_is_path_traced_has_no_depth():
    with pytest.raises(ContentRefused, match="path traced has no depth"):
        decode_session(encode(SessionSpec(320, 180, traced=True, depth=8)))
    with pytest.raises(ContentRefused, match="cannot be used"):
        decode_session(encode(SessionSpec(320, 180, depth=5)))
