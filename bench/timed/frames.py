"""The session half of `timed`: pictures in tiles on which the mesh's real cut and merge work.

Three kinds of session. The first two are fed: each input (`Ask`) opens a frame.

* pictures: a frame of `width` x `height` that costs one device of speed 1 `frame_ms`, cut by the
  renderer's own tiler and merged by the renderer's own frame;
* streams (`fps` above 0): the same at a rate, into the encoder's canvas, for viewers over WebRTC;
* jobs (`width` 0): `tiles` pieces that take `frame_ms` together, each with a result of 1 KB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from bench.timed.plugin import LARGEST, NAME, PieceSpec, encode
from mesh.core.errors import ContentRefused, SessionRefused
from mesh.core.workload import (
    Buffer,
    Contract,
    CutHint,
    Frame,
    PictureFormat,
    Piece,
    SessionRequest,
    SessionSetup,
    SessionWork,
)
from render.session import RenderFrame
from render.tiles import Tiler, cells_of, even_cost

JOB_BYTES = 1024
NOTHING = memoryview(b"")


class Ask(msgspec.Struct, frozen=True):
    """An input. slower: by label, for this frame. whole: return the picture, else nothing."""

    slower: dict[str, float] = {}
    whole: bool = False


class TimedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may ask for. kind: the schedule's costs are kept by it.

    uneven: how many times costlier, per pixel, the left quarter is, which nobody is told.
    model: jobs of one may run together, each call of it taking `call_ms` beside the jobs' own time.
    """

    width: Annotated[int, Meta(ge=0, le=LARGEST[0], multiple_of=2)] = 1280
    height: Annotated[int, Meta(ge=0, le=LARGEST[1], multiple_of=2)] = 720
    fps: Annotated[float, Meta(ge=0, le=240)] = 0.0
    frame_ms: Annotated[float, Meta(ge=0, le=10_000)] = 80.0
    deadline_ms: Annotated[float, Meta(gt=0, le=60_000)] = 1000.0
    period_us: Annotated[int, Meta(ge=1)] = 1
    kind: Annotated[str, Meta(max_length=32)] = NAME
    tiles: Annotated[int, Meta(ge=1, le=64)] = 1
    uneven: Annotated[float, Meta(ge=1, le=10)] = 1.0
    model: Annotated[str, Meta(max_length=32)] = ""
    call_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0


class _Picture(RenderFrame):
    """Tiles merged as the renderer's; the result is the picture, if it was asked for."""

    def __init__(
        self, size: tuple[int, int], pieces: list[Piece], canvas: memoryview, whole: bool
    ) -> None:
        super().__init__(size, pieces, canvas, NOTHING)
        self._result = canvas if whole else NOTHING

    def finish(self) -> bytes:
        return bytes(self._result)


class _Job:
    """Pieces whose results are of no interest."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    def accept(self, index: int, result: memoryview) -> None:
        """It came."""

    def fill(self, index: int) -> None:
        """It did not: the frame's facts say so."""

    def finish(self) -> bytes:
        return b""


class TimedSession:
    """See mesh.core.workload.SessionWork."""

    def __init__(self, options: TimedOptions) -> None:
        self.setup = SessionSetup(options.model.encode())
        self._options = options
        self._ask = Ask()
        size = options.width, options.height
        deadline_us = round(options.deadline_ms * 1000)
        if options.fps:
            self.contract = Contract(round(1e6 / options.fps), deadline_us)
            self.picture: PictureFormat | None = PictureFormat(*size)
        else:
            # The picture goes into a canvas of its own: no viewer is needed, nothing is encoded.
            self.contract = Contract(options.period_us, deadline_us, trigger="input")
            self.picture = None
        if all(size):
            self._tiler = Tiler(*size)
            self._believed_us = even_cost(*size) * (options.frame_ms * 1000 / (size[0] * size[1]))
            self._true_us = _uneven(self._believed_us, options.uneven)

    def describe(self) -> Mapping[str, Any]:
        """The options."""
        described: dict[str, Any] = msgspec.to_builtins(self._options)
        return described

    def apply_input(self, event: Mapping[str, Any], now_us: int) -> None:
        """There is nothing to steer."""

    def offer_input(self, stamp_us: int, data: Buffer) -> None:
        """An encoded `Ask`. Raises ContentRefused."""
        try:
            self._ask = msgspec.msgpack.decode(data, type=Ask)
        except msgspec.DecodeError as problem:
            raise ContentRefused("no frame is asked for", str(problem), "Send an Ask.") from problem

    def open_frame(
        self, frame_id: int, now_us: int, hint: CutHint, canvas: memoryview, previous: memoryview
    ) -> Frame:
        """Cut the picture, or make the job."""
        options, ask = self._options, self._ask
        if not options.width:
            us = options.frame_ms * 1000 / options.tiles
            call_us = options.call_ms * 1000
            spec = encode(PieceSpec(us, call_us=call_us, nbytes=JOB_BYTES, slower=ask.slower))
            return _Job([Piece(i, options.kind, us, spec, JOB_BYTES) for i in range(options.tiles)])
        pieces = [
            Piece(
                index,
                options.kind,
                tile.units,
                encode(
                    PieceSpec(
                        float(self._true_us[cells_of(tile.rect)].sum()),
                        frame_id,
                        tuple(tile.rect),
                        slower=ask.slower,
                    )
                ),
                tile.rect.i420_bytes,
                region=tuple(tile.rect),
            )
            for index, tile in enumerate(
                self._tiler.tiles(self._believed_us, hint, options.kind, options.tiles)
            )
        ]
        size = options.width, options.height
        if not self.picture:
            canvas = np.empty(size[0] * size[1] * 3 // 2, np.uint8).data
        return _Picture(size, pieces, canvas, ask.whole)


def _uneven(even: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The same total, with the left quarter `factor` times as costly as the rest."""
    cost = even.copy()
    cost[:, : cost.shape[1] // 4] *= factor
    scaled: NDArray[np.float64] = cost * (even.sum() / cost.sum())
    return scaled


def open_session(request: SessionRequest) -> SessionWork:
    """Raises SessionRefused."""
    try:
        return TimedSession(msgspec.convert(dict(request.options), TimedOptions))
    except msgspec.ValidationError as problem:
        raise SessionRefused("no timed session", str(problem), "See TimedOptions.") from problem
