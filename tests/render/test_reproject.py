"""What stands in for tiles that never came: nearer to the truth than the picture before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.workload import CutHint, SessionRequest
from render.camera import Orbit, frame_bounds
from render.clusters import Boxes, cluster_scene
from render.pieces import TileSpec
from render.reproject import MOST_PIXELS, Reprojection, flow, inverse_distances
from render.scene import Scene
from render.session import RenderSession
from render.tiles import GRID, Rect
from render.workload import create

SIZE = (320, 192)
ASPECT = SIZE[0] / SIZE[1]
POSE = Orbit(0.0, 0.0, 10.0, (0.0, 0.0, 0.0))
WALL = Boxes(np.zeros((1, 3)), np.array([[50.0, 50.0, 0.0]]))  # faces POSE, larger than the view


def planes_of(i420: bytes, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    width, height = size
    flat = np.frombuffer(bytearray(i420), np.uint8)
    luma, chroma = width * height, width * height // 4
    return [
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(height // 2, width // 2),
        flat[luma + chroma :].reshape(height // 2, width // 2),
    ]


def test_distances_are_those_of_what_is_in_the_way():
    inverse = inverse_distances(WALL, POSE.clip_from_world(ASPECT), SIZE)
    assert inverse.shape == (SIZE[1] // GRID, SIZE[0] // GRID)
    assert inverse == pytest.approx(1 / 10)
    nothing = Boxes(np.zeros((0, 3)), np.zeros((0, 3)))
    assert np.isnan(inverse_distances(nothing, POSE.clip_from_world(ASPECT), SIZE)).all()


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(8, 13))
def test_a_corner_is_found_where_the_old_camera_saw_it(yaw: float, pitch: float, distance: float):
    now, then = (
        pose.clip_from_world(ASPECT) for pose in (POSE, Orbit(yaw, pitch, distance, POSE.target))
    )
    places = flow(WALL, now, then, SIZE)
    half = 10 * np.tan(POSE.fov / 2)  # the wall seen, from the middle up
    for row, column in ((0, 0), (3, 5), (12, 20), (6, 10)):
        x = (2 * column * GRID / SIZE[0] - 1) * half * ASPECT
        y = (1 - 2 * row * GRID / SIZE[1]) * half
        seen = then @ [x, y, 0.0, 1.0]
        expected = (seen[:2] / seen[3] + 1) / 2 * SIZE
        assert places[row, column] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["courtyard", "helmet"])
@pytest.mark.parametrize("moved", [{"yaw": 0.04}, {"pitch": 0.03}, {"distance": -0.05}])
def test_a_filled_tile_is_nearer_to_the_truth_than_the_old_pixels(
    studio,
    view_of: Callable[..., TileSpec],
    name: str,
    moved: dict[str, float],
    request: pytest.FixtureRequest,
):
    scene: Scene = request.getfixturevalue(name)
    fitted = frame_bounds(tuple(scene.bounds_min), tuple(scene.bounds_max), ASPECT)
    then = replace(fitted, distance=fitted.distance * 0.7)
    now = replace(
        then,
        yaw=then.yaw + moved.get("yaw", 0.0),
        pitch=then.pitch + moved.get("pitch", 0.0),
        distance=then.distance * (1 + moved.get("distance", 0.0)),
    )
    old, truth = (planes_of(studio.shoot(scene, view_of(pose, SIZE), SIZE).i420)
                  for pose in (then, now))  # fmt: skip
    filled = [plane.copy() for plane in old]
    boxes, matrices = cluster_scene(scene).boxes, [p.clip_from_world(ASPECT) for p in (now, then)]
    Reprojection(boxes, *matrices, SIZE).fill(filled, old, Rect(0, 0, *SIZE))

    def error(made: list[np.ndarray]) -> float:
        return float(np.abs(made[0].astype(float) - truth[0]).mean())

    assert error(filled) < 0.8 * error(old)


def session(**options: object) -> RenderSession:
    asked = {"width": SIZE[0], "height": SIZE[1], "turntable": 0, "tiles": 4, **options}
    return create({}).open_session(SessionRequest("render", asked))


def turn(work: RenderSession, number: int, yaw: float) -> None:
    camera = {"yaw": yaw, "pitch": 0.3, "distance": 20.0, "target": [0.0, 1.0, 0.0]}
    work.apply_input({"id": number, "camera": camera}, 0)


def filled(work: RenderSession, canvas: bytearray, previous: bytearray) -> np.ndarray:
    seen = memoryview(previous).toreadonly()
    frame = work.open_frame(0, 0, CutHint(1), memoryview(canvas), seen)
    for piece in frame.pieces:
        frame.fill(piece.index)
    frame.finish()
    return np.frombuffer(canvas, np.uint8)


def test_a_session_fills_from_what_the_picture_before_showed():
    work = session()
    first, second = (bytearray(work.picture.nbytes) for _ in range(2))
    turn(work, 1, yaw=0.0)
    filled(work, first, bytearray())
    rng = np.random.default_rng(3)
    first[:] = rng.integers(0, 256, len(first), np.uint8).tobytes()
    old = np.frombuffer(first, np.uint8)
    assert np.array_equal(filled(work, second, first), old)  # nothing moved
    turn(work, 2, yaw=0.2)
    assert not np.array_equal(filled(work, second, first), old)
    unknown = bytearray(first)  # a picture that was not drawn here
    assert np.array_equal(filled(work, second, unknown), old)


def test_so_much_is_filled_as_there_is_time_for():
    boxes, now = WALL, POSE.clip_from_world(ASPECT)
    then = replace(POSE, yaw=0.1).clip_from_world(ASPECT)
    made = Reprojection(boxes, now, then, SIZE)
    half = Rect(0, 0, MOST_PIXELS // 2, 1)
    assert [made.take(half) for _ in range(3)] == [True, True, False]
    assert not Reprojection(boxes, now, now, SIZE).take(half)  # nothing moved
