"""What squeezed edges save: the moving picture encoded whole, and with its edges squeezed.

Both at the same constant quantiser, so that inside the fovea, whose pixels are the same in both,
the quality is equal: how equal is measured as PSNR against the source.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from bench.streaming.picture import MovingPicture
from render.foveate import Axis, Fovea

WIDTH, HEIGHT, FPS = 1280, 720, 60
SHARE, RATIO = 0.4, 3.0  # of the sides that stays whole; pixels that become one outside of it
QUANTISER = 28

Picture = NDArray[np.uint8]
Weights = NDArray[np.float32]


def bits_saved(frames: int) -> tuple[float, float]:
    """Percent of the bits saved, and how much better than the whole's is the fovea's PSNR, dB."""
    source = MovingPicture(WIDTH, HEIGHT)
    fovea = Fovea(Axis.squeeze(WIDTH, SHARE, RATIO), Axis.squeeze(HEIGHT, SHARE, RATIO))
    across, down = _averages(fovea.x), _averages(fovea.y)
    across_chroma, down_chroma = _averages(fovea.x, 2), _averages(fovea.y, 2)
    whole, squeezed = _Coded(WIDTH, HEIGHT), _Coded(*fovea.sent)
    picture = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    inside = fovea.y.whole, fovea.x.whole
    inside_sent = _sent(fovea.y), _sent(fovea.x)
    errors: list[tuple[float, float]] = []
    for number in range(frames):
        source.draw(picture, number, stamped=False)
        luma = picture[:HEIGHT]
        u, v = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        small = [
            _round(down @ luma @ across.T),
            *(_round(down_chroma @ plane @ across_chroma.T) for plane in (u, v)),
        ]
        sent = np.concatenate([plane.ravel() for plane in small])
        got_whole = whole.code(picture)
        got_squeezed = squeezed.code(sent.reshape(fovea.sent[1] * 3 // 2, fovea.sent[0]))
        middle = luma[inside].astype(float)
        errors.append(
            (
                float(np.square(got_whole[inside] - middle).mean()),
                float(np.square(got_squeezed[inside_sent] - middle).mean()),
            )
        )
    mean_whole, mean_squeezed = np.mean(errors, axis=0)
    saved = 100 * (1 - squeezed.nbytes / whole.nbytes)
    return saved, float(10 * np.log10(mean_whole / mean_squeezed))


def _sent(axis: Axis) -> slice:
    """The whole middle, where it lies in what is sent."""
    return slice(*axis.squeezed[1:3])


def _averages(axis: Axis, scale: int = 1) -> Weights:
    """The matrix (sent, full) that averages what each sent pixel covers. scale: of the plane."""
    edges = axis.expand(np.arange(0, axis.squeezed[-1] + 1, scale, dtype=float)) / scale
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(axis.full[-1] // scale)[None]
    covered = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, 1)
    weights: Weights = (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def _round(plane: NDArray[np.floating[Any]]) -> Picture:
    made: Picture = np.rint(plane).astype(np.uint8)
    return made


class _Coded:
    """An encoder at a constant quantiser with a decoder behind it."""

    def __init__(self, width: int, height: int) -> None:
        self.nbytes = 0
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
        context.gop_size = 1 << 20
        context.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": str(QUANTISER)}
        self._encoder = context
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.thread_type, decoder.flags = "SLICE", av.codec.context.Flags.low_delay
        self._decoder = decoder
        self._number = 0

    def code(self, picture: Picture) -> NDArray[np.float64]:
        """Encode and decode one picture; its luma."""
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = self._number, Fraction(1, FPS)
        self._number += 1
        (packet,) = self._encoder.encode(frame)
        self.nbytes += packet.size
        (decoded,) = self._decoder.decode(packet)
        height, width = self._encoder.height, self._encoder.width
        return decoded.to_ndarray()[:height, :width].astype(float)
