"""Pictures of drives, drawn by the mesh's render workload.

It is found by name in the registry of workloads, as gateways and devices find it; nothing of it is
imported. Scenes and sky go to it as files in a folder, as clients' scenes do.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from infer.drives.drive import Drive, Scene
from infer.drives.gltf import scene_glb
from infer.drives.rig import CAMERA, PICTURE
from infer.frames.measurements import CameraImage
from mesh.core.errors import DeviceUnavailable
from mesh.core.plugins import create_workload
from mesh.core.workload import CutHint, SessionRequest

OPTIONS: dict[str, str | float] = {
    "scene": "street", "width": PICTURE[0], "height": PICTURE[1], "tiles": 1, "camera": 0,
    "environment": "sky", "backdrop": 1, "antialias": 4, "shadows": 2048, "turntable": 0,
    "tone_mapping": "neutral", "exposure": 0.9,
}  # fmt: skip
_SKY = (64, 32)  # pixels
ZENITH, HORIZON, BELOW = (0.22, 0.38, 0.75), (0.85, 0.92, 1.0), (0.14, 0.13, 0.12)


class Photographer:
    """Draws on the first device that the render workload finds; use as a context manager."""

    def __init__(self, folder: Path, **options: str | float) -> None:
        """folder: for scenes on their way, an empty one. options: of the render session, instead of
        OPTIONS. Raises DeviceUnavailable, ConfigError.
        """
        self._options = OPTIONS | options
        self._scene, sky = folder / "street.glb", folder / "sky.hdr"
        sky.write_bytes(sky_hdr())
        self._settings = {"scenes": {"street": str(self._scene)}, "environments": {"sky": str(sky)}}
        workload = create_workload("render", self._settings)
        devices = workload.find_devices()
        if not devices:
            raise DeviceUnavailable(
                what="no picture of a drive is drawn",
                why="the render workload has found no device",
                fix="Install a Vulkan driver; Mesa's lavapipe needs no GPU.",
            )
        self._executor = workload.open_executor(devices[0])
        self._taken, self._prepared = 0, ""

    def __enter__(self) -> Photographer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.close()

    def picture(self, drive: Drive, scene: Scene) -> CameraImage:
        """What the rig's camera sees at the scene's time, exactly as its calibration says."""
        self._scene.write_bytes(scene_glb(drive, scene))
        workload = create_workload("render", self._settings)  # which keeps what it has read
        session = workload.open_session(SessionRequest("render", self._options))
        assert session.picture is not None
        self._taken += 1
        name = f"picture-{self._taken}"
        assets = {asset.digest: memoryview(asset.data) for asset in session.setup.assets}
        self._executor.prepare(name, session.setup.spec, assets)
        # Only now, so that what both share, the sky, stays on the device.
        self._executor.forget(self._prepared)
        self._prepared = name
        canvas = memoryview(bytearray(session.picture.nbytes))
        frame = session.open_frame(0, 0, CutHint(1), canvas, memoryview(b""))
        for piece in frame.pieces:
            drawn = memoryview(bytearray(piece.output_bytes))
            self._executor.run(name, piece.spec, memoryview(piece.inputs), drawn)
            frame.accept(piece.index, drawn)
        frame.finish()
        pixels = rgb(np.frombuffer(canvas, np.uint8), PICTURE)
        return CameraImage(CAMERA, CAMERA, scene.time_us, PICTURE, "rgb8", pixels.tobytes())


def rgb(planes: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An I420 picture (`mesh.core.workload.PictureFormat`) as (height, width, 3)."""
    width, height = size
    luma = planes[: width * height].reshape(height, width).astype(np.float32)
    chroma = planes[width * height :].reshape(2, height // 2, width // 2).astype(np.float32) - 128
    blue, red = chroma.repeat(2, axis=1).repeat(2, axis=2)
    y = (luma - 16) * (255 / 219)
    colours = np.stack(
        (
            y + 1.5748 * 255 / 224 * red,
            y - (0.1873 * blue + 0.4681 * red) * (255 / 224),
            y + 1.8556 * 255 / 224 * blue,
        ),
        axis=2,
    )
    rounded: NDArray[np.uint8] = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    return rounded


def sky_hdr() -> bytes:
    """A clear sky as a Radiance picture: blue above, pale towards the horizon, dull below it."""
    width, height = _SKY
    up = np.sin(np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height)[:, None]
    pale = np.clip(1 - up, 0, 1) ** 3
    above = np.array(HORIZON) * pale + np.array(ZENITH) * (1 - pale)
    rows = np.where(up > 0, above, np.array(BELOW))
    mantissa, exponent = np.frexp(rows.max(axis=1))
    scaled = rows * (mantissa * 256 / rows.max(axis=1))[:, None]
    pixels = np.column_stack((scaled, exponent + 128)).astype(np.uint8)
    body = np.broadcast_to(pixels[:, None], (height, width, 4)).tobytes()
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width) + body
