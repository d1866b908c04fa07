"""Boxes of what moves hold what moves, at every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from render.clusters import cluster_scene
from render.motion import stance
from render.pose import Poser, world_positions
from render.scene import Scene
from tests.render.bending import bending_scene, still

SCENES = {
    (flat, skinned, morphed): bending_scene(flat=flat, skinned=skinned, morphed=morphed)
    for flat in (False, True)
    for skinned in (False, True)
    for morphed in (False, True)
}
CLUSTERS = {key: cluster_scene(scene) for key, scene in SCENES.items()}
POSERS = {key: Poser(scene, CLUSTERS[key]) for key, scene in SCENES.items()}


@settings(max_examples=60)
@given(st.sampled_from(list(SCENES)), st.floats(0, 3))
@example((False, True, True), 1.75)  # where joints flatten a vertex
def test_every_cluster_stays_inside_its_box(key: tuple[bool, bool, bool], time: float):
    scene, clusters = SCENES[key], CLUSTERS[key]
    moved = still(scene, 0, time)
    boxes = POSERS[key].at(0, time).boxes
    for entry, (number, cluster) in enumerate(zip(clusters.draw, clusters.cluster, strict=True)):
        draw, mesh = moved.draws[number], clusters.meshes[scene.draws[number].primitive]
        used = mesh.indices[mesh.starts[cluster] : mesh.starts[cluster + 1]]
        points = moved.primitives[draw.primitive].positions[used].astype(float)
        world = points @ draw.world_from_mesh[:3, :3].T + draw.world_from_mesh[:3, 3]
        assert (np.abs(world - boxes.centre[entry]) <= boxes.half[entry] + 1e-4).all()


@pytest.mark.parametrize("key", SCENES)
def test_world_positions_are_those_of_the_still_scene(key: tuple[bool, bool, bool]):
    scene = SCENES[key]
    assert scene.motion is not None
    moved, now = still(scene, 0, 0.7), stance(scene.motion, 0, 0.7)
    for draw, other in zip(scene.draws, moved.draws, strict=True):
        points = moved.primitives[other.primitive].positions.astype(float)
        expected = points @ other.world_from_mesh[:3, :3].T + other.world_from_mesh[:3, 3]
        found = world_positions(draw, scene.primitives[draw.primitive], now)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        few = world_positions(draw, scene.primitives[draw.primitive], now, slice(None, None, 7))
        np.testing.assert_array_equal(few, found[::7])


def test_a_pose_is_made_once_and_a_scene_that_stands_still_has_one(courtyard: Scene):
    key = (False, True, True)
    assert POSERS[key].at(0, 0.5) is POSERS[key].at(0, 0.5)
    assert POSERS[key].at(0, 0.5) is not POSERS[key].at(0, 0.6)
    clusters = cluster_scene(courtyard)
    pose = Poser(courtyard, clusters).at(0, 3.0)
    assert pose.stance is None
    assert pose.boxes is clusters.boxes


def test_a_pose_does_not_change_the_one_before():
    poser = POSERS[False, True, True]
    before = poser.at(0, 0.25)
    kept = before.boxes.centre.copy()
    poser.at(0, 1.75)
    np.testing.assert_array_equal(before.boxes.centre, kept)
