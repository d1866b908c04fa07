"""Past capacity, on random arrivals by seed: what is refused costs nothing, and work is conserved.

A quarter as many seeds as elsewhere: each takes four times as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from mesh.core.workload import Contract, Criticality, Rung
from mesh.schedule.ids import PieceKey
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

CHUNKS = 10
ENDS_US = 700_000
LADDERS = ((Rung(1.0, 1.0),), (Rung(1.0, 1.0), Rung(0.4, 0.5)))


def overload(seed: int) -> tuple[SimulatedMesh, list[SimSession]]:
    """Up to four classes of frames, whole or not at all, at up to three times what can be made."""
    random = Random(seed)
    speeds = [random.choice([2_000, 4_000, 8_000]) for _ in range(random.randint(1, 4))]
    noise, stall = random.choice([0.0, 0.1]), random.choice([0.0, 0.0, 0.02])
    mesh = SimulatedMesh(
        [NodeModel((DeviceModel(speed, noise, stall),), prepare_us=1_000) for speed in speeds],
        seed=seed,
        keep_trace=True,
    )
    sessions = []
    for _ in range(random.randint(1, 4)):
        contract = Contract(
            1,
            random.choice([15_000, 40_000, 120_000]),
            "input",
            criticality=random.choice(list(Criticality)),
            share=random.choice([0.5, 1.0, 2.0]),
            holes=random.random() < 0.3,
            ladder=random.choice(LADDERS),
        )
        pieces = random.randint(1, 6)
        model = SessionModel(contract, pieces=pieces, out_bytes=1_000, max_in_flight=1_000)
        sessions.append(mesh.open_session(model))
    rate = sum(1 / speed for speed in speeds) * random.uniform(0.5, 3.0)
    at_us, pieces = 50_000.0, [session.model.pieces for session in sessions]
    while at_us < ENDS_US:
        at_us += random.expovariate(rate / (sum(pieces) / len(pieces)))
        session = random.choice(sessions)
        mesh.at(round(at_us), lambda session=session: mesh.gateways[0].demand(session))
    mesh.run(ENDS_US + 2_000_000)
    return mesh, sessions


def check_refused(mesh: SimulatedMesh, sessions: list[SimSession]) -> None:
    """Of frames that are refused nothing ran but probes; what is shown whole is whole."""
    started = Counter(
        PieceKey(*facts[2:6]) for _, what, *facts in mesh.world.trace if what == "start"
    )
    probed = 0
    for session in sessions:
        assert len(session.shown) + len(session.refused) == session.driver.clock.opened
        probed += session.driver.counts.probes
        for closed in session.refused:
            probed -= sum(started[piece.key] for piece in closed.pieces)
        for closed in session.shown:
            if closed.missing and not session.model.contract.holes:
                assert closed.given_up or closed.closed_us >= closed.cutoff_us
    assert probed >= 0, "of refused frames nothing ran but probes"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_what_is_refused_costs_nothing_and_work_is_conserved(
    chunk: int, each_seed: Callable[..., None], checks_trace: Callable[..., set[PieceKey]]
) -> None:
    def scenario(seed: int) -> None:
        mesh, sessions = overload(seed)
        checks_trace(mesh.world.trace)
        check_refused(mesh, sessions)

    each_seed(scenario, chunk=chunk, chunks=CHUNKS, share=4)


def test_past_capacity_goodput_does_not_fall() -> None:
    whole = []
    for load in (1.0, 2.0, 4.0):
        mesh = SimulatedMesh([NodeModel((DeviceModel(4_000.0),), prepare_us=1_000)] * 4, seed=5)
        contract = Contract(1, 60_000, "input", holes=False)
        session = mesh.open_session(SessionModel(contract, out_bytes=1_000, max_in_flight=1_000))
        random, at_us = Random(5), 50_000.0
        while at_us < 4_000_000:
            at_us += random.expovariate(load / 4_000)
            mesh.at(round(at_us), lambda s=session, m=mesh: m.gateways[0].demand(s))
        mesh.run(5_000_000)
        whole.append(sum(not closed.missing for closed in session.shown))
    assert whole[1] >= 0.97 * whole[0]
    assert whole[2] >= 0.97 * whole[0]
