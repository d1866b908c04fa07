"""The work of three perception kernels, done by libraries: for `bench.kernels`.

Each gets what ours gets and gives as much. A library that is not here, or does not load, is named
with the reason. What a library needs laid out in its own way is made before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.plane import ABOVE
from infer.kernels.references import voxels
from infer.perception.area import Area
from infer.perception.ground import PlaneSearch
from infer.perception.voxels import VoxelSpace

EPS_M = 0.5  # two cells of a quarter of a metre: as far as our clusters reach
MIN_POINTS = 5


@dataclass(frozen=True)
class Peer:
    """run: the work. slow: takes seconds, so that it is run once, and not by --quick."""

    name: str
    run: Callable[[], Any]
    slow: bool = False


def voxelisers(points: NDArray[np.float32], space: VoxelSpace) -> Iterator[Peer]:
    """Pillars of nine features, padded."""
    parameters = space.parameters()
    yield Peer(
        "NumPy, float32",
        lambda: voxels.encode(
            points, parameters, space.most_points, space.features, dtype=np.float32
        ),
    )


def ground_finders(points: NDArray[np.float32], search: PlaneSearch) -> Iterator[Peer]:
    """A plane from as many trials, and which points lie in it.

    The libraries' find the plane with the most points, which may be a wall: they are given the
    points a metre below the sensor and lower, which is also less work.
    """
    low = points[points[:, 2] < -1.0]
    try:
        import open3d  # noqa: PLC0415

        cloud = open3d.geometry.PointCloud(
            open3d.utility.Vector3dVector(low[:, :3].astype(np.float64))
        )
        yield Peer(
            "Open3D segment_plane",
            lambda: cloud.segment_plane(search.within_m, 3, search.trials),
        )
    except (ImportError, OSError) as problem:
        print(f"without Open3D: {problem}")
    try:
        from sklearn.linear_model import LinearRegression, RANSACRegressor  # noqa: PLC0415

        def sklearn() -> Any:
            regressor = RANSACRegressor(
                LinearRegression(),
                min_samples=3,
                residual_threshold=search.within_m,
                max_trials=search.trials,
                stop_probability=1.0,
                random_state=search.seed,
            )
            return regressor.fit(low[:, :2], low[:, 2]).inlier_mask_

        yield Peer("scikit-learn RANSACRegressor", sklearn)
    except ImportError as problem:
        print(f"without scikit-learn: {problem}")


def clusterers(
    points: NDArray[np.float32], labels: NDArray[np.uint8], area: Area
) -> Iterator[Peer]:
    """A cluster for each point that stands out of the ground."""
    standing = points[labels == ABOVE]
    try:
        from scipy import ndimage  # noqa: PLC0415

        yield Peer(
            "SciPy ndimage.label on the same grid",
            lambda: by_image(ndimage, points, labels, area),
        )
    except ImportError as problem:
        print(f"without SciPy: {problem}")
    try:
        import open3d  # noqa: PLC0415

        cloud = open3d.geometry.PointCloud(
            open3d.utility.Vector3dVector(standing[:, :3].astype(np.float64))
        )
        yield Peer(
            "Open3D cluster_dbscan", lambda: cloud.cluster_dbscan(EPS_M, MIN_POINTS), slow=True
        )
    except (ImportError, OSError) as problem:
        print(f"without Open3D: {problem}")
    try:
        from sklearn.cluster import DBSCAN  # noqa: PLC0415

        yield Peer(
            "scikit-learn DBSCAN",
            lambda: DBSCAN(eps=EPS_M, min_samples=MIN_POINTS, n_jobs=2).fit(standing[:, :3]),
            slow=True,
        )
    except ImportError as problem:
        print(f"without scikit-learn: {problem}")


def by_image(
    ndimage: Any, points: NDArray[np.float32], labels: NDArray[np.uint8], area: Area
) -> NDArray[np.int32]:
    """The same clusters as ours: cells two apart touch once each is grown by one."""
    index = np.flatnonzero(labels == ABOVE)
    place = ((points[index, :2] + np.float32(area.reach_m)) / np.float32(area.cell_m)).astype(
        np.int32
    )
    inside = ((place >= 0) & (place < area.across)).all(axis=1)
    index, (column, row) = index[inside], place[inside].T
    occupied = np.zeros((area.across + 1, area.across + 1), bool)
    occupied[row, column] = True
    grown = occupied.copy()
    grown[1:] |= occupied[:-1]
    grown[:, 1:] |= grown[:, :-1].copy()
    named, _ = ndimage.label(grown, np.ones((3, 3)))
    clusters = np.full(len(points), -1, np.int32)
    clusters[index] = named[row, column] - 1
    return clusters
