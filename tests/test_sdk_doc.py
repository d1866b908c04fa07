"""docs/sdk.md as printed: its programs and commands are run against a node that finds boxes."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

import framemesh
from infer.codec import Boxes, decode_result
from infer.frames.calibration import Calibration
from infer.frames.measurements import LidarScan
from infer.frames.pose import Pose
from infer.readers.kitti import PERIOD_US
from infer.sweep import encode_sweep
from infer.synthetic import scan, street
from mesh.core.home import NodeHome
from mesh.core.token import Scope, verify_token

# Seconds to answer: what a busy machine does to deadlines is not what is tested here.
PATIENT = "workload=infer&deadline_ms=5000"


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def printed() -> dict[str, list[str]]:
    """The blocks of the document by language."""
    path = Path(__file__).resolve().parents[1] / "docs" / "sdk.md"
    blocks: dict[str, list[str]] = {}
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
        blocks.setdefault(language, []).append(code)
    return blocks


@pytest.fixture(scope="module")
def program(printed: dict[str, list[str]]) -> Any:
    """program(NAME): that function, from a module of its own block."""

    def load(name: str) -> Any:
        [code] = [code for code in printed["python"] if f"async def {name}(" in code]
        module: dict[str, Any] = {}
        exec(compile(code, "docs/sdk.md", "exec"), module)
        return module[name]

    return load


@pytest.fixture(scope="module")
def sweeps() -> list[np.ndarray]:
    return [scan(street(seed))[::4] for seed in range(3)]


@pytest.fixture
async def host(open_host: Any) -> AsyncIterator[Any]:
    async with open_host(infer={"api": "cpu"}) as host:
        yield host


class Vehicle:
    """A sensor that turns until something was found in so many of its sweeps."""

    def __init__(self, sweeps: Sequence[np.ndarray], wanted: int) -> None:
        self.seen: list[tuple[int, Boxes]] = []
        self._sweeps, self._wanted = sweeps, wanted

    async def sensor(self) -> AsyncIterator[tuple[int, np.ndarray]]:
        for index in itertools.count():
            yield index * PERIOD_US, self._sweeps[index % len(self._sweeps)]
            await asyncio.sleep(PERIOD_US / 1e6)  # the rate that is promised
            if len(self.seen) >= self._wanted:
                return

    def act(self, stamp_us: int, boxes: Boxes) -> None:
        self.seen.append((stamp_us, boxes))


def test_every_block_is_run_here(printed: dict[str, list[str]]) -> None:
    assert {language: len(blocks) for language, blocks in printed.items()} == {"sh": 2, "python": 7}


async def test_one_sweep_is_asked_about(
    host: Any, program: Any, sweeps: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    await program("look_around")(host.url(query=PATIENT), sweeps[0])
    found = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("car [") for line in found) > 3


async def test_a_packed_sweep_is_asked_about(
    host: Any, program: Any, sweeps: list[np.ndarray]
) -> None:
    boxes, points = await program("look_around_cheaply")(host.url(query=PATIENT), sweeps[0])
    async with framemesh.connect(host.url(query=PATIENT), "infer") as session:
        plain = decode_result((await session.ask(encode_sweep(points))).data).boxes
    assert len(boxes.yaws) > 10
    np.testing.assert_array_equal(boxes.centres, plain.centres)


async def test_scans_of_two_sensors_are_asked_about_by_cycles(
    host: Any, program: Any, sweeps: list[np.ndarray]
) -> None:
    """Two halves of one sweep, the second in a frame of reference ten metres behind."""
    behind = Pose("front", "rear", np.eye(3), np.array([-10.0, 0, 0]))

    async def arrivals() -> AsyncIterator[LidarScan]:
        for number, points in enumerate(sweeps):
            stamp_us, moved = number * PERIOD_US, points[1::2].copy()
            moved[:, 0] += 10
            yield LidarScan("b", "rear", stamp_us + 9_000, moved)
            yield LidarScan("a", "front", stamp_us, points[::2].copy())
            await asyncio.sleep(PERIOD_US / 1e6)  # the rate that is promised

    seen: dict[int, Boxes] = {}
    arguments = (Calibration((behind,)), ("a", "b"), arrivals(), seen.__setitem__)
    await program("drive_by_cycles")(host.url(query=PATIENT), *arguments)
    assert list(seen) == [number * PERIOD_US for number in range(len(sweeps))]
    assert all(len(boxes.yaws) > 10 for boxes in seen.values())


async def test_every_sweep_is_answered_once_and_says_by_whom(
    host: Any, program: Any, sweeps: list[np.ndarray]
) -> None:
    vehicle, answers = Vehicle(sweeps, wanted=3), []

    def act(answer: Any) -> None:
        answers.append(answer)
        vehicle.act(answer.stamp_us, answer.objects)

    await program("drive_on")([host.url()], vehicle.sensor(), act)
    assert [answer.cycle for answer in answers] == list(range(1, len(answers) + 1))
    assert [answer.stamp_us for answer in answers] == [i * PERIOD_US for i in range(len(answers))]
    assert {answer.mark for answer in answers} <= {"remote", "local", "extrapolated"}


@pytest.mark.parametrize("name", ["drive", "drive_by_newest"])
async def test_a_stream_of_sweeps_is_answered(
    host: Any, program: Any, sweeps: list[np.ndarray], name: str
) -> None:
    vehicle = Vehicle(sweeps, wanted=3)
    await program(name)(host.url(query=PATIENT), vehicle.sensor(), vehicle.act)
    stamps = [stamp_us for stamp_us, _ in vehicle.seen]
    assert stamps == sorted(set(stamps))
    assert all(len(boxes.yaws) > 10 for _, boxes in vehicle.seen)


async def test_a_sweep_that_is_not_taken_is_named(
    host: Any, program: Any, sweeps: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    said = ""

    async def sensor() -> AsyncIterator[tuple[int, np.ndarray]]:
        nonlocal said
        yield 5, sweeps[0]
        yield 5, sweeps[1]
        while not said:
            await asyncio.sleep(0.01)
            said = capsys.readouterr().out

    await program("drive")(host.url(query=PATIENT), sensor(), lambda *_: None)
    assert said.startswith("sweep 2: its stamp 5 is not above")


async def test_a_vehicle_drives_on_when_its_link_is_lost(
    host: Any, program: Any, sweeps: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    drives: list[Vehicle] = []

    async def into_a_tunnel(vehicle: Vehicle) -> AsyncIterator[tuple[int, np.ndarray]]:
        async for sweep in vehicle.sensor():
            yield sweep
        await host.node.close_links()
        await asyncio.Event().wait()

    async def drive_once() -> str:
        vehicle = Vehicle(sweeps, wanted=1)
        drives.append(vehicle)
        sensor = into_a_tunnel(vehicle) if len(drives) == 1 else vehicle.sensor()
        await program("drive")(host.url(query=PATIENT), sensor, vehicle.act)
        return "there"

    assert await program("keep_driving")(drive_once, pause_s=0) == "there"
    assert [len(vehicle.seen) > 0 for vehicle in drives] == [True, True]
    assert capsys.readouterr().out.startswith("once more in 0 s: ")


async def test_what_waiting_does_not_mend_is_raised(host: Any, program: Any) -> None:
    url = host.url(Scope.VIEW)
    drive = program("drive")
    with pytest.raises(ExceptionGroup) as raised:
        await program("keep_driving")(lambda: drive(url, None, None))
    [problem] = raised.value.exceptions
    assert not isinstance(problem, framemesh.LinkLost)
    assert "infer" in str(problem)


async def test_the_commands_do_what_is_said(
    host: Any, printed: dict[str, list[str]], sweeps: list[np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "recording").mkdir()
    for index, points in enumerate(sweeps[:2]):
        points.tofile(tmp_path / "recording" / f"{index}.bin")
    feed, token = printed["sh"]
    environment = {"FRAMEMESH_URL": host.url(query=PATIENT)}
    assert b"4 answered" in await shell(
        feed.replace("--rate 10", "--rate 5"), tmp_path, environment
    )
    assert len((tmp_path / "boxes.jsonl").read_text().splitlines()) == 4

    realm = NodeHome(tmp_path / "framemesh").create_realm_key()
    text = (await shell(token, tmp_path, {"XDG_DATA_HOME": str(tmp_path)})).decode().strip()
    assert verify_token(text, realm.public_key, int(time.time())).scopes == {"view", "infer"}


async def shell(commands: str, folder: Path, environment: dict[str, str]) -> bytes:
    """What they print; with our own `framemesh` first in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-ec", commands),
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said
