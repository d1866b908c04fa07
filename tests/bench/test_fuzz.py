"""The fuzzer: a few inputs of each target every time, and that it finds what does harm."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.fuzz import bounds
from bench.fuzz.__main__ import SHARES, Tally, run_worker
from bench.fuzz.targets import TARGETS
from mesh.core.errors import ContentRefused

INPUTS = 150  # of each target; `make fuzz` takes 200,000


def test_every_target_has_its_share() -> None:
    assert SHARES.keys() == TARGETS.keys()
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", TARGETS)
def test_spoilt_inputs_are_read_or_refused(name: str) -> None:
    target, rng = TARGETS[name], random.Random(2026)
    seeds = [data for data in target.seeds() if len(data) < 40_000]
    let_in = refused = 0
    with bounds.lowered_limits():
        for number in range(INPUTS):
            try:
                target.take(target.mutate(seeds[number % len(seeds)], rng.getrandbits(48)))
                let_in += 1
            except ContentRefused as refusal:
                assert not bounds.exhausted(refusal)
                refused += 1
    assert let_in > INPUTS // 50, "mutations that break everything look at nothing"
    assert refused > INPUTS // 4


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_says_what_the_inputs_are(name: str) -> None:
    target = TARGETS[name]
    data = target.seeds()[0]
    assert target.mutate(data, 7) == target.mutate(data, 7)
    assert len({target.mutate(data, seed) for seed in range(20)}) > 10


PLANTED = """
import ctypes, time
from bench.fuzz.target import Target
from mesh.core.errors import ContentRefused

def take(data):
    if data == b"!":
        {harm}
    if data != b"":
        raise ContentRefused("it", "is refused", "none")

def spoil(rng, data):
    return bytes((rng.choice(b"!abc"),))

PLANTED = Target(lambda: [b""], spoil, take)
"""

HARMS = {
    "raise ValueError('something else')": "ValueError: something else",
    "ctypes.string_at(0)": "Segmentation fault",
    "while True: pass": "hung: over its CPU time",
    "bytearray(1 << 30)": "MemoryError",
    "raise ContentRefused('it', 'ends', 'none') from MemoryError()": "asked for too much",
    "print('MemoryError, but never mind')\n"
    "        raise ContentRefused('it', 'is damaged', 'none')": "asked for too much",
}


@pytest.mark.parametrize(("harm", "said"), HARMS.items(), ids=range(len(HARMS)))
def test_harm_is_found_and_kept_with_what_the_process_said(
    tmp_path: Path, harm: str, said: str
) -> None:
    (tmp_path / "planted.py").write_text(PLANTED.format(harm=harm))
    target, tally = f"{tmp_path / 'planted.py'}:PLANTED", Tally()
    finding = run_worker(target, 100, 1, tally, plain=True, out=tmp_path, hang_s=0.5)
    assert finding is not None
    assert finding.read_bytes() == b"!"
    assert said in finding.with_suffix(".txt").read_text()
    assert tally.taken < 100


def test_where_nothing_does_harm_the_promised_number_is_taken(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED.format(harm="return"))
    target, tally = f"{tmp_path / 'planted.py'}:PLANTED", Tally()
    assert run_worker(target, 50, 1, tally, plain=True, out=tmp_path) is None
    assert tally.taken == 50
    assert 0 < tally.let_in < 50


def test_a_process_that_cannot_begin_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="KeyError: 'none'"):
        run_worker("none", 1, 1, Tally(), plain=True, out=tmp_path)


def test_what_took_long_once_and_not_again_is_no_finding(tmp_path: Path) -> None:
    once = f"""import os, pathlib, signal
        flag = pathlib.Path({str(tmp_path / "flag")!r})
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGPROF)"""
    (tmp_path / "planted.py").write_text(PLANTED.format(harm=once))
    target, tally = f"{tmp_path / 'planted.py'}:PLANTED", Tally()
    assert run_worker(target, 100, 1, tally, plain=True, out=tmp_path) is None
    assert tally.taken < 100
    assert not list(tmp_path.glob("*.bin"))
