"""A vehicle with several LiDARs: the boxes are those of all points, however scans and sweep lie."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.codec import decode_result
from infer.frames.bundle import SensorFrame
from infer.frames.measurements import LidarScan
from infer.frames.merging import merged
from infer.readers.av2 import Log

PARTS = 5


@pytest.fixture(scope="module")
def two_scanners(data_dir) -> SensorFrame:
    """Argoverse 2's two LiDARs of 32 lasers each, which its files have as one scan, as two."""
    frame = next(Log(data_dir / "av2" / "7fab2350").frames(cameras=False))
    [scan] = frame.lidars
    assert scan.rings is not None
    scans = []
    for name, of in (("upper", scan.rings < 32), ("lower", scan.rings >= 32)):
        assert of.sum() > 20_000
        scans.append(LidarScan(name, "ego", scan.stamp_us, scan.points[of]))
    return SensorFrame(frame.stamp_us, frame.calibration, tuple(scans))


@pytest.fixture(scope="module")
def whole(bench, two_scanners):
    return boxes(bench, merged(two_scanners, "up_lidar").points, 1)


def boxes(bench, points, sectors):
    frame = bench.open(points, sectors)
    for index in range(len(frame.pieces)):
        frame.accept(index, memoryview(bench.answer(frame, index)))
    found = decode_result(frame.finish()).boxes
    assert len(found.yaws) > 50
    return b"".join(getattr(found, name).tobytes() for name in found.__slots__)


@settings(max_examples=8)
@given(sectors=st.integers(1, PARTS), swapped=st.booleans())
def test_boxes_are_the_same_whatever_scanner_and_sector_points_are_in(
    bench, two_scanners, whole, sectors, swapped
):
    scans = two_scanners.lidars[:: -1 if swapped else 1]
    frame = SensorFrame(two_scanners.stamp_us, two_scanners.calibration, scans)
    assert boxes(bench, merged(frame, "up_lidar").points, sectors) == whole


def test_scanners_complete_each_other(bench, two_scanners, whole):
    one = SensorFrame(0, two_scanners.calibration, two_scanners.lidars[:1])
    assert boxes(bench, merged(one, "up_lidar").points, 1) != whole
