"""One frame that a device froze under, and that was whole in time all the same: its record.

Four devices work for a game (30 Hz) and for a LiDAR (10 Hz) in mesh.sim. One node is stopped
(SIGSTOP: its sockets stay open, so nobody is told) while it runs pieces of a frame. What happened
is taken from the trace of the simulation; which seed is shown is found by search.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from mesh.core.workload import Contract, Criticality
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import ClosedFrame
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

NODES = 4
FROZEN = "node-3"
GAME = SessionModel(
    Contract(33_333, 22_000, criticality=Criticality.INTERACTIVE), "tile", pieces=12, units=3.0
)
LIDAR = SessionModel(
    Contract(100_000, 100_000, criticality=Criticality.CRITICAL), "sector", pieces=8, units=3.0
)
WARM_US = 2_500_000  # until all devices are known
SEEDS = range(1, 1_000)


@dataclass(slots=True)
class Bar:
    """One run of one piece. end_us: None if it had not ended when the record did."""

    device: DeviceKey
    key: PieceKey
    start_us: int
    end_us: int | None = None
    copy: bool = False  # another device had been asked for the piece before


@dataclass(frozen=True, slots=True)
class Mark:
    """An instant of the frame's: its answer comes into doubt, a copy is sent, one is cancelled."""

    what: str  # "doubt", "copy", "cancel"
    device: DeviceKey
    key: PieceKey
    at_us: int


@dataclass(slots=True)
class Rescue:
    """The record of one frame; instants of the simulation. whole_us: the last piece's answer."""

    seed: int
    devices: list[DeviceKey]
    session: str
    frame: int
    opened_us: int
    frozen_us: int
    whole_us: int
    deadline_us: int
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def is_shown(self, key: PieceKey) -> bool:
        """Whether the piece is of the frame that the record is about."""
        return (key.session, key.frame) == (self.session, self.frame)


class _Recorder:
    """Listens to what a simulation notes."""

    def __init__(self, mesh: SimulatedMesh) -> None:
        self.bars: list[Bar] = []
        self.marks: list[Mark] = []
        self._world, self._placer = mesh.world, mesh.gateways[0].placer
        self._note = mesh.world.note
        self._asked: dict[PieceKey, list[DeviceKey]] = {}
        mesh.world.note = self.note  # type: ignore[method-assign]

    def note(self, *facts: Any) -> None:
        """One thing that happened, as `World.note` has it."""
        self._note(*facts)
        if facts[0] in {"send", "start", "end", "cancel"}:
            device, key = DeviceKey(*facts[1:3]), PieceKey(*facts[3:7])
            getattr(self, f"_{facts[0]}")(device, key, self._world.now_us)

    def _send(self, device: DeviceKey, key: PieceKey, now_us: int) -> None:
        asked = self._asked.setdefault(key, [])
        for other in asked:
            # An answer may be in doubt before its date: its device may owe older ones.
            doubt_us = self._placer.doubt_us(key, other, now_us)
            self.marks.append(Mark("doubt", other, key, min(doubt_us, now_us)))
        if asked:
            self.marks.append(Mark("copy", device, key, now_us))
        asked.append(device)

    def _start(self, device: DeviceKey, key: PieceKey, now_us: int) -> None:
        self.bars.append(Bar(device, key, now_us, copy=self._asked[key][0] != device))

    def _end(self, device: DeviceKey, key: PieceKey, now_us: int) -> None:
        for bar in reversed(self.bars):
            if (bar.device, bar.key) == (device, key):
                bar.end_us = now_us
                return

    def _cancel(self, device: DeviceKey, key: PieceKey, now_us: int) -> None:
        self.marks.append(Mark("cancel", device, key, now_us))


def watch(seed: int) -> Rescue | None:
    """Freeze a node somewhere inside a frame. None if that frame was not rescued: nothing of it
    ran or waited there, or it was not whole in time.
    """
    chance = Random(f"{seed}/rescue")
    device = DeviceModel(1_000.0, noise=0.08, start_us=50)
    mesh = SimulatedMesh([NodeModel((device,))] * NODES, seed=seed)
    recorder = _Recorder(mesh)
    game = mesh.open_session(GAME)
    mesh.open_session(LIDAR)
    frozen_us = WARM_US + chance.randrange(GAME.contract.period_us)
    mesh.at(frozen_us, lambda: mesh.stop(FROZEN))
    mesh.run(frozen_us + 2 * GAME.contract.deadline_us)
    closed = _frame_at(game, frozen_us)
    if closed is None or closed.missing:
        return None
    rescue = Rescue(
        seed,
        [key for node in mesh.nodes.values() for key in node.devices],
        game.name,
        closed.frame,
        closed.opened_us,
        frozen_us,
        max(piece.answered_us for piece in closed.pieces),
        closed.cutoff_us,
    )
    rescue.marks = [mark for mark in recorder.marks if rescue.is_shown(mark.key)]
    rescue.bars = [
        bar
        for bar in recorder.bars
        if bar.start_us < closed.cutoff_us and (bar.end_us or closed.cutoff_us) > closed.opened_us
    ]
    return rescue if _is_rescued(rescue) else None


def find(seeds: Iterable[int] = SEEDS) -> Rescue:
    """The first seed whose frame was rescued. Raises LookupError if none was."""
    for seed in seeds:
        rescue = watch(seed)
        if rescue is not None:
            return rescue
    raise LookupError("no frame was rescued under any seed")


def _frame_at(session: SimSession, instant_us: int) -> ClosedFrame | None:
    """The frame that was being worked on."""
    return next(
        (each for each in session.shown if each.opened_us < instant_us < each.closed_us), None
    )


def _is_rescued(rescue: Rescue) -> bool:
    """Whether the frozen device ran a piece of the frame, owed another, and both came from
    elsewhere in time.
    """
    caught = [
        bar
        for bar in rescue.bars
        if bar.device.node == FROZEN and bar.end_us is None and rescue.is_shown(bar.key)
    ]
    copies = [mark for mark in rescue.marks if mark.what == "copy"]
    return bool(caught) and len(copies) >= 2 and rescue.whole_us < rescue.deadline_us
