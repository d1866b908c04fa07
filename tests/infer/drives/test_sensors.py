"""What sensors see of a drive is what is there."""

import numpy as np
import pytest

from infer.drives.camera import seen
from infer.drives.drive import Drive
from infer.drives.lidar import HDL32, HDL64, sweep
from infer.drives.radar import GHOST, RadarNoise, echoes
from infer.drives.rays import NOBODY, PRATE
from infer.drives.recording import FIRST_US, Sensors, frame_at, frames, in_frame
from infer.drives.rig import LIDAR, LIDAR_HEIGHT_M, RADAR_PLACE, calibration, pinhole
from infer.drives.simulated_detector import Skill, simulated
from infer.perception.motion import Motion, deskew
from mesh.core.errors import Misuse

EXACT_M = 1e-4  # of float32 at 120 m


def inside(points, box, slack):
    """Which points (n, 3) are in a box (7,)."""
    c, s = np.cos(box[6]), np.sin(box[6])
    from_middle = points - box[:3]
    own = np.stack(
        (
            from_middle[:, 0] * c + from_middle[:, 1] * s,
            from_middle[:, 1] * c - from_middle[:, 0] * s,
            from_middle[:, 2],
        ),
        axis=1,
    )
    return (np.abs(own) <= box[3:6] / 2 + slack).all(axis=1)


def outline(box, camera_from_world):
    """What a box (7,) fills of the picture's plane, left, top, right, bottom."""
    c, s = np.cos(box[6]), np.sin(box[6])
    corners = np.array([
        (box[0] + c * u - s * v, box[1] + s * u + c * v, box[2] + w)
        for u in (-box[3] / 2, box[3] / 2)
        for v in (-box[4] / 2, box[4] / 2)
        for w in (-box[5] / 2, box[5] / 2)
    ])  # fmt: skip
    placed = camera_from_world.apply(corners)
    if placed[:, 2].min() < 0.1:  # beside the camera: anywhere
        return np.array((-np.inf, -np.inf, np.inf, np.inf))
    pixels, _ = pinhole().project(placed)
    return np.concatenate((pixels.min(axis=0), pixels.max(axis=0)))


@pytest.fixture(scope="module")
def turn(drive, drive_scene):
    return sweep(drive, drive_scene)


def test_points_are_on_the_ground_or_where_their_owners_were_then(drive, drive_scene, turn):
    """Each point is taken back to the world by the pose of its own time."""
    scan, actors = turn.scan, drive_scene.actors
    assert len(scan.points) > 60_000
    poses = drive.ego_at(drive_scene.time_us + scan.times_us.astype(float))
    c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    x, y, z = scan.points[:, :3].astype(float).T
    world = np.stack(
        (c * x - s * y + poses[:, 0], s * x + c * y + poses[:, 1], z + LIDAR_HEIGHT_M), 1
    )
    assert world[:, 2].min() > -EXACT_M
    touched = 0
    for place in np.unique(turn.owners[turn.owners != NOBODY]):
        own = turn.owners == place
        times = scan.times_us[own, None] / 1e6
        turned = drive_scene.placed.rows[place, PRATE] * times[:, 0]
        box = actors.boxes[place]
        c, s = np.cos(-turned), np.sin(-turned)
        moved = world[own].copy()
        moved[:, :2] -= box[:2] + actors.velocity[place] * times
        back = np.stack((c * moved[:, 0] - s * moved[:, 1], s * moved[:, 0] + c * moved[:, 1]), 1)
        moved[:, :2] = back + box[:2]
        assert inside(moved, box, EXACT_M).all()
        touched += own.sum()
    assert touched > 1000


def test_what_stands_still_is_in_its_box_once_motion_is_taken_out(drive):
    frame, truth = frame_at(drive, 4_000_000, Sensors())
    still = np.flatnonzero((np.hypot(*truth.velocity.T) == 0) & (truth.points > 30))
    assert len(still) > 3
    assert drive.at(4_000_000).velocity != (0.0, 0.0)
    points = frame.lidars[0].points[:, :3].astype(float)
    for k in still:
        assert inside(points, truth.boxes[k], 0.1).sum() >= 0.97 * truth.points[k]


def test_raw_points_are_deskewed_by_the_poses_of_the_frames_around(drive):
    """The vehicle's own kernel brings raw points to where exact motion has them."""
    raw, _ = frame_at(drive, 4_000_000, Sensors(deskewed=False))
    done, _ = frame_at(drive, 4_000_000, Sensors())
    lidar = calibration().pose("ego", LIDAR)
    around = [4_000_000 + k * 50_000 for k in (-1, 0, 1)]
    poses = np.array([(drive.ego_pose(time) @ lidar).matrix() for time in around])
    motion = Motion.between((-0.05, 0.0, 0.05), poses, np.linalg.inv(poses[1]))
    scan = raw.lidars[0]
    ours = deskew(scan.points, scan.times_us, motion)
    assert np.abs(ours - done.lidars[0].points)[:, :3].max() < 0.02
    assert np.abs(scan.points - done.lidars[0].points)[:, :3].max() > 0.1


def test_occlusion_is_what_others_take(drive, drive_scene, turn):
    assert (turn.met <= turn.alone).all()
    assert (turn.met[turn.alone > 200] == turn.alone[turn.alone > 200]).any()
    assert (turn.met < 0.5 * turn.alone).any()
    frame, truth = frame_at(drive, drive_scene.time_us, Sensors())
    assert ((truth.occlusion >= 0) & (truth.occlusion <= 1)).all()
    assert (truth.points[truth.occlusion == 1] == 0).all()
    assert frame.lidars[0].valid.all()


def test_beams_are_the_sensors(drive, drive_scene):
    assert (len(HDL64.elevations_deg), len(HDL32.elevations_deg)) == (64, 32)
    scan = sweep(drive, drive_scene, HDL32).scan
    away = np.hypot(scan.points[:, 0], scan.points[:, 1])
    elevation = np.degrees(np.arctan2(scan.points[:, 2], away))
    np.testing.assert_allclose(elevation, np.array(HDL32.elevations_deg)[scan.rings], atol=1e-3)
    azimuth = np.arctan2(scan.points[:, 1], scan.points[:, 0])
    assert np.abs(azimuth[np.abs(scan.times_us) < 100]).max() < 0.02  # it looks ahead at its stamp


def test_radial_speeds_are_how_distances_change(drive, drive_scene):
    heard = echoes(drive_scene)
    assert len(heard.owners) > 5
    assert (heard.owners >= 0).all()
    step_us = 1000
    for row, owner in zip(heard.targets.targets.astype(float), heard.owners, strict=True):
        away = []
        for time_us in (drive_scene.time_us - step_us, drive_scene.time_us + step_us):
            later = drive.at(time_us)
            then = np.flatnonzero(later.actors.ids == drive_scene.actors.ids[owner])[0]
            radar = drive_scene.ego.apply(np.array(RADAR_PLACE))[:2]
            beam = row[1] + np.arctan2(*drive_scene.ego.rotation[1::-1, 0])
            place = radar + row[0] * np.array((np.cos(beam), np.sin(beam)))
            box, moved = drive_scene.actors.boxes[owner], later.actors.boxes[then]
            turned = moved[6] - box[6]
            arm = place - box[:2]
            c, s = np.cos(turned), np.sin(turned)
            place = moved[:2] + np.array((c * arm[0] - s * arm[1], s * arm[0] + c * arm[1]))
            away.append(np.hypot(*(place - later.ego.apply(np.array(RADAR_PLACE))[:2])))
        assert row[3] == pytest.approx((away[1] - away[0]) / (2e-6 * step_us), abs=0.05)


def test_a_noisy_radar_misses_some_and_has_ghosts(drive_scene):
    rng = np.random.default_rng(0)
    owners = np.concatenate(
        [echoes(drive_scene, RadarNoise(ghosts=0.3), rng).owners for _ in range(40)]
    )
    assert (owners == GHOST).any()
    assert (owners == NOBODY).any()
    exact = echoes(drive_scene).owners
    assert set(owners[owners >= 0]) <= set(exact)
    assert min(np.bincount(owners[owners >= 0])[exact]) < 40


def test_what_the_camera_shows_of_a_thing_is_within_its_box(drive_scene):
    shown = seen(drive_scene)
    camera = calibration().pose("camera", "ego") @ drive_scene.ego.inverse()
    there = shown.pixels > 0
    assert there.sum() > 5
    around = np.array([outline(box, camera) for box in drive_scene.actors.boxes])
    assert (shown.boxes[there, :2] >= around[there, :2] - 2).all()
    assert (shown.boxes[there, 2:] <= around[there, 2:] + 2).all()
    free = there & (shown.visible == 1) & (shown.pixels > 400)
    assert free.any()
    around = np.clip(around, -0.5, (1247.5, 383.5) * 2)
    height = (around[:, 3] - around[:, 1])[free]
    assert ((shown.boxes[free, 3] - shown.boxes[free, 1]) > 0.75 * height).all()


def test_the_simulated_detector_finds_what_shows_and_some_of_nothing(drive_scene):
    shown, rng = seen(drive_scene), np.random.default_rng(1)
    found = [simulated(shown, drive_scene.actors.classes, rng) for _ in range(50)]
    owners = np.concatenate([each.owners for each in found])
    hidden = np.flatnonzero(shown.visible < 0.2)
    assert not np.isin(owners, hidden).any()
    assert (owners == -1).any()
    high = shown.boxes[:, 3] - shown.boxes[:, 1]
    sharp = np.flatnonzero((shown.visible > 0.9) & (high > 100))
    assert (np.bincount(owners[owners >= 0], minlength=len(high))[sharp] > 35).all()
    perfect = Skill(jitter=0, mistaken=0, false=0)
    exact = simulated(shown, drive_scene.actors.classes, rng, perfect)
    np.testing.assert_allclose(exact.boxes, np.clip(shown.boxes[exact.owners], 0, (1247, 383) * 2))


def test_frames_are_the_same_for_the_same_seed():
    one, other = list(frames(4, 2)), list(frames(4, 2))
    for (left, left_truth), (right, right_truth) in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.lidars[0].points, right.lidars[0].points)
        np.testing.assert_array_equal(left.radars[0].targets, right.radars[0].targets)
        np.testing.assert_array_equal(left_truth.boxes, right_truth.boxes)
        np.testing.assert_array_equal(left_truth.detections.boxes, right_truth.detections.boxes)
    assert [frame.stamp_us for frame, _ in one] == [FIRST_US, FIRST_US + 500_000]
    (different, _), *_ = frames(5, 1)
    assert len(different.lidars[0].points) != len(one[0][0].lidars[0].points)


def test_truth_is_told_in_the_lidars_frame(drive):
    frame, truth = frame_at(drive, 4_000_000, Sensors())
    world = frame.ego.pose @ frame.calibration.pose("ego", LIDAR)
    back = in_frame(truth.boxes, world)
    actors = drive.at(4_000_000).actors
    np.testing.assert_allclose(back[:, :6], actors.boxes[:, :6], atol=1e-9)
    np.testing.assert_allclose(truth.velocity @ world.rotation[:2, :2].T, actors.velocity)
    assert len(truth.echo_of) == len(frame.radars[0].targets)


def test_no_drive_is_longer_than_it_may_be():
    with pytest.raises(Misuse, match="more drives"):
        Drive(0, 601.0)
