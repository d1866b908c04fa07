"""`framemesh infer` as a person types it, against a node that really finds boxes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from clients.cli.feeding import PERCENTILES, NotTaken, Tally, feed, percentiles, recorded
from clients.cli.main import main
from framemesh import ContentRefused, connect
from infer.readers.kitti import PERIOD_US
from infer.synthetic import scan, street
from infer.workload import create
from mesh.core.token import Scope
from mesh.core.workload import Recording

DEADLINE = "deadline_ms=5000"  # whether a busy machine is in time is not what is tested here


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sweeps, written in another order than that of their names."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name in ("000010", "000002", "000001"):
        (folder / f"{name}.bin").write_bytes(scan(street(int(name)))[::5].tobytes())
    return folder


@pytest.fixture
async def host(open_host):
    async with open_host(infer={"api": "cpu"}) as host:
        yield host


async def command(capsys, *words: str | Path) -> tuple[int, str, str]:
    """(exit status, output, errors)."""
    capsys.readouterr()
    status = await asyncio.to_thread(main, ["infer", *map(str, words)])
    return status, *capsys.readouterr()


def url(host, *scopes: Scope) -> str:
    return host.url(*scopes, query=f"workload=infer&{DEADLINE}")


async def test_a_folder_is_fed_and_each_sweep_has_its_line(host, folder, capsys, tmp_path):
    out = tmp_path / "boxes.jsonl"
    words = ["--url", url(host), "--loop", 2, "--rate", 5, "--out", out]
    status, said, _ = await command(capsys, folder, *words)
    assert status == 0
    lines = said.splitlines()
    assert [line.split()[:2] for line in lines[:6]] == [["sweep", str(i)] for i in range(6)]
    assert all("missing 0 of" in line for line in lines[:6])
    assert lines[6] == "6 answered, 0 refused; 0 later than 5000 ms, 0 with parts missing"
    assert "latency   ms  p50" in said
    assert "occupancy ms  p50" in said
    assert "100% of the parts" in said

    kept = [json.loads(line) for line in out.read_text().splitlines()]
    boxes = [entry["result"]["boxes"] for entry in kept]
    assert boxes[:3] == boxes[3:], "the same sweeps again"
    for entry, line in zip(kept, lines, strict=False):
        tracks = entry["perceived"]["tracks"]
        assert f"{len(tracks)} tracks" in line
        assert entry["perceived"]["occupancy"]["free_m2"] > 50
        classes = Counter(box["class"] for box in entry["result"]["boxes"])
        assert classes["car"] > 3
        assert f"{classes['car']} car" in line
    assert host.sessions == []


async def test_an_argoverse_log_is_fed_packed(host, capsys, data_dir):
    words = ["--url", url(host), "--rate", 5, "--json", "--compress", "delta"]
    status, said, _ = await command(capsys, "--av2", data_dir / "av2" / "7fab2350", *words)
    *sweeps, last = [json.loads(line) for line in said.splitlines()]
    assert (status, last["summary"]["answered"], last["summary"]["refused"]) == (0, 2, 0)
    for sweep in sweeps:
        assert sweep["result"]["counts"]["points"] > 99_000
        assert sum(box["class"] == "car" for box in sweep["result"]["boxes"]) > 5
        assert sweep["perceived"]["place"] == "world"
        assert sweep["perceived"]["occupancy"]["free_m2"] > 1000


async def test_without_a_gateway_the_same_boxes_are_found_and_files_are_written(
    host, folder, capsys, tmp_path
):
    made = tmp_path / "made"
    files = ("--rerun", tmp_path / "drive.rrd", "--foxglove", tmp_path / "drive.mcap")
    status, said, _ = await command(capsys, folder, "--local", "--out", f"{made}/", *files)
    assert status == 0
    *_, last = said.splitlines()
    assert "boxes     ms  p50" in said
    assert last.startswith("  occupancy ms")
    _, fed, _ = await command(capsys, folder, "--url", url(host), "--rate", 5, "--json")
    kept = [json.loads(line) for line in (made / "sweeps.jsonl").read_text().splitlines()]
    through_the_mesh = [json.loads(line) for line in fed.splitlines()][:-1]
    for here, there in zip(kept, through_the_mesh, strict=True):
        assert here["result"]["boxes"] == there["result"]["boxes"]
        assert here["perceived"]["tracks"] == there["perceived"]["tracks"]
    assert sorted(path.name for path in made.iterdir()) == [
        "000000.npz", "000001.npz", "000002.npz", "sweeps.jsonl",
    ]  # fmt: skip
    assert all(path.stat().st_size > 10_000 for path in files[1::2])


async def test_for_programs_there_is_json(host, folder, capsys):
    status, said, _ = await command(capsys, folder, "--url", url(host), "--rate", 5, "--json")
    *sweeps, last = [json.loads(line) for line in said.splitlines()]
    assert (status, [entry["sweep"] for entry in sweeps]) == (0, [0, 1, 2])
    assert all(set(entry["stages_us"]) >= {"way", "cut", "queue", "run"} for entry in sweeps)
    assert last["summary"]["answered"] == 3
    assert set(last["summary"]["latency_ms"]) == {"p50", "p95", "p99"}


async def test_an_interrupt_ends_the_session_and_still_sums_up(host, folder):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clients.cli", "infer", str(folder)),
        *("--url", url(host), "--loop", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(4):
        assert (await process.stdout.readline()).startswith(b"sweep")
    process.send_signal(signal.SIGINT)
    said, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")
    assert b" answered, " in said
    async with asyncio.timeout(10):
        while host.sessions:  # noqa: ASYNC110  the far end's news to hear
            await asyncio.sleep(0.01)


async def test_what_cannot_be_done_is_said_before_a_session_is_opened(
    host, folder, capsys, tmp_path, monkeypatch
):
    monkeypatch.delenv("FRAMEMESH_URL", raising=False)
    cut_short = tmp_path / "cut"
    cut_short.mkdir()
    (cut_short / "000000.bin").write_bytes(bytes(160))
    (cut_short / "000001.bin").write_bytes(bytes(1000))
    for words, reason in [
        ((tmp_path, "--url", url(host)), "holds no .bin files"),
        ((tmp_path / "none", "--url", url(host)), "holds no .bin files"),
        ((cut_short, "--url", url(host)), "000001.bin cannot be read"),
        (("--av2", folder, "--url", url(host)), "0 LiDAR sweeps"),
        ((folder, "--compress", "zip", "--url", url(host)), "not compressed by 'zip'"),
        ((folder,), "neither --url nor FRAMEMESH_URL"),
        ((folder, "--url", host.url(Scope.VIEW, query="workload=infer")), "infer"),
        ((folder, "--url", url(host), "--workload", "render"), "cannot be fed from files"),
        ((folder, "--url", url(host), "--out", tmp_path / "no" / "where"), "cannot be written"),
        ((folder, "--local", "--out", f"{tmp_path}/no/where/"), "cannot be written"),
        ((folder, "--local", "--track", "guesses"), "there is no such way"),
        ((folder, "--local", "--rerun", tmp_path / "no" / "x.rrd"), "cannot be written"),
        ((folder, "--local", "--foxglove", tmp_path / "no" / "x.mcap"), "cannot be written"),
    ]:
        status, said, errors = await command(capsys, *words)
        assert (status, said) == (2, "")
        assert errors.startswith("framemesh: ")
        assert reason in errors
    assert host.sessions == []


async def test_what_is_not_taken_is_counted_and_the_others_go_on(host):
    inputs = recorded(create({}), Recording())
    good = [(await anext(inputs))[1] for _ in range(2)]

    async def fed():
        for i, data in enumerate((good[0], good[0][:-1], good[1])):
            yield i, data

    told = []

    async def tell(news):
        told.append(news)

    async with connect(url(host), rate_hz=5) as session:
        await feed(session, fed(), 5, tell)
    [refused] = [news for news in told if isinstance(news, NotTaken)]
    assert refused.index == 1
    assert isinstance(refused.problem, ContentRefused)
    tally = Tally(deadline_us=0)
    for news in told:
        tally.add(news)
    summary = tally.summary()
    assert (summary["answered"], summary["refused"], summary["late"]) == (2, 1, 2)
    assert sum(summary["makers"].values()) == pytest.approx(1)
    for answer in (news for news in told if news is not refused):
        stages = answer.stages()
        assert stages["queue"] + stages["run"] <= stages["pieces"]
        assert min(stages.values()) >= 0


async def test_stamps_go_on_rising_when_a_recording_begins_again(folder):
    stamps = [stamp async for stamp, _ in recorded(create({}), Recording(folder), loops=3)]
    assert stamps == [i * PERIOD_US for i in range(9)]


@pytest.mark.parametrize(
    ("times_us", "told"),
    [([], []), ([7000], [7, 7, 7]), ([n * 1000 for n in range(1, 101)], [50, 95, 99])],
)
def test_percentiles_are_those_of_the_nearest_rank(times_us, told):
    assert percentiles(times_us) == dict(zip((f"p{p}" for p in PERCENTILES), told, strict=False))
