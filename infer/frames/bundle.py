"""One cycle of a vehicle: what all its sensors saw in one period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infer.frames.calibration import Calibration
from infer.frames.measurements import (
    CameraImage,
    EgoPose,
    ImuSample,
    LidarScan,
    RadarTargets,
)


@dataclass(frozen=True, slots=True, eq=False)
class SensorFrame:
    """Each sensor's measurements of one cycle, in the order of their stamps.

    stamp_us: when the cycle is taken to be: its first LiDAR scan's stamp, or without one its first
    measurement's. ego: world_from_ego then, if known. latency_us: by sensor, from a measurement's
    stamp to its arrival, as far as the two clocks agree; empty for a recording. gaps: by sensor
    that was awaited and did not come, for how many cycles now, this one included.
    """

    stamp_us: int
    calibration: Calibration
    lidars: tuple[LidarScan, ...] = ()
    cameras: tuple[CameraImage, ...] = ()
    radars: tuple[RadarTargets, ...] = ()
    imu: tuple[ImuSample, ...] = ()
    ego: EgoPose | None = None
    latency_us: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, int] = field(default_factory=dict)
