"""What a mesh's processes cost is told by their part."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.timed.work import spent_us

SPIN = """
import sys, time
while time.process_time() < 0.02:
    pass
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("run", "gateway.toml"), "gateway"),
        (("run", "worker-1.toml"), "workers"),
        (("-m", "mesh.device.process", "3"), "devices"),
    ],
)
def test_a_child_is_counted_for_its_part_as_long_as_it_runs(words: tuple[str, ...], part: str):
    before = spent_us()
    command = [sys.executable, "-c", SPIN, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        now = spent_us()
    assert now[part] - before[part] >= 20_000
    assert now["client"] >= before["client"] > 0
    assert spent_us()[part] == before[part]
