"""A link as the schedule feels it: an ordered byte stream with delay, jitter, loss, bandwidth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mesh.sim.world import World


@dataclass(frozen=True, slots=True)
class LinkModel:
    """One direction. Loss shows as delay, because the transport repeats what was lost.

    jitter_us: standard deviation of a half-normal addition. loss: chance per message that it
    comes one `repeat_us` late (and again, and again). bytes_per_s: 0 for unlimited.
    """

    delay_us: int = 200
    jitter_us: int = 50
    loss: float = 0.0
    repeat_us: int = 20_000
    bytes_per_s: float = 1.25e8


class SimLink:
    """One direction of a link: what goes in first comes out first (head-of-line blocking)."""

    def __init__(self, world: World, model: LinkModel, random: Random) -> None:
        self._world = world
        self._model = model
        self._random = random
        self._free_us = 0  # when the wire has taken all that was sent
        self._last_us = 0  # when the last message arrives

    def send(self, nbytes: int, arrives: Callable[[], None]) -> None:
        """Call `arrives` when a message of that size would have arrived."""
        model, now_us = self._model, self._world.now_us
        wire_us = round(nbytes * 1e6 / model.bytes_per_s) if model.bytes_per_s else 0
        self._free_us = max(self._free_us, now_us) + wire_us
        delay_us = model.delay_us + round(abs(self._random.gauss(0.0, model.jitter_us)))
        while self._random.random() < model.loss:
            delay_us += model.repeat_us
        self._last_us = max(self._last_us, self._free_us + delay_us)
        self._world.at(self._last_us, arrives)
