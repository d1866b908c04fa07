"""What an engine's device half is told of a tile: the spec of a piece."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mesh.core.errors import ContentRefused
from render.camera import Orbit
from render.pieces import Pixel
from render.scene import Vec3
from render.tiles import Rect
from render.workloads.picture import Moment, PictureSpec


class EngineTile(msgspec.Struct, frozen=True, array_like=True):
    """One tile of one frame. rect: x, y, width, height, pixels, even. camera: `Orbit`, flat."""

    rect: tuple[Pixel, Pixel, Pixel, Pixel]
    frame: Annotated[int, Meta(ge=0, le=2**53)]
    time_s: float
    yaw: float
    pitch: float
    distance: float
    target: Vec3
    fov: float

    def camera(self) -> Orbit:
        """Where the client's camera is."""
        return Orbit(self.yaw, self.pitch, self.distance, self.target, self.fov)


_decode = msgspec.msgpack.Decoder(EngineTile).decode


def encode_engine_tile(rect: Rect, now: Moment) -> bytes:
    """The spec of one tile."""
    at = now.camera
    return msgspec.msgpack.encode(
        EngineTile(
            (rect.x, rect.y, rect.width, rect.height),
            now.frame,
            now.time_s,
            at.yaw,
            at.pitch,
            at.distance,
            at.target,
            at.fov,
        )
    )


def decode_engine_tile(spec: bytes, picture: PictureSpec) -> EngineTile:
    """Raises ContentRefused unless it is one, with a tile that lies within the picture."""
    try:
        tile = _decode(spec)
    except msgspec.DecodeError as problem:
        raise _refused(str(problem)) from problem
    x, y, width, height = tile.rect
    inside = x + width <= picture.width and y + height <= picture.height
    if not inside or min(width, height) < 2 or any(value % 2 for value in tile.rect):
        raise _refused(f"no picture of {picture.width}x{picture.height} has a tile {tile.rect}")
    return tile


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a tile's spec is refused", why=why, fix="Update the gateway that made it."
    )
