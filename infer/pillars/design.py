"""What a PointPillars network is made of, and what its anchors are.

Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds", CVPR 2019, as
OpenPCDet builds it, whose names weights go by. The default is its design for KITTI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.perception.voxels import VoxelSpace

YAWS = (0.0, 1.57)  # of a place's anchors, radians, as trained
BOX_VALUES = 7  # x y z, length width height, yaw
DIRECTIONS = 2  # which way along its yaw a box faces
KITTI = VoxelSpace(low=(0.0, -39.68, -3.0), high=(69.12, 39.68, 1.0), with_height=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """A class: its anchors' size (length, width, height) and how high their bottoms are, metres."""

    name: str
    size: tuple[float, float, float]
    bottom_m: float


@dataclass(frozen=True, slots=True)
class Block:
    """A step of the backbone.

    layers: convolutions after the one that strides. channels: of each. enlarged: by how much its
    output is enlarged, to what all are brought to, in `up_channels`.
    """

    layers: int
    stride: int
    channels: int
    enlarged: int
    up_channels: int


@dataclass(frozen=True, slots=True)
class Design:
    """One network. pillar_channels: what a pillar's points are made into."""

    space: VoxelSpace = KITTI
    pillar_channels: int = 64
    blocks: tuple[Block, ...] = (
        Block(3, 2, 64, 1, 128),
        Block(5, 2, 128, 2, 128),
        Block(5, 2, 256, 4, 128),
    )
    kinds: tuple[Kind, ...] = (
        Kind("car", (3.9, 1.6, 1.56), -1.78),
        Kind("pedestrian", (0.8, 0.6, 1.73), -0.6),
        Kind("cyclist", (1.76, 0.6, 1.73), -0.6),
    )

    @property
    def anchors_a_place(self) -> int:
        """One of each kind each way."""
        return len(self.kinds) * len(YAWS)

    @property
    def places(self) -> tuple[int, int]:
        """Rows (along y) and columns (along x) of the output."""
        columns, rows, _ = self.space.cells
        first = self.blocks[0]
        return rows // first.stride * first.enlarged, columns // first.stride * first.enlarged

    def anchors(self) -> NDArray[np.float64]:
        """(rows, columns, anchors a place, 7): from the first cell's corner to the last's."""
        rows, columns = self.places
        ys = np.linspace(self.space.low[1], self.space.high[1], rows)
        xs = np.linspace(self.space.low[0], self.space.high[0], columns)
        anchors = np.zeros((rows, columns, self.anchors_a_place, BOX_VALUES))
        anchors[..., 0], anchors[..., 1] = xs[None, :, None], ys[:, None, None]
        for number, kind in enumerate(self.kinds):
            for way, yaw in enumerate(YAWS):
                of_kind = anchors[:, :, number * len(YAWS) + way]
                of_kind[..., 2] = kind.bottom_m + kind.size[2] / 2
                of_kind[..., 3:6], of_kind[..., 6] = kind.size, yaw
        return anchors
