"""`make fuzz`: mutated scenes, environments and packed sweeps against the code that reads them.

Every input is read or refused with ContentRefused, within 2 s of CPU time and 512 MiB; whatever
else comes of one is a finding. Each target is fuzzed in processes of its own (bench.fuzz.worker):
a finding ends its process, is kept under out/fuzz with what the process said, and the rest goes on
in the next one. Half of a target's inputs are mutations of its seeds; the other half are guided by
coverage, where atheris (extra `fuzz`) is installed. Exits 1 if there are findings.

    python -m bench.fuzz [--count 200000] [--target scene] [--seed 1]
    python -m bench.fuzz --replay out/fuzz/scene-0123456789.bin
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.fuzz.bounds import HANG_S
from bench.fuzz.record import Record
from bench.report import Report, arguments

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "out" / "fuzz"
COUNT, QUICK_COUNT = 200_000, 2_000  # of all targets together
SHARES = {"scene": 0.45, "gltf": 0.15, "sky": 0.3, "packed": 0.1}
STALLED_S = 120.0  # without a new input, whatever the machine is at: it waits for something
MOST_FINDINGS = 20  # of one target; then it is left
_TAIL = 20_000  # characters kept of what a process said


@dataclass
class Tally:
    """What came of one target."""

    taken: int = 0
    let_in: int = 0
    slowest_us: int = 0
    peak_bytes: int = 0
    seeds: list[int] = field(default_factory=list)
    findings: list[Path] = field(default_factory=list)

    def add(self, record: Record) -> None:
        self.taken += record.taken
        self.let_in += record.let_in
        self.slowest_us = max(self.slowest_us, record.slowest_us)
        self.peak_bytes = max(self.peak_bytes, record.peak_bytes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz")
    parser.add_argument("--count", type=int, help=f"inputs; default {COUNT}, quick {QUICK_COUNT}")
    parser.add_argument("--target", choices=SHARES, action="append", help="only this one")
    parser.add_argument("--seed", type=int, help="the first process'; default by the clock")
    parser.add_argument("--replay", type=Path, help="feed this one finding again")
    options = arguments(__doc__, parser=parser)
    if options.replay is not None:
        return feed_alone(options.replay.name.rpartition("-")[0], options.replay)
    count = options.count or (QUICK_COUNT if options.quick else COUNT)
    seed = int(time.time()) if options.seed is None else options.seed
    names = options.target or list(SHARES)
    whole = sum(SHARES[name] for name in names)
    began_s, tallies = time.monotonic(), {}
    for name in names:
        share = round(count * SHARES[name] / whole)
        tallies[name] = Tally()
        fuzz(name, share // 2, seed, tallies[name], plain=True)
        fuzz(name, share - share // 2, seed + 1000, tallies[name], plain=False)
    return tell(tallies, time.monotonic() - began_s, options)


def fuzz(target: str, count: int, seed: int, tally: Tally, *, plain: bool, out: Path = OUT) -> None:
    """Feed `count` inputs, in as many processes as it takes; `plain` without coverage."""
    until = tally.taken + count
    while tally.taken < until and len(tally.findings) < MOST_FINDINGS:
        tally.seeds.append(seed)
        way = "from seeds" if plain else "guided by coverage"
        print(f"{target}: {until - tally.taken} inputs {way}, seed {seed}", flush=True)
        finding = run_worker(target, until - tally.taken, seed, tally, plain=plain, out=out)
        if finding is not None:
            print(f"{target}: FOUND {finding}", flush=True)
            tally.findings.append(finding)
        seed += 1


def run_worker(
    target: str,
    count: int,
    seed: int,
    tally: Tally,
    *,
    plain: bool,
    out: Path,
    hang_s: float = HANG_S,
) -> Path | None:
    """One process to its end; the finding that ended it, if one did.

    Raises SystemExit if it ends at no input.
    """
    with tempfile.TemporaryDirectory(prefix="framemesh-fuzz-") as folder:
        path, said = Path(folder, "record"), Path(folder, "said")
        words = [sys.executable, "-m", "bench.fuzz.worker", target, str(path)]
        words += ["--count", str(count), "--seed", str(seed), "--hang-s", str(hang_s)]
        words += ["--plain"] * plain
        environment = {**os.environ, "TMPDIR": folder}
        with (
            said.open("wb") as log,
            Record(path) as record,
            subprocess.Popen(
                words, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            ) as process,
        ):
            how = _watch(process, path)
        with Record(path) as record:
            tally.add(record)
            if record.done and process.returncode == 0:
                return None
            if record.at_hand is None:
                raise SystemExit(f"{target}: its process {how}, at no input\n\n{_tail(said)}")
            tally.taken += 1
            name = target.rpartition(":")[2]
            path = keep(name, record.at_hand, f"{how}\n\n{_tail(said)}", out)
            if process.returncode != -signal.SIGPROF or feed_alone(target, path, hang_s):
                return path
            print(f"{target}: {path.name} took long once and not again", flush=True)
            path.unlink()
            path.with_suffix(".txt").unlink()
            return None


def _watch(process: subprocess.Popen[bytes], path: Path) -> str:
    """Wait for its end, or bring it about where nothing moves; says how it ended."""
    taken, since_s = -1, time.monotonic()
    while True:
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with Record(path) as record:
                if record.taken != taken:
                    taken, since_s = record.taken, time.monotonic()
            if time.monotonic() - since_s > STALLED_S:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"stalled: no new input for {STALLED_S:.0f} s"
        else:
            return "hung: over its CPU time" if code == -signal.SIGPROF else f"ended with {code}"


def keep(target: str, data: bytes, why: str, out: Path) -> Path:
    """Save a finding beside what was said of it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{target}-{hashlib.sha256(data).hexdigest()[:10]}.bin"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(why, "utf-8")
    return path


def feed_alone(target: str, path: Path, hang_s: float = HANG_S) -> int:
    """Feed a finding again, under the same bounds; 0 if it does no harm.

    On a machine that is very busy, or virtual, what a process is told of its CPU time jumps.
    """
    with tempfile.TemporaryDirectory(prefix="framemesh-fuzz-") as folder:
        words = [sys.executable, "-m", "bench.fuzz.worker", target, str(Path(folder, "record"))]
        words += ["--count", "1", "--seed", "0", "--hang-s", str(hang_s), "--input", str(path)]
        return subprocess.run(words, cwd=ROOT, check=False).returncode


def tell(tallies: dict[str, Tally], seconds: float, options: object) -> int:
    """Print what came of it; the exit status."""
    seeds = sorted({seed for tally in tallies.values() for seed in tally.seeds})
    report = Report("fuzz", seeds=seeds)
    rows: list[list[str | float]] = [
        [
            name, tally.taken, tally.let_in, tally.slowest_us / 1000, tally.peak_bytes / 2**20,
            len(tally.findings),
        ]
        for name, tally in tallies.items()
    ]  # fmt: skip
    report.table(["target", "inputs", "let in", "slowest ms", "peak MiB", "findings"], rows)
    findings = sum(len(tally.findings) for tally in tallies.values())
    report.figure("inputs", sum(tally.taken for tally in tallies.values()))
    report.figure("findings", findings)
    report.figure("slowest_ms", max(tally.slowest_us for tally in tallies.values()) / 1000)
    report.figure("peak_mib", max(tally.peak_bytes for tally in tallies.values()) / 2**20)
    report.figure("inputs_per_s", sum(tally.taken for tally in tallies.values()) / seconds)
    report.finish(options)
    return int(findings > 0)


def _tail(path: Path) -> str:
    return path.read_bytes()[-_TAIL:].decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())
