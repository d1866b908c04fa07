"""Random scenarios by seed, and what every trace of devices must show.

FRAMEMESH_SCENARIOS sets how many seeds are tried (default 1,000); FRAMEMESH_SEED names a single
one. A failure says which command replays it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol

import pytest

from mesh.schedule.ids import CANCELLED, DeviceKey, PieceKey


class EachSeed(Protocol):
    """Tries `scenario` with the seeds of one chunk, of 1/`share` of all."""

    def __call__(
        self, scenario: Callable[[int], None], *, chunk: int, chunks: int, share: int = 1
    ) -> None: ...


@pytest.fixture
def each_seed(request: pytest.FixtureRequest) -> EachSeed:
    test = request.node.nodeid.split("[")[0]

    def tries(scenario: Callable[[int], None], *, chunk: int, chunks: int, share: int = 1) -> None:
        count = int(os.environ.get("FRAMEMESH_SCENARIOS", "1000")) // share
        only = os.environ.get("FRAMEMESH_SEED")
        seeds = range(max(20, count)) if only is None else [int(only)]
        for seed in seeds:
            if seed % chunks != chunk:
                continue
            try:
                scenario(seed)
            except Exception as problem:
                problem.add_note(f"Replay it: FRAMEMESH_SEED={seed} python -m pytest '{test}'")
                raise

    return tries


class DeviceBooks:
    """One device, from the notes of its queue alone."""

    def __init__(self) -> None:
        self.waiting: dict[PieceKey, int] = {}  # -> deadline
        self.running: PieceKey | None = None
        self.ran: set[PieceKey] = set()

    def enter(self, when_us: int, what: str, key: PieceKey, rest: Sequence[Any]) -> None:
        """Take a note in, and check what it says against those before."""
        if what == "queue":
            assert key not in self.waiting, "the same piece waits twice"
            self.waiting[key] = rest[0]
        elif what == "start":
            assert self.running is None, "two pieces run at once"
            assert key not in self.ran, "a device ran the same piece twice"
            deadline_us = self.waiting[key]
            assert when_us < deadline_us, "started after its deadline"
            assert deadline_us == min(self.waiting.values()), "a more urgent piece waits"
            del self.waiting[key]
            self.running = key
        elif what in ("end", "abandon"):
            assert self.running == key, "ended what did not run"
            self.ran.add(key)
            self.running = None
        elif what in ("drop", "late"):
            del self.waiting[key]

    def killed(self) -> None:
        """The process is dead, with all it had."""
        self.waiting.clear()
        self.running = None


class FrameBooks:
    """The frames of all gateways: when closed, and which devices were told so."""

    def __init__(self) -> None:
        self.closed: set[tuple[str, int]] = set()
        self.measuring: set[tuple[DeviceKey, PieceKey]] = set()  # probes
        self.told: set[tuple[DeviceKey, PieceKey]] = set()
        self.kept: set[tuple[DeviceKey, str]] = set()  # see `_begun`
        self.credited: set[PieceKey] = set()
        self.abandoned: set[tuple[DeviceKey, PieceKey]] = set()

    def enter(self, what: str, device: DeviceKey, key: PieceKey, rest: Sequence[Any]) -> None:
        """Take a note in, and check what it says against those before."""
        if what == "send":
            assert (key.session, key.frame) not in self.closed, "sent for a closed frame"
            if rest[0]:
                self.measuring.add((device, key))
        elif what == "cancel":
            self.told.add((device, key))
        elif what == "abandon":
            self.abandoned.add((device, key))
        elif what == "start" and (key.session, key.frame) in self.closed:
            self._begun(device, key)
        elif what in ("result", "refused"):
            told = what == "refused" and rest[0] == CANCELLED
            assert told or (device, key) not in self.abandoned, "made what it had abandoned"
            self.kept.discard((device, key.session))
            if rest[0] == "accepted":
                assert (key.session, key.frame) not in self.closed, "accepted for a closed frame"
                assert key not in self.credited, "credited twice"
                self.credited.add(key)

    def _begun(self, device: DeviceKey, key: PieceKey) -> None:
        """Word of a frame's closing takes its way: only what it has not reached may still begin.

        Not called back is what measures a device, and the one piece that a silent device is
        thought to run: its answer is the sign of life.
        """
        if (device, key) not in self.told and (device, key) not in self.measuring:
            assert (device, key.session) not in self.kept, "executed after its frame closed"
            self.kept.add((device, key.session))


ON_DEVICES = {
    *("queue", "start", "end", "abandon", "drop", "late"),
    *("send", "cancel", "result", "refused"),
}


def check_trace(trace: Sequence[tuple[Any, ...]]) -> set[PieceKey]:
    """What must hold on every device at every instant. Returns the pieces credited.

    Devices start what is due first, one at a time, never late, never what is closed or runs again,
    and never rest while something waits; what begins ends, unless the process is killed.
    """
    devices: dict[DeviceKey, DeviceBooks] = {}
    frames = FrameBooks()
    for when_us, notes in groupby(trace, key=lambda note: note[0]):
        for _, what, *facts in notes:
            if what in ("show", "refuse"):
                frames.closed.add((facts[0], facts[1]))
            elif what == "kill":
                for device in _of_node(devices, facts[0]):
                    device.killed()
            elif what in ON_DEVICES:
                name, key, rest = DeviceKey(*facts[:2]), PieceKey(*facts[2:6]), facts[6:]
                frames.enter(what, name, key, rest)
                devices.setdefault(name, DeviceBooks()).enter(when_us, what, key, rest)
        for device in devices.values():
            assert device.running or not device.waiting, "a device rests while pieces wait"
    for device in devices.values():
        assert device.running is None, "what began has not ended"
        assert not device.waiting, "a piece waits for ever"
    return frames.credited


def _of_node(devices: dict[DeviceKey, DeviceBooks], node: str) -> Iterator[DeviceBooks]:
    return (books for device, books in devices.items() if device.node == node)


@pytest.fixture
def checks_trace() -> Callable[[Sequence[tuple[Any, ...]]], set[PieceKey]]:
    return check_trace
