"""Names of what the schedule reasons about: hashed on every decision, so plain named tuples."""

from __future__ import annotations

from typing import Final, NamedTuple

from mesh.core.workload import NodeId


class DeviceKey(NamedTuple):
    """One device queue of the mesh: the node that offers it and the name it has there."""

    node: NodeId
    device: str


class PieceKey(NamedTuple):
    """One piece of one frame of one session, under one epoch of that session's ownership."""

    session: str
    epoch: int
    frame: int
    piece: int


class FrameKey(NamedTuple):
    """One frame of one session, under one epoch of that session's ownership."""

    session: str
    epoch: int
    frame: int


# Why a piece is not answered: the device dropped it because it was told to. No refusal.
CANCELLED: Final = "cancelled"
