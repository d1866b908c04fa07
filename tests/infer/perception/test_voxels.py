"""Voxels beside the NumPy float64 reference, on real and random sweeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.references.voxels import encode
from infer.perception.voxels import Voxeliser, VoxelSpace
from mesh.core.errors import Misuse

SMALL = VoxelSpace((-8, -8, -3), (8, 8, 1), (0.5, 0.5, 2.0), most_points=5, with_height=True)


def compare(voxeliser, points):
    """Every voxel is the reference's: equal counts and places, features within float32."""
    space = voxeliser.space
    batch = voxeliser.encode(points)
    known = encode(points, space.parameters(), space.most_points, space.features)
    features, counts, coordinates = (part[: space.most_voxels] for part in known)
    np.testing.assert_array_equal(batch.coordinates, coordinates)
    np.testing.assert_array_equal(batch.counts, counts)
    np.testing.assert_allclose(batch.features, features, atol=3e-5)
    assert batch.lost_voxels == max(len(known[1]) - space.most_voxels, 0)
    return batch


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pillars_of_real_sweeps_are_the_references(clip, threads):
    voxeliser = Voxeliser(VoxelSpace(), 120_000, threads)
    assert len(compare(voxeliser, clip[0]).counts) > 10_000
    compare(voxeliser, clip[4][:30_000])  # nothing of the sweep before is left


@given(seed=st.integers(0, 2**32 - 1), points=st.integers(0, 500), spread=st.floats(0.01, 20))
@settings(max_examples=30)
def test_voxels_of_any_cloud_are_the_references(seed, points, spread):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0, spread, (points, 4)).astype(np.float32)
    cloud[rng.uniform(size=cloud.shape) < 0.01] = np.nan
    compare(Voxeliser(SMALL, 500, 2), cloud)


def test_voxels_that_there_is_no_room_for_are_counted(clip):
    space = VoxelSpace(most_voxels=1000)
    voxeliser = Voxeliser(space, 120_000, 2)
    batch = compare(voxeliser, clip[0])
    assert len(batch.counts) == 1000
    assert batch.lost_voxels > 10_000
    assert compare(voxeliser, clip[0][:100]).lost_voxels == 0


def test_what_no_kernel_could_take_is_refused():
    with pytest.raises(Misuse, match="0 x 10"):
        VoxelSpace((0, 0, 0), (0, 1, 1), (0.1, 0.1, 1))
    with pytest.raises(Misuse, match="room for"):
        VoxelSpace(size=(0.001, 0.001, 4))
    with pytest.raises(Misuse, match="scratch was made for 10"):
        Voxeliser(SMALL, 10).encode(np.zeros((11, 4), np.float32))
    with pytest.raises(Misuse, match="float64"):
        Voxeliser(SMALL, 10).encode(np.zeros((5, 4)))
