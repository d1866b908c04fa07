"""Animations, skins and morph targets out of a glTF file, and what of them is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused
from render.clusters import cluster_scene
from render.gltf import load_gltf
from render.gltf.accessors import Accessors
from render.gltf.container import join_glb, split_glb
from render.gltf.writer import GlbWriter
from render.motion import Interpolation, Property, stance
from render.pose import Poser


@pytest.fixture
def bending() -> GlbWriter:
    """A square of two joints and two morph targets: node 0 carries it, 1 and 2 are joints, 3 is
    above them; one animation turns joint 2, moves node 3 and changes the weights."""
    writer = GlbWriter()
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    lift = np.zeros((4, 3), np.float32)
    lift[2:, 2] = 1
    up = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    joints = np.zeros((4, 4), np.uint8)
    joints[2:, 0] = 1
    weights = np.tile(np.array([255, 0, 0, 0], np.uint8), (4, 1))
    primitive = {
        "attributes": {
            "POSITION": writer.accessor(corners),
            "NORMAL": writer.accessor(up),
            "JOINTS_0": writer.accessor(joints),
            "WEIGHTS_0": writer.accessor(weights, normalized=True),
        },
        "targets": [{"POSITION": writer.accessor(lift)}, {"NORMAL": writer.accessor(lift)}],
        "indices": writer.accessor(np.array([0, 1, 2, 0, 2, 3], np.uint16)),
    }
    writer.mesh([primitive])
    writer.document["meshes"][0]["weights"] = [0.5, 0.0]
    binds = np.tile(np.eye(4, dtype=np.float32).reshape(-1), (2, 1))
    binds[1, 13] = -1.0  # column-major: a metre down
    view = writer.buffer_view(binds.tobytes())
    matrices = {"bufferView": view, "componentType": 5126, "count": 2, "type": "MAT4"}
    bind = writer.add("accessors", matrices)
    writer.add("skins", {"joints": [1, 2], "inverseBindMatrices": bind})
    writer.add("nodes", {"mesh": 0, "skin": 0})
    writer.add("nodes", {"children": [2]})
    writer.add("nodes", {"translation": [0, 1, 0]})
    writer.add("nodes", {"children": [1], "translation": [0, 0, 5]})
    times = writer.accessor(np.array([0, 2], np.float32))
    half = 0.5**0.5
    turns = np.array([[0, 0, 0, 1], [half, 0, 0, half]], np.float32)
    moves = np.array([[0, 0, 5], [4, 0, 5]], np.float32)
    shares = np.array([0, 0, 255, 0], np.uint8)
    samplers = [
        {"input": times, "output": writer.accessor(turns)},
        {"input": times, "output": writer.accessor(moves), "interpolation": "STEP"},
        {"input": times, "output": writer.accessor(shares, normalized=True)},
    ]
    channels = [
        {"sampler": 0, "target": {"node": 2, "path": "rotation"}},
        {"sampler": 1, "target": {"node": 3, "path": "translation"}},
        {"sampler": 2, "target": {"node": 0, "path": "weights"}},
    ]
    writer.add("animations", {"name": "bow", "samplers": samplers, "channels": channels})
    return writer


def test_a_skin_an_animation_and_weights_arrive_as_they_were_written(bending: GlbWriter) -> None:
    scene = load_gltf(bending.glb())
    [draw], [primitive], motion = scene.draws, scene.primitives, scene.motion
    assert scene.warnings == ()
    assert motion is not None
    assert (draw.skin, draw.weights, draw.node) == (0, 0, -1)
    assert primitive.morph is not None
    assert primitive.morph.positions.shape == (2, 4, 3)
    assert primitive.morph.normals is not None
    np.testing.assert_array_equal(primitive.morph.positions[1], 0)
    np.testing.assert_array_equal(primitive.influences.joints[:, 0], (0, 0, 1, 1))
    np.testing.assert_array_equal(primitive.influences.weights.sum(axis=1), 1)
    np.testing.assert_array_equal(motion.weights, (0.5, 0.0))
    np.testing.assert_array_equal(motion.inverse_bind[1, :, 3], (0, -1, 0))
    [animation] = motion.animations
    assert (animation.name, animation.duration) == ("bow", 2.0)
    assert {(track.change, track.interpolation) for track in animation.tracks} == {
        (Property.ROTATION, Interpolation.LINEAR),
        (Property.TRANSLATION, Interpolation.STEP),
        (Property.WEIGHTS, Interpolation.LINEAR),
    }


def test_the_upper_half_bows_about_its_joint(bending: GlbWriter) -> None:
    scene = load_gltf(bending.glb())
    assert scene.motion is not None
    now = stance(scene.motion, 0, 2.0)
    # A quarter turn about x at (0, 1, 0), then 4 along x and 5 along z.
    np.testing.assert_allclose(now.palette[1] @ (1, 1, 0, 1), (5, 1, 5), atol=1e-6)
    np.testing.assert_allclose(now.palette[1] @ (0, 2, 0, 1), (4, 1, 6), atol=1e-6)
    np.testing.assert_allclose(now.palette[0] @ (1, 0, 0, 1), (5, 0, 5), atol=1e-6)
    np.testing.assert_allclose(now.weights, (1.0, 0.0))


def test_bounds_are_of_the_bent_mesh_at_rest(bending: GlbWriter) -> None:
    scene = load_gltf(bending.glb())
    np.testing.assert_allclose(scene.bounds_min, (0, 0, 5))
    np.testing.assert_allclose(scene.bounds_max, (1, 1, 5.5))  # half of the first target


def test_a_vast_list_of_bind_matrices_is_refused_unread(
    bending: GlbWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a buffer view an accessor is all zeros: 550 bytes of file stood for 3 GB of them."""
    zeros = {"componentType": 5126, "count": 23_999_999, "type": "MAT4"}
    bending.document["skins"][0]["inverseBindMatrices"] = bending.add("accessors", zeros)
    read = Accessors.floats

    def floats(self: Accessors, index: int, types: tuple[str, ...], place: str) -> np.ndarray:
        assert types != ("MAT4",), "they were read"
        return read(self, index, types, place)

    monkeypatch.setattr(Accessors, "floats", floats)
    with pytest.raises(ContentRefused, match="23999999 matrices for 2 joints"):
        load_gltf(bending.glb())


def test_channels_that_share_their_times_are_joined(bending: GlbWriter) -> None:
    animation = bending.document["animations"][0]
    animation["channels"][1] = {"sampler": 0, "target": {"node": 3, "path": "rotation"}}
    scene = load_gltf(bending.glb())
    assert scene.motion is not None
    turning, _ = scene.motion.animations[0].tracks
    assert turning.values.shape == (2, 2, 4)


def test_what_stands_still_is_not_listed(square: GlbWriter) -> None:
    assert load_gltf(square.glb()).motion is None
    square.add("nodes", {"mesh": 0})
    times, moves = square.accessor(np.float32([0, 1])), square.accessor(np.zeros((2, 3), "f"))
    square.add(
        "animations",
        {
            "samplers": [{"input": times, "output": moves}],
            "channels": [{"sampler": 0, "target": {"node": 1, "path": "translation"}}],
        },
    )
    scene = load_gltf(square.glb())
    assert scene.motion is not None
    assert [draw.node for draw in scene.draws] == [1, -1]  # node 0 stands on node 1
    np.testing.assert_array_equal(scene.motion.parents, (-1, 0))


def test_weights_are_scaled_to_sum_one_and_a_vertex_without_any_keeps_its_first_joint(
    bending: GlbWriter,
) -> None:
    weights = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 1], [-1, 2, 0, 0]], np.float32)
    attributes = bending.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["WEIGHTS_0"] = bending.accessor(weights)
    influences = load_gltf(bending.glb()).primitives[0].influences
    assert influences is not None
    expected = [(0.5, 0.5, 0, 0), (1, 0, 0, 0), (0.75, 0, 0, 0.25), (0, 1, 0, 0)]
    np.testing.assert_allclose(influences.weights, expected)


def test_eight_joints_may_move_a_vertex_and_more_are_said_to_be_left_out(
    bending: GlbWriter,
) -> None:
    attributes = bending.document["meshes"][0]["primitives"][0]["attributes"]
    for number in (1, 2):
        attributes[f"JOINTS_{number}"] = attributes["JOINTS_0"]
        attributes[f"WEIGHTS_{number}"] = attributes["WEIGHTS_0"]
    scene = load_gltf(bending.glb())
    assert scene.primitives[0].influences is not None
    assert scene.primitives[0].influences.joints.shape == (4, 8)
    assert "at most 8 joints" in scene.warnings[0]


def change(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        holder: Any = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value

    return apply


ANIMATION = ("animations", 0)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (change("skins", 0, "joints", value=[1]), "use joint 1, and skins[0] has 1"),
        (change("skins", 0, "joints", value=[1, 9]), "nodes[9] is in no scene"),
        (change("skins", 0, "joints", value=[1, 2, 3]), "2 matrices for 3 joints"),
        (change("nodes", 0, "skin", value=4), "skins[4]"),
        (change("nodes", 0, "weights", value=[1.0]), "2 morph targets"),
        (change(*ANIMATION, "channels", 0, "sampler", value=1), "needs VEC4"),
        (change(*ANIMATION, "samplers", 1, "output", value=0), "must have 2"),
        (change(*ANIMATION, "samplers", 0, "interpolation", value="CUBICSPLINE"), "must have 6"),
        (change(*ANIMATION, "channels", 0, "sampler", value=7), "samplers[7]"),
        (change(*ANIMATION, "channels", 0, "target", "node", value=44), "nodes[44]"),
        (change("accessors", 8, "byteOffset", value=4), "which has 8 bytes"),
    ],
)
def test_a_refusal_says_why(
    bending: GlbWriter, changed: Callable[[dict[str, Any]], None], why: str
) -> None:
    bending.glb()
    changed(bending.document)
    with pytest.raises(ContentRefused) as refusal:
        load_gltf(bending.glb())
    assert why in refusal.value.what + refusal.value.why


@pytest.mark.parametrize("times", [[1, 1], [2, 1], [-1, 0]])
def test_times_that_do_not_rise_are_refused(bending: GlbWriter, times: Sequence[float]) -> None:
    sampler = bending.document["animations"][0]["samplers"][0]
    sampler["input"] = bending.accessor(np.array(times, np.float32))
    with pytest.raises(ContentRefused, match="do not rise"):
        load_gltf(bending.glb())


@pytest.mark.parametrize(
    ("limit", "at_most"),
    [
        ("moving.MAX_MOVING_NODES", 2),
        ("moving.MAX_MOVING_DEPTH", 2),
        ("moving.MAX_JOINTS", 1),
        ("moving.MAX_TRACKS", 2),
        ("moving.MAX_KEY_NUMBERS", 20),
        ("geometry.MAX_MORPH_VERTICES", 7),
        ("loader.MAX_BENT_VERTICES", 3),
    ],
)
def test_each_limit_holds(
    bending: GlbWriter, monkeypatch: pytest.MonkeyPatch, limit: str, at_most: int
) -> None:
    monkeypatch.setattr(f"render.gltf.{limit}", at_most)
    with pytest.raises(ContentRefused):
        load_gltf(bending.glb())


@pytest.mark.parametrize(
    ("target", "warning"),
    [
        ({"node": 0, "path": "pointer"}, "'pointer'"),
        ({"path": "translation"}, None),  # an extension's
    ],
)
def test_channels_that_change_nothing_known_are_left_out(
    bending: GlbWriter, target: Mapping[str, Any], warning: str | None
) -> None:
    bending.document["animations"][0]["channels"][1]["target"] = target
    scene = load_gltf(bending.glb())
    assert scene.motion is not None
    assert len(scene.motion.animations[0].tracks) == 2
    assert [warning in said for said in scene.warnings] == ([True] if warning else [])


STRANGE = st.one_of(
    st.sampled_from([-1, 0, 1, 2, 3, 9, 5121, 5126, 2**31, 1e30, -1e30, None, "", [], {}, [0]]),
    st.sampled_from(["rotation", "scale", "weights", "CUBICSPLINE", "STEP", "MAT4", "VEC4"]),
    st.integers(-3, 70),
)


def places(node: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries: Any = ()
    if isinstance(node, dict):
        entries = node.items()
    elif isinstance(node, list):
        entries = enumerate(node)
    found = [path] if path else []
    for key, value in entries:
        found += places(value, (*path, key))
    return found


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_whatever_is_changed_the_scene_poses_or_is_refused(
    bending: GlbWriter, data: st.DataObject
) -> None:
    json_chunk, binary = split_glb(bending.glb())
    document = msgspec.json.decode(json_chunk)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)))
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = data.draw(STRANGE)
    spoilt = bytearray(binary)
    for _ in range(data.draw(st.integers(0, 3))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    try:
        scene = load_gltf(join_glb(msgspec.json.encode(document), bytes(spoilt)))
    except ContentRefused:
        return
    pose = Poser(scene, cluster_scene(scene)).at(0, data.draw(st.floats(0, 4)))
    assert np.isfinite(pose.boxes.centre).all()
    assert np.isfinite(pose.world_from_mesh).all()
