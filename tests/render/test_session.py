"""The session half: frames cut and merged, cameras from inputs, all without a device."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused, SessionRefused
from mesh.core.workload import Asset, CutHint, SessionRequest
from render.clusters import cluster_scene
from render.pieces import SessionSpec, TileSpec, decode_session, decode_tile
from render.pose import REST, Poser
from render.scene import Camera, DirectionalLight, Draw, Material, Primitive, Scene
from render.session import MID_GREY, TURN_RAD_PER_S, RenderSession, SceneFacts
from render.tiles import Rect
from render.workload import create

CORNERS = np.float32([[-1, 0, -1], [1, 2, -1], [1, 0, 1]])
BOX = Scene(
    draws=(Draw(np.eye(4, dtype=np.float32), 0),),
    primitives=(
        Primitive(CORNERS, CORNERS, None, None, None, None, np.array([0, 1, 2], np.uint32), 0),
    ),
    materials=(Material(),),
    textures=(),
    images=(),
    bounds_min=CORNERS.min(axis=0),
    bounds_max=CORNERS.max(axis=0),
)
FACTS = SceneFacts(
    title="a box",
    low=(-1.0, 0.0, -1.0),
    high=(1.0, 2.0, 1.0),
    light=DirectionalLight(color=(1.0, 0.5, 0.25), intensity=4.0),
    triangles=12,
    warnings=(),
    poser=Poser(BOX, cluster_scene(BOX)),
    box_triangles=np.array([12]),
    animations=(("walk", 2.0), ("stand", 0.0)),
    outline=np.array([[-1.0, 0.0, -1.0], [1.0, 2.0, 1.0]]),
)
CAMERA = {"yaw": 0.5, "pitch": 0.25, "distance": 3.0, "target": [0.0, 1.0, 0.0]}
NOTHING = memoryview(b"")


def session(**options: object) -> RenderSession:
    values = {
        "width": 320,
        "height": 180,
        "fps": 30.0,
        "tiles": 4,
        "exposure": 1.0,
        "ambient": 0.6,
        "turntable": True,
        "deadline_us": 0,
    }
    facts = options.pop("facts", FACTS)
    return RenderSession(Asset("box", b"packed"), facts, **(values | options))


def open_frame(made: RenderSession, now_us: int = 0, devices: int = 1, previous: bytes = b""):
    canvas = bytearray(made.picture.nbytes)
    return canvas, made.open_frame(
        0, now_us, CutHint(devices), memoryview(canvas), memoryview(previous)
    )


def tiles_of(made: RenderSession, now_us: int) -> list[TileSpec]:
    size = decode_session(made.setup.spec)
    return [decode_tile(piece.spec, size) for piece in open_frame(made, now_us)[1].pieces]


sides = st.integers(32, 300).map(lambda half: 2 * half)


@given(sides, sides, st.integers(1, 64), st.integers(1, 9))
def test_pieces_cover_the_frame_exactly_and_a_device_reads_them(
    width: int, height: int, tiles: int, devices: int
):
    made = session(width=width, height=height, tiles=tiles)
    _, frame = open_frame(made, devices=devices)
    covered = np.zeros((height, width), int)
    size = decode_session(made.setup.spec)
    assert size == SessionSpec(width, height)
    for number, piece in enumerate(frame.pieces):
        rect = Rect(*piece.region)
        assert decode_tile(piece.spec, size).region() == rect
        assert piece.index == number
        assert piece.output_bytes == rect.i420_bytes
        assert piece.units > 0
        assert len(piece.spec) < 16 * 1024
        covered[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
    assert (covered == 1).all()
    assert len(frame.pieces) >= min(max(tiles, devices), -(-width // 16) * -(-height // 16))


@given(sides, sides, st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_accepted_tiles_make_the_picture_they_were_cut_from(
    width: int, height: int, tiles: int, seed: int
):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, width * height * 3 // 2, np.uint8)
    canvas, frame = open_frame(session(width=width, height=height, tiles=tiles))
    for index in rng.permutation(len(frame.pieces)):
        frame.accept(int(index), memoryview(part(picture, width, frame.pieces[index].region)))
    assert frame.finish() == b""
    assert bytes(canvas) == picture.tobytes()


def part(picture: np.ndarray, width: int, region: tuple[int, ...]) -> bytes:
    """A rectangle's planes out of a picture's, packed."""
    height = len(picture) * 2 // (3 * width)
    x, y, across, down = region
    chroma = picture[width * height :].reshape(2, height // 2, width // 2)
    luma = picture[: width * height].reshape(height, width)[y : y + down, x : x + across]
    chroma = chroma[:, y // 2 : (y + down) // 2, x // 2 : (x + across) // 2]
    return luma.tobytes() + chroma.tobytes()


def test_a_missing_tile_shows_the_frame_before_and_at_first_mid_grey():
    made = session()
    canvas, frame = open_frame(made)
    for piece in frame.pieces:
        frame.fill(piece.index)
    assert set(canvas) == {MID_GREY}
    before = np.random.default_rng(1).integers(0, 256, made.picture.nbytes, np.uint8).tobytes()
    canvas, frame = open_frame(made, previous=before)
    for piece in frame.pieces:
        frame.fill(piece.index)
    assert bytes(canvas) == before


def test_filling_and_accepting_touch_only_their_own_tiles():
    made = session()
    before = bytes([7]) * made.picture.nbytes
    canvas, frame = open_frame(made, previous=before)
    frame.fill(0)
    for piece in frame.pieces[1:]:
        frame.accept(piece.index, memoryview(bytes([9]) * piece.output_bytes))
    filled = part(np.frombuffer(canvas, np.uint8), 320, frame.pieces[0].region)
    assert set(filled) == {7}
    assert canvas.count(7) == len(filled)


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_result_of_another_size_is_refused_and_changes_nothing(off_by: int):
    canvas, frame = open_frame(session())
    wrong = memoryview(bytes([9]) * (frame.pieces[2].output_bytes + off_by))
    with pytest.raises(ContentRefused, match="tile 2 is refused: it has"):
        frame.accept(2, wrong)
    with pytest.raises(ContentRefused, match="it has 0 bytes"):
        frame.accept(2, NOTHING)
    assert set(canvas) == {0}


def test_the_costlier_part_of_the_frame_is_cut_smaller():
    made = session(tiles=8, turntable=False)
    made.apply_input({"id": 1, "camera": CAMERA | {"target": [2.0, 1.0, 0.0]}}, 0)
    pieces = open_frame(made)[1].pieces
    middle = [piece.region[0] + piece.region[2] / 2 for piece in pieces]
    areas = [piece.region[2] * piece.region[3] for piece in pieces]
    left = [area for x, area in zip(middle, areas, strict=True) if x < 160]
    assert len(left) > len(pieces) / 2  # the box is on the left


def test_light_and_exposure_reach_the_device():
    tile = tiles_of(session(exposure=2.0, ambient=0.3), 0)[0]
    assert tile.illuminance == (4.0, 2.0, 1.0)
    assert tile.ambient == (0.3, 0.3, 0.3)
    assert tile.exposure == 2.0
    assert tile.towards_light == FACTS.light.towards_light


def test_an_input_moves_the_camera_there_and_stops_the_turning():
    made = session(animation=REST)
    before = tiles_of(made, 0)[0]
    made.apply_input({"id": 1, "camera": CAMERA | {"fov": 0.7}}, 5)
    first, later = tiles_of(made, 10)[0], tiles_of(made, 10_000_000)[0]
    assert first == later != before
    level = 3 * math.cos(0.25)
    assert first.eye == pytest.approx(
        (level * math.sin(0.5), 1 + 3 * math.sin(0.25), level * math.cos(0.5))
    )


def test_a_scene_with_lights_of_its_own_gets_no_other():
    made = session(facts=replace(FACTS, light=None))
    assert tiles_of(made, 0)[0].illuminance == (0.0, 0.0, 0.0)


FRONT = Camera("front", np.array([[1.0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 6]]), fov=0.7, near=0.1)
PLAN = Camera(
    "plan", np.array([[1.0, 0, 0, 0], [0, 0, 1, 9], [0, -1, 0, 0]]), half_height=2.0, far=20.0
)


def test_a_scenes_camera_is_looked_through_until_the_client_moves():
    made = session(facts=replace(FACTS, cameras=(PLAN, FRONT)), camera=1)
    facts = made.describe()
    assert facts["cameras"] == ["plan", "front"]
    assert facts["turntable"] == 0.0
    assert facts["camera"]["distance"] == pytest.approx(6.0)
    assert facts["camera"]["fov"] == 0.7
    first, later = tiles_of(made, 0)[0], tiles_of(made, 2_000_000)[0]
    assert first.eye == later.eye == (0.0, 1.0, 6.0)
    assert first.clip_from_world == later.clip_from_world
    made.apply_input({"id": 1, "camera": CAMERA}, 0)
    assert tiles_of(made, 0)[0].eye != first.eye


def test_a_parallel_camera_has_its_eye_in_a_direction():
    made = session(facts=replace(FACTS, cameras=(PLAN,)), camera=0)
    tile = tiles_of(made, 0)[0]
    assert tile.parallel
    np.testing.assert_allclose(tile.eye, (0, 1, 0), atol=1e-12)


def test_a_camera_the_scene_does_not_have_is_refused():
    with pytest.raises(SessionRefused, match="there is no camera 0"):
        session(camera=0)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, [0.0, 0.5, 1.5, 0.5]),  # the walk takes 2 s, and begins again
        ({"speed": 2.0}, [0.0, 1.0, 1.0, 1.0]),
        ({"speed": 0.0, "time": 0.75}, [0.75] * 4),
        ({"animation": 1}, [0.0] * 4),  # has no duration
        ({"animation": -1}, [0.0] * 4),
    ],
)
def test_an_animation_plays_from_the_first_frame_on(options: dict, times: list[float]):
    made = session(**options)
    seen = [tiles_of(made, 7_000_000 + after)[0] for after in (0, 500_000, 1_500_000, 2_500_000)]
    assert [tile.time for tile in seen] == times
    assert {tile.animation for tile in seen} == {options.get("animation", 0)}


def test_all_tiles_of_a_frame_are_of_one_time():
    made = session(tiles=8)
    tiles_of(made, 0)
    assert {tile.time for tile in tiles_of(made, 333_333)} == {0.333333}


def test_an_animation_the_scene_does_not_have_is_rest():
    made = session(animation=2)
    assert made.describe()["animation"] == REST
    assert tiles_of(made, 100)[0].animation == REST
    assert [entry["name"] for entry in made.describe()["animations"]] == ["walk", "stand"]


def test_an_input_may_hold_the_animation_at_a_time_and_let_it_go():
    made = session()
    made.apply_input({"id": 1, "camera": CAMERA, "time": 1.25}, 0)
    assert [tiles_of(made, now)[0].time for now in (0, 900_000)] == [1.25, 1.25]
    made.apply_input({"id": 2, "camera": CAMERA}, 0)
    assert tiles_of(made, 1_000_000)[0].time == 1.0


def test_older_inputs_are_ignored():
    made = session(turntable=False)
    made.apply_input({"id": 5, "camera": CAMERA}, 0)
    shown = tiles_of(made, 0)
    for number in (5, 4, 0):
        made.apply_input({"id": number, "camera": CAMERA | {"yaw": 2.0}}, 0)
    assert tiles_of(made, 0) == shown
    made.apply_input({"id": 6, "camera": CAMERA | {"yaw": 2.0}}, 0)
    assert tiles_of(made, 0) != shown


BAD_CAMERAS = [
    CAMERA | {"yaw": math.nan},
    CAMERA | {"yaw": math.inf},
    CAMERA | {"yaw": "0.5"},
    CAMERA | {"yaw": None},
    CAMERA | {"yaw": True},
    CAMERA | {"pitch": 2.0},
    CAMERA | {"distance": 0.0},
    CAMERA | {"distance": -1.0},
    CAMERA | {"distance": 1e30},
    CAMERA | {"distance": 10**400},
    CAMERA | {"target": [0.0, 0.0]},
    CAMERA | {"target": [0.0, math.nan, 0.0]},
    CAMERA | {"target": [0.0, 1e7, 0.0]},
    CAMERA | {"target": {}},
    CAMERA | {"fov": 0.0},
    CAMERA | {"fov": 3.2},
    {name: value for name, value in CAMERA.items() if name != "distance"},
    {},
    [],
    None,
    "north",
]


@pytest.mark.parametrize(
    "event",
    [
        *({"id": 9, "camera": camera} for camera in BAD_CAMERAS),
        {},
        {"id": 9},
        {"camera": CAMERA},
        {"id": "9", "camera": CAMERA},
        {"id": 9.5, "camera": CAMERA},
        {"id": True, "camera": CAMERA},
        {"id": -1, "camera": CAMERA},
        {"id": 2**60, "camera": CAMERA},
    ],
    ids=str,
)
def test_nonsense_is_refused_and_leaves_the_camera(event: dict):
    made = session(turntable=False)
    made.apply_input({"id": 1, "camera": CAMERA}, 0)
    shown = tiles_of(made, 0)
    with pytest.raises(ContentRefused, match="the input is refused"):
        made.apply_input(event, 0)
    assert tiles_of(made, 0) == shown
    made.apply_input({"id": 2, "camera": CAMERA | {"yaw": 1.0}}, 0)  # ids were not used up
    assert tiles_of(made, 0) != shown


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
cameras = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["yaw", "pitch", "distance", "target", "fov"], json_values)
)


@given(st.fixed_dictionaries({}, optional={"id": json_values, "camera": cameras | json_values}))
def test_any_input_is_applied_or_refused_and_the_next_frame_is_sound(event: dict):
    made = session()
    try:
        made.apply_input(event, 0)
    except ContentRefused as refusal:
        assert len(str(refusal)) < 1000
    assert tiles_of(made, 0)


poses = st.fixed_dictionaries(
    {
        "yaw": st.floats(-1e6, 1e6),
        "pitch": st.floats(-math.pi / 2, math.pi / 2),
        "distance": st.floats(1e-4, 1e6),
        "target": st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
        "fov": st.floats(0.05, 2.8),
    }
)


@given(poses)
def test_every_pose_within_bounds_makes_tiles_a_device_takes(camera: dict):
    made = session()
    made.apply_input({"id": 1, "camera": camera}, 0)
    assert len(tiles_of(made, 0)) >= 4


@given(st.integers(0, 2**62), st.lists(st.integers(0, 10**10), min_size=1, max_size=6))
def test_the_turntable_depends_on_time_alone(start_us: int, times_us: list[int]):
    once, often = session(), session()
    for made in (once, often):
        tiles_of(made, start_us)
    for time_us in times_us:
        shown = tiles_of(often, start_us + time_us)
    assert shown == tiles_of(once, start_us + times_us[-1])


def test_the_turntable_turns_at_its_rate():
    made = session()
    start, later = (tiles_of(made, now)[0].eye for now in (10**12, 10**12 + 2_000_000))
    target = (0.0, 0.0)  # the box's axis

    def bearing(eye: tuple[float, ...]) -> float:
        return math.atan2(eye[0] - target[0], eye[2] - target[1])

    assert bearing(later) - bearing(start) == pytest.approx(2 * TURN_RAD_PER_S)
    assert session(turntable=False).describe()["turntable"] == 0
    still = session(turntable=False)
    assert tiles_of(still, 0) == tiles_of(still, 10**9)


def test_the_contract_follows_the_rate():
    assert session(fps=60.0).contract.period_us == 16_667
    assert session(fps=50.0).contract.deadline_us == 40_000
    assert session(deadline_us=12_000).contract.deadline_us == 12_000


def test_bulk_inputs_are_refused():
    with pytest.raises(ContentRefused, match="no bulk inputs"):
        session().offer_input(0, memoryview(b"points"))


def test_what_it_says_of_itself_is_json_and_starts_where_the_frames_do():
    made = session(turntable=False)
    said = msgspec.json.decode(msgspec.json.encode(made.describe()))
    assert said["title"] == "a box"
    assert (said["width"], said["height"], said["triangles"]) == (320, 180, 12)
    assert said["bounds"] == {"low": [-1, 0, -1], "high": [1, 2, 1]}
    shown = tiles_of(made, 0)
    made.apply_input({"id": 0, "camera": said["camera"]}, 0)
    assert tiles_of(made, 0) == shown


def test_pieces_of_one_scene_are_of_one_kind():
    kinds = {piece.kind for piece in open_frame(session())[1].pieces}
    other = RenderSession(
        Asset("other", b"other"),
        replace(FACTS, title="other"),
        width=320,
        height=180,
        fps=30.0,
        tiles=4,
        exposure=1.0,
        ambient=0.6,
        turntable=True,
        deadline_us=0,
    )
    assert len(kinds) == 1
    assert kinds.isdisjoint(piece.kind for piece in open_frame(other)[1].pieces)


def test_shadows_are_asked_for_by_option_and_coarser_before_they_are_left_out():
    options = {"width": 320, "height": 180, "turntable": 0, "shadows": 2048}
    work = create({}).open_session(SessionRequest("render", options))
    spec = decode_session(work.setup.spec)
    assert spec.shadows == 2048
    asked = []
    for rung in range(len(work.contract.ladder)):
        canvas = memoryview(bytearray(work.picture.nbytes))
        frame = work.open_frame(0, 0, CutHint(1, rung=rung), canvas, memoryview(b""))
        tiles = [decode_tile(piece.spec, spec) for piece in frame.pieces]
        [found] = {(tile.scale, tile.shadows) for tile in tiles}
        asked.append(found)
        if rung == 0:
            sharp = frame.pieces[0].spec
    assert asked[:2] == [(100, 2048), (100, 1024)]
    assert asked[-1][1] == 0
    assert all(0 < shadows < 2048 for _, shadows in asked[1:-1])
    plain = decode_session(create({}).open_session(SessionRequest("render", {})).setup.spec)
    with pytest.raises(ContentRefused, match="shadow maps of 0"):
        decode_tile(sharp, msgspec.structs.replace(spec, shadows=plain.shadows))
