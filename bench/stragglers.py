"""What a second copy of a late piece is worth: one piece in a hundred takes ten times as long, with
hedging and without, in virtual time.

Two kinds of device: those that abandon what nobody wants any more (a piece whose copy has come is
given up within half a millisecond: mesh.core.workload.Abandonable), and those that finish what they
have begun, so that a straggler holds its device whatever is decided. The figures kept are of those
that abandon. Extra work is the device time of copies, to their end or until they are abandoned.
Part of bench.schedule, which keeps its figures; alone, `python -m bench.stragglers [--quick]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any
from unittest import mock

from bench.policies.central import NOISE, QUANTUM_US, START_US
from bench.report import Report, arguments
from mesh.core.workload import Contract
from mesh.schedule.placement import Placer
from mesh.sim.gateway import SessionModel
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

STALL, STALL_FACTOR = 0.01, 10.0
SEEDS = (1, 2, 3, 4, 5)
SECONDS = 60  # of each run; a fifth of it is enough for a look
KINDS = {"abandon": 500, "finish": 0}  # devices -> DeviceModel.abandon_us
REST_US = 2_000_000  # until all devices are known


@contextmanager
def no_hedging() -> Any:
    """The same schedule, which never asks a second device."""
    with mock.patch.object(Placer, "hedge", lambda *_, **__: None):
        yield


def straggle(pieces: int, seed: int, seconds: int, abandon_us: int = 0) -> tuple[list[int], float]:
    """Frame times of a session on 4 devices at half load, and the extra work in percent."""
    device = DeviceModel(
        QUANTUM_US,
        noise=NOISE,
        stall=STALL,
        stall_factor=STALL_FACTOR,
        start_us=START_US,
        abandon_us=abandon_us,
    )
    mesh = SimulatedMesh([NodeModel((device,), prepare_us=1_000)] * 4, seed=seed, keep_trace=True)
    period_us = round(pieces * QUANTUM_US / 4 / 0.5)
    contract = Contract(period_us, 400_000, holes=False)
    session = mesh.open_session(
        SessionModel(contract, pieces=pieces, out_bytes=5_000, max_in_flight=1 << 20)
    )
    mesh.run(seconds * 1_000_000)
    times = [
        max(piece.answered_us for piece in closed.pieces) - closed.opened_us
        for closed in session.shown
        if not closed.missing and closed.opened_us > REST_US
    ]
    wanted_us = pieces * (len(session.shown) + len(session.refused)) * QUANTUM_US
    return times, 100.0 * copied_us(mesh.world.trace) / wanted_us


def copied_us(trace: Sequence[tuple[Any, ...]]) -> int:
    """Device time of pieces that another device had begun before."""
    total_us = 0
    first: dict[tuple[Any, ...], str] = {}  # piece -> node
    began_us: dict[tuple[Any, ...], int] = {}  # of copies, by node and piece
    for now_us, what, *facts in trace:
        if what in ("start", "end", "abandon"):
            node, _, *key = facts
            if what != "start":
                total_us += now_us - began_us.pop((node, *key), now_us)
            elif first.setdefault(tuple(key), node) != node:
                began_us[node, *key] = now_us
    return total_us


def p999(times: Sequence[int]) -> int:
    """The 99.9th percentile."""
    return sorted(times)[min(len(times) - 1, int(0.999 * len(times)))]


def hedging(report: Report, seeds: Sequence[int], seconds: int) -> None:
    """Both cuts on both kinds of device, with and without; keeps the figures."""
    rows: list[list[str | float]] = []
    kept: list[float] = []
    for pieces in (4, 8):
        plain: list[int] = []
        for seed in seeds:
            with no_hedging():
                plain += straggle(pieces, seed, seconds)[0]
        for kind, abandon_us in KINDS.items():
            hedged: list[int] = []
            extra: list[float] = []
            for seed in seeds:
                times, extra_pct = straggle(pieces, seed, seconds, abandon_us)
                hedged += times
                extra.append(extra_pct)
            gain = p999(plain) / p999(hedged)
            row = [p999(plain) / 1000, p999(hedged) / 1000, gain, fmean(extra)]
            rows.append([f"{pieces} on 4", kind, *row])
            if abandon_us:
                report.figure(f"hedge_p999_gain_{pieces}on4", gain)
                kept += extra
    print("\n1 % of pieces take 10 times as long, load 0.5: p99.9 of frame times, ms")
    report.table(["pieces", "devices", "without", "with", "gain", "extra work %"], rows)
    report.figure("hedge_extra_work_pct", fmean(kept))


def main() -> None:
    options = arguments(__doc__)
    seeds = SEEDS[:1] if options.quick else SEEDS
    report = Report("stragglers", config={"stall": STALL, "factor": STALL_FACTOR}, seeds=seeds)
    hedging(report, seeds, SECONDS // 5 if options.quick else SECONDS)
    report.finish(options)


if __name__ == "__main__":
    main()
