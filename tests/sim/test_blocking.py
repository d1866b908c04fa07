"""A headset's frames beside long pieces of a sweep, on the same two devices, in virtual time.

A frame of the headset needs 2.5 ms on each device, every 11.1 ms. A sweep needs 30 ms on each, in
one piece if nobody says otherwise: whatever the order of the queues, a frame that comes meanwhile
waits for up to 30 ms.
"""

from __future__ import annotations

import pytest

from mesh.core.workload import Contract, Criticality
from mesh.schedule.quantum import longest_us
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

HEADSET = SessionModel(
    Contract(11_100, 11_100, criticality=Criticality.INTERACTIVE),
    kind="eye",
    pieces=2,
    units=2.5,
    out_bytes=20_000,
)
SWEEP_US = 100_000
WARM_US, RUN_US = 2_000_000, 5_000_000


def sweeps(*, splits: bool) -> SessionModel:
    return SessionModel(
        Contract(SWEEP_US, SWEEP_US), kind="sector", pieces=2, units=30.0, splits=splits
    )


def live(*models: SessionModel, seed: int) -> list[SimSession]:
    """Sessions on two devices, a unit of work a millisecond, each start 0.3 ms."""
    node = NodeModel((DeviceModel(us_per_unit=1_000.0, start_us=300),))
    mesh = SimulatedMesh([node, node], seed=seed)
    sessions = [mesh.open_session(model) for model in models]
    mesh.run(WARM_US + RUN_US + SWEEP_US)
    return sessions


def whole(session: SimSession) -> float:
    """Share of the frames due that were shown whole."""
    due = RUN_US // session.model.contract.period_us
    until_us = WARM_US + RUN_US
    shown = [c for c in session.shown if WARM_US <= c.opened_us < until_us and not c.missing]
    return len(shown) / due


def longest_piece_us(session: SimSession) -> int:
    return max(
        piece.run_us
        for closed in session.shown
        if closed.opened_us >= WARM_US
        for piece in closed.pieces
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_quantum_keeps_long_pieces_from_blocking_short_frames(seed):
    headset, blocking = live(HEADSET, sweeps(splits=False), seed=seed)
    assert whole(headset) < 0.85, "nobody was blocked"
    headset, cut = live(HEADSET, sweeps(splits=True), seed=seed)
    assert whole(headset) > 0.99
    assert whole(cut) >= whole(blocking) > 0.99
    # Noise aside, no piece is longer than the quantum.
    assert longest_piece_us(cut) < 1.2 * longest_us(SWEEP_US, 11_100)


def test_a_session_alone_is_cut_into_no_more_pieces_than_it_has():
    (alone,) = live(sweeps(splits=True), seed=1)
    assert {len(closed.pieces) for closed in alone.shown} == {2}
