"""What a workload can reach from inside a real device process: as little as the report says."""

import json
import os
from pathlib import Path

import pytest

from mesh.device.landlock import landlock_abi

PLUGINS = Path(__file__).parent / "plugins"


def expect_refusal(device, answer):
    """Where the kernel has no Landlock nothing is refused, and then the report must say so."""
    if landlock_abi():
        assert answer == b"PermissionError"
    else:
        assert "Landlock" in device.sandbox.missing["private_files"]


@pytest.fixture
async def device(open_tiny, tmp_path):
    key = tmp_path / "state" / "node.key"
    key.parent.mkdir(mode=0o700)
    key.write_text("secret")
    async with open_tiny(private=(key.parent,), memory_bytes=512 << 20) as opened:
        opened.key = key
        await opened.prepare("s", "tiny", b"", {})
        yield opened


async def test_the_report_names_what_is_in_force_and_why_the_rest_is_not(device):
    report = device.sandbox
    assert {"limits", "privileges", "network", "processes"} <= set(report.in_force)
    files = {"files", "private_files"}
    if landlock_abi():
        assert files <= set(report.in_force) and report.missing == {}
    else:
        assert set(report.missing) == files
        assert all("Landlock" in why for why in report.missing.values())


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
async def test_no_socket_can_be_opened(device, ask, family):
    assert await ask(device, f"connect {family}") == b"PermissionError"


async def test_the_nodes_key_can_be_neither_read_nor_listed(device, ask):
    expect_refusal(device, await ask(device, f"read {device.key}"))
    expect_refusal(device, await ask(device, f"list {device.key.parent}"))


async def test_the_nodes_memory_and_environment_are_out_of_reach(device, ask):
    for name in ("environ", "mem", "maps"):
        expect_refusal(device, await ask(device, f"read /proc/{os.getpid()}/{name}"))


@pytest.fixture
def intruders(tmp_path):
    """Files that must not come to be, outside the private folder; gone afterwards in any case."""
    folders = (tmp_path, Path("/dev/shm"), PLUGINS)
    paths = [folder / f"intruder-{os.getpid()}" for folder in folders]
    yield paths
    for path in paths:
        path.unlink(missing_ok=True)


async def test_files_can_be_written_only_in_the_private_folder(device, ask, intruders):
    home = json.loads(await ask(device, "environ"))["HOME"]
    assert await ask(device, f"write {home}/kernel.bin") == b"ok 1"
    for path in intruders:
        expect_refusal(device, await ask(device, f"write {path}"))


async def test_no_other_process_can_be_made_or_signalled(device, ask):
    assert await ask(device, "fork") == b"PermissionError"
    assert await ask(device, f"signal {os.getpid()}") == b"PermissionError"
    assert await ask(device, f"signal {device.pid}") == b"ok None"


async def test_where_programs_may_be_started_the_rest_holds_and_the_report_says_so(open_tiny, ask):
    async with open_tiny(programs=(Path("/usr/bin/env"),)) as device:
        await device.prepare("s", "tiny", b"", {})
        assert await ask(device, "fork") == b"ok None"
        assert await ask(device, f"signal {os.getpid()}") == b"PermissionError"
        assert await ask(device, "connect AF_INET") == b"PermissionError"
        assert "[device] programs" in device.sandbox.missing["processes"]
        assert "network" in device.sandbox.in_force


async def test_memory_ends_at_the_limit_and_the_device_lives_on(device, ask):
    assert await ask(device, f"allocate {1 << 30}") == b"MemoryError"
    assert await ask(device, f"allocate {1 << 20}") == b"ok 1048576"


async def test_nothing_of_the_nodes_environment_leaks(open_tiny, ask, monkeypatch):
    monkeypatch.setenv("FRAMEMESH_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LP_NUM_THREADS", "2")
    async with open_tiny() as device:
        await device.prepare("s", "tiny", b"", {})
        environment = json.loads(await ask(device, "environ"))
    assert environment["LP_NUM_THREADS"] == "2"
    assert "secret" not in environment.values()
    assert environment["HOME"] != os.environ.get("HOME")


async def test_the_process_preempts_nobody_when_it_wakes(device, ask):
    assert int(await ask(device, "scheduler")) == os.SCHED_BATCH


async def test_the_stop_words_are_the_nodes_alone_to_write(device, ask):
    assert json.loads(await ask(device, "stop_words")) == ["PermissionError"] * 3


async def test_the_process_holds_no_descriptor_of_the_nodes(device, ask):
    links = json.loads(await ask(device, "fds"))
    assert links[0] == "/dev/null" and all(link.startswith("pipe:") for link in links[1:3])
    kinds = sorted(link.partition(":")[0] for link in links[3:])
    assert kinds == ["/memfd", "/memfd", "socket"]  # arena, stop words


async def test_a_cache_folder_of_ones_own_is_kept(open_tiny, ask, tmp_path):
    async with open_tiny(cache_dir=tmp_path) as device:
        await device.prepare("s", "tiny", b"", {})
        home = json.loads(await ask(device, "environ"))["HOME"]
        assert await ask(device, f"write {home}/kernel.bin") == b"ok 1"
    assert (tmp_path / "test" / "kernel.bin").read_text() == "x"
    assert (tmp_path / "test").stat().st_mode & 0o777 == 0o700
