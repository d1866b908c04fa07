"""What travels from the session half to a device: the session's spec and one spec per tile."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from mesh.core.errors import ContentRefused
from render.camera import Matrix
from render.depth import BlockOrNone
from render.scene import Vec3
from render.tiles import Rect
from render.upscale import Scale

MIN_SIDE, MAX_SIDE = 64, 4096
MAX_SAMPLES = 1 << 14  # of a pixel: below the bits that pathtrace_random.glsl shuffles
MAX_BOUNCES = 64

Antialias: TypeAlias = Literal[1, 4]  # what every device has
Shadows: TypeAlias = Literal[0, 1024, 2048]
COARSE_SHADOWS: Final = 1024  # the next best, and enough for a frame that is drawn smaller
Side: TypeAlias = Annotated[int, Meta(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=2)]
Pixel: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SIDE)]
Matrix16: TypeAlias = Annotated[tuple[float, ...], Meta(min_length=16, max_length=16)]


class ToneMapping(IntEnum):
    """How light is brought into the picture's range, after exposure."""

    NONE = 0  # clipped
    NEUTRAL = 1  # Khronos PBR Neutral
    ACES = 2


class SessionSpec(msgspec.Struct, frozen=True):
    """What a device needs to know of a session before its first tile; pixels.

    environment: which of the session's assets is its environment; the other is its scene.
    traced: whether its tiles may be path traced. depth: pixels along a block of the depth that
    tiles bring with them (`render.depth`); 0 for none. antialias: samples of a pixel in the raster
    pass. shadows: of its tiles, at most.
    """

    width: Side
    height: Side
    environment: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    traced: bool = False
    depth: BlockOrNone = 0
    antialias: Antialias = 1
    shadows: Shadows = 0


class TileSpec(msgspec.Struct, frozen=True):
    """One tile of one frame.

    rect: x, y, width, height, pixels of the whole frame, edges on the 16-pixel grid or the
    frame's. clip_from_world: see `render.camera`, row by row. eye: world frame, metres; of a
    parallel projection the direction towards it, unit length.
    towards_light, illuminance: a directional light beside the scene's own, none where it is zero;
    world frame, unit length; linear RGB, lux on a surface that faces it.
    ambient: linear RGB irradiance of a uniform environment, lux. exposure: factor on all light
    before sRGB encoding. background: linear RGB, as encoded (exposure does not touch it).
    sky: factor on the session's environment, 0 for none; sky_turn: cosine and sine of its turn
    about +Y; sky_shown: whether it is the background, in place of the colour.
    animation: which of the scene's is played, -1 for none; time: seconds into it.
    samples: paths per pixel, 0 for the raster pass. bounces: of each path, at most. seed: of their
    randomness.
    scale: percent of the frame's width and height at which it is drawn; it is brought to full size.
    shadows: texels along a side of the map of what the brightest directional light reaches; 0: it
    reaches everything. Of the raster pass: the path tracer always has shadows.
    """

    rect: tuple[Pixel, Pixel, Pixel, Pixel]
    clip_from_world: Matrix16
    eye: Vec3
    towards_light: Vec3
    illuminance: Vec3
    ambient: Vec3
    exposure: float
    background: Vec3
    animation: Annotated[int, Meta(ge=-1, le=65_535)] = -1
    time: float = 0.0
    parallel: bool = False
    sky: float = 0.0
    sky_turn: tuple[float, float] = (1.0, 0.0)
    sky_shown: bool = False
    tone_mapping: ToneMapping = ToneMapping.NONE
    samples: Annotated[int, Meta(ge=0, le=MAX_SAMPLES)] = 0
    bounces: Annotated[int, Meta(ge=0, le=MAX_BOUNCES)] = 8
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    scale: Scale = 100
    shadows: Shadows = 0

    def region(self) -> Rect:
        """`rect`, named."""
        return Rect(*self.rect)

    def matrix(self) -> Matrix:
        """`clip_from_world` as float64 (4, 4)."""
        return np.array(self.clip_from_world, np.float64).reshape(4, 4)


encode = msgspec.msgpack.Encoder().encode
_decode_session = msgspec.msgpack.Decoder(SessionSpec).decode
_decode_tile = msgspec.msgpack.Decoder(TileSpec).decode


def decode_session(spec: bytes) -> SessionSpec:
    """Raises ContentRefused."""
    try:
        session = _decode_session(spec)
    except msgspec.DecodeError as problem:
        raise _refused("session", str(problem)) from problem
    if session.traced and session.depth:
        raise _refused("session", "what is path traced has no depth")
    if session.traced and session.antialias > 1:
        raise _refused("session", "what is path traced is smooth by its paths")
    return session


def decode_tile(spec: bytes, session: SessionSpec) -> TileSpec:
    """A tile that lies on the grid of the session's frame, all numbers finite.

    Raises ContentRefused.
    """
    try:
        tile = _decode_tile(spec)
    except msgspec.DecodeError as problem:
        raise _refused("tile", str(problem)) from problem
    rect = tile.region()
    for start, length, side in (
        (rect.x, rect.width, session.width),
        (rect.y, rect.height, session.height),
    ):
        end = start + length
        if length < 1 or end > side or start % 16 or (end % 16 and end != side):
            raise _refused("tile", f"{rect} is not on the grid of a frame of {side} pixels")
    numbers = (
        *tile.clip_from_world,
        *tile.eye,
        *tile.towards_light,
        *tile.illuminance,
        *tile.ambient,
        tile.exposure,
        *tile.background,
        tile.time,
        tile.sky,
        *tile.sky_turn,
    )
    if tile.shadows > session.shadows:
        raise _refused("tile", f"its session has shadow maps of {session.shadows} texels")
    if not all(math.isfinite(number) and abs(number) < 1e30 for number in numbers):
        raise _refused("tile", "a number is not finite, or too large for the device's floats")
    return tile


def _refused(what: str, why: str) -> ContentRefused:
    return ContentRefused(
        f"a {what}'s description cannot be used",
        why,
        "Both nodes must run compatible versions of framemesh.",
    )
