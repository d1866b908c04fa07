"""What the gateway tells a device: a session's grid, and one sector of one sweep."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from infer.grid import BINS, GROUND_SHIFT, Grid
from infer.sweep import MAX_POINTS, POINT_BYTES
from mesh.core.errors import ContentRefused

Api: TypeAlias = Literal["auto", "cpu", "cuda"]

MAX_SECTORS = 16
HALO_BYTES = 8  # int32 ground cell, int32 lowest height


class SessionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session's grid, in units (see `Grid`), and which devices may work for it."""

    shift: Annotated[int, Meta(ge=7, le=9)]
    side: Annotated[int, Meta(ge=64, le=1024, multiple_of=8)]
    height: Annotated[int, Meta(ge=0, le=8192)]
    step: Annotated[int, Meta(ge=51, le=1024)]
    ceiling: Annotated[int, Meta(ge=1024, le=8192)]
    min_points: Annotated[int, Meta(ge=1, le=1000)]
    fit_limit: Annotated[int, Meta(ge=1024, le=32768)]
    near: Annotated[int, Meta(ge=0, le=10240)]
    api: Api = "auto"

    def grid(self) -> Grid:
        """The grid alone."""
        return Grid(
            self.shift,
            self.side,
            self.height,
            self.step,
            self.ceiling,
            self.min_points,
            self.fit_limit,
            self.near,
        )


class SectorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sector: azimuth bins lo <= bin < hi. Its inputs: the points, then the halo's cells."""

    lo: Annotated[int, Meta(ge=0, lt=BINS)]
    hi: Annotated[int, Meta(gt=0, le=BINS)]
    points: Annotated[int, Meta(ge=0, le=MAX_POINTS)]
    halo: Annotated[int, Meta(ge=0, le=1 << 16)]


encode = msgspec.msgpack.encode
_session = msgspec.msgpack.Decoder(SessionSpec)
_sector = msgspec.msgpack.Decoder(SectorSpec)


def decode_session(spec: bytes) -> SessionSpec:
    """Read and check a session's spec. Raises ContentRefused."""
    try:
        session = _session.decode(spec)
    except msgspec.DecodeError as problem:
        raise _refused(str(problem)) from problem
    if (session.side << session.shift) % (2 << GROUND_SHIFT):
        raise _refused("its sides are not an even number of metres")
    return session


def decode_sector(
    spec: bytes, inputs: memoryview, grid: Grid
) -> tuple[SectorSpec, NDArray[np.float32], NDArray[np.int32]]:
    """Read and check a sector: its spec, points (n, 4) and halo (m, 2), both read-only views.

    Raises ContentRefused.
    """
    try:
        sector = _sector.decode(spec)
    except msgspec.DecodeError as problem:
        raise _refused(str(problem)) from problem
    split = POINT_BYTES * sector.points
    if sector.lo >= sector.hi or len(inputs) != split + HALO_BYTES * sector.halo:
        raise _refused("its bins or the length of its inputs are wrong")
    inputs = inputs.toreadonly()
    halo = np.frombuffer(inputs[split:], np.int32).reshape(-1, 2)
    if len(halo) and not 0 <= halo[:, 0].min() <= halo[:, 0].max() < grid.ground_cells:
        raise _refused("a cell beside it is outside of the grid")
    points = np.frombuffer(inputs[:split], np.float32).reshape(-1, 4)
    if not points.flags.aligned:
        points = points.copy()
        points.flags.writeable = False
    return sector, points, halo


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a sector is refused", why=why, fix="Update the gateway that sent it."
    )
