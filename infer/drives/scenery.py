"""What stands along a street for ever: pavements, houses, trees, poles, signs, bins, bushes."""

from __future__ import annotations

import numpy as np

from infer.drives.catalogue import Catalogue
from infer.drives.models import slab
from infer.drives.rays import PLACED_FIELDS, PX, PY, PYAW, PZ
from infer.drives.solids import Floats
from infer.drives.street import Street

LANE_M = 3.5
KERB_M = 6.0  # from the street's middle: a lane, a cyclist's share, a row of parked cars
PAVEMENT_M = 3.6
KERB_HEIGHT_M = 0.12
STEP_M = 6.0  # of pavements along the street

# How often each, and how far from the kerb.
FURNITURE = {
    "tree": (0.35, 0.55),
    "pole": (0.20, 0.35),
    "sign": (0.15, 0.45),
    "bin": (0.15, PAVEMENT_M - 0.4),
    "bush": (0.15, PAVEMENT_M - 0.6),
}
FACING = ("pole", "sign")  # the street, or who drives by


class Scenery:
    """Everything along a street from `begin` to `end`: `which` models, and `rows` of where they
    stand, as `infer.drives.rays.Placed` has them. Pieces of pavement are added to the catalogue.
    """

    def __init__(
        self, street: Street, ends: tuple[float, float], catalogue: Catalogue,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.which: list[int] = []
        self.rows: list[Floats] = []
        self._street, self._catalogue, self._rng = street, catalogue, rng
        begin, end = ends
        for side in (-1.0, 1.0):
            self._pavement(np.arange(begin, end + STEP_M, STEP_M), side)
            far = begin
            while far < end:
                far += self._house(far, side)
            far = begin + float(rng.uniform(0, 10))
            while far < end:
                far += self._furniture(far, side)

    def _add(self, model: int, x: float, y: float, z: float, yaw: float) -> None:
        row = np.zeros(PLACED_FIELDS)
        row[PX], row[PY], row[PZ], row[PYAW] = x, y, z, yaw
        self.which.append(model)
        self.rows.append(row)

    def _pavement(self, edges: Floats, side: float) -> None:
        place = self._street.place
        inner = np.stack(place(edges, side * KERB_M)[:2], axis=1)
        outer = np.stack(place(edges, side * (KERB_M + PAVEMENT_M))[:2], axis=1)
        corners = np.stack((inner[:-1], inner[1:], outer[1:], outer[:-1]), axis=1)
        middles = corners.mean(axis=1)
        slabs = [slab(own, KERB_HEIGHT_M) for own in corners - middles[:, None]]
        numbers = self._catalogue.add(slabs).tolist()
        for model, (x, y) in zip(numbers, middles.tolist(), strict=True):
            self._add(model, x, y, 0.0, 0.0)

    def _house(self, far: float, side: float) -> float:
        """Returns how much of the street it takes."""
        model = int(self._catalogue.some(self._rng, {"house": 1.0}, 1)[0])
        length, depth, _ = self._catalogue.models[model].size
        garden = float(self._rng.choice((0.2, 0.4, 3.0)))
        aside = side * (KERB_M + PAVEMENT_M + garden + depth / 2)
        x, y, heading = self._street.place(far + length / 2, aside)
        self._add(model, float(x), float(y), 0.0, float(heading))
        return length + float(self._rng.choice((0.2, 0.5, 4.0, 9.0)))

    def _furniture(self, far: float, side: float) -> float:
        """Returns how far the next one is."""
        kinds, shares = list(FURNITURE), [share for share, _ in FURNITURE.values()]
        kind = str(self._rng.choice(kinds, p=shares))
        model = int(self._catalogue.some(self._rng, {kind: 1.0}, 1)[0])
        x, y, heading = self._street.place(far, side * (KERB_M + FURNITURE[kind][1]))
        turn = np.pi if kind in FACING and side > 0 else 0.0
        self._add(model, float(x), float(y), KERB_HEIGHT_M, float(heading) + turn)
        return float(self._rng.uniform(6, 16))
