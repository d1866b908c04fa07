"""The models of one drive: a few of each kind, which its things share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infer.drives import models
from infer.drives.solids import Colour, Model

Makers = dict[str, tuple[int, Callable[[np.random.Generator], Model]]]


@dataclass(slots=True)
class Catalogue:
    """Models by number; `kinds` says which are of a kind."""

    models: list[Model] = field(default_factory=list)
    kinds: dict[str, NDArray[np.int32]] = field(default_factory=dict)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Catalogue:
        """Of every kind as many as MAKERS says."""
        made = cls()
        for kind, (count, make) in MAKERS.items():
            made.kinds[kind] = made.add([make(rng) for _ in range(count)])
        return made

    def add(self, more: list[Model]) -> NDArray[np.int32]:
        """Their numbers."""
        first = len(self.models)
        self.models += more
        return np.arange(first, first + len(more), dtype=np.int32)

    def some(self, rng: np.random.Generator, kinds: dict[str, float], n: int) -> NDArray[np.int32]:
        """n models, of kinds as often as their shares say."""
        if n == 0:
            return np.zeros(0, np.int32)
        names = rng.choice(list(kinds), n, p=list(kinds.values()))
        chosen = [self.kinds[name][int(rng.integers(len(self.kinds[name])))] for name in names]
        return np.array(chosen, np.int32)


def _any(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _car(rng: np.random.Generator) -> Model:
    length = float(rng.uniform(3.7, 4.9))
    width = 1.30 + 0.105 * length + float(rng.uniform(-0.04, 0.04))
    return models.car(length, width, float(rng.uniform(1.42, 1.68)), _any(rng, models.PAINTS))


def _van(rng: np.random.Generator) -> Model:
    size = float(rng.uniform(4.9, 6.0)), float(rng.uniform(1.95, 2.05))
    return models.van(*size, float(rng.uniform(1.95, 2.5)), _any(rng, models.PAINTS))


def _truck(rng: np.random.Generator) -> Model:
    size = float(rng.uniform(7.0, 9.5)), 2.5, float(rng.uniform(3.1, 3.7))
    return models.truck(*size, _any(rng, models.PAINTS), _any(rng, models.PAINTS))


def _pedestrian(rng: np.random.Generator) -> Model:
    top, trousers = _any(rng, models.CLOTHES), _any(rng, models.CLOTHES)
    return models.pedestrian(float(rng.uniform(1.55, 1.9)), top, trousers)


def _cyclist(rng: np.random.Generator) -> Model:
    top, trousers = _any(rng, models.CLOTHES), _any(rng, models.CLOTHES)
    return models.cyclist(top, trousers, _any(rng, models.PAINTS))


def _house(rng: np.random.Generator) -> Model:
    size = float(rng.uniform(8, 16)), float(rng.uniform(7, 9)), int(rng.integers(2, 5))
    return models.house(*size, _any(rng, models.WALLS))


MAKERS: Makers = {
    "car": (16, _car),
    "van": (4, _van),
    "truck": (3, _truck),
    "pedestrian": (12, _pedestrian),
    "cyclist": (6, _cyclist),
    "house": (10, _house),
    "tree": (8, models.tree),
    "bush": (5, models.bush),
    "pole": (3, lambda rng: models.lamp_post(float(rng.uniform(5, 7)))),
    "sign": (1, lambda _: models.sign()),
    "bin": (4, lambda rng: models.bin_(_any(rng, models.CLOTHES))),
}
