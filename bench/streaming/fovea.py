"""What squeezed edges save: a turning view of the courtyard, drawn whole and squeezed.

Drawn as for a headset (render.foveate) by this machine's first Vulkan device, and encoded at the
same constant quantiser. The middle's pixels are the same bytes in both drawings, so its quality is
equal but for what the encoder makes of its surroundings: measured as PSNR inside the fovea.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from mesh.core.workload import CutHint, SessionRequest
from render.executor import RenderExecutor
from render.foveate import Axis, Fovea
from render.session import RenderSession
from render.workload import RenderWorkload, create

WIDTH, HEIGHT, FPS = 1280, 720, 60
# The shares that stay whole, and how many pixels become one outside of them.
SQUEEZED = {"fovea_width": 0.4, "fovea_height": 0.4, "fovea_ratio": 3}
TURN = math.radians(30) / FPS  # a frame
QUANTISER = 24

Picture = NDArray[np.uint8]


def bits_saved(frames: int) -> tuple[float, float]:
    """Percent of the bits saved, and how much better than the whole's is the fovea's PSNR, dB."""
    workload = create({"scenes": {}})
    executor = RenderExecutor(workload.find_devices()[0])
    try:
        whole, squeezed = (_Turning(workload, executor, o) for o in ({}, SQUEEZED))
        inside, inside_sent = _middles(squeezed.session)
        errors = []
        for number in range(frames):
            drawn, coded = whole.frame(number)
            _, coded_squeezed = squeezed.frame(number)
            middle = drawn[inside].astype(float)
            errors.append(
                [
                    np.square(coded[inside] - middle).mean(),
                    np.square(coded_squeezed[inside_sent] - middle).mean(),
                ]
            )
    finally:
        executor.close()
    mean_whole, mean_squeezed = np.mean(errors, axis=0)
    saved = 100 * (1 - squeezed.coder.nbytes / whole.coder.nbytes)
    return saved, float(10 * np.log10(mean_whole / mean_squeezed))


def _middles(session: RenderSession) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the fovea, as looked at and as sent."""
    said = session.describe()["fovea"][0]
    fovea = Fovea(**{name: Axis(**axis) for name, axis in said.items()})
    return (
        (fovea.y.whole, fovea.x.whole),
        (slice(*fovea.y.squeezed[1:3]), slice(*fovea.x.squeezed[1:3])),
    )


class _Turning:
    """One way of drawing the view, and its encoder."""

    def __init__(
        self, workload: RenderWorkload, executor: RenderExecutor, more: Mapping[str, float]
    ) -> None:
        options = {"scene": "courtyard", "view": "left", "width": WIDTH, "height": HEIGHT}
        self.session = workload.open_session(
            SessionRequest("render", {**options, "tiles": 1, **more})
        )
        self._executor, self._name = executor, f"squeezed {bool(more)}"
        assets = {asset.digest: memoryview(asset.data) for asset in self.session.setup.assets}
        executor.prepare(self._name, self.session.setup.spec, assets)
        self.coder = _Coder(self.session.picture.width, self.session.picture.height)

    def frame(self, number: int) -> tuple[Picture, NDArray[np.float64]]:
        """Draw, encode and decode; the luma before and after."""
        session = self.session
        session.apply_input({"id": number, "pose": self._pose(number)}, 0)
        canvas = bytearray(session.picture.nbytes)
        frame = session.open_frame(number, 0, CutHint(1), memoryview(canvas), memoryview(b""))
        for piece in frame.pieces:
            output = memoryview(bytearray(piece.output_bytes))
            self._executor.run(self._name, piece.spec, memoryview(b""), output)
            frame.accept(piece.index, output)
        height, width = session.picture.height, session.picture.width
        picture = np.frombuffer(canvas, np.uint8).reshape(height * 3 // 2, width)
        return picture[:height], self.coder.code(picture)

    def _pose(self, number: int) -> dict[str, object]:
        camera = self.session.describe()["camera"]
        level = 0.32 * camera["distance"]
        x, y, z = camera["target"]
        turn = camera["yaw"] + TURN * number
        return {
            "id": number + 1,
            "position": [x + level * math.sin(turn), y, z + level * math.cos(turn)],
            "orientation": [0.0, math.sin(turn / 2), 0.0, math.cos(turn / 2)],
        }


class _Coder:
    """An encoder at a constant quantiser with a decoder behind it."""

    def __init__(self, width: int, height: int) -> None:
        self.nbytes = 0
        self._size = width, height
        encoder, decoder = (
            av.CodecContext.create("libx264", "w"),
            av.CodecContext.create("h264", "r"),
        )
        assert isinstance(encoder, VideoCodecContext)
        assert isinstance(decoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.framerate, encoder.time_base = Fraction(FPS), Fraction(1, FPS)
        encoder.gop_size = 1 << 20
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": str(QUANTISER)}
        decoder.thread_count = 1  # several would hold pictures back
        self._encoder, self._decoder, self._number = encoder, decoder, 0

    def code(self, picture: Picture) -> NDArray[np.float64]:
        """Encode and decode one I420 picture; its luma."""
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = self._number, Fraction(1, FPS)
        self._number += 1
        (packet,) = self._encoder.encode(frame)
        self.nbytes += packet.size
        (decoded,) = self._decoder.decode(packet)
        width, height = self._size
        return decoded.to_ndarray()[:height, :width].astype(float)
