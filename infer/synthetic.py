"""Synthetic sweeps with known boxes: for tests, benchmarks, and trying things without a sensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

SENSOR_HEIGHT_M = 1.73
BEAMS = 64
STEP_DEG = 0.2
REACH_M = 80.0
STREET_M = 98.0


@dataclass(frozen=True, slots=True)
class Thing:
    """A box on the ground: centre x, y and length, width, height in metres; yaw in degrees."""

    x: float
    y: float
    size: tuple[float, float, float]
    yaw: float = 0.0


def scan(things: Sequence[Thing], *, noise_m: float = 0.01, seed: int = 0) -> NDArray[np.float32]:
    """What a 64-beam sensor sees of things on flat ground, at most 115,200 points.

    Beams from -24.8 to 2 degrees and a ray each 0.2 degrees, like KITTI's sensor; noise_m is the
    standard deviation of the range. Returns float32 (n, 4): x y z in metres, sensor frame, and an
    intensity of 0.
    """
    ray = _rays()
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(ray[2] < 0, -SENSOR_HEIGHT_M / ray[2], np.inf)
    for thing in things:
        turns = _turns_towards(thing)
        far[:, turns] = np.minimum(far[:, turns], _hit(thing, ray[:, :, turns]))
    far += np.random.default_rng(seed).normal(0, noise_m, far.size).reshape(far.shape)
    seen = far < REACH_M
    points = np.zeros((int(seen.sum()), 4), np.float32)
    points[:, :3] = (ray[:, seen] * far[seen]).T
    return points


@cache
def _rays() -> NDArray[np.float64]:
    """Directions of the rays, (3, BEAMS, turns), read-only."""
    elevation = np.radians(np.linspace(-24.8, 2.0, BEAMS))
    azimuth, elevation = np.meshgrid(_azimuths(), elevation)
    level = np.cos(elevation)
    ray: NDArray[np.float64] = np.stack(
        (level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation))
    )
    ray.flags.writeable = False
    return ray


def _azimuths() -> NDArray[np.float64]:
    """Of each turn of the sensor, radians from 0."""
    azimuths: NDArray[np.float64] = np.radians(np.arange(0, 360, STEP_DEG))
    return azimuths


def _turns_towards(thing: Thing) -> NDArray[np.intp]:
    """Which turns of the sensor may hit a thing: those towards the circle around it."""
    away = math.hypot(thing.x, thing.y)
    radius = math.hypot(*thing.size[:2]) / 2
    azimuths = _azimuths()
    if away <= radius:
        return np.arange(len(azimuths))
    off = np.abs(azimuths - math.atan2(thing.y, thing.x) % math.tau)
    reach = math.asin(radius / away) + math.radians(STEP_DEG)
    return np.flatnonzero(np.minimum(off, math.tau - off) <= reach)


def _hit(thing: Thing, ray: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each ray (3, ...) goes to the box (the slab test); inf where it misses."""
    c, s = math.cos(math.radians(thing.yaw)), math.sin(math.radians(thing.yaw))
    turned = np.stack((c * ray[0] + s * ray[1], c * ray[1] - s * ray[0], ray[2]))
    eye = np.array((-c * thing.x - s * thing.y, s * thing.x - c * thing.y, 0.0))
    length, width, height = thing.size
    low = np.array((-length / 2, -width / 2, -SENSOR_HEIGHT_M))
    high = np.array((length / 2, width / 2, height - SENSOR_HEIGHT_M))
    # A ray along a side meets it at infinity, or nowhere (NaN), which no comparison below takes.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        one = (low - eye)[:, None, None] / turned
        two = (high - eye)[:, None, None] / turned
    enter, leave = np.minimum(one, two).max(axis=0), np.maximum(one, two).min(axis=0)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def street(seed: int = 0) -> list[Thing]:
    """Two rows of parked cars, a truck, walkers on both sides: about fifty things."""
    rng = np.random.default_rng(seed)
    things = [Thing(-17.0, 1.0, (10.0, 2.5, 2.9), 8.0)]
    for x in np.arange(1 - STREET_M / 2, STREET_M / 2, 7.0):
        for y in (4.6, -4.6):
            yaw = float(rng.normal(0, 4))
            things.append(Thing(x + float(rng.uniform(-0.8, 0.8)), y, (4.2, 1.8, 1.6), yaw))
    for x in rng.uniform(-30, 30, 24):
        side = float(rng.choice((-1, 1)))
        things.append(Thing(float(x), side * float(rng.uniform(7.5, 12)), (0.6, 0.5, 1.75)))
    return things


STEP_M = 0.5  # from one sweep of `drive` to the next


def drive(index: int, *, step_m: float = STEP_M) -> NDArray[np.float32]:
    """Sweep `index` of a drive along a street without end: forward by step_m from one to the next.

    The truck follows. What else falls behind comes again ahead, 49 m from the sensor.
    """
    truck, *still = street()
    moved = index * step_m + STREET_M / 2
    passed = (replace(thing, x=(thing.x - moved) % STREET_M - STREET_M / 2) for thing in still)
    return scan([truck, *passed], seed=index)
