"""PointPillars from a sweep to boxes: pillars, network, anchors, the best of what overlaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.models.network import Network
from infer.perception.nms import MOST_BOXES, suppress
from infer.perception.voxels import Voxeliser
from infer.pillars.design import BOX_VALUES, DIRECTIONS, Design

Floats = NDArray[np.float64]

_FACING = np.pi / 4  # where the two directions of a yaw part, as trained
_SEEN_FROM_ABOVE = [0, 1, 3, 4, 6]


@dataclass(frozen=True, slots=True, eq=False)
class PillarObjects:
    """boxes: float64 (n, 7), centre, length width height, yaw, in the sweep's frame; best first.

    scores: (n,), 0 to 1. kinds: int64 (n,), into the design's.
    """

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.int64]


class PillarDetector:
    """One network over sweeps of up to `max_points`. Not for two threads at once."""

    def __init__(
        self, model: bytes, max_points: int, *, design: Design | None = None, threads: int = 1
    ) -> None:
        """model: as `infer.pillars.graph` builds it. Raises as `Network`."""
        self._design = design or Design()
        self._network = Network(model, threads=threads)
        self._voxels = Voxeliser(self._design.space, max_points, threads)
        self._anchors = self._design.anchors().reshape(-1, BOX_VALUES)

    def detect(
        self, points: NDArray[np.float32], *, least: float = 0.1, most_overlap: float = 0.01
    ) -> PillarObjects:
        """Of float32 (n, 4) points. least: score. most_overlap: IoU from above of what stays."""
        batch = self._voxels.encode(points)
        columns = self._design.space.cells[0]
        cells = batch.coordinates[:, 1].astype(np.int64) * columns + batch.coordinates[:, 2]
        found = self._network.run({"pillars": batch.features, "cells": cells[:, None]})
        objects = self.decode(found["classes"], found["boxes"], found["directions"], least)
        from_above = objects.boxes[:, _SEEN_FROM_ABOVE].astype(np.float32)
        stay = suppress(from_above, objects.scores.astype(np.float32), most_overlap)
        return PillarObjects(objects.boxes[stay], objects.scores[stay], objects.kinds[stay])

    def decode(
        self,
        classes: NDArray[np.float32],
        boxes: NDArray[np.float32],
        directions: NDArray[np.float32],
        least: float,
    ) -> PillarObjects:
        """What the network's outputs say of all anchors that score so much, before NMS.

        Places are residuals over an anchor's diagonal and height, sizes logarithms (SECOND, Yan et
        al., Sensors 2018); a yaw is known up to half a turn, which `directions` tell.
        """
        logits = classes.reshape(len(self._anchors), -1).astype(np.float64)
        kinds = logits.argmax(axis=1)
        scores = 1 / (1 + np.exp(-logits.max(axis=1)))
        chosen = np.flatnonzero(scores >= least)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:MOST_BOXES]
        anchors = self._anchors[chosen]
        values = boxes.reshape(-1, BOX_VALUES)[chosen].astype(np.float64)
        decoded = np.empty_like(anchors)
        diagonal = np.hypot(anchors[:, 3], anchors[:, 4])[:, None]
        decoded[:, :2] = anchors[:, :2] + values[:, :2] * diagonal
        decoded[:, 2] = anchors[:, 2] + values[:, 2] * anchors[:, 5]
        decoded[:, 3:6] = anchors[:, 3:6] * np.exp(np.clip(values[:, 3:6], -4, 4))
        way = directions.reshape(-1, DIRECTIONS)[chosen].argmax(axis=1)
        half = np.mod(anchors[:, 6] + values[:, 6] - _FACING, np.pi)
        decoded[:, 6] = half + _FACING + np.pi * way
        return PillarObjects(decoded, scores[chosen], kinds[chosen])
