"""What a device draws for headsets: eyes as if alone, middles as if whole, whatever the tiling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mesh.core.workload import CutHint, SessionRequest
from render.executor import RenderExecutor
from render.foveate import Axis, Fovea
from render.viewresult import ViewResult, decode_result
from render.workload import create

POSE = {
    "id": 7,
    "position": [0.2, 0.1, 5.0],
    "orientation": [0.0, math.sin(0.05), 0.0, math.cos(0.05)],
}
SIDE = 160


@dataclass(frozen=True)
class Seen:
    """A session's frame: its I420 planes, its result and how it is squeezed."""

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    result: ViewResult
    description: dict

    def eye(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Luma and chroma of one half."""
        half, quarter = self.luma.shape[1] // 2, self.luma.shape[1] // 4
        return (
            self.luma[:, number * half : (number + 1) * half],
            self.chroma[:, :, number * quarter : (number + 1) * quarter],
        )


@pytest.fixture
def shoot(executor: RenderExecutor, confetti: Path) -> Callable[..., Seen]:
    """The first frame of a session, 160 x 160 pixels a view, through both of its halves."""
    workload = create({"scenes": {"confetti": str(confetti)}})

    def shot(**options: object) -> Seen:
        size = {"scene": "confetti", "width": SIDE, "height": SIDE, "view": "stereo"}
        session = workload.open_session(SessionRequest("render", size | options))
        session.apply_input({"id": 0, "pose": POSE}, 0)
        assets = {asset.digest: memoryview(asset.data) for asset in session.setup.assets}
        name = str(options)  # sessions stay open, so that they share their scene
        executor.prepare(name, session.setup.spec, assets)
        canvas = bytearray(session.picture.nbytes)
        frame = session.open_frame(0, 0, CutHint(1), memoryview(canvas), memoryview(b""))
        for piece in frame.pieces:
            output = memoryview(bytearray(piece.output_bytes))
            frame.accept(
                piece.index, output[: executor.run(name, piece.spec, memoryview(b""), output)]
            )
        width, height = session.picture.width, session.picture.height
        flat = np.frombuffer(canvas, np.uint8)
        return Seen(
            flat[: width * height].reshape(height, width),
            flat[width * height :].reshape(2, height // 2, width // 2),
            decode_result(frame.finish()),
            dict(session.describe()),
        )

    return shot


@pytest.mark.parametrize(
    "options",
    [{"depth": 8}, {"fovea_width": 0.3, "fovea_height": 0.3, "depth": 16}],
    ids=["whole", "squeezed"],
)
def test_each_eye_is_the_picture_that_it_would_see_alone(shoot, options: dict):
    both = shoot(tiles=5, **options)
    for number, view in enumerate(("left", "right")):
        alone = shoot(tiles=1 + 2 * number, view=view, **options)
        luma, chroma = both.eye(number)
        np.testing.assert_array_equal(luma, alone.luma)
        np.testing.assert_array_equal(chroma, alone.chroma)
        assert luma.std() > 10
        np.testing.assert_array_equal(both.result.depth[number], alone.result.depth[0])
        assert np.isfinite(alone.result.depth[0]).all()
    assert not np.array_equal(both.eye(0)[0], both.eye(1)[0])
    assert both.result.pose.id == POSE["id"]


def test_a_squeezed_picture_shows_what_the_whole_one_does(shoot):
    whole = shoot(view="left")
    sent = shoot(view="left", fovea_width=0.4, fovea_height=0.4, fovea_ratio=2)
    [said] = sent.description["fovea"]
    fovea = Fovea(**{name: Axis(**axis) for name, axis in said.items()})
    assert sent.luma.size < 0.6 * whole.luma.size
    seen = fovea.unsqueeze(sent.luma[..., None])[..., 0].astype(int)
    wrong = np.abs(seen - whole.luma)
    middle = fovea.y.whole, fovea.x.whole
    # Drawn pixel for pixel, but with another matrix: here and there a triangle's edge rounds
    # to the pixel beside it.
    assert whole.luma[middle].std() > 10
    assert np.mean(wrong[middle] > 2) < 0.01
    # The edges have a quarter of their pixels, drawn without antialiasing.
    assert wrong.mean() < 6
