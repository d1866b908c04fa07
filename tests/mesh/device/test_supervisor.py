"""A real device process, working, misbehaving and being killed."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mesh.core.errors import (
    ConfigError,
    ContentRefused,
    DeviceLost,
    DeviceUnavailable,
    Misuse,
    PieceAbandoned,
    PieceFailed,
    PieceOverran,
)
from mesh.core.workload import Asset
from mesh.device import child, restart, supervisor

ASSET = Asset("numbers", bytes([1, 2, 3]))


def is_gone(pid):
    """Not running, and not a zombie either."""
    return not exists(f"/proc/{pid}")


def exists(path):
    return Path(path).exists()


@pytest.fixture
async def device(open_tiny):
    async with open_tiny() as opened:
        await opened.prepare("s", "tiny", b"", {ASSET.digest: ASSET.data})
        yield opened
        assert opened._arena.leases == 0, "a slot was not given back"


# --- what it is for ---------------------------------------------------------------------------


async def test_a_piece_reads_its_inputs_and_assets_and_writes_its_result(device):
    inputs = device.lease_input(4)
    inputs.view[:] = bytes([10, 20, 30, 40])
    result = await device.run("s", "tiny", b"sum", 100, inputs=inputs, kill_after_us=9_000_000)
    assert bytes(result.lease.view) == b"106"
    assert result.run_us >= 0
    result.lease.release()


async def test_a_piece_comes_with_the_passes_that_its_executor_tells(device):
    told = {f"pass {number}": number for number in range(8)}
    spec = f"time {json.dumps(told)}".encode()
    result = await device.run("s", "tiny", spec, 0, kill_after_us=9_000_000)
    assert result.passes_us == told
    result.lease.release()


@pytest.mark.parametrize("told", [dict.fromkeys("nine pass", 1) | {"x": 1, "y": 2}, {"p" * 17: 1},
                                  {"raster": -1}, {"raster": "long"}])  # fmt: skip
async def test_passes_that_cannot_be_sent_fail_the_piece_only(device, ask, told):
    with pytest.raises(PieceFailed, match="its passes"):
        await ask(device, "time " + json.dumps(told))
    assert await ask(device, "time {}") == b""


async def test_a_device_says_what_it_runs_and_what_not(open_tiny, info, foreign_info):
    async with open_tiny(infos=(foreign_info, info)) as device:
        assert device.workloads == ("tiny",) and device.opened == {"tiny": info}
        assert device.state == "ready" and device.diary.states == ["ready"]
        assert device.pid != os.getpid() and not is_gone(device.pid)


async def test_a_workload_is_offered_only_what_its_own_probe_found(open_tiny, info, foreign_info):
    async with open_tiny(
        infos=(foreign_info, info), found={"tiny": (foreign_info,)}, ready=False
    ) as device:
        with pytest.raises(DeviceUnavailable, match="it speaks vulkan"):
            await device.ready()
        assert device.state == "failed" and device.diary.states == ["failed"]


async def test_results_and_inputs_of_several_pieces_stay_apart(device):
    results = await asyncio.gather(
        *(
            device.run("s", "tiny", f"stamp {n}".encode(), 5000 + n, kill_after_us=9_000_000)
            for n in range(20)
        )
    )
    for n, result in enumerate(results):
        assert bytes(result.lease.view) == bytes([n]) * (5000 + n)
        result.lease.release()


async def test_a_prepare_takes_its_turn_between_pieces(device, ask):
    gate = device.lease_input(1)
    opened = gate.view
    opened[0] = 0
    running = asyncio.create_task(ask(device, "wait_for", inputs=gate))
    preparing = asyncio.create_task(device.prepare("other", "tiny", b"", {}))
    await asyncio.sleep(0)
    behind = asyncio.create_task(ask(device, "sessions"))
    await asyncio.sleep(0)
    assert not preparing.done()
    opened[0] = 1
    assert await running == b"done"
    await preparing
    assert json.loads(await behind) == ["other", "s"]


async def test_a_forgotten_session_is_forgotten_everywhere(device, ask):
    await device.prepare("other", "tiny", b"", {ASSET.digest: ASSET.data})
    device.forget("other")
    device.forget("never prepared")
    assert json.loads(await ask(device, "sessions")) == ["s"]
    with pytest.raises(Misuse, match="not prepared here"):
        await ask(device, "noop", session="other")


async def test_preparing_anew_replaces_the_session(device, ask):
    await device.prepare("s", "tiny", b"new", {})
    assert await ask(device, "sum") == b"0"


async def test_an_unknown_workload_is_refused_before_anything_starts():
    with pytest.raises(ConfigError, match="'no-such-workload' is not installed"):
        async with supervisor.open_device("x", (), {"no-such-workload": {}}, changed=print):
            raise AssertionError("it opened")


# --- pieces that fail while the device lives ----------------------------------------------------


async def test_an_executor_that_raises_fails_the_piece_only(device, ask):
    pid = device.pid
    with pytest.raises(PieceFailed, match="ValueError: oh no"):
        await ask(device, "raise oh no")
    with pytest.raises(ContentRefused, match="the input is bad: odd"):
        await ask(device, "refuse odd")
    assert await ask(device, "sum") == b"6" and device.pid == pid


@pytest.mark.parametrize("command", ["claim", "overrun"])
async def test_a_result_longer_than_leased_fails_the_piece_only(device, ask, command):
    pid = device.pid
    with pytest.raises(PieceFailed):
        await ask(device, command, output_bytes=64)
    assert await ask(device, "sum") == b"6" and device.pid == pid


@pytest.mark.parametrize(
    ("spec", "why"), [(b"refuse", "the asset is bad"), (b"raise", "ValueError: prepare went")]
)
async def test_a_session_that_cannot_be_prepared_leaves_nothing_behind(device, ask, spec, why):
    with pytest.raises(ContentRefused, match=why):
        await device.prepare("bad", "tiny", spec, {Asset("x", b"x" * 99).digest: b"x" * 99})
    assert device._assets.held_bytes == len(ASSET.data)
    with pytest.raises(Misuse):
        await ask(device, "noop", session="bad")


async def test_without_room_leases_are_none_and_results_a_clear_error(device):
    held = device.lease_input((1 << 20) - 4096)
    assert device.lease_input(4097) is None
    with pytest.raises(PieceFailed, match="no room for 8000 bytes"):
        await device.run("s", "tiny", b"noop", 8000, kill_after_us=9_000_000)
    held.release()
    assert device.lease_input(1 << 21) is None


async def test_a_session_over_the_asset_quota_is_refused(open_tiny):
    async with open_tiny(asset_bytes=2) as device:
        with pytest.raises(ContentRefused, match="3 bytes asked, 2 of 2 are left"):
            await device.prepare("s", "tiny", b"", {ASSET.digest: ASSET.data})


async def test_a_flood_of_output_stalls_nobody_and_cannot_forge_log_lines(device, ask, caplog):
    with caplog.at_level("INFO", logger="mesh.device.child"):
        assert await ask(device, "chat " + "\x1b[2J" + "x" * 200) == b""
        assert await ask(device, "sum") == b"6"
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "test: ?[2J" + "x" * 200
    assert "test: (it says more than is worth keeping)" in said and len(said) < 1000


# --- processes that end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exited with 3"),
        ("lose", "the GPU is gone: the test says so"),
        ("die", "SIGKILL"),
        ("abort", "SIGABRT"),
        ("hang", "did not answer within 300 ms"),
        ("stop", "did not answer within 300 ms"),
    ],
)
async def test_a_crash_or_hang_costs_one_piece_and_the_sessions_come_back(
    device, ask, command, why
):
    old = device.pid
    inputs = device.lease_input(100)
    with pytest.raises(DeviceLost, match=why):
        await ask(device, command, inputs=inputs, kill_after_us=300_000)
    assert device.state == "restarting"
    with pytest.raises(DeviceLost, match="it is restarting"):
        await ask(device, "sum")
    assert device.lease_input(1) is None
    await device.ready()
    assert await ask(device, "sum") == b"6"
    assert device.pid != old and device.restarts == 1
    assert device.diary.states == ["ready", "restarting", "ready"]


@pytest.mark.parametrize(
    ("command", "kind"), [("hang", PieceOverran), ("stop", PieceOverran), ("die", DeviceLost)]
)
async def test_a_piece_past_its_limit_is_told_from_one_that_crashed(device, ask, command, kind):
    with pytest.raises(DeviceLost) as lost:
        await ask(device, command, kill_after_us=300_000)
    assert type(lost.value) is kind


async def test_only_the_piece_that_hung_is_told_so(device, ask):
    outcomes = await asyncio.gather(
        ask(device, "hang", kill_after_us=300_000), ask(device, "sum"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [PieceOverran, DeviceLost]


@pytest.mark.parametrize("command", ["die", "lose", "hang", 'forge {"request": 1}'])
async def test_a_session_whose_pieces_go_on_ending_processes_loses_the_device(
    device, ask, monkeypatch, command
):
    monkeypatch.setattr(restart, "FIRST_DELAY_US", 1000)
    await device.prepare("other", "tiny", b"", {})
    for _ in range(supervisor._FATAL_PIECES):
        await device.ready()
        with pytest.raises(DeviceLost):
            await ask(device, command, kill_after_us=300_000)
    await device.ready()
    pid = device.pid
    with pytest.raises(DeviceLost, match=r"runs no more pieces of session s: 4 in a row"):
        await ask(device, "sum")
    assert await ask(device, "sum", session="other") == b"0"
    assert device.pid == pid
    await device.prepare("s", "tiny", b"", {ASSET.digest: ASSET.data})
    assert await ask(device, "sum") == b"6"


async def test_a_session_is_forgiven_what_its_pieces_did_when_one_succeeds(
    device, ask, monkeypatch
):
    monkeypatch.setattr(restart, "FIRST_DELAY_US", 1000)
    for _ in range(supervisor._FATAL_PIECES):
        with pytest.raises(DeviceLost):
            await ask(device, "die")
        await device.ready()
        assert await ask(device, "sum") == b"6"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_process_killed_while_idle_is_replaced_unasked(device, ask, number):
    os.kill(device.pid, number)
    await device.diary.until("restarting", "ready")
    assert await ask(device, "sum") == b"6"


async def test_a_process_stopped_from_outside_is_killed_and_replaced(device, ask):
    old = device.pid
    os.kill(old, signal.SIGSTOP)
    with pytest.raises(DeviceLost, match="did not answer"):
        await ask(device, "sum", kill_after_us=300_000)
    await device.ready()
    assert await ask(device, "sum") == b"6" and device.pid != old


async def test_pieces_waiting_behind_a_crash_fail_with_it(device, ask):
    outcomes = await asyncio.gather(
        *(ask(device, command) for command in ("die", "sum", "sum")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [DeviceLost] * 3
    await device.ready()


async def test_inputs_received_before_a_crash_still_run_after_it(device, ask):
    inputs = device.lease_input(3)
    inputs.view[:] = b"abc"
    os.kill(device.pid, signal.SIGKILL)
    await device.diary.until("restarting", "ready")
    assert await ask(device, "copy", inputs=inputs) == b"abc"


async def test_results_stay_valid_after_their_process_is_gone(device, ask):
    old, arena = device._child, device._arena
    result = await device.run("s", "tiny", b"stamp 7", 9, kill_after_us=9_000_000)
    os.kill(device.pid, signal.SIGKILL)
    await device.diary.until("restarting", "ready")
    assert bytes(result.lease.view) == bytes([7]) * 9
    await old.reaped
    assert not arena.unmapped
    result.lease.release()
    assert arena.unmapped
    assert device._unreaped.keys() == {device._child}


async def test_results_of_an_ended_process_count_until_they_are_released(device, ask):
    result = await device.run("s", "tiny", b"stamp 7", 900_000, kill_after_us=9_000_000)
    old = device._child
    os.kill(device.pid, signal.SIGKILL)
    await device.diary.until("restarting", "ready")
    assert device.lease_input(500_000) is None
    await old.reaped
    assert device.lease_input(500_000) is None
    result.lease.release()
    inputs = device.lease_input(500_000)
    inputs.release()


async def test_a_prepare_that_ends_the_process_raises_and_is_not_repeated(device, ask):
    with pytest.raises(DeviceLost, match="SIGKILL"):
        await device.prepare("bad", "tiny", b"die", {})
    await device.ready()
    assert json.loads(await ask(device, "sessions")) == ["s"]


async def test_a_session_that_keeps_ending_the_process_is_left_out(device, ask):
    await device.prepare("bad", "tiny", b"die when repeated", {})
    os.kill(device.pid, signal.SIGKILL)
    await device.diary.until("restarting", "ready")
    assert json.loads(await ask(device, "sessions")) == ["s"]
    with pytest.raises(DeviceLost, match="SIGKILL"):
        await ask(device, "noop", session="bad")
    assert device.state == "ready"


async def test_a_prepare_waits_for_a_restart(device, ask):
    with pytest.raises(DeviceLost):
        await ask(device, "die")
    await device.prepare("later", "tiny", b"", {})
    assert json.loads(await ask(device, "sessions")) == ["later", "s"]


# --- a process that was taken over ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ({"generation": 0}, "cannot be the piece's"),
        ({"nbytes": 65}, "cannot be the piece's"),
        ({"nbytes": -1}, "cannot be the piece's"),
        ({"request": 1}, "answered what was not asked"),
        ({"garbage": True}, "sent nonsense"),
    ],
)
async def test_a_forged_answer_ends_the_process(device, ask, forged, why):
    with pytest.raises(DeviceLost, match=why):
        await ask(device, "forge " + json.dumps(true_answer(device) | forged), output_bytes=64)
    await device.ready()
    assert await ask(device, "sum") == b"6"


async def test_the_forgeries_above_are_caught_for_what_is_false_in_them(device, ask):
    assert await ask(device, "forge " + json.dumps(true_answer(device)), output_bytes=64) == b""
    os.kill(device.pid, signal.SIGKILL)


def true_answer(device):
    """The numbers that the next piece's honest answer would carry."""
    lease = device.lease_input(0)
    lease.release()
    return {"request": device._child._numbers + 1, "generation": lease.generation + 1}


# --- callers that go away -------------------------------------------------------------------------


async def test_an_abandoned_piece_ends_in_its_own_time_and_frees_its_slots(device, ask):
    gate = device.lease_input(1)
    opened = gate.view
    opened[0] = 0
    running = asyncio.create_task(ask(device, "wait_for", inputs=gate))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.release()  # too late to matter: the piece took it over
    assert device._arena.leases == 2
    opened[0] = 1
    assert await ask(device, "sum") == b"6"
    assert device._arena.leases == 0


async def test_an_abandoned_piece_that_has_not_begun_is_withdrawn(device, ask):
    gate = device.lease_input(1)
    opened = gate.view
    opened[0] = 0
    running = asyncio.create_task(ask(device, "wait_for", inputs=gate))
    withdrawn = asyncio.create_task(ask(device, "exit 1"))
    await asyncio.sleep(0)
    withdrawn.cancel()
    opened[0] = 1
    assert await running == b"done"
    assert await ask(device, "sum") == b"6" and device.restarts == 0


async def begun(device, ask, **options):
    """A run that would go on for ever, once it is under way."""
    lease = device._lease
    taken = []
    device._lease = lambda nbytes: taken.append(lease(nbytes)) or taken[-1]
    running = asyncio.create_task(ask(device, "heed", **options))
    while not taken:  # noqa: ASYNC110
        await asyncio.sleep(0)
    device._lease = lease
    view = taken[0].view
    while view[0] != ord("!"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    view[0] = 0
    return running


async def test_a_running_piece_can_be_taken_back_and_the_process_goes_on(device, ask):
    pid, recall = device.pid, supervisor.Recall()
    running = await begun(device, ask, recall=recall)
    recall.abandon()
    with pytest.raises(PieceAbandoned) as caught:
        await running
    assert caught.value.run_us > 0
    assert await ask(device, "sum") == b"6"
    assert (device.pid, device.restarts, device._arena.leases) == (pid, 0, 0)


async def test_the_word_that_stopped_one_piece_stops_no_other(device, ask):
    recall = supervisor.Recall()
    running = await begun(device, ask, recall=recall)
    recall.abandon()
    with pytest.raises(PieceAbandoned):
        await running
    second = supervisor.Recall()
    again = await begun(device, ask, recall=second)
    recall.abandon()  # what it named is over
    gate = asyncio.create_task(ask(device, "noop"))
    await asyncio.sleep(0)
    assert not again.done() and not gate.done()
    second.abandon()
    with pytest.raises(PieceAbandoned):
        await again
    assert await gate == b""


async def test_leaving_a_running_piece_stops_it(device, ask):
    running = await begun(device, ask)
    running.cancel()
    assert await ask(device, "sum") == b"6"
    assert device.restarts == 0 and device._arena.leases == 0


async def test_a_piece_taken_back_before_its_turn_never_begins(device, ask):
    first, second = supervisor.Recall(), supervisor.Recall()
    running = await begun(device, ask, recall=first)
    recall = supervisor.Recall()
    staged = asyncio.create_task(ask(device, "exit 1", recall=second))
    waiting = asyncio.create_task(ask(device, "exit 1", recall=recall))
    await asyncio.sleep(0)
    second.abandon()
    recall.abandon()
    with pytest.raises(PieceAbandoned):
        await waiting
    assert not running.done() and not staged.done()  # both are with the process
    first.abandon()
    for abandoned in (running, staged):
        with pytest.raises(PieceAbandoned):
            await abandoned
    assert await ask(device, "sum") == b"6" and device.restarts == 0


async def test_a_piece_taken_back_before_its_call_began_does_not_begin(device, ask):
    recall = supervisor.Recall()
    recall.abandon()
    with pytest.raises(PieceAbandoned):
        await ask(device, "exit 1", recall=recall)
    assert await ask(device, "sum") == b"6" and device.restarts == 0


async def test_what_cannot_begin_in_time_leaves_its_inputs_to_be_run_again(device, ask):
    first, second = supervisor.Recall(), supervisor.Recall()
    running = await begun(device, ask, recall=first)
    inputs = device.lease_input(3)
    inputs.view[:] = bytes((1, 2, 3))
    late = asyncio.create_task(
        ask(device, "sum", recall=second, inputs=inputs, start_by_us=time.monotonic_ns() // 1000)
    )
    await asyncio.sleep(0)
    first.abandon()
    with pytest.raises(PieceAbandoned):
        await running
    with pytest.raises(PieceAbandoned):
        await late
    assert device._arena.leases == 1
    again = await ask(device, "sum", inputs=second.inputs)
    assert again == b"12" and device._arena.leases == 0


async def test_a_whole_batch_can_be_taken_back(open_tiny):
    async with open_tiny() as device:
        for session in "ab":
            await device.prepare(session, "tiny", b"batch m", {})
        recall = supervisor.Recall()
        pieces = [supervisor.BatchedPiece(session, b"heed", 9) for session in "ab"]
        running = asyncio.create_task(
            device.run_batch("tiny", pieces, kill_after_us=20_000_000, recall=recall)
        )
        await asyncio.sleep(0)
        recall.abandon()
        with pytest.raises(PieceAbandoned):
            await running
        assert device.restarts == 0 and device._arena.leases == 0


async def test_a_result_that_arrives_as_its_caller_leaves_is_freed(device):
    running = asyncio.create_task(device.run("s", "tiny", b"noop", 9, kill_after_us=9_000_000))
    await asyncio.sleep(0)
    call = device._child._flying[0]
    landed = call.settled
    call.settled = lambda: (landed(), running.cancel())
    with pytest.raises(asyncio.CancelledError):
        await running
    assert call.answer.done() and not call.answer.cancelled()


async def test_an_abandoned_prepare_is_forgotten(device, ask):
    preparing = asyncio.create_task(device.prepare("left", "tiny", b"", {}))
    await asyncio.sleep(0)
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert json.loads(await ask(device, "sessions")) == ["s"]


# --- starts that fail -----------------------------------------------------------------------------


async def test_a_device_nothing_opens_on_fails_at_once_and_says_why(open_tiny):
    async with open_tiny({"open": "refuse"}, ready=False) as device:
        with pytest.raises(DeviceUnavailable, match="tiny cannot use it"):
            await device.ready()
        assert device.state == "failed" and "tiny cannot use it" in device.why_not["tiny"]
        with pytest.raises(DeviceUnavailable):
            await device.prepare("s", "tiny", b"", {})
        await device.diary.until("failed")
        assert is_gone(device.pid) or device._unreaped


@pytest.mark.parametrize(
    ("fault", "start_us", "why"),
    [("die", 30_000_000, "SIGABRT"), ("hang", 500_000, "did not answer within 500 ms")],
)
async def test_a_start_that_crashes_or_hangs_is_tried_again_then_given_up(
    open_tiny, monkeypatch, fault, start_us, why
):
    monkeypatch.setattr(restart, "GIVE_UP_AFTER", 2)
    async with open_tiny({"open": fault}, ready=False, start_us=start_us) as device:
        with pytest.raises(DeviceLost, match=why):
            await device.ready()
        assert device.diary.states == ["restarting", "failed"] and device.restarts == 1


# --- the end --------------------------------------------------------------------------------------


async def test_closing_leaves_no_process_no_descriptor_and_no_folder(open_tiny, ask, open_fds):
    await asyncio.to_thread(int)  # the loop's own descriptors exist from here on
    before = open_fds()
    async with open_tiny() as device:
        await device.prepare("s", "tiny", b"", {ASSET.digest: ASSET.data})
        home = json.loads(await ask(device, "environ"))["HOME"]
        pids = [device.pid]
        with pytest.raises(DeviceLost):
            await ask(device, "die")
        await device.ready()
        pids.append(device.pid)
    assert all(is_gone(pid) for pid in pids)
    assert not exists(home)
    assert sorted(open_fds().values()) == sorted(before.values())


@pytest.mark.parametrize("command", ["hang", "stop"])
async def test_closing_ends_a_process_that_does_not_listen(open_tiny, ask, monkeypatch, command):
    monkeypatch.setattr(child, "_EXIT_S", 0.3)
    async with open_tiny() as device:
        await device.prepare("s", "tiny", b"", {})
        running = asyncio.create_task(ask(device, command))
        await asyncio.sleep(0)
    with pytest.raises(DeviceLost):
        await running
    assert is_gone(device.pid)


async def test_closing_while_starting_leaves_no_process(open_tiny):
    async with open_tiny(ready=False) as device:
        await asyncio.sleep(0)
        pid = device.pid
    assert pid != 0 and is_gone(pid)


async def test_who_waits_for_a_device_that_closes_is_told(open_tiny):
    async with open_tiny({"open": "hang"}, ready=False) as device:
        preparing = asyncio.create_task(device.prepare("s", "tiny", b"", {}))
        await asyncio.sleep(0)
    with pytest.raises(DeviceLost, match="is closed"):
        await preparing


NODE = """
import asyncio, sys
from mesh.core.workload import DeviceInfo
from mesh.device.supervisor import Plugins, open_device
from pathlib import Path

async def main():
    info = DeviceInfo("tiny", "cpu", "tiny device", "tiny 1", 0)
    plugins = Plugins({"tiny": "tiny_workload:create"}, (Path(sys.argv[1]),))
    async with open_device("x", [info], {"tiny": {}}, changed=print, plugins=plugins) as device:
        await device.ready()
        await device.prepare("s", "tiny", b"", {})
        running = asyncio.create_task(
            device.run("s", "tiny", b"hang", 9, kill_after_us=600_000_000)
        )
        await asyncio.sleep(0)
        print(device.pid, flush=True)
        await running

asyncio.run(main())
"""


def test_a_device_process_dies_with_its_node():
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, str(Path(__file__).parent / "plugins")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with node, node.stdout:
        lines = iter(node.stdout.readline, "")
        pid = next(int(line) for line in lines if line.strip().isdigit())
        ended = os.pidfd_open(pid)
        node.kill()
        node.wait()
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        assert poll.poll(20_000), "the device process outlived its node"
    finally:
        os.close(ended)
