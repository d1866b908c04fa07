"""Rays against solids, one by one in NumPy."""

import numpy as np
import pytest

from infer.drives import models
from infer.drives.rays import (
    COS,
    FAN_FIELDS,
    GROUND,
    NOBODY,
    NOTHING,
    OX,
    OY,
    OZ,
    PLACED_FIELDS,
    SIN,
    TIME,
    Placed,
    Shapes,
    cast,
)
from infer.drives.solids import Material, Model, block

REACH_M = 90.0


def nearest(model, pose, origin, direction, time):
    """How far along a direction each part is entered, inf where it is not: float64 (parts,)."""
    x, y, z, yaw, vx, vy, rate = pose
    angle = yaw + rate * time
    turn = np.array(
        ((np.cos(angle), -np.sin(angle), 0), (np.sin(angle), np.cos(angle), 0), (0, 0, 1))
    )
    start = (np.asarray(origin) - (x + vx * time, y + vy * time, z)) @ turn
    along = np.asarray(direction) @ turn
    found = []
    for part in model.parts:
        towards, outside = (
            part.planes[:, :3] @ along,
            part.planes[:, :3] @ start - part.planes[:, 3],
        )
        at = -outside / towards
        enter, leave = at[towards < 0].max(), at[towards > 0].min()
        found.append(enter if 0 < enter < leave else np.inf)
    return np.array(found)


@pytest.fixture(scope="module")
def crowd():
    rng = np.random.default_rng(5)
    made = [
        models.car(4.2, 1.8, 1.5, models.PAINTS[0]),
        models.van(5.2, 2.0, 2.2, models.PAINTS[1]),
        models.pedestrian(1.8, models.CLOTHES[0], models.CLOTHES[1]),
        models.cyclist(models.CLOTHES[0], models.CLOTHES[1], models.PAINTS[2]),
        models.tree(rng),
        models.truck(8.0, 2.5, 3.4, models.PAINTS[3], models.PAINTS[0]),
    ]
    which = np.arange(24, dtype=np.int32) % len(made)
    placed = np.zeros((len(which), PLACED_FIELDS))
    placed[:, :2] = rng.uniform(-30, 30, (len(which), 2))
    placed[:, 3:] = rng.normal(0, (2, 5, 5, 0.5), (len(which), 4))
    return made, which, placed


def test_every_ray_meets_what_is_nearest_and_nothing_else(crowd):
    made, which, placed = crowd
    rng = np.random.default_rng(6)
    fans = np.zeros((30, FAN_FIELDS))
    towards = rng.uniform(0, 2 * np.pi, len(fans))
    fans[:, COS], fans[:, SIN] = np.cos(towards), np.sin(towards)
    fans[:, OX : OZ + 1] = rng.uniform((-3, -3, 0.5), (3, 3, 2.5), (len(fans), 3))
    fans[:, TIME] = rng.uniform(-0.1, 0.1, len(fans))
    slopes = rng.uniform(-0.4, 0.3, (len(fans), 6))
    shapes = Shapes.of(made)
    owners = np.where(np.arange(len(which)) < 12, np.arange(len(which)), NOBODY).astype(np.int32)
    hits = cast(fans, slopes, Placed(placed, which, owners, 12), shapes, REACH_M)
    alone = np.zeros(12, int)
    for f, fan in enumerate(fans):
        for b, slope in enumerate(slopes[f]):
            origin, direction = fan[OX : OZ + 1], (fan[COS], fan[SIN], slope)
            things = [
                nearest(made[m], row, origin, direction, fan[TIME])
                for m, row in zip(which, placed, strict=True)
            ]
            first = np.array([parts.min() for parts in things])
            alone += first[:12] < REACH_M
            ground = -origin[2] / slope if slope < 0 else np.inf
            away = min(first.min(), ground)
            if away > REACH_M:
                assert hits.part[f, b] == NOTHING
                continue
            assert hits.away[f, b] == pytest.approx(away, abs=1e-9)
            if ground < first.min():
                assert hits.part[f, b] == GROUND
                continue
            thing = int(first.argmin())
            own = hits.part[f, b] - shapes.first_part[which[thing]]
            assert things[thing][own] == pytest.approx(away)  # faces of two parts may coincide
            assert hits.owner[f, b] == owners[thing]
    assert (hits.part >= 0).sum() > 30
    np.testing.assert_array_equal(hits.alone, alone)


def test_the_cosine_is_of_the_face_that_was_met():
    wall = Model.of("wall", [block((2, -5, -5), (3, 5, 5), Material.WALL, (1, 1, 1))])
    fans = np.zeros((1, FAN_FIELDS))
    fans[0, COS], fans[0, SIN], fans[0, OZ] = np.cos(0.5), np.sin(0.5), 1.0
    assert fans[0, OY] == 0
    which, owners = np.zeros(1, np.int32), np.full(1, NOBODY, np.int32)
    placed = Placed(np.zeros((1, PLACED_FIELDS)), which, owners, 0)
    hits = cast(fans, np.array([[0.2]]), placed, Shapes.of([wall]), REACH_M)
    assert hits.away[0, 0] == pytest.approx(2 / np.cos(0.5))
    assert hits.cosine[0, 0] == pytest.approx(np.cos(0.5) / np.hypot(1, 0.2))
