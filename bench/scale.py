"""How far the schedule goes: 10,000 nodes, 1,000 sessions and a million pieces, in virtual time.

The real drivers, placers, pools, ledgers and device queues, on invented machines, in one process.
No gateway looks at all nodes for a frame, and none knows what the others chose: a session holds at
most 16 devices, the best of a random draw, by how many sessions each of the drawn says it holds.
Devices differ in speed by two to one, and work a third of the time.

Reported: wall and processor time, pieces made, resident memory at its highest, the busiest device's
time beside the mean of all, frames missed (both of what is due from a second after the start, when
the sessions have found their devices) and decisions per piece made: placements with every copy, and
candidates asked. Equal seeds give equal trace hashes.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time

from bench.report import Report, arguments
from mesh.sim.capacity import Run
from mesh.sim.scenario import NodeClass, Scenario, SessionClass

FULL = (10_000, 1_002)  # nodes, sessions
QUICK = (500, 51)
SPEEDS = {"slow": 0.7, "middling": 1.0, "fast": 1.4}
SESSIONS_PER_GATEWAY = 50
DURATION_S = 2.5
WARM_UP_S = 1.0


def scenario(nodes: int, sessions: int) -> Scenario:
    """Nodes of three speeds; three kinds of sessions, each with work for three or four of them."""

    def kind(name: str, period_ms: float, deadline_ms: float, pieces: int) -> SessionClass:
        return SessionClass(
            name=name,
            count=sessions // 3,
            period_ms=period_ms,
            deadline_ms=deadline_ms,
            work_ms=9.6 * pieces,
            pieces=pieces,
            varies=0.3,
            bytes_out=20_000 * pieces,
        )

    return Scenario(
        nodes=tuple(
            NodeClass(name=name, count=nodes // 3 + (index < nodes % 3), speed=speed)
            for index, (name, speed) in enumerate(SPEEDS.items())
        ),
        sessions=(
            kind("game", 33.333, 66.667, 12),
            kind("tour", 50.0, 100.0, 20),
            kind("sweep", 100.0, 100.0, 40),
        ),
        duration_s=DURATION_S,
        warm_up_s=WARM_UP_S,
        gateways=max(1, sessions // SESSIONS_PER_GATEWAY),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    options = arguments(__doc__, parser=parser)
    nodes, sessions = QUICK if options.quick else FULL
    report = Report("scale", config={"nodes": nodes, "sessions": sessions}, seeds=[options.seed])
    began = time.perf_counter()
    run = Run(scenario(nodes, sessions), options.seed)
    gc.disable()  # nothing here is garbage in cycles, and walking it all took 2/5 of the time
    run.live()
    outcome = run.outcome
    wall_s = time.perf_counter() - began

    report.table(
        ("sessions", "count", "frames due", "missed %", "p50 ms", "p99 ms"),
        [(r.name, r.sessions, r.due, r.missed_pct, r.p50_ms, r.p99_ms) for r in outcome.sessions],
    )
    report.table(
        ("nodes", "devices", "busy %", "busiest %"),
        [(r.name, r.devices, r.busy_pct, r.busiest_pct) for r in outcome.nodes],
    )
    print(f"\ntrace {outcome.trace_hash}")
    due = sum(result.due for result in outcome.sessions)
    report.figure("wall_s", wall_s)
    report.figure("cpu_s", time.process_time())
    report.figure("pieces", outcome.pieces)
    report.figure("cpu_us_per_piece", 1e6 * time.process_time() / outcome.pieces)
    report.figure("rss_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
    report.figure("max_to_mean_load", outcome.max_to_mean_load)
    report.figure("miss_pct", 100.0 * sum(r.missed for r in outcome.sessions) / due)
    report.figure("decisions_per_piece", outcome.decisions / outcome.pieces)
    report.finish(options)


if __name__ == "__main__":
    main()
