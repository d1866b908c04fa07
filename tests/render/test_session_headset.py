"""The session half for headsets: poses in and out, eyes side by side, depth, squeezed edges."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused, SessionRefused
from mesh.core.workload import CutHint, SessionRequest
from render.camera import NEAR_FRACTION
from render.depth import map_shape
from render.headpose import HeadPose
from render.headset import Headset
from render.pieces import decode_session, decode_tile
from render.session import RenderFrame, RenderSession
from render.tiles import Rect
from render.viewresult import NAME, ViewResult, decode_result
from render.workload import RenderWorkload, create

POSE = {
    "id": 4_000_000_000,
    "position": [0.5, 1.6, 4.0],
    "orientation": [0.0, math.sin(0.1), 0.0, math.cos(0.1)],
    "display_us": 1_234_567,
}


@pytest.fixture(scope="module")
def workload(confetti: Path) -> RenderWorkload:
    return create({"scenes": {"confetti": str(confetti)}})


@pytest.fixture(scope="module")
def opened(workload: RenderWorkload):
    """A session, 320 x 200 a view."""

    def made(**options: object) -> RenderSession:
        size = {"scene": "confetti", "width": 320, "height": 200}
        return workload.open_session(SessionRequest("render", size | options))

    return made


def open_frame(session: RenderSession) -> tuple[bytearray, RenderFrame]:
    canvas = bytearray(session.picture.nbytes)
    return canvas, session.open_frame(0, 0, CutHint(2), memoryview(canvas), memoryview(b""))


def result_of(session: RenderSession, shade: int = 0) -> ViewResult:
    """What a frame says of itself when all its tiles have come, all bytes `shade`."""
    _, frame = open_frame(session)
    for piece in frame.pieces:
        frame.accept(piece.index, memoryview(bytes([shade]) * piece.output_bytes))
    return decode_result(frame.finish())


def test_both_eyes_lie_side_by_side_and_each_tile_is_of_one(opened):
    session = opened(view="stereo", tiles=5)
    assert (session.picture.width, session.picture.height) == (640, 200)
    spec = decode_session(session.setup.spec)
    assert (spec.width, spec.height) == (320, 200)  # a device draws one eye at a time
    session.apply_input({"id": 0, "pose": POSE}, 0)
    views = decode_result(open_frame(session)[1].finish()).views
    covered = np.zeros((200, 640), int)
    for piece in open_frame(session)[1].pieces:
        x, y, width, height = piece.region
        eye = x // 320
        tile = decode_tile(piece.spec, spec)
        assert tile.rect == (x - 320 * eye, y, width, height)
        np.testing.assert_array_equal(tile.matrix(), views[eye])
        covered[y : y + height, x : x + width] += 1
    assert (covered == 1).all()


def test_one_eye_alone_is_drawn_as_it_is_of_both(opened):
    both = opened(view="stereo")
    both.apply_input({"id": 0, "pose": POSE}, 0)
    for number, view in enumerate(("left", "right")):
        alone = opened(view=view)
        alone.apply_input({"id": 0, "pose": POSE}, 0)
        assert alone.picture.width == 320
        np.testing.assert_array_equal(result_of(alone).views, [result_of(both).views[number]])


def test_the_pose_comes_back_with_the_frame_that_was_drawn_from_it(opened):
    session = opened(view="stereo")
    before = result_of(session)
    assert not before.posed
    assert before.pose.id == 0
    session.apply_input({"id": 3, "pose": POSE}, 0)
    session.apply_input({"id": 2, "pose": POSE | {"id": 1}}, 0)  # came late
    after = result_of(session)
    assert after.posed
    assert after.pose == msgspec.convert(POSE, HeadPose).normalised()
    session.apply_input({"id": 4, "pose": POSE | {"id": 1}}, 0)  # its ids are the client's own
    assert result_of(session).pose.id == 1


def test_a_session_begins_where_an_orbit_camera_would(opened):
    session = opened(view="left")
    said = session.describe()
    orbit = session._pose
    [view] = result_of(session).views
    np.testing.assert_allclose(result_of(session).pose.position, orbit.eye())
    assert said["near"] == pytest.approx(NEAR_FRACTION * orbit.distance)
    assert said["turntable"] == 0
    # What the orbit looks at lies straight ahead.
    clip = view @ (*orbit.target, 1.0)
    across, _ = Headset(session._headset.eyes, 1.0).eyes[0].middle()
    eye_aside = 0.0315 / orbit.distance / 2.1  # of the view
    assert (clip[0] / clip[3] + 1) / 2 == pytest.approx(across + eye_aside, abs=1e-6)


BAD_POSES = [
    POSE | {"id": -1},
    POSE | {"id": 2**32},
    POSE | {"id": 1.5},
    POSE | {"position": [0.0, 0.0]},
    POSE | {"position": [0.0, math.nan, 0.0]},
    POSE | {"position": [0.0, 0.0, 1e9]},
    POSE | {"orientation": [0.0, 0.0, 0.0, 0.0]},
    POSE | {"orientation": [0.0, 0.0, 0.0, math.inf]},
    POSE | {"orientation": [0.0, 0.0, 1.0]},
    POSE | {"orientation": [1.0, 1.0, 0.0, 0.0]},
    POSE | {"display_us": 1e300},
    {name: value for name, value in POSE.items() if name != "orientation"},
    {},
    None,
]


@pytest.mark.parametrize("pose", BAD_POSES, ids=str)
def test_nonsense_is_refused_and_leaves_the_pose(opened, pose):
    session = opened(view="left")
    session.apply_input({"id": 1, "pose": POSE}, 0)
    with pytest.raises(ContentRefused, match="is refused"):
        session.apply_input({"id": 2, "pose": pose}, 0)
    assert result_of(session).pose.id == POSE["id"]
    session.apply_input({"id": 2, "pose": POSE | {"id": 5}}, 0)  # ids were not used up
    assert result_of(session).pose.id == 5


def test_a_camera_is_no_pose_and_a_pose_is_no_camera(opened):
    camera = {"yaw": 0.5, "pitch": 0.25, "distance": 3.0, "target": [0.0, 1.0, 0.0]}
    with pytest.raises(ContentRefused, match="pose"):
        opened(view="left").apply_input({"id": 1, "camera": camera}, 0)
    with pytest.raises(ContentRefused, match="camera"):
        opened().apply_input({"id": 1, "pose": POSE}, 0)


def test_depth_is_merged_by_eye_and_unknown_where_a_tile_never_came(opened):
    session = opened(view="stereo", depth=8)
    _, frame = open_frame(session)
    lost = frame.pieces[-1]
    for piece in frame.pieces[:-1]:
        rect = Rect(*piece.region)
        eye = rect.x // 320
        cells = math.prod(map_shape(rect.width, rect.height, 8))
        assert piece.output_bytes == rect.i420_bytes + 2 * cells
        depth = np.full(cells, 0.25 + eye, np.float16)
        data = bytes(rect.i420_bytes) + depth.tobytes()
        frame.accept(piece.index, memoryview(data))
    frame.fill(lost.index)
    read = decode_result(frame.finish())
    assert (read.size, read.block) == ((320, 200), 8)
    assert read.depth[0].shape == (25, 40)
    assert (read.depth[0] == 0.25).all()
    x, y, width, height = lost.region
    missing = np.isnan(read.depth[1])
    top, left = y // 8, (x - 320) // 8
    assert missing[top : -(-(y + height) // 8), left : -(-(x - 320 + width) // 8)].all()
    assert missing.sum() == math.prod(map_shape(width, height, 8))
    assert (read.depth[1][~missing] == 1.25).all()


def test_depth_comes_with_an_orbit_camera_too(opened):
    session = opened(depth=16, turntable=0)
    read = result_of(session, shade=0)
    assert not read.posed
    assert len(read.views) == len(read.depth) == 1
    assert (read.depth[0] == 0).all()
    assert session.describe()["result"] == NAME


def test_headsets_have_the_ladder_that_others_have(opened):
    rungs = opened(view="stereo", depth=8).contract.ladder
    assert len(rungs) > 1
    assert len(rungs) == len(opened(view="stereo").contract.ladder)


def test_a_squeezed_pictures_lost_tiles_show_the_frame_before(opened):
    camera = {"pitch": 0.25, "distance": 6.0, "target": [0.0, 0.0, 0.0]}
    session = opened(fovea_width=0.5, turntable=0)
    before = np.random.default_rng(1).integers(0, 256, session.picture.nbytes, np.uint8).tobytes()
    first, second = bytearray(before), bytearray(len(before))
    session.open_frame(0, 0, CutHint(1), memoryview(first), memoryview(b""))
    session.apply_input({"id": 1, "camera": camera | {"yaw": 0.9}}, 0)
    frame = session.open_frame(1, 1, CutHint(1), memoryview(second), memoryview(first))
    for piece in frame.pieces:
        frame.fill(piece.index)
    assert bytes(second) == before


def test_a_tile_without_its_depth_is_refused(opened):
    _, frame = open_frame(opened(depth=16))
    with pytest.raises(ContentRefused, match="must have"):
        frame.accept(0, memoryview(bytes(Rect(*frame.pieces[0].region).i420_bytes)))


def test_squeezed_pictures_are_smaller_and_say_how(opened):
    session = opened(view="stereo", fovea_width=0.4, fovea_height=0.5, fovea_ratio=3, fovea_in=0.05)
    said = session.describe()
    assert session.picture.width == 2 * said["fovea"][0]["x"]["squeezed"][-1] < 640
    assert session.picture.height == said["fovea"][0]["y"]["squeezed"][-1] < 200
    assert [fovea["x"]["full"][-1] for fovea in said["fovea"]] == [320, 320]
    # Of mirrored eyes the middles are mirrored, to the grid.
    left, right = (np.mean(fovea["x"]["full"][1:3]) for fovea in said["fovea"])
    assert abs(left - (320 - right)) <= 16
    assert left > 0.5 * 320
    assert len(open_frame(session)[1].pieces) >= 18
    assert "fovea" not in opened(view="stereo").describe()
    msgspec.json.encode(said)


def test_nothing_is_said_beside_a_picture_that_says_it_all(opened):
    session = opened()
    assert open_frame(session)[1].finish() == b""
    assert not {"result", "eyes", "fovea", "depth"} & session.describe().keys()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"depth": 8, "integrator": "pathtrace"}, "path traced has no depth"),
        ({"depth": 5}, "depth"),
        ({"depth": 4, "width": 4096, "height": 4096}, "at most 1048576 travel"),
        ({"view": "stereo", "width": 2050}, "4100x"),
        ({"view": "both"}, "view"),
        ({"width": 96, "fovea_width": 0.1, "fovea_ratio": 16}, "at least 64"),
        ({"ipd": -1}, "ipd"),
        ({"tan_in": 0}, "tan_in"),
        ({"fovea_ratio": 0.5}, "fovea_ratio"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused(opened, options: dict, why: str):
    with pytest.raises(SessionRefused, match=why):
        opened(**options)


poses = st.fixed_dictionaries(
    {
        "id": st.integers(0, 2**32 - 1),
        "position": st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
        "orientation": st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    }
)


@given(poses)
def test_every_pose_within_bounds_makes_tiles_a_device_takes(opened, pose: dict):
    session = opened(view="stereo", fovea_width=0.5)
    length = math.hypot(*pose["orientation"])
    try:
        session.apply_input({"id": 1, "pose": pose}, 0)
    except ContentRefused:
        assert abs(length - 1) > 0.009
    spec = decode_session(session.setup.spec)
    assert all(decode_tile(piece.spec, spec) for piece in open_frame(session)[1].pieces)
