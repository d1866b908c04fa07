"""A spinning LiDAR in a drive: every column of lasers fires at its own time, from where it is then.

Beams are those of Velodyne's HDL-64E (two blocks of lasers, a third and half a degree apart) and
HDL-32E, by their manuals. The sensor turns clockwise and looks ahead at its stamp, half a turn
after it began, when the pictures are taken, as on KITTI's vehicle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.drives.drive import Drive, Scene
from infer.drives.rays import COS, FAN_FIELDS, GROUND, NOTHING, OX, OY, OZ, SIN, TIME, Hits
from infer.drives.rig import LIDAR, LIDAR_HEIGHT_M
from infer.drives.solids import Floats, Material
from infer.frames.measurements import LidarScan

# Of each material at 905 nm, about: how much comes back, and what share of hits is lost anyway.
# What is painted or worn sends the more back the lighter it is.
_REFLECTIVITY = {
    Material.ASPHALT: (0.14, 0.0), Material.STONE: (0.25, 0.0), Material.WALL: (0.35, 0.0),
    Material.GLASS: (0.06, 0.75), Material.PAINT: (0.75, 0.02), Material.RUBBER: (0.06, 0.05),
    Material.CLOTH: (0.60, 0.0), Material.SKIN: (0.45, 0.0), Material.LEAVES: (0.30, 0.15),
    Material.BARK: (0.20, 0.0), Material.METAL: (0.40, 0.05), Material.REFLECTOR: (1.0, 0.0),
}  # fmt: skip
_BACK = np.array([_REFLECTIVITY[material][0] for material in Material])
_LOST = np.array([_REFLECTIVITY[material][1] for material in Material])
_SHADED = (Material.PAINT, Material.CLOTH)
DARKEST = 0.1  # share of it that black sends back
FAINTEST = 0.012  # reflectivity times cosine at 100 m that is still seen; falls with the square


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Elevations of the lasers, degrees, from the top; columns in a turn of turn_us."""

    elevations_deg: tuple[float, ...]
    columns: int = 1800
    turn_us: int = 100_000
    reach_m: float = 120.0

    def slopes(self) -> Floats:
        """Rise over run, (1, lasers)."""
        return np.array([[math.tan(math.radians(angle)) for angle in self.elevations_deg]])

    def azimuths(self) -> Floats:
        """Of each column, radians to the left from ahead, (columns,)."""
        azimuths: Floats = np.pi - np.arange(0.5, self.columns) * (2 * np.pi / self.columns)
        return azimuths

    def times_us(self) -> Floats:
        """Of each column, from the stamp, (columns,)."""
        times: Floats = (np.arange(0.5, self.columns) / self.columns - 0.5) * self.turn_us
        return times


HDL64 = Pattern((*np.linspace(2.0, -8.33, 32).tolist(), *np.linspace(-8.83, -24.33, 32).tolist()))
HDL32 = Pattern(tuple(np.linspace(10.67, -30.67, 32).tolist()))


@dataclass(frozen=True, slots=True)
class Noise:
    """range_m: a standard deviation. dropout: share of points lost at random, beside what their
    surfaces lose. leaves_m: how deep a ray goes into leaves, on average.
    """

    range_m: float = 0.02
    dropout: float = 0.01
    leaves_m: float = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One turn. owners: int32 (n,), whose each point is among the scene's actors, or NOBODY.

    met, alone: int64 (actors,), how many rays met each actor, and would have if it were alone.
    """

    scan: LidarScan
    owners: NDArray[np.int32]
    met: NDArray[np.int64]
    alone: NDArray[np.int64]


def sweep(
    drive: Drive,
    scene: Scene,
    pattern: Pattern = HDL64,
    noise: Noise | None = None,
    rng: np.random.Generator | None = None,
) -> Sweep:
    """What the LiDAR sees in the turn whose middle is the scene's time.

    With noise and rng, points are noisy and some are lost; without, they are where rays met
    surfaces, all of them. Points are in the sensor's frame of their own times.
    """
    times, slopes = pattern.times_us(), pattern.slopes()
    hits = scene.cast(_fans(drive, scene, pattern, times), slopes, pattern.reach_m)
    kept, away = hits.part != NOTHING, hits.away
    strength = _strength(scene, hits)
    if noise is not None and rng is not None:
        level = 1 / np.sqrt(1 + slopes**2)
        wrong, seen = _noisy(away / level, strength, _materials(scene, hits), noise, rng)
        away = away + wrong * level
        kept &= seen
    column, laser = np.nonzero(kept)
    run, azimuths = away[kept], pattern.azimuths()
    points = np.empty((len(run), 4), np.float32)
    points[:, 0] = run * np.cos(azimuths)[column]
    points[:, 1] = run * np.sin(azimuths)[column]
    points[:, 2] = run * slopes[0, laser]
    points[:, 3] = np.round(np.clip(strength[kept], 0, 1) * 255) / 255
    own = np.rint(times).astype(np.int32)[column]
    scan = LidarScan(LIDAR, LIDAR, scene.time_us, points, own, laser.astype(np.uint16))
    met = np.bincount(hits.owner[hits.owner >= 0], minlength=len(hits.alone))
    return Sweep(scan, hits.owner[kept], met, hits.alone)


def _fans(drive: Drive, scene: Scene, pattern: Pattern, times_us: Floats) -> Floats:
    poses = drive.ego_at(scene.time_us + times_us)
    towards = poses[:, 2] + pattern.azimuths()
    fans = np.empty((len(times_us), FAN_FIELDS))
    fans[:, COS], fans[:, SIN] = np.cos(towards), np.sin(towards)
    fans[:, OX], fans[:, OY] = poses[:, 0], poses[:, 1]
    fans[:, OZ], fans[:, TIME] = LIDAR_HEIGHT_M, times_us / 1e6
    return fans


def _materials(scene: Scene, hits: Hits) -> NDArray[np.int32]:
    """Of what each ray met; asphalt for none, too."""
    named = scene.shapes.materials[np.maximum(hits.part, 0)]
    return np.where(hits.part > GROUND, named, np.int32(Material.ASPHALT))


def _strength(scene: Scene, hits: Hits) -> Floats:
    """How much of a ray comes back, before distance: a diffuse surface's cosine, and reflectors."""
    materials = _materials(scene, hits)
    light = scene.shapes.lightness[np.maximum(hits.part, 0)]
    shade = np.where(np.isin(materials, _SHADED), DARKEST + (1 - DARKEST) * light, 1.0)
    lit = np.where(materials == Material.REFLECTOR, 1.0, hits.cosine)
    strength: Floats = _BACK[materials] * shade * lit
    return strength


def _noisy(
    ranges: Floats,
    strength: Floats,
    materials: NDArray[np.int32],
    noise: Noise,
    rng: np.random.Generator,
) -> tuple[Floats, NDArray[np.bool_]]:
    """By how much ranges are measured too long, and which rays come back."""
    chance = (1 - noise.dropout) * (1 - _LOST[materials])
    seen = rng.random(ranges.shape) < chance
    seen &= strength > FAINTEST * (ranges / 100) ** 2
    deeper = rng.exponential(noise.leaves_m, ranges.shape)
    wrong = rng.standard_normal(ranges.shape) * noise.range_m
    return wrong + np.where(materials == Material.LEAVES, deeper, 0.0), seen
