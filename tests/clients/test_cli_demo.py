"""`framemesh demo` as a person runs it: pictures and sweeps from the same two workers."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from clients.cli.main import main
from clients.sdk.address import read_address
from clients.sdk.http import open_http
from infer.synthetic import scan, street


@pytest.fixture
def folder(tmp_path):
    for index in range(2):
        scan(street(index))[::5].tofile(tmp_path / f"{index}.bin")
    return tmp_path


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
async def test_the_demo_feeds_a_folder_for_ever_and_ends_when_told(folder, told):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clients.cli", "demo", "--port", port, "--sweeps", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        page, top_view = await address(process), await address(process)
        assert "?scene=courtyard&" in page
        async with open_http(read_address(top_view)) as gateway:
            frames = 0
            while frames < 5:  # more than the folder has
                status = await gateway.status()
                [fed] = status["sessions"]
                frames = fed["frames"]
                await asyncio.sleep(0.05)
        assert f"/?session={fed['session']}#" in top_view
        assert fed["workload"] == "infer"
        for worker in status["workers"]:
            served = {name for device in worker["devices"] for name in device["workloads"]}
            assert served == {"render", "infer"}
        children = nodes_of(process.pid)
        assert len(children) == 3
        process.send_signal(told)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (130, b"")
        assert not [pid for pid in children if is_running(pid)]
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def test_a_port_that_is_taken_is_said_with_what_to_do():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clients.cli", "demo", "--port", port),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert f"cannot serve HTTP on 127.0.0.1:{port}: ".encode() in errors
    assert b"Traceback" not in errors


async def address(process: asyncio.subprocess.Process) -> str:
    """The next that it prints."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if b"#token=" in line:
            return line.decode().strip()
    assert process.stderr is not None
    pytest.fail((await process.stderr.read()).decode())


def nodes_of(pid: int) -> list[int]:
    """Its child processes."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_sweeps_that_cannot_be_read_are_said_before_anything_starts(tmp_path, capsys):
    assert main(["demo", "--sweeps", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "holds no .bin files" in said.err
