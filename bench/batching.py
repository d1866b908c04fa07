"""Frames on time with pieces of one model run together where nobody pays for it, and one by one.

In virtual time, on two devices: two players (a frame takes 4.5 ms of each device, every 33 ms) and
cameras, each of which sends a picture 30 times a second through the same model, due after 100 ms.
The model takes 4 ms for each call and 1 ms for each picture in it; one by one the devices carry
some ten cameras beside the players. "One by one" and "together" get the same sessions and seeds;
what is refused, never opened or not whole is missed.

Predicted before it was measured: no difference while one by one carries all; twice the pictures on
time with 24 cameras; players never worse than one by one, because a batch keeps to the quantum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report import Report, arguments
from mesh.core.workload import Contract, Criticality
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

CALL_US, PICTURE_US = 4_000, 1_000
DEVICES, PLAYERS = 2, 2
CAMERAS = (4, 8, 12, 16, 24, 32)
WARM_US = 3_000_000
PLAYER = SessionModel(
    Contract(33_333, 33_333, criticality=Criticality.INTERACTIVE),
    kind="tile",
    pieces=DEVICES,
    units=4.5,
    out_bytes=100_000,
)
CAMERA = SessionModel(
    Contract(33_333, 100_000), kind="picture", pieces=1, units=1.0, out_bytes=2_000, model="net"
)


@dataclass(frozen=True, slots=True)
class Missed:
    """Percent of the frames due, by kind of session."""

    players: float
    cameras: float


def missed(cameras: int, *, together: bool, seed: int, run_us: int) -> Missed:
    """Live through one mix."""
    device = DeviceModel(PICTURE_US, call_us=CALL_US, batches=together)
    mesh = SimulatedMesh([NodeModel((device,))] * DEVICES, seed=seed)
    players = [mesh.open_session(PLAYER) for _ in range(PLAYERS)]
    opened = []
    for number in range(cameras):
        # Cameras do not start at one instant, nor at equal distances.
        mesh.run(1 + number * 37_000 % 333_000 + mesh.world.now_us)
        opened.append(mesh.open_session(CAMERA))
    mesh.run(WARM_US + run_us + 100_000)
    return Missed(_missed(players, run_us), _missed(opened, run_us))


def _missed(sessions: Sequence[SimSession], run_us: int) -> float:
    due = whole = 0
    for session in sessions:
        due += run_us // session.model.contract.period_us
        whole += sum(
            not closed.missing and WARM_US <= closed.opened_us < WARM_US + run_us
            for closed in session.shown
        )
    return 100.0 * max(0, due - whole) / due


def main() -> None:
    options = arguments(__doc__)
    seeds, run_us = (range(1), 4_000_000) if options.quick else (range(5), 10_000_000)
    report = Report(
        "batching",
        config={"call_us": CALL_US, "picture_us": PICTURE_US, "devices": DEVICES},
        seeds=list(seeds),
    )
    rows: list[list[str | float]] = []
    for cameras in CAMERAS:
        found = {
            way: [missed(cameras, together=way, seed=seed, run_us=run_us) for seed in seeds]
            for way in (False, True)
        }
        means = {
            way: (fmean(m.players for m in runs), fmean(m.cameras for m in runs))
            for way, runs in found.items()
        }
        rows.append([cameras, *means[False], *means[True]])
        for way, name in ((False, "alone"), (True, "together")):
            report.figure(f"players_missed_pct_{name}_{cameras}", means[way][0])
            report.figure(f"pictures_missed_pct_{name}_{cameras}", means[way][1])
    report.table(
        ["cameras", "one by one: players", "pictures", "together: players", "pictures missed %"],
        rows,
    )
    report.finish(options)


if __name__ == "__main__":
    main()
