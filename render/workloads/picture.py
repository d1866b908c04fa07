"""What workloads share that make pictures in tiles: options, the cut, the client's camera."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from mesh.core.errors import ConfigError, ContentRefused, SessionRefused
from mesh.core.workload import (
    Asset,
    Contract,
    CutHint,
    PictureFormat,
    Piece,
    SessionRequest,
    SessionSetup,
    Settings,
)
from render.camera import Orbit
from render.pieces import Side
from render.session import InputEvent, RenderFrame
from render.tiles import Rect, Tiler, even_cost

HOME = Orbit(yaw=0.0, pitch=0.0, distance=4.0, target=(0.0, 0.0, 0.0))
_Table = TypeVar("_Table", bound=msgspec.Struct)


class PictureSpec(msgspec.Struct, frozen=True):
    """What a device needs to know of a session before its first tile: pixels; its own options."""

    width: Side
    height: Side
    options: Annotated[str, Meta(max_length=1024)] = ""


_decode_spec = msgspec.msgpack.Decoder(PictureSpec).decode


def decode_spec(data: bytes) -> PictureSpec:
    """A session's spec as `PictureSession` makes it. Raises ContentRefused."""
    try:
        return _decode_spec(data)
    except msgspec.DecodeError as problem:
        raise ContentRefused(
            what="a session's spec is refused",
            why=str(problem),
            fix="Update the gateway that made it.",
        ) from problem


class PictureOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What any client may choose; a workload adds its own."""

    width: Side = 640
    height: Side = 360
    fps: Annotated[float, Meta(ge=1, le=240)] = 30.0
    tiles: Annotated[int, Meta(ge=1, le=64)] = 4


def options_of(request: SessionRequest, kind: type[_Table]) -> _Table:
    """A client's options, checked. Raises SessionRefused."""
    try:
        return msgspec.convert(dict(request.options), kind)
    except msgspec.ValidationError as problem:
        raise SessionRefused(
            what=f"the {request.workload} session is not opened",
            why=str(problem),
            fix=f"Options are {', '.join(kind.__struct_fields__)}; sides are even.",
        ) from problem


def table_of(settings: Settings, name: str, kind: type[_Table]) -> _Table:
    """The table [workloads.NAME]. Raises ConfigError."""
    try:
        return msgspec.convert(dict(settings), kind)
    except msgspec.ValidationError as problem:
        raise ConfigError(
            what=f"[workloads.{name}] cannot be used",
            why=str(problem),
            fix="docs/configuration.md lists its keys.",
        ) from problem


@dataclass(frozen=True, slots=True)
class Moment:
    """What all tiles of a frame are to show: seconds since the first one, and from where."""

    frame: int
    time_s: float
    camera: Orbit


class PictureSession(ABC):
    """The session half: a frame is tiles of one picture; see mesh.core.workload.SessionWork."""

    def __init__(
        self,
        options: PictureOptions,
        *,
        title: str,
        kind: str,
        own_options: str = "",
        assets: Sequence[Asset] = (),
    ) -> None:
        """kind: of the pieces; those of one kind cost alike, pixel by pixel. own_options, assets:
        what a device is given, beside the picture's size, before its first tile.
        """
        width, height = options.width, options.height
        period_us = round(1e6 / options.fps)
        spec = msgspec.msgpack.encode(PictureSpec(width, height, own_options))
        self.setup = SessionSetup(spec, tuple(assets))
        self.picture = PictureFormat(width, height)
        self.contract = Contract(period_us, 2 * period_us)
        self._options, self._title, self._kind = options, title, kind
        self._cost = even_cost(width, height)
        self._tiler = Tiler(width, height)
        self._camera, self._last_input = HOME, -1
        self._began_us: int | None = None

    @abstractmethod
    def tile_spec(self, rect: Rect, now: Moment) -> bytes:
        """The piece that makes one tile, as the device half reads it."""

    def describe(self) -> Mapping[str, Any]:
        """For the page: title, size, rate, the camera to start from."""
        return {
            "title": self._title,
            "width": self.picture.width,
            "height": self.picture.height,
            "fps": self._options.fps,
            "camera": {
                "yaw": HOME.yaw,
                "pitch": HOME.pitch,
                "distance": HOME.distance,
                "target": list(HOME.target),
                "fov": HOME.fov,
            },
            "controls": ["orbit", "fly"],
        }

    def apply_input(self, event: Mapping[str, Any], now_us: int) -> None:
        """One `render.session.InputEvent`, as the page sends them. Raises ContentRefused."""
        try:
            given = msgspec.convert(event, InputEvent)
        except msgspec.ValidationError as problem:
            raise ContentRefused(
                what="the input is refused",
                why=str(problem),
                fix='Send {"id": n, "camera": {"yaw", "pitch", "distance", "target"}}.',
            ) from problem
        if given.id > self._last_input:
            self._last_input, camera = given.id, given.camera
            self._camera = Orbit(
                camera.yaw, camera.pitch, camera.distance, camera.target, camera.fov
            )

    def offer_input(self, stamp_us: int, data: memoryview) -> None:
        """Pictures need no bulk inputs. Raises ContentRefused."""
        raise ContentRefused(
            what="the input is refused",
            why="this session takes no bulk inputs",
            fix="Open a session of a workload that does.",
        )

    def open_frame(
        self, frame_id: int, now_us: int, hint: CutHint, canvas: memoryview, previous: memoryview
    ) -> RenderFrame:
        """Sample the camera and cut into tiles that all devices finish together."""
        if self._began_us is None:
            self._began_us = now_us
        now = Moment(frame_id, (now_us - self._began_us) / 1e6, self._camera)
        tiles = self._tiler.tiles(self._cost, hint, self._kind, self._options.tiles)
        pieces = [
            Piece(
                index,
                self._kind,
                tile.units,
                self.tile_spec(tile.rect, now),
                tile.rect.i420_bytes,
                region=tuple(tile.rect),
            )
            for index, tile in enumerate(tiles)
        ]
        return RenderFrame((self.picture.width, self.picture.height), pieces, canvas, previous)
