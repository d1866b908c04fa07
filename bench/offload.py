"""Three vehicles, two gateways, two workers: is there one answer to each sweep, in time?

Real processes on one machine, seven and their device processes; vehicles are given priority where
this user may give it, as they would not share a machine with the mesh. Each vehicle takes a sweep
each period (KITTI's, looped) and wants an answer before the deadline, which counts from just before
it asks until it has the answer in hand. After a third of the time a worker is killed (SIGKILL); it
is started again after half. After two thirds the gateway that is home to most is taken away by
`framemesh drain`.

answers_per_cycle: of every cycle of every vehicle, how many answers there were. handover_gap: the
most sweeps in a row that a vehicle had no gateway to send to. not_remote: the most cycles in a row
that the mesh did not answer in time, around the drain. Shares are of all cycles. The rate is the
slowest vehicle's, from its first cycle to its last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec

from bench.mixed import kitti
from bench.report import Report, arguments
from bench.vehicle import Log, Orders, Record
from bench.victim import free_port
from clients.cli.realm import admit, viewer_token
from clients.sdk.address import read_address
from clients.sdk.http import open_http
from mesh.core.errors import LinkLost
from mesh.core.home import NodeHome, Signer
from mesh.core.loop import monotonic_us
from mesh.core.membership import Role
from mesh.core.token import Scope

VEHICLES = 3
GATEWAYS, WORKERS = ("gateway-1", "gateway-2"), ("worker-1", "worker-2")
MARKS = ("remote", "local", "extrapolated")
SECONDS, QUICK_SECONDS = 300.0, 30.0
PATIENCE_S = 120.0
DRAIN_WITHIN_S = 10
AROUND_US = 5_000_000  # of the drain, for how the mesh answers


@dataclass
class Fleet:
    """Homes, configurations and processes of a mesh with two gateways."""

    folder: Path
    ports: dict[str, int]
    token: str
    stack: ExitStack

    @classmethod
    def lay_out(cls, folder: Path, stack: ExitStack) -> Fleet:
        """In `folder`; processes end with `stack`."""
        realm = NodeHome(folder / "admin").create_realm_key()
        ports = {name: free_port() for name in GATEWAYS}
        for name in (*GATEWAYS, *WORKERS):
            role = Role.GATEWAY if name in ports else Role.WORKER
            admit(realm, NodeHome(folder / name), name, (role,))
            lines = [
                f"name = {json.dumps(name)}",
                f"roles = [{json.dumps(role)}]",
                f"state_dir = {json.dumps(str(folder / name))}",
                f"[http]\nport = {ports.get(name, 0)}",
                "[discovery.mdns]",
                "[workloads.infer]",
            ]
            (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")
        token = viewer_token(
            Signer.of(realm), subject="fleet", lifetime_s=3600, scopes=(Scope.VIEW, Scope.INFER)
        )
        return cls(folder, ports, token, stack)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """A node's process; its log is NAME.log."""
        words = ["-m", "clients.cli", "node", "--config", str(self.folder / f"{name}.toml")]
        with (self.folder / f"{name}.log").open("ab") as log:
            return self.stack.enter_context(running(words, stdout=log, stderr=log))

    def url(self, gateway: str) -> str:
        """For vehicles."""
        return f"http://127.0.0.1:{self.ports[gateway]}/#token={self.token}"

    def base(self, gateway: str) -> str:
        """As vehicles name it."""
        return read_address(self.url(gateway)).base

    async def ready(self) -> None:
        """Until both gateways have found both workers' devices. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            for gateway in GATEWAYS:
                while await self._devices(gateway) < len(WORKERS):  # noqa: ASYNC110  its own news
                    await asyncio.sleep(0.2)

    async def _devices(self, gateway: str) -> int:
        try:
            async with open_http(read_address(self.url(gateway))) as http:
                workers = (await http.status())["workers"]
        except LinkLost:
            return 0
        return sum(bool(worker["devices"]) for worker in workers)


@contextmanager
def running(words: Sequence[str], **pipes: object) -> Iterator[subprocess.Popen[bytes]]:
    """Our own interpreter with these arguments, ended with the block."""
    process: subprocess.Popen[bytes] = subprocess.Popen([sys.executable, *words], **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Run:
    """What became of everything. drained: the gateway that left, when it was told to and how it
    ended (0: all was finished).
    """

    logs: Sequence[Log]
    drained: str
    drained_us: int
    drain_status: int
    drain_s: float


def drive(seconds: float, rate_hz: float, deadline_ms: float) -> Run:
    """The whole of it, in a mesh of its own."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        fleet = Fleet.lay_out(folder, stack)
        nodes = {name: fleet.start(name) for name in (*GATEWAYS, *WORKERS)}
        asyncio.run(fleet.ready())
        vehicles = [
            _vehicle(fleet, stack, number, seconds, rate_hz, deadline_ms)
            for number in range(VEHICLES)
        ]
        drained = most_common_home(fleet, vehicles)
        start_s = time.monotonic()
        for vehicle in vehicles:
            assert vehicle.stdin is not None
            vehicle.stdin.write(b"go\n")
            vehicle.stdin.flush()

        def until(share: float) -> None:
            time.sleep(max(0.0, start_s + share * seconds - time.monotonic()))

        until(1 / 3)
        nodes["worker-1"].kill()
        until(1 / 2)
        fleet.start("worker-1")
        until(2 / 3)
        drained_us = monotonic_us()
        status = drain(fleet, drained)
        drain_s = (monotonic_us() - drained_us) / 1e6
        nodes[drained].wait(timeout=PATIENCE_S)
        for vehicle in vehicles:
            vehicle.wait(timeout=seconds + PATIENCE_S)
        logs = [
            msgspec.json.decode((folder / f"vehicle-{number}.json").read_bytes(), type=Log)
            for number in range(VEHICLES)
        ]
        return Run(logs, fleet.base(drained), drained_us, status, drain_s)


def _vehicle(
    fleet: Fleet, stack: ExitStack, number: int, seconds: float, rate_hz: float, deadline_ms: float
) -> subprocess.Popen[bytes]:
    """Most of them try the first gateway first."""
    first = GATEWAYS if number != 1 else GATEWAYS[::-1]
    orders = Orders(
        urls=tuple(map(fleet.url, first)),
        rate_hz=rate_hz,
        deadline_ms=deadline_ms,
        seconds=seconds,
        clip=str(kitti() or ""),
        out=str(fleet.folder / f"vehicle-{number}.json"),
    )
    words = ["-m", "bench.vehicle", msgspec.json.encode(orders).decode()]
    return stack.enter_context(running(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))


def most_common_home(fleet: Fleet, vehicles: Sequence[subprocess.Popen[bytes]]) -> str:
    """Wait until all vehicles are ready; the gateway that is home to most."""
    homes: Counter[str] = Counter()
    for vehicle in vehicles:
        assert vehicle.stdout is not None
        said, _, home = vehicle.stdout.readline().decode().strip().partition(" ")
        if said != "ready":
            raise RuntimeError("a vehicle did not start; its errors are above")
        homes[home] += 1
    return max(GATEWAYS, key=lambda name: homes[fleet.base(name)])


def drain(fleet: Fleet, name: str) -> int:
    """`framemesh drain`, as a person types it; its exit status."""
    words = ["-m", "framemesh", "drain", "--config", str(fleet.folder / f"{name}.toml")]
    bound = ["--within", str(DRAIN_WITHIN_S)]
    told = subprocess.run([sys.executable, *words, *bound], check=False, stdout=sys.stderr)
    return told.returncode


# --- the report ---------------------------------------------------------------------------------


def longest(records: Iterable[Record], without: Callable[[Record], bool]) -> int:
    """The most cycles in a row of which it is so."""
    runs = ((so, sum(1 for _ in run)) for so, run in groupby(records, without))
    return max((length for so, length in runs if so), default=0)


def answers_per_cycle(log: Log) -> list[int]:
    """Of each cycle that was asked for.

    An answer that its vehicle counts and nobody was handed would be a second one to some cycle.
    """
    handed = Counter(record.cycle for record in log.records)
    never = [0] * (log.asked - len(handed))
    unasked = max(0, log.given - log.asked)
    return [*handed.values(), *never, *([1 + unasked] if unasked else [])]


def report_vehicles(report: Report, run: Run, deadline_ms: float) -> bool:
    """What each vehicle had; whether anything was wrong."""
    rows: list[list[str | float]] = []
    late = gap = not_remote = 0
    counts: list[int] = []
    for number, log in enumerate(run.logs):
        took_ms = sorted((r.answered_us - r.begun_us) / 1000 for r in log.records)
        marks = Counter(record.mark for record in log.records)
        too_late = sum(ms > deadline_ms for ms in took_ms)
        around = [r for r in log.records if abs(r.begun_us - run.drained_us) < AROUND_US]
        worst = longest(around, lambda record: record.mark != "remote")
        alone = longest(log.records, lambda record: not record.sent_to)
        counts += answers_per_cycle(log)
        late, gap, not_remote = late + too_late, max(gap, alone), max(not_remote, worst)
        rows.append(
            [
                f"vehicle {number + 1}",
                len(log.records),
                *(marks[mark] for mark in MARKS),
                log.improved,
                took_ms[len(took_ms) // 2],
                took_ms[-1],
                too_late,
                log.moves,
                alone,
            ]
        )
    header = ["", "cycles", *MARKS, "late, learnt", "p50 ms", "worst ms", "too late", "moves"]
    report.table([*header, "no gateway"], rows)
    total = sum(len(log.records) for log in run.logs)
    for mark in MARKS:
        share = sum(r.mark == mark for log in run.logs for r in log.records) / total
        report.figure(f"{mark}_share", share)
    report.figure("rate_hz", min(map(rate_hz, run.logs)))
    report.figure("answers_per_cycle_min", min(counts))
    report.figure("answers_per_cycle_max", max(counts))
    report.figure("late_answers", late)
    report.figure("handovers", sum(log.moves for log in run.logs))
    report.figure("handover_gap_cycles", gap)
    report.figure("handover_not_remote_cycles", not_remote)
    still = [r for log in run.logs for r in log.records[-1:] if r.home in ("", run.drained)]
    return bool(late or gap or still) or (min(counts), max(counts)) != (1, 1)


def rate_hz(log: Log) -> float:
    """From the first cycle to the last."""
    seconds = (log.records[-1].begun_us - log.records[0].begun_us) / 1e6
    return (len(log.records) - 1) / seconds


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=5.0, help="sweeps a second, of each vehicle")
    parser.add_argument("--deadline-ms", type=float, help="default: one period")
    parser.add_argument("--seconds", type=float, help="default: 300, with --quick 30")
    options = arguments(__doc__, parser=parser)
    # Told to end by whatever started it, it takes its processes along as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    deadline_ms = options.deadline_ms or 1000 / options.rate
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    run = drive(seconds, options.rate, deadline_ms)
    report = Report(
        "offload",
        config={
            "vehicles": VEHICLES,
            "gateways": len(GATEWAYS),
            "workers": len(WORKERS),
            "rate_hz": options.rate,
            "deadline_ms": deadline_ms,
            "seconds": seconds,
            "sweeps": "KITTI" if kitti() else "synthetic",
        },
    )
    wrong = report_vehicles(report, run, deadline_ms)
    report.figure("drain_status", run.drain_status)
    report.figure("drain_s", run.drain_s)
    report.finish(options)
    return int(wrong or run.drain_status != 0)


if __name__ == "__main__":
    sys.exit(main())
