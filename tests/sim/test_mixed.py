"""Pictures and sweeps on the same two workers, as in bench/both.py, in virtual time.

A picture is 12 tiles, 15 times a second, with two periods to its deadline; a sweep is two sectors
of 2.2 ms, five times a second, with half a picture's period. In order of arrival a sweep waits
behind all tiles before it; by deadline, behind the one that runs. One rate is a multiple of the
other, so the sweeps' phase is swept, or chance would decide once for all how the two meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mesh.core.workload import Contract
from mesh.schedule.ids import DeviceKey
from mesh.schedule.ledger import ClosedFrame
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

PICTURE_US, SWEEP_US = 66_667, 200_000  # periods
SECTOR_US = 2_200
WARM_US = 2_000_000  # since the mesh began
RUN_US = 4_000_000
STILL_OPEN_US = 2 * PICTURE_US
PHASES_US = range(0, PICTURE_US, PICTURE_US // 7)


def start(tile_us: int, policy: str, phase_us: int) -> tuple[SimulatedMesh, dict[str, SimSession]]:
    """Two workers that take so long for a tile, and both sessions, warm; the phase is the seed."""
    worker = NodeModel((DeviceModel(us_per_unit=tile_us, noise=0.2, warm_up_us=30_000),))
    mesh = SimulatedMesh([worker, worker], seed=phase_us, policy=policy)
    pictures = SessionModel(
        Contract(PICTURE_US, 2 * PICTURE_US), pieces=12, spread=0.3, out_bytes=29_000
    )
    sweeps = SessionModel(
        Contract(SWEEP_US, PICTURE_US // 2),
        kind="sector",
        pieces=2,
        units=SECTOR_US / tile_us,
        in_bytes=900_000,
        out_bytes=60_000,
    )
    sessions = {"pictures": mesh.open_session(pictures)}
    mesh.run(WARM_US // 4 + phase_us)
    sessions["sweeps"] = mesh.open_session(sweeps)
    mesh.run(WARM_US)
    return mesh, sessions


def opened(session: SimSession, from_us: int, until_us: int) -> list[ClosedFrame]:
    return [closed for closed in session.shown if from_us <= closed.opened_us < until_us]


@dataclass
class Missed:
    """Shares of the frames due that were not shown whole, over all phases."""

    due: dict[str, int] = field(default_factory=lambda: {"pictures": 0, "sweeps": 0})
    missed: dict[str, int] = field(default_factory=lambda: {"pictures": 0, "sweeps": 0})

    @classmethod
    def under(cls, policy: str, tile_us: int) -> Missed:
        total = cls()
        for phase_us in PHASES_US:
            mesh, sessions = start(tile_us, policy, phase_us)
            until_us = WARM_US + RUN_US
            mesh.run(until_us + STILL_OPEN_US)
            for name, session in sessions.items():
                due = RUN_US // session.model.contract.period_us
                whole = sum(not closed.missing for closed in opened(session, WARM_US, until_us))
                total.due[name] += due
                total.missed[name] += max(0, due - whole)
        return total

    def share(self, name: str) -> float:
        return self.missed[name] / self.due[name]


@pytest.mark.parametrize("tile_us", [5_500, 8_000], ids=["half loaded", "three quarters loaded"])
def test_by_deadline_no_sweep_is_late_by_arrival_many_are_and_pictures_pay_nothing(tile_us):
    ours, fifo = Missed.under("edf", tile_us), Missed.under("fifo", tile_us)
    assert ours.share("sweeps") == 0
    assert fifo.share("sweeps") >= 0.05
    assert ours.share("pictures") <= fifo.share("pictures")


def test_past_capacity_sweeps_still_come_and_pictures_pay_for_them_and_no_more():
    ours, fifo = Missed.under("edf", 12_000), Missed.under("fifo", 12_000)
    assert ours.share("pictures") >= 0.1, "this is no overload"
    assert ours.share("sweeps") <= 0.05
    assert fifo.share("sweeps") >= 0.25
    sweeps_us = 2 * SECTOR_US * (fifo.missed["sweeps"] - ours.missed["sweeps"])
    pictures = sweeps_us / (12 * 12_000)
    assert ours.missed["pictures"] <= 1.02 * fifo.missed["pictures"] + pictures


@pytest.mark.parametrize("phase_us", PHASES_US)
def test_a_worker_killed_under_both_costs_the_cycles_that_were_open_and_comes_back(phase_us):
    mesh, sessions = start(4_000, "edf", phase_us)  # one worker carries 12 tiles in 48 ms
    killed_us = WARM_US + phase_us
    mesh.run(killed_us)
    mesh.kill("node-2")
    noticed_us = killed_us + mesh.nodes["node-2"].model.link.delay_us
    mesh.run(killed_us + 1_000_000)
    mesh.restart("node-2")
    mesh.run(killed_us + 5_000_000)
    for session in sessions.values():
        check_order(session.shown)
        period_us = session.model.contract.period_us
        alone = opened(session, noticed_us, killed_us + 1_000_000)
        assert len(alone) >= (1_000_000 - period_us) // period_us
        assert sum(bool(closed.missing) for closed in alone) <= 1
        last = [maker for maker, us in session.merged.values() if us > killed_us + 4_000_000]
        assert last.count(DeviceKey("node-2", "0")) >= 0.3 * len(last)
    sweeps = opened(sessions["sweeps"], noticed_us, killed_us + 1_000_000)
    assert [closed.missing for closed in sweeps] == [()] * len(sweeps)


def check_order(shown: Sequence[ClosedFrame]) -> None:
    """Every frame once, in order."""
    frames = [closed.frame for closed in shown]
    assert frames == sorted(set(frames))
