"""One fuzzing process: mutates, feeds, and dies at the first input that does harm.

    python -m bench.fuzz.worker TARGET RECORD --count N --seed S

Guided by coverage where atheris is installed: an input that reaches new code is mutated further.
Otherwise each input is a mutation of a seed. TARGET is a name of bench.fuzz.targets.TARGETS, or
FILE.py:NAME.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import runpy
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from bench.fuzz import bounds
from bench.fuzz.record import Record
from bench.fuzz.target import Target
from mesh.core.errors import ContentRefused

STAGES = (1, 1, 1, 2, 3)  # mutations upon mutations, without coverage to say which are worth it
_LARGEST = 4 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz.worker", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("record", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hang-s", type=float, default=bounds.HANG_S, help="of CPU, an input")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--input", type=Path, help="feed this file alone")
    options = parser.parse_args()
    engine = None if options.plain or options.input else _atheris()
    with (
        engine.instrument_imports(include=["render", "infer.uplink"])
        if engine
        else contextlib.nullcontext()
    ):
        target = _target(options.target)
    bounds.die_of_hangs()
    with Record(options.record) as record, bounds.lowered_limits():
        for seed in target.seeds():  # caches fill, libraries load
            target.take(seed)
        feeder = Feeder(target, record, options.count, options.hang_s)
        if options.input:
            feeder.feed(options.input.read_bytes())
        elif engine is None:
            feeder.run(options.seed)
        else:
            feeder.run_guided(engine, options.seed)


class Feeder:
    """Feeds a target within the bounds, and keeps the record."""

    def __init__(self, target: Target, record: Record, count: int, hang_s: float) -> None:
        self._target, self._record = target, record
        self._count, self._hang_s = count, hang_s

    def feed(self, data: bytes) -> None:
        """One input. Whatever it does but to be read or refused ends the process."""
        record, overheard = self._record, io.StringIO()
        record.begin(data)
        bounds.reset_peak()
        before, began_ns = bounds.peak_bytes(), time.process_time_ns()
        with (
            bounds.stopwatch(self._hang_s),
            bounds.bounded_memory(),
            contextlib.redirect_stdout(overheard),
        ):
            try:
                self._target.take(data)
                record.let_in += 1
            except ContentRefused as refusal:
                # OpenEXR makes do without what it did not get, and says so.
                if bounds.exhausted(refusal) or "MemoryError" in overheard.getvalue():
                    raise MemoryError("what was refused had asked for too much first") from refusal
        record.slowest_us = max(record.slowest_us, (time.process_time_ns() - began_ns) // 1000)
        record.peak_bytes = max(record.peak_bytes, bounds.peak_bytes() - before)
        record.taken += 1
        record.done = int(record.taken >= self._count)
        record.end()

    def run(self, seed: int) -> None:
        """`count` mutations of the target's seeds."""
        rng, seeds = random.Random(seed), self._target.seeds()
        while self._record.taken < self._count:
            data = rng.choice(seeds)
            for _ in range(rng.choice(STAGES)):
                data = self._target.mutate(data, rng.getrandbits(48))
            self.feed(data)

    def run_guided(self, engine: ModuleType, seed: int) -> None:
        """The same with libFuzzer choosing what to mutate; does not return."""

        def mutate(data: bytes, most: int, number: int) -> bytes:
            return self._target.mutate(bytes(data), number)[:most]

        def take(data: bytes) -> None:
            self.feed(data)
            if self._record.done:
                sys.stderr.flush()
                os._exit(0)  # libFuzzer counts its own probing too, and ours alone is promised

        corpus = Path(tempfile.mkdtemp(prefix="corpus-", dir=os.environ.get("TMPDIR")))
        for number, data in enumerate(self._target.seeds()):
            (corpus / f"seed-{number}").write_bytes(data)
        flags = (
            f"-seed={seed}", f"-max_len={_LARGEST}", "-rss_limit_mb=0", "-timeout=600",
            "-len_control=0", "-mutate_depth=1", "-reload=0", "-verbosity=0", "-runs=-1",
            f"-artifact_prefix={corpus.parent}/",
            *(f"-handle_{name}=0" for name in ("segv", "abrt", "bus", "ill", "fpe", "int", "term")),
        )  # fmt: skip
        engine.Setup([sys.argv[0], *flags, str(corpus)], take, custom_mutator=mutate)
        engine.Fuzz()


def _atheris() -> ModuleType | None:
    try:
        import atheris  # noqa: PLC0415  (an extra)
    except ImportError:
        return None
    return atheris


def _target(name: str) -> Target:
    if ":" in name:
        path, _, attribute = name.rpartition(":")
        planted: Target = runpy.run_path(path)[attribute]
        return planted
    from bench.fuzz.targets import TARGETS  # noqa: PLC0415  (imported under instrumentation)

    return TARGETS[name]


if __name__ == "__main__":
    main()
