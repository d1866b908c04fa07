"""Measurements in any order become cycles in order: complete, or closed in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.frames.assembler import MAX_OPEN, Assembler, Fate
from infer.frames.calibration import Calibration
from infer.frames.measurements import (
    CameraImage,
    EgoPose,
    ImuSample,
    LidarScan,
    RadarTargets,
)
from infer.frames.pose import Pose
from mesh.core.errors import Misuse

PERIOD, WAIT = 100_000, 150_000
T0 = 1_600_000_000_000_000


def lidar(stamp_us, sensor="top"):
    return LidarScan(sensor, "lidar", T0 + stamp_us, np.ones((2, 4), np.float32))


def camera(stamp_us, sensor="front"):
    return CameraImage(sensor, "camera", T0 + stamp_us, (1, 1), "mono8", b"x")


def radar(stamp_us):
    return RadarTargets("radar", "radar", T0 + stamp_us, np.ones((1, 5), np.float32))


def imu(stamp_us):
    return ImuSample("imu", "ego", T0 + stamp_us, (0, 0, 9.8), (0, 0, 0))


def ego(stamp_us, x):
    return EgoPose("gps", T0 + stamp_us, Pose("world", "ego", np.eye(3), np.array([x, 0, 0])))


def assembler(*awaited):
    return Assembler(Calibration(()), awaited or ("top", "front"), period_us=PERIOD, wait_us=WAIT)


def test_a_cycle_closes_as_soon_as_all_awaited_have_come():
    joining = assembler()
    assert joining.put(camera(10_000), 12_000) is Fate.KEPT
    assert joining.poll(12_000) == []
    assert joining.wake_us() == 12_000 + WAIT
    assert joining.put(lidar(0), 60_000) is Fate.KEPT
    [frame] = joining.poll(60_000)
    assert (frame.stamp_us, len(frame.lidars), len(frame.cameras)) == (T0, 1, 1)
    assert frame.gaps == {}
    assert frame.latency_us == {"front": 2_000 - T0, "top": 60_000 - T0}
    assert joining.wake_us() is None


def test_without_a_sensor_it_closes_when_it_has_waited_long_enough():
    joining = assembler()
    for k in range(3):
        joining.put(lidar(k * PERIOD), k * PERIOD)
        assert joining.poll(k * PERIOD + WAIT - 1) == []
        [frame] = joining.poll(k * PERIOD + WAIT)
        assert (frame.stamp_us, frame.gaps) == (T0 + k * PERIOD, {"front": k + 1})
    joining.put(camera(3 * PERIOD + 5), 300_000)
    joining.put(lidar(3 * PERIOD), 300_000)
    assert joining.poll(300_000)[0].gaps == {}


def test_a_complete_cycle_closes_those_before_it():
    joining = assembler()
    joining.put(lidar(0), 0)
    joining.put(lidar(PERIOD), 100_000)
    joining.put(camera(PERIOD), 100_000)
    one, other = joining.poll(100_000)
    assert (one.gaps, other.gaps) == ({"front": 1}, {})
    assert joining.put(camera(0), 100_000) is Fate.LATE
    assert joining.put(camera(PERIOD + 10), 100_000) is Fate.LATE


@given(
    order=st.permutations(range(24)),
    jitter=st.lists(st.integers(-20_000, 20_000), min_size=24, max_size=24),
    drift=st.integers(-400, 400),
)
def test_the_order_of_arrival_does_not_change_the_cycles(order, jitter, drift):
    """Eight cycles of three sensors all come before the first deadline, in any order."""
    joining = assembler("top", "front", "radar")
    kinds = (lidar, camera, radar)
    made = [
        kinds[i % 3](i // 3 * (PERIOD + drift) + (jitter[i] if i % 3 else 0)) for i in range(24)
    ]
    # The lead's first measurement comes first, so that centres are known; then whatever.
    first = [made[0], *(made[i] for i in order if i)]
    frames = []
    for number, measurement in enumerate(first):
        assert joining.put(measurement, number) in {Fate.KEPT, Fate.LATE, Fate.SPARE}
    frames += joining.poll(10**9)
    stamps = [frame.stamp_us for frame in frames]
    assert stamps == sorted(set(stamps))
    told = [m for frame in frames for m in (*frame.lidars, *frame.cameras, *frame.radars)]
    assert len(told) == len({(m.sensor, m.stamp_us) for m in told}), "none twice"
    for frame in frames:
        for measurement in (*frame.cameras, *frame.radars):
            assert abs(measurement.stamp_us - frame.stamp_us) <= PERIOD // 2 + 4 * 400 * 8


def test_arrivals_out_of_order_within_the_wait_are_all_used():
    joining = assembler("top", "front", "radar")
    arrivals = [lidar(0), lidar(PERIOD), radar(PERIOD + 3), camera(2), camera(PERIOD - 2), radar(9)]
    for now_us, measurement in enumerate(arrivals):
        assert joining.put(measurement, now_us) is Fate.KEPT
        if now_us < 4:
            assert joining.poll(now_us) == []
    one, other = joining.poll(6)
    assert (one.gaps, other.gaps) == ({}, {})
    assert [len(f.lidars + f.cameras + f.radars) for f in (one, other)] == [3, 3]


def test_cycles_follow_the_leads_own_rate_for_ever():
    """Argoverse 2 sweeps are 100.196 ms apart: after 600 of them a fixed grid has lost a cycle."""
    joining = assembler()
    for k in range(1200):
        stamp = k * 100_196
        joining.put(camera(stamp - 30_000), stamp)
        joining.put(lidar(stamp), stamp)
        [frame] = joining.poll(stamp)
        assert frame.gaps == {}
        assert frame.stamp_us == T0 + stamp


def test_of_several_pictures_the_nearest_is_kept():
    joining = assembler()
    joining.put(lidar(0), 0)
    joining.poll(0)
    fates = [joining.put(camera(us), 1) for us in (-30_000, 20_000, 25_000, -1_000)]
    assert fates == [Fate.KEPT, Fate.KEPT, Fate.SPARE, Fate.KEPT]
    assert joining.poll(1)[0].cameras[0].stamp_us == T0 - 1_000


def test_samples_are_all_kept_and_the_vehicles_pose_is_that_of_the_stamp():
    joining = assembler("top")
    for us in (30_000, -20_000, 10_000):
        joining.put(imu(us), 0)
    joining.put(ego(10_000, 3.0), 0)
    joining.put(ego(-10_000, 1.0), 0)
    joining.put(lidar(0), 0)
    [frame] = joining.poll(0)
    assert [s.stamp_us - T0 for s in frame.imu] == [-20_000, 10_000, 30_000]
    assert (frame.ego.stamp_us, frame.ego.pose.translation[0]) == (T0, 2.0)
    other = EgoPose("slam", T0 + 60_000, Pose("map", "ego", np.eye(3), np.zeros(3)))
    assert joining.put(other, 0) is Fate.SPARE  # another world
    joining.put(lidar(PERIOD), 0)
    assert joining.poll(0)[0].ego.stamp_us == T0 + 10_000  # the newest there is
    joining.put(lidar(2 * PERIOD), 0)
    assert joining.poll(0)[0].ego is None  # too old


def test_a_stamp_far_from_all_others_is_not_believed_until_it_goes_on():
    joining = assembler("top")
    joining.put(lidar(0), 0)
    assert len(joining.poll(0)) == 1
    far = (MAX_OPEN + 1) * PERIOD
    assert joining.put(lidar(10**12), 1) is Fate.STRAY
    assert joining.put(lidar(PERIOD), 1) is Fate.KEPT  # the clock goes on as before
    assert len(joining.poll(1)) == 1
    fates = [joining.put(lidar(far + k * PERIOD), 2 + k) for k in range(1, 5)]
    assert fates == [Fate.STRAY, Fate.STRAY, Fate.KEPT, Fate.KEPT]
    assert len(joining.poll(9)) == 2


def test_a_clock_that_was_set_back_is_followed_and_what_was_open_is_not_lost():
    joining = assembler()
    joining.put(lidar(0), 0)
    for k in range(3):
        joining.put(lidar(k * PERIOD - 10**10), k)
    assert joining.wake_us() == 0
    [old] = joining.poll(3)
    assert old.stamp_us == T0
    [new] = joining.poll(10**6)
    assert new.stamp_us == T0 + 2 * PERIOD - 10**10


def test_no_more_cycles_are_open_than_are_bounded():
    joining = assembler()
    for k in range(3 * MAX_OPEN):
        joining.put(lidar(k * PERIOD), 0)
    assert len(joining.poll(0)) == 2 * MAX_OPEN
    assert len(joining.poll(WAIT)) == MAX_OPEN


@pytest.mark.parametrize(
    ("awaited", "period_us", "wait_us"), [((), 1, 1), (("a",), 0, 1), (("a",), 1, -1)]
)
def test_what_makes_no_cycles_is_misuse(awaited, period_us, wait_us):
    with pytest.raises(Misuse):
        Assembler(Calibration(()), awaited, period_us=period_us, wait_us=wait_us)
