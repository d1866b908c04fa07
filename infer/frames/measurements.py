"""What one sensor measured once. Stamps are microseconds of the recording's or vehicle's clock.

Arrays are read-only. `frame` names the frame of reference that positions are in (`Calibration`).
`valid` says which entries are measurements: sensors mark so what did not come back.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from infer.frames.pose import Pose
from infer.sweep import MAX_POINTS
from mesh.core.errors import ContentRefused

REACH_M = 1000  # along each axis; what lies farther is no measurement
MAX_TARGETS = 4096
MAX_PIXELS = 64 << 20
MAX_IMAGE_BYTES = 3 * MAX_PIXELS

Encoding: TypeAlias = Literal["png", "jpeg", "rgb8", "bgr8", "mono8"]
_CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1}


@dataclass(frozen=True, slots=True, eq=False)
class LidarScan:
    """One turn of a LiDAR. points: float32 (n, 4), metres and intensity 0..1.

    times_us: int32 (n,), microseconds from the stamp to each point, if known. rings: uint16 (n,),
    the laser that measured each, if known. valid: bool (n,). Raises ContentRefused.
    """

    sensor: str
    frame: str
    stamp_us: int
    points: NDArray[np.float32]
    times_us: NDArray[np.int32] | None = None
    rings: NDArray[np.uint16] | None = None
    valid: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.points)
        if self.points.shape != (n, 4) or n > MAX_POINTS:
            raise _refused(self.sensor, f"its points have the shape {self.points.shape}")
        for name, dtype in (("points", np.float32), ("times_us", np.int32), ("rings", np.uint16)):
            given = getattr(self, name)
            if given is not None and len(given) != n:
                raise _refused(self.sensor, f"{n} points have {len(given)} {name}")
            object.__setattr__(self, name, _kept(given, dtype))
        valid = (np.abs(self.points[:, :3]) < REACH_M).all(axis=1)
        object.__setattr__(self, "valid", _kept(valid, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class CameraImage:
    """One picture, encoded as it came. Raises ContentRefused.

    size: width and height, pixels. valid: bool (height, width), or None where all of it is.
    """

    sensor: str
    frame: str
    stamp_us: int
    size: tuple[int, int]
    encoding: Encoding
    data: bytes
    valid: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        width, height = self.size
        if min(self.size) < 1 or width * height > MAX_PIXELS or len(self.data) > MAX_IMAGE_BYTES:
            raise _refused(self.sensor, f"{width} by {height} pixels are not taken")
        channels = _CHANNELS.get(self.encoding)
        if channels is not None and len(self.data) != width * height * channels:
            raise _refused(
                self.sensor, f"{len(self.data)} bytes are no {self.encoding} of its size"
            )

    @classmethod
    def encoded(cls, sensor: str, frame: str, stamp_us: int, data: bytes) -> CameraImage:
        """Of a PNG or JPEG file's bytes; only its header is read. Raises ContentRefused."""
        picture = _open(sensor, data)
        encoding: Encoding = "png" if picture.format == "PNG" else "jpeg"
        return cls(sensor, frame, stamp_us, picture.size, encoding, data)

    def pixels(self) -> NDArray[np.uint8]:
        """RGB, (height, width, 3). Raises ContentRefused."""
        width, height = self.size
        if (channels := _CHANNELS.get(self.encoding)) is not None:
            raw = np.frombuffer(self.data, np.uint8).reshape(height, width, channels)
            if self.encoding == "bgr8":
                return raw[:, :, ::-1]
            return raw if channels == 3 else np.broadcast_to(raw, (height, width, 3))
        picture = _open(self.sensor, self.data)
        if picture.size != self.size:
            raise _refused(self.sensor, f"its header says {picture.size}, not {self.size}")
        try:
            return np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as problem:
            raise _refused(self.sensor, str(problem)) from problem


@dataclass(frozen=True, slots=True, eq=False)
class RadarTargets:
    """targets: float32 (n, 5): range m, azimuth and elevation rad, radial speed m/s (away is
    positive), cross-section dBsm. valid: bool (n,). Raises ContentRefused.
    """

    sensor: str
    frame: str
    stamp_us: int
    targets: NDArray[np.float32]
    valid: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.targets)
        if self.targets.shape != (n, 5) or n > MAX_TARGETS:
            raise _refused(self.sensor, f"its targets have the shape {self.targets.shape}")
        object.__setattr__(self, "targets", _kept(self.targets, np.float32))
        near = (self.targets[:, 0] >= 0) & (self.targets[:, 0] < REACH_M)
        valid = near & np.isfinite(self.targets).all(axis=1)
        object.__setattr__(self, "valid", _kept(valid, np.bool_))


@dataclass(frozen=True, slots=True)
class ImuSample:
    """acceleration: m/s2; turn_rate: rad/s; both x, y, z in `frame`."""

    sensor: str
    frame: str
    stamp_us: int
    acceleration: tuple[float, float, float]
    turn_rate: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class EgoPose:
    """Where the vehicle was. pose: world_from_ego, in a world that does not move."""

    sensor: str
    stamp_us: int
    pose: Pose


Measurement: TypeAlias = LidarScan | CameraImage | RadarTargets | ImuSample | EgoPose


def _kept(array: Any, dtype: type[np.generic]) -> Any:
    """As that type and read-only; copied only if need be."""
    if array is None:
        return None
    kept = np.ascontiguousarray(array, dtype)
    if kept.flags.writeable:
        kept = kept.view()
        kept.flags.writeable = False
    return kept


def _open(sensor: str, data: bytes) -> Image.Image:
    """Its header. Raises ContentRefused."""
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as problem:
        raise _refused(sensor, str(problem)) from problem
    if picture.width * picture.height > MAX_PIXELS:
        raise _refused(sensor, f"{picture.width} by {picture.height} pixels are not taken")
    return picture


def _refused(sensor: str, why: str) -> ContentRefused:
    return ContentRefused(
        what=f"what {sensor} measured is refused", why=why, fix="Check the recording or the driver."
    )
