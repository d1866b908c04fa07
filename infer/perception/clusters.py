"""Euclidean clusters: points above the ground whose cells, seen from above, are near each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.components import COMPONENT_COUNTERS, NAMED
from infer.kernels.threads import kernels_for
from infer.perception.area import Area
from infer.perception.clouds import checked


@dataclass(frozen=True, slots=True)
class Clusters:
    """of_point: int32 (n,), the cluster of each point, -1 for none; there are `count`."""

    of_point: NDArray[np.int32]
    count: int


class Clusterer:
    """Clusters sweeps; keeps its scratch between them. Not for two threads at once."""

    def __init__(self, area: Area, max_points: int, threads: int = 1, *, link: int = 2) -> None:
        """link: cells at most so many rows and columns apart are of one cluster."""
        self._area, self._link, self._threads = area.parameters(), link, threads
        self._kernels = kernels_for(threads)
        cells = area.across**2
        self._cell_of, self._clusters = np.empty((2, max_points), np.int32)
        self._occupied = np.zeros(cells, np.uint8)
        self._cells, self._parents, self._names = np.empty((3, cells), np.int32)
        self._n = np.zeros(COMPONENT_COUNTERS, np.int32)

    def cluster(self, points: NDArray[np.float32], labels: NDArray[np.uint8]) -> Clusters:
        """Clusters of the points that `Ground.labels` calls above, numbered by their first cell.

        Valid until the next call. Raises Misuse as `clouds.checked` does.
        """
        points = checked(points, len(self._cell_of))
        clusters = self._clusters[: len(points)]
        self._kernels.cluster_points(
            points,
            self._area,
            self._link,
            labels,
            self._cell_of,
            self._occupied,
            self._occupied.view(np.uint64),
            self._cells,
            self._parents,
            self._names,
            self._n,
            clusters,
            self._threads,
        )
        return Clusters(clusters, int(self._n[NAMED]))
