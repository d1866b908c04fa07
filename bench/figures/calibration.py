"""Whether what the cost model states comes true: a stated 95th percentile covers 95 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sin, tau
from random import Random

from mesh.schedule.cost import CostModel
from mesh.schedule.ids import DeviceKey

STATED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
RUNS = 4_000
SETTLING = 200  # runs before any is judged
NOMINAL_US = 5_000
DRIFT_RUNS = 1_500  # in which a device warms and cools once
STEP_RUNS = 300
TOLERANCE = 0.02  # to either side, of what is stated


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes run times differ.

    spread: standard deviation of their logarithm. drift: by how much of its speed the device slows
    down and recovers. stalls: share of runs that take ten times as long. step: how many times as
    long every second stretch of STEP_RUNS takes.
    """

    name: str
    spread: float
    drift: float = 0.0
    stalls: float = 0.0
    step: float = 1.0

    def draw_us(self, number: int, units: float, chance: Random) -> float:
        """The run time of so many units."""
        run_us = NOMINAL_US * units * chance.lognormvariate(0.0, self.spread)
        run_us *= 1.0 + self.drift * sin(tau * number / DRIFT_RUNS) ** 2
        if number // STEP_RUNS % 2:
            run_us *= self.step
        return run_us * 10 if chance.random() < self.stalls else run_us


NOISES = (
    Noise("noise of 5 %", 0.05),
    Noise("noise of 40 %", 0.4),
    Noise("drift: twice as slow and back", 0.05, drift=1.0),
    Noise("stragglers: 1 % take 10 times", 0.05, stalls=0.01),
    Noise("throttling: steps of 1.6 times", 0.05, step=1.6),
    Noise("all of it", 0.2, drift=0.5, stalls=0.01, step=1.6),
)


def covered(noise: Noise, seeds: Sequence[int], runs: int = RUNS) -> list[float]:
    """For each of STATED, the share of runs that took no longer than was stated just before."""
    counts = [0] * len(STATED)
    device = DeviceKey("node", "0")
    for seed in seeds:
        chance, costs = Random(f"{seed}/{noise.name}"), CostModel()
        for number in range(SETTLING + runs):
            units = chance.uniform(0.5, 3.0)
            run_us = noise.draw_us(number, units, chance)
            if number >= SETTLING:
                for index, stated in enumerate(STATED):
                    counts[index] += run_us <= costs.predict_us(device, "tile", units, stated)
            costs.observe(device, "tile", units, round(run_us))
    return [count / (runs * len(seeds)) for count in counts]
