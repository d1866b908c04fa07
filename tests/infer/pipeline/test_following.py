"""Inputs are kept until their results are back, and what follows is the same as without a mesh."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from infer.sweep import decode_sweep
from infer.workload import create
from mesh.core.errors import ContentRefused, Misuse
from mesh.core.workload import Followable, Recording


@pytest.fixture
def following():
    with create({}).follow(Recording(), {}, local=True) as following:
        yield following


def test_results_are_followed_up_in_order_and_what_was_refused_is_skipped(following):
    inputs = following.read_inputs(Recording())
    stamps = [next(inputs)[0] for _ in range(3)]
    first = following.take(0, stamps[0], None)
    assert json.loads(json.dumps(first)) == first
    assert first["perceived"]["place"] == "world"
    assert list(first["perceived"]["times_us"]) == ["boxes", "ground", "tracks", "occupancy"]
    third = following.take(2, stamps[2], None)["perceived"]
    assert f"{len(third['tracks'])} tracks" in third["summary"]
    with pytest.raises(Misuse, match="input 1"):
        following.take(1, stamps[1], None)
    summary = following.summary()
    assert summary["tracks_ever"] >= summary["tracks"] == len(third["tracks"])


def test_results_of_a_session_are_taken_as_they_are(following, bench):
    inputs = following.read_inputs(Recording())
    stamp_us, data = next(inputs)
    frame = bench.open(decode_sweep(stamp_us, data).points, 2)
    for index in range(2):
        frame.accept(index, memoryview(bench.answer(frame, index)))
    message = frame.finish()
    taken = following.take(0, stamp_us, message)
    assert taken["result"] == create({}).explain(message)
    assert "boxes" not in taken["perceived"]["times_us"]
    next(inputs)
    with pytest.raises(ContentRefused):
        following.take(1, stamp_us + 1, message[:-1])


def test_nothing_is_taken_after_the_end_or_made_without_a_session():
    with create({}).follow(Recording(), {}) as following:
        assert following.summary()["tracks_ever"] == 0
        inputs = following.read_inputs(Recording())
        stamp_us, _ = next(inputs)
        with pytest.raises(Misuse, match="no boxes"):
            following.take(0, stamp_us, None)
        next(inputs)
    with pytest.raises(Misuse, match="input 1"):
        following.take(1, stamp_us, None)


def test_what_cannot_be_read_is_said_at_once(following, tmp_path):
    with pytest.raises(ContentRefused):
        following.read_inputs(Recording(tmp_path))
    with pytest.raises(ContentRefused):
        following.read_inputs(Recording(compress="zip"))


def test_clients_know_it_can_be_followed_without_a_compiler(tmp_path):
    code = """import sys
from infer.workload import create
from mesh.core.workload import Followable
assert isinstance(create({}), Followable)
print(*[m for m in ("numba", "rerun", "foxglove") if m in sys.modules])"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ""
    assert isinstance(create({}), Followable)
