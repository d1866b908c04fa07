"""Put measurements together into cycles, whatever order they arrive in. Pure.

Cycles follow the lead sensor: each of its measurements is the centre of one, and others belong to
the centre nearest in time, so that a sensor's own rate (a LiDAR's 100.2 ms) needs no fixed grid. A
cycle closes when every awaited sensor has come, when a later one closes, or when it has waited long
enough, with what is there. Stamps order and join; how long to wait is counted from the arrival of a
cycle's first measurement, on the clock of whoever calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration
from infer.frames.measurements import (
    CameraImage,
    EgoPose,
    ImuSample,
    LidarScan,
    Measurement,
    RadarTargets,
)
from mesh.core.errors import Misuse

MAX_OPEN = 8  # cycles; what lies farther from the last one is believed only when it goes on so
STRAYS = 3  # measurements of the lead sensor in a row, from which on its clock is followed anew
MAX_SAMPLES = 4096  # of IMU and ego poses in one cycle
KEPT_POSES = 64

Single = LidarScan | CameraImage | RadarTargets
T = TypeVar("T")


class Fate(Enum):
    """What became of a measurement."""

    KEPT = "kept"
    SPARE = "spare"  # there is one nearer to the cycle's stamp, or a source of poses, or enough
    LATE = "late"  # its cycle is closed
    STRAY = "stray"  # its stamp is far from all others


@dataclass(slots=True)
class _Cycle:
    centre_us: int
    due_us: int
    singles: dict[str, Single] = field(default_factory=dict)
    imu: list[ImuSample] = field(default_factory=list)
    poses: list[EgoPose] = field(default_factory=list)
    latency_us: dict[str, int] = field(default_factory=dict)

    def put(self, measurement: Measurement) -> Fate:
        """Keep it, or what was there, whichever is nearer to the centre."""
        match measurement:
            case ImuSample() | EgoPose():
                samples: list[ImuSample] | list[EgoPose] = (
                    self.imu if isinstance(measurement, ImuSample) else self.poses
                )
                if len(samples) == MAX_SAMPLES:
                    return Fate.SPARE
                samples.append(measurement)  # type: ignore[arg-type]  # the list is of its type
            case _:
                before = self.singles.get(measurement.sensor)
                if before is not None and self._away(before) <= self._away(measurement):
                    return Fate.SPARE
                self.singles[measurement.sensor] = measurement
        return Fate.KEPT

    def _away(self, measurement: Measurement) -> int:
        return abs(measurement.stamp_us - self.centre_us)


class Assembler:
    """Reads no clock; safe to poll early. Not for two threads at once."""

    def __init__(
        self, calibration: Calibration, awaited: Sequence[str], *, period_us: int, wait_us: int
    ) -> None:
        """awaited: sensors without which a cycle is not complete; the first is the lead.

        period_us: the lead's, about. wait_us: from a cycle's first measurement's arrival.
        """
        if not awaited or period_us <= 0 or wait_us < 0:
            raise Misuse(
                what="no sensor frames can be put together",
                why=f"awaited {list(awaited)} each {period_us} us for {wait_us} us means nothing",
                fix="Name at least one sensor, a period above 0, and how long to wait.",
            )
        self.calibration = calibration  # of the frames to come; may be replaced
        self._awaited = tuple(awaited)
        self._period_us, self._wait_us = period_us, wait_us
        self._open: list[_Cycle] = []  # by centre
        self._closed_us: int | None = None  # centre of the last one closed
        self._seen_us: dict[str, int] = {}  # by awaited sensor, the last cycle that had it
        self._poses: list[EgoPose] = []  # the newest of closed cycles, by stamp
        self._strays = 0
        self._ego_by: str | None = None  # whose poses are used: two sources may mean two worlds
        self._ended: list[SensorFrame] = []  # closed before their time

    def put(self, measurement: Measurement, now_us: int) -> Fate:
        """Take one measurement, just arrived; `poll` says what is complete by it."""
        stamp_us, lead = measurement.stamp_us, measurement.sensor == self._awaited[0]
        if isinstance(measurement, EgoPose):
            self._ego_by = self._ego_by or measurement.sensor
            if measurement.sensor != self._ego_by:
                return Fate.SPARE
        if self._is_stray(stamp_us):
            self._strays += lead
            if self._strays < STRAYS:
                return Fate.STRAY
            self._ended += map(self._close, self._open)
            self._open, self._poses = [], []
            self._closed_us, self._seen_us, self._strays = None, {}, 0
        elif lead:
            self._strays = 0
        cycle = self._cycle(stamp_us, lead, now_us)
        if cycle is None:
            return Fate.LATE
        fate = cycle.put(measurement)
        if fate is Fate.KEPT:
            cycle.latency_us[measurement.sensor] = now_us - stamp_us
        return fate

    def poll(self, now_us: int) -> list[SensorFrame]:
        """The cycles that are complete or have waited long enough, in order."""
        done = [cycle.due_us <= now_us or self._complete(cycle) for cycle in self._open]
        count = len(done) - done[::-1].index(True) if any(done) else 0
        closing, self._open = self._open[:count], self._open[count:]
        ended, self._ended = self._ended, []
        return [*ended, *map(self._close, closing)]

    def wake_us(self) -> int | None:
        """When to poll at the latest, 0 for at once; None while nothing waits."""
        if self._ended:
            return 0
        return min((cycle.due_us for cycle in self._open), default=None)

    # --- which cycle ----------------------------------------------------------------------

    def _is_stray(self, stamp_us: int) -> bool:
        """Whether a stamp is far from all cycles, so that it is a gap's end or no time at all."""
        known = [cycle.centre_us for cycle in self._open]
        if self._closed_us is not None:
            known.append(self._closed_us)
        reach_us = MAX_OPEN * self._period_us
        return bool(known) and min(abs(stamp_us - centre) for centre in known) > reach_us

    def _cycle(self, stamp_us: int, lead: bool, now_us: int) -> _Cycle | None:
        """The cycle that a stamp belongs to, opened if need be; None if it is closed."""
        half_us = self._period_us // 2
        nearest = min(self._open, key=lambda c: abs(c.centre_us - stamp_us), default=None)
        away_us = abs(nearest.centre_us - stamp_us) if nearest is not None else half_us + 1
        if self._closed_us is not None:
            if stamp_us <= self._closed_us:
                return None
            if stamp_us - self._closed_us <= min(half_us, away_us - 1):
                return None
        if nearest is not None and away_us <= half_us:
            if lead and self._awaited[0] not in nearest.singles:
                nearest.centre_us = stamp_us
                self._open.sort(key=lambda cycle: cycle.centre_us)
            return nearest
        if len(self._open) == MAX_OPEN:
            if stamp_us < self._open[0].centre_us:
                return None
            self._ended.append(self._close(self._open.pop(0)))
        opened = _Cycle(self._centre(stamp_us, lead), now_us + self._wait_us)
        self._open.append(opened)
        self._open.sort(key=lambda cycle: cycle.centre_us)
        return opened

    def _centre(self, stamp_us: int, lead: bool) -> int:
        """Of a cycle that begins with this stamp: the lead's own, or where it is to be expected."""
        known = [cycle.centre_us for cycle in self._open]
        if self._closed_us is not None:
            known.append(self._closed_us)
        if lead or not known:
            return stamp_us
        near = min(known, key=lambda centre: abs(centre - stamp_us))
        return near + round((stamp_us - near) / self._period_us) * self._period_us

    # --- closing --------------------------------------------------------------------------

    def _complete(self, cycle: _Cycle) -> bool:
        return cycle.latency_us.keys() >= set(self._awaited)

    def _close(self, cycle: _Cycle) -> SensorFrame:
        singles = sorted(cycle.singles.values(), key=lambda single: single.stamp_us)
        lidars = _of(LidarScan, singles)
        cycle.poses.sort(key=lambda pose: pose.stamp_us)
        self._closed_us = cycle.centre_us
        gaps = {}
        for sensor in self._awaited:
            since_us = self._seen_us.setdefault(sensor, cycle.centre_us - self._period_us)
            if sensor in cycle.latency_us:
                self._seen_us[sensor] = cycle.centre_us
            else:
                gaps[sensor] = max(1, round((cycle.centre_us - since_us) / self._period_us))
        self._poses = (self._poses + cycle.poses)[-KEPT_POSES:]
        stamp_us = lidars[0].stamp_us if lidars else cycle.centre_us
        return SensorFrame(
            stamp_us,
            self.calibration,
            lidars=lidars,
            cameras=_of(CameraImage, singles),
            radars=_of(RadarTargets, singles),
            imu=tuple(sorted(cycle.imu, key=lambda sample: sample.stamp_us)),
            ego=self._ego(stamp_us),
            latency_us=dict(cycle.latency_us),
            gaps=gaps,
        )

    def _ego(self, stamp_us: int) -> EgoPose | None:
        """world_from_ego at a time: between two poses, or else the newest one before it."""
        before = [pose for pose in self._poses if pose.stamp_us <= stamp_us]
        after = [pose for pose in self._poses if pose.stamp_us > stamp_us]
        if not before:
            return None
        one = before[-1]
        if not after or one.stamp_us == stamp_us:
            return one if stamp_us - one.stamp_us <= self._period_us else None
        share = (stamp_us - one.stamp_us) / (after[0].stamp_us - one.stamp_us)
        return EgoPose(one.sensor, stamp_us, one.pose.between(after[0].pose, share))


def _of(kind: type[T], singles: Sequence[Single]) -> tuple[T, ...]:
    return tuple(single for single in singles if isinstance(single, kind))
