"""The product's own schedule on given arrivals: real drivers, placer and device queues, simulated
links and devices, in virtual time. It knows nothing but what its messages tell it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.policies.central import Costs
from mesh.core.workload import FULL_QUALITY, Contract, Rung
from mesh.sim.arrivals import Job, JobClass
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

TENANTS = 4  # sessions per class
WARM_ROUNDS = 12
WARM_STEP_US = 30_000
REST_US = 2_000_000


@dataclass(slots=True)
class Outcome:
    """missed: numbers of the jobs that were not whole on time. quality: of those that were."""

    missed: set[int] = field(default_factory=set)
    quality: dict[int, float] = field(default_factory=dict)


def serve(
    jobs: Sequence[Job],
    costs: Costs,
    speeds: Sequence[float],
    seed: int,
    ladder: tuple[Rung, ...] = FULL_QUALITY,
) -> Outcome:
    """Let the jobs arrive at a warm mesh; they are frames of TENANTS sessions for each class."""
    mesh = SimulatedMesh(
        [
            NodeModel(
                (DeviceModel(1000.0 / speed, noise=costs.noise, start_us=costs.start_us),),
                prepare_us=1_000,
            )
            for speed in speeds
        ],
        seed=seed,
    )
    gateway = mesh.gateways[0]
    classes = sorted({job.job_class for job in jobs}, key=lambda each: each.deadline_us)
    sessions = {
        (each, tenant): mesh.open_session(_model(each, costs, jobs[0], ladder))
        for each in classes
        for tenant in range(TENANTS)
    }
    mesh.run(100_000)
    for _ in range(WARM_ROUNDS):
        for session in sessions.values():
            gateway.demand(session)
            mesh.run(mesh.world.now_us + WARM_STEP_US)
    start_us = mesh.world.now_us + REST_US
    outcome = Outcome()
    frames: dict[tuple[str, int], int] = {}

    def arrive(job: Job) -> None:
        session = sessions[job.job_class, job.number % TENANTS]
        frame = gateway.demand(session)
        if isinstance(frame, str):
            outcome.missed.add(job.number)
        else:
            frames[session.name, frame] = job.number

    for job in jobs:
        mesh.at(start_us + job.at_us, lambda job=job: arrive(job))  # type: ignore[misc]
    mesh.run(start_us + jobs[-1].at_us + max(each.deadline_us for each in classes) + 100_000)
    for session in sessions.values():
        _judge(session, frames, ladder, outcome)
    return outcome


def _model(each: JobClass, costs: Costs, job: Job, ladder: tuple[Rung, ...]) -> SessionModel:
    pieces = costs.pieces(Job(job.number, job.at_us, each))
    return SessionModel(
        Contract(1, each.deadline_us, "input", holes=False, ladder=ladder),
        kind=each.name,
        pieces=pieces,
        units=each.work_us / 1000 / pieces,
        in_bytes=1_000,
        out_bytes=5_000,
        max_in_flight=1 << 30,
    )


def _judge(
    session: SimSession,
    frames: dict[tuple[str, int], int],
    ladder: tuple[Rung, ...],
    outcome: Outcome,
) -> None:
    for closed in (*session.shown, *session.refused):
        number = frames.get((session.name, closed.frame))
        if number is None:
            continue  # of the warm-up
        if closed.missing:
            outcome.missed.add(number)
        else:
            outcome.quality[number] = ladder[session.rungs.get(closed.frame, 0)].quality
