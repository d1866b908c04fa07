"""Virtual time: events in order, randomness from one seed, and a hash of all that happened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

import msgspec

_encode = msgspec.msgpack.Encoder().encode


class World:
    """A clock that jumps from event to event. Equal seeds give equal traces."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        """keep_trace: also keep every note in `trace`."""
        self.seed = seed
        self.trace: list[tuple[object, ...]] = []  # (now_us, *facts)
        self._keep_trace = keep_trace
        self.now_us = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._hash = hashlib.sha256()

    def at(self, when_us: int, happens: Callable[[], None]) -> None:
        """Let something happen at an instant (now, if that has passed).

        Simultaneous events happen in the order they were asked for.
        """
        self._scheduled += 1
        heappush(self._events, (max(when_us, self.now_us), self._scheduled, happens))

    def after(self, delay_us: int, happens: Callable[[], None]) -> None:
        """Let something happen later."""
        self.at(self.now_us + delay_us, happens)

    def run(self, until_us: int) -> None:
        """Live through every event up to and including an instant; that is `now_us` then."""
        while self._events and self._events[0][0] <= until_us:
            self.now_us, _, happens = heappop(self._events)
            happens()
        self.now_us = max(self.now_us, until_us)

    def random(self, name: str) -> Random:
        """A stream of random numbers of its own for each part of the world, by name."""
        return Random(f"{self.seed}/{name}")  # noqa: S311  a seeded simulation, not a secret

    def note(self, *facts: object) -> None:
        """Enter something that happened into the trace: names and numbers."""
        self._hash.update(_encode((self.now_us, facts)))
        if self._keep_trace:
            self.trace.append((self.now_us, *facts))

    @property
    def trace_hash(self) -> str:
        """SHA-256 over everything noted so far."""
        return self._hash.hexdigest()
