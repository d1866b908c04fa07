"""Bumper and cabin of one car, and two things that are not one."""

from __future__ import annotations

import numpy as np

from infer.fusion.bonnets import joined

HERE = (0.0, 0.0)


def piece(away, low, high, wide=1.7, side=0.0):
    """Points (40, 4) of an upright surface, and their heights."""
    across, up = np.meshgrid(np.linspace(-wide / 2, wide / 2, 10), np.linspace(low, high, 4))
    points = np.zeros((40, 4), np.float32)
    points[:, 0], points[:, 1], points[:, 2] = away, side + across.ravel(), up.ravel()
    return points, up.ravel().astype(np.float32)


def names(*pieces, origin=HERE):
    points = np.concatenate([points for points, _ in pieces])
    above = np.concatenate([above for _, above in pieces])
    of_point = np.repeat(np.arange(len(pieces)), 40).astype(np.int32)
    return joined(points, above, of_point, len(pieces), origin)[::40].tolist()


def test_what_is_seen_over_a_bonnet_is_of_the_same_car():
    assert names(piece(30, 0.3, 0.8), piece(31.1, 0.9, 1.5)) == [1, 1]


def test_bumper_windscreen_and_roof_are_one():
    pieces = piece(30, 0.3, 0.7), piece(31, 0.8, 1.1), piece(32, 1.2, 1.5)
    assert len(set(names(*pieces))) == 1


def test_what_is_not_seen_over_the_other_is_apart():
    assert names(piece(30, 0.3, 0.8), piece(31.1, 0.3, 1.5)) == [0, 1]


def test_what_is_farther_than_a_bonnet_is_long_is_apart():
    assert names(piece(30, 0.3, 0.8), piece(32, 0.9, 1.5)) == [0, 1]


def test_what_is_beside_is_apart():
    assert names(piece(30, 0.3, 0.8), piece(31.1, 0.9, 1.5, side=1.5)) == [0, 1]


def test_somebody_before_a_car_is_apart():
    assert names(piece(30, 0.3, 1.7, wide=0.5), piece(31, 1.75, 2.0)) == [0, 1]


def test_points_of_no_cluster_stay_so():
    points, above = piece(30, 0.3, 0.8)
    of_point = np.full(40, -1, np.int32)
    assert (joined(points, above, of_point, 0, HERE) == -1).all()
