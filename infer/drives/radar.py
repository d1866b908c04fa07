"""A radar in a drive: targets of what it sees, and of what is not there.

One that looks ahead, as long-range radars at 77 GHz do: a sector of 60 degrees to either side, no
elevation. Things come back by their cross-sections, larger ones in several places. Echoes that
went by a wall, or twice to the target and back, make ghosts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.drives.drive import Scene
from infer.drives.rays import COS, FAN_FIELDS, NOBODY, OX, OZ, PRATE, SIN
from infer.drives.rig import RADAR, RADAR_PLACE
from infer.drives.solids import Floats
from infer.frames.measurements import RadarTargets

REACH_M = 110.0
SECTOR_RAD = np.radians(60.0)
FANS = 361  # over the sector
SLOPES = np.tan(np.radians((-1.5, 0.0, 1.5)))[None]
GHOST = -2  # as an owner
# Cross-sections in dBsm, after measurements at 77 GHz, and the most targets of one thing.
SECTIONS = {
    "car": (10.0, 2), "van": (12.0, 3), "truck": (18.0, 4), "pedestrian": (-8.0, 1),
    "cyclist": (-2.0, 1),
}  # fmt: skip
STILL_SECTION = 5.0
HALF_SEEN_M = 70.0  # where a thing of 0 dBsm is seen every other time; goes with its fourth root


@dataclass(frozen=True, slots=True)
class RadarNoise:
    """Standard deviations of range, azimuth and radial speed. missed: share of targets that do not
    come though they are strong. ghosts: share of targets that come again elsewhere. clutter: still
    targets of walls, poles and kerbs, on average.
    """

    range_m: float = 0.15
    azimuth_rad: float = 0.009
    speed_m_s: float = 0.12
    missed: float = 0.08
    ghosts: float = 0.06
    clutter: float = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Echoes:
    """One cycle. owners: int64 (n,), the actor of each target, NOBODY for what stands, GHOST."""

    targets: RadarTargets
    owners: NDArray[np.int64]


def echoes(
    scene: Scene, noise: RadarNoise | None = None, rng: np.random.Generator | None = None
) -> Echoes:
    """What the radar tells at the scene's time. Without noise and rng one target for each actor
    that any ray meets, at its nearest place.
    """
    azimuths, away, owners = _met(scene)
    chosen = _chosen(scene.actors.classes, away, owners, noise, rng)
    azimuths, away, owners = azimuths[chosen], away[chosen], owners[chosen]
    sections = np.array([SECTIONS[name][0] for name in scene.actors.classes] + [STILL_SECTION])
    rows = np.zeros((len(chosen), 5))
    rows[:, 0], rows[:, 1], rows[:, 4] = away, azimuths, sections[owners]
    rows[:, 3] = _radial(scene, azimuths, away, owners)
    if noise is not None and rng is not None:
        spread = (noise.range_m, noise.azimuth_rad, 0.0, noise.speed_m_s, 2.0)
        rows += rng.standard_normal(rows.shape) * spread
        rows[:, 0] = np.maximum(rows[:, 0], 0.1)
        ghosts = _ghosts(rows[owners != NOBODY], noise, rng)
        rows = np.concatenate((rows, ghosts))
        owners = np.concatenate((owners, np.full(len(ghosts), GHOST)))
    targets = RadarTargets(RADAR, RADAR, scene.time_us, rows.astype(np.float32))
    return Echoes(targets, owners)


def _met(scene: Scene) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Azimuth, distance and owner of the nearest thing that stands up in each direction."""
    azimuths = np.linspace(-SECTOR_RAD, SECTOR_RAD, FANS)
    ahead, aside = scene.ego.rotation[:2, 0], scene.ego.rotation[:2, 1]
    fans = np.zeros((FANS, FAN_FIELDS))
    fans[:, COS : SIN + 1] = np.cos(azimuths)[:, None] * ahead + np.sin(azimuths)[:, None] * aside
    fans[:, OX : OZ + 1] = scene.ego.apply(np.array(RADAR_PLACE))
    hits = scene.cast(fans, SLOPES, REACH_M)
    standing = np.where(hits.part >= 0, hits.away, np.inf)
    nearest = standing.argmin(axis=1)
    rows = np.arange(FANS)
    away, owners = standing[rows, nearest], hits.owner[rows, nearest]
    there = np.isfinite(away)
    return azimuths[there], away[there], owners[there].astype(np.int64)


def _chosen(
    classes: NDArray[np.str_],
    away: Floats,
    owners: NDArray[np.int64],
    noise: RadarNoise | None,
    rng: np.random.Generator | None,
) -> NDArray[np.intp]:
    """Which places come back, as indices."""
    taken: list[int] = []
    for actor in np.unique(owners[owners != NOBODY]).tolist():
        own = np.flatnonzero(owners == actor)
        own = own[np.argsort(away[own], kind="stable")]
        if noise is None or rng is None:
            taken.append(int(own[0]))
            continue
        section, most = SECTIONS[str(classes[actor])]
        half = HALF_SEEN_M * 10 ** (section / 40)
        chance = (1 - noise.missed) / (1 + (away[own[0]] / half) ** 4)
        count = int(rng.binomial(min(most, len(own)), chance))
        # The nearest place shines most; others of it are anywhere.
        rest = rng.permutation(own[1:])[: max(count - 1, 0)]
        taken += [*own[: min(count, 1)].tolist(), *rest.tolist()]
    if noise is not None and rng is not None:
        still = np.flatnonzero(owners == NOBODY)
        taken += rng.permutation(still)[: int(rng.poisson(noise.clutter))].tolist()
    return np.array(taken, np.intp)


def _radial(scene: Scene, azimuths: Floats, away: Floats, owners: NDArray[np.int64]) -> Floats:
    """How fast places go away from the radar, m/s: what they do and what the radar does."""
    yaw = np.arctan2(scene.ego.rotation[1, 0], scene.ego.rotation[0, 0])
    beams = np.stack((np.cos(azimuths + yaw), np.sin(azimuths + yaw)), axis=1)
    mount = scene.ego.rotation[:2, :2] @ RADAR_PLACE[:2]
    radar = np.array(scene.velocity) + scene.turn_rate * np.array((-mount[1], mount[0]))
    places = scene.ego.translation[:2] + mount + beams * away[:, None]
    speeds = np.zeros((len(owners), 2))
    of = np.flatnonzero(owners != NOBODY)
    arms = places[of] - scene.actors.boxes[owners[of], :2]
    spin = scene.placed.rows[owners[of], PRATE, None] * np.stack((-arms[:, 1], arms[:, 0]), axis=1)
    speeds[of] = scene.actors.velocity[owners[of]] + spin
    radial: Floats = ((speeds - radar) * beams).sum(axis=1)
    return radial


def _ghosts(rows: Floats, noise: RadarNoise, rng: np.random.Generator) -> Floats:
    """Of some targets: seen again by a wall, farther and aside, or after going there twice."""
    again = rows[rng.random(len(rows)) < noise.ghosts].copy()
    twice = rng.random(len(again)) < 0.3
    again[:, 0] = np.where(twice, 2 * again[:, 0], again[:, 0] + rng.uniform(2, 20, len(again)))
    again[:, 1] += np.where(twice, 0.0, rng.uniform(-0.35, 0.35, len(again)))
    again[:, 3] = np.where(twice, 2 * again[:, 3], again[:, 3] * rng.uniform(0.8, 1, len(again)))
    again[:, 4] -= 8.0
    inside = (again[:, 0] < REACH_M) & (np.abs(again[:, 1]) < SECTOR_RAD)
    kept: Floats = again[inside]
    return kept
