"""A seeded world that a vehicle drives through: a function of time, the same for the same seed.

Right-hand traffic in one lane each way, cyclists beside, parked cars, walkers on both pavements.
"world" has z up and flat ground at 0; "ego" is on the ground beneath the vehicle's middle, x ahead,
y left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infer.drives import traffic
from infer.drives.catalogue import Catalogue
from infer.drives.rays import (
    NOBODY,
    PLACED_FIELDS,
    PRATE,
    PVX,
    PVY,
    PX,
    PY,
    PYAW,
    PZ,
    Hits,
    Ints,
    Placed,
    Shapes,
    cast,
)
from infer.drives.scenery import KERB_HEIGHT_M, KERB_M, LANE_M, Scenery
from infer.drives.solids import Floats
from infer.drives.street import random_street
from infer.frames.pose import Pose
from mesh.core.errors import Misuse

LONGEST_S = 600.0
AROUND_M = 130.0  # of the ego: what is farther is not in its scenes
MARGIN_M = 200.0  # of street before and after what is driven along
WANTED_M_S = (9.0, 14.0)
GAP_M = (24.0, 60.0)  # from vehicle to vehicle, at first
AHEAD = 4  # vehicles before the ego in its lane, and as many behind
VEHICLES = {"car": 0.72, "van": 0.16, "truck": 0.12}
PARKED = {"car": 0.85, "van": 0.15}
PARKED_M = KERB_M - 1.1  # from the street's middle
CYCLED_M = LANE_M - 0.05  # between the widest lorries and what is parked
WALKED_M = (1.3, 2.0, 2.7)  # from the kerb


@dataclass(frozen=True, slots=True, eq=False)
class Actors:
    """n things with truth. ids: int64 (n,), the same throughout a drive. classes: str (n,): car,
    van, truck, pedestrian, cyclist. boxes: float64 (n, 7), see `infer.track.overlap`, in the world.
    velocity: float64 (n, 2), m/s over the ground, in the world.
    """

    ids: NDArray[np.int64]
    classes: NDArray[np.str_]
    boxes: Floats
    velocity: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything around the ego at one time. Actors are the first of `placed`, in their order.

    ego: world_from_ego. velocity: the ego's over the ground, x y in the world, m/s; turn_rate:
    rad/s.
    """

    time_us: int
    ego: Pose
    velocity: tuple[float, float]
    turn_rate: float
    actors: Actors
    placed: Placed
    shapes: Shapes

    def cast(self, fans: Floats, slopes: Floats, reach_m: float) -> Hits:
        """Rays in the world, see `infer.drives.rays.cast`; owners are places in `actors`."""
        return cast(fans, slopes, self.placed, self.shapes, reach_m)


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """A file beside the street's middle. way: 1 along the street, -1 against it. begin: where
    along the street the file's own 0 is. height: of its ground. which: models, the first ahead.
    """

    file: traffic.File
    which: Ints
    aside: float
    way: float
    begin: float = 0.0
    height: float = 0.0


class Drive:
    """The world of one seed. Every scene is a function of its time alone."""

    def __init__(self, seed: int, seconds: float = 60.0) -> None:
        """seconds: how long it goes on, at most LONGEST_S. Raises Misuse."""
        if not 0 < seconds <= LONGEST_S:
            raise Misuse(
                what="there is no such drive",
                why=f"it would last {seconds} s",
                fix=f"Have more than 0 and at most {LONGEST_S:.0f} s, and more drives.",
            )
        self.seed, self.seconds = seed, seconds
        things, lanes, streets, beside = np.random.default_rng(seed).spawn(4)
        self.catalogue = Catalogue.random(things)
        along = np.cumsum(lanes.uniform(*GAP_M, 2 * AHEAD + 1))[::-1]
        own = self._driven(lanes, along - along[AHEAD], 1.0, 0.0)
        self.end_m = float(own.file.along[-1, AHEAD]) + MARGIN_M
        self._own = own
        self._lanes = [own, self._oncoming(lanes)]
        for way in (1.0, -1.0):
            self._lanes += [self._parked(lanes, way), self._cyclists(lanes, way)]
            self._lanes += [self._walkers(lanes, way, from_kerb) for from_kerb in WALKED_M]
        self.street = random_street(streets, -MARGIN_M, self.end_m)
        ends = (-MARGIN_M, self.end_m)
        still = Scenery(self.street, ends, self.catalogue, beside)
        self._still, self._still_which = np.array(still.rows), np.array(still.which, np.int32)
        self.models = tuple(self.catalogue.models)
        self.shapes = Shapes.of(self.models)
        self._sizes = np.array([model.size for model in self.models])
        self._names = np.array([model.name for model in self.models])

    def ego_at(self, times_us: ArrayLike) -> Floats:
        """x, y, heading of the ego in the world, (n, 3), at times (n,)."""
        along, _ = self._own.file.at(times_us)
        return np.stack(self.street.place(along[..., AHEAD], self._own.aside), axis=-1)

    def ego_along(self, time_us: int) -> float:
        """How far along the street's middle the ego is, metres."""
        return float(self._own.file.at(time_us)[0][AHEAD])

    def ego_pose(self, time_us: int) -> Pose:
        """world_from_ego."""
        x, y, yaw = self.ego_at([time_us])[0].tolist()
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))
        return Pose("world", "ego", turn, np.array((x, y, 0.0)))

    def at(self, time_us: int) -> Scene:
        """The scene at a time of the drive, 0 being its beginning."""
        rows = np.concatenate([self._rows(lane, time_us) for lane in self._lanes])
        which = np.concatenate([lane.which for lane in self._lanes])
        ego = rows[AHEAD]  # its lane comes first
        near = _near(rows, ego)
        near[AHEAD] = False
        boxes = np.column_stack((rows[:, [PX, PY, PZ]], self._sizes[which], rows[:, PYAW]))
        boxes[:, 2] += boxes[:, 5] / 2
        around = _near(self._still, ego)
        return Scene(
            time_us,
            self.ego_pose(time_us),
            (float(ego[PVX]), float(ego[PVY])),
            float(ego[PRATE]),
            Actors(
                np.flatnonzero(near),
                self._names[which[near]],
                boxes[near],
                rows[near][:, [PVX, PVY]],
            ),
            Placed(
                np.concatenate((rows[near], self._still[around])),
                np.concatenate((which[near], self._still_which[around])),
                np.concatenate(
                    (np.arange(near.sum()), np.full(around.sum(), NOBODY)), dtype=np.int32
                ),
                int(near.sum()),
            ),
            self.shapes,
        )

    def _rows(self, lane: Lane, time_us: int) -> Floats:
        """What is in a lane, as `infer.drives.rays.cast` takes it."""
        along, speed = lane.file.at(time_us)
        where = lane.begin + lane.way * along
        rows = np.zeros((len(along), PLACED_FIELDS))
        x, y, heading = self.street.place(where, lane.aside)
        bend = self.street.bend(where)
        over_ground = lane.way * speed * (1 - bend * lane.aside)
        rows[:, PX], rows[:, PY], rows[:, PZ] = x, y, lane.height
        rows[:, PYAW] = heading + (np.pi if lane.way < 0 else 0.0)
        rows[:, PVX], rows[:, PVY] = over_ground * np.cos(heading), over_ground * np.sin(heading)
        rows[:, PRATE] = bend * speed * lane.way
        return rows

    def _driven(self, rng: np.random.Generator, along: Floats, way: float, begin: float) -> Lane:
        """A lane of vehicles, the first of which slows down and stops now and then."""
        which = self.catalogue.some(rng, VEHICLES, len(along))
        lengths = np.array([self.catalogue.models[k].size[0] for k in which])
        times = np.arange(int(np.ceil(self.seconds / traffic.STEP_S)) + 2) * traffic.STEP_S
        waves = times / float(rng.uniform(20, 40)) + float(rng.random())
        share = np.clip(0.8 + 0.9 * np.sin(2 * np.pi * waves), 0.0, 1.0)
        wanted = rng.uniform(*WANTED_M_S, len(along))
        file = traffic.driven(along, lengths, wanted, share)
        return Lane(file, which, -way * LANE_M / 2, way, begin)

    def _oncoming(self, rng: np.random.Generator) -> Lane:
        length = self.end_m + MARGIN_M + self.seconds * WANTED_M_S[1]
        return self._driven(rng, -_scattered(rng, 0.0, length, GAP_M), -1.0, -MARGIN_M)

    def _cyclists(self, rng: np.random.Generator, way: float) -> Lane:
        speed = float(rng.uniform(4.0, 6.5))
        along, begin = self._along(rng, way, speed, (25.0, 90.0))
        which = self.catalogue.some(rng, {"cyclist": 1.0}, len(along))
        return Lane(traffic.constant(along, speed), which, -way * CYCLED_M, way, begin)

    def _walkers(self, rng: np.random.Generator, side: float, from_kerb: float) -> Lane:
        """One file of a pavement, which goes either way or stands."""
        way, speed = float(rng.choice((-1.0, 1.0))), float(rng.choice((0.0, 1.1, 1.4, 1.7)))
        along, begin = self._along(rng, way, speed, (8.0, 50.0))
        which = self.catalogue.some(rng, {"pedestrian": 1.0}, len(along))
        aside = side * (KERB_M + from_kerb)
        file = traffic.constant(along, speed)
        return Lane(file, which, aside, way, begin, KERB_HEIGHT_M)

    def _parked(self, rng: np.random.Generator, way: float) -> Lane:
        along = np.arange(-MARGIN_M, self.end_m, 6.6)
        along = along[rng.random(len(along)) < 0.5]
        along += rng.uniform(-0.25, 0.25, len(along))
        which = self.catalogue.some(rng, PARKED, len(along))
        return Lane(traffic.constant(way * along, 0.0), which, -way * PARKED_M, way)

    def _along(
        self, rng: np.random.Generator, way: float, speed: float, gaps: tuple[float, float]
    ) -> tuple[Floats, float]:
        """Places of a file that fills the street for as long as the drive goes on, and its 0."""
        along = _scattered(rng, -MARGIN_M - speed * self.seconds, self.end_m, gaps)
        return along, 0.0 if way > 0 else self.end_m - MARGIN_M


def _scattered(
    rng: np.random.Generator, low: float, high: float, gaps: tuple[float, float]
) -> Floats:
    """Places from `low` to `high` with random gaps between."""
    steps = rng.uniform(*gaps, int((high - low) / gaps[0]) + 1)
    places = low + np.cumsum(steps)
    kept: Floats = places[places < high]
    return kept


def _near(rows: Floats, ego: Floats) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.hypot(rows[:, PX] - ego[PX], rows[:, PY] - ego[PY]) < AROUND_M
    return near
