"""A worker over a real device process, told what to do by a gateway that is a recording channel."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from mesh.core.errors import ProtocolViolation
from mesh.core.loop import monotonic_us
from mesh.core.wire import (
    AssetData,
    AssetMissing,
    AssetRef,
    AssetWanted,
    Cancel,
    Message,
    PieceDone,
    PieceRefused,
    PieceRun,
    SessionClose,
    SessionFailed,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import Buffer, DeviceInfo
from mesh.device.buffers import SLOT_ALIGN
from mesh.device.supervisor import DeviceLimits, Plugins, open_device
from mesh.schedule.ids import PieceKey
from mesh.worker import Worker

PLUGINS = Path(__file__).parent / "device" / "plugins"
INFO = DeviceInfo(unit="tiny", api="cpu", name="tiny device", driver="tiny 1", index=0)
ASSET = b"twelve bytes"
REF = AssetRef(hashlib.sha256(ASSET).hexdigest(), len(ASSET), "asset")
SOON_US = 60_000_000


class Gateway:
    """The other end of a channel: keeps what the worker says."""

    error_us = 0

    def __init__(self, node: str = "gateway") -> None:
        self.node = node
        self._said: asyncio.Queue[tuple[Message, bytes]] = asyncio.Queue()

    def to_local_us(self, remote_us: int) -> int:
        return remote_us

    def send(
        self,
        message: Message,
        body: Buffer = b"",
        *,
        due_us: int = 0,
        sent: Callable[[], None] | None = None,
    ) -> None:
        self._said.put_nowait((message, bytes(body)))
        if sent is not None:
            sent()

    async def hears(self) -> Message:
        return (await self._said.get())[0]

    async def result(self) -> bytes:
        message, body = await self._said.get()
        assert isinstance(message, PieceDone), message
        return body

    @property
    def hears_nothing(self) -> bool:
        return self._said.empty()


@asynccontextmanager
async def worker_with_tiny_device(
    policy: str = "edf", kill_after_us: int = 20_000_000
) -> AsyncIterator[Worker]:
    changed: list[Worker] = []
    async with open_device(
        "tiny",
        [INFO],
        {"tiny": {}},
        limits=DeviceLimits(arena_bytes=1 << 20),
        changed=lambda device: [w.device_changed(device) for w in changed] and None,
        plugins=Plugins({"tiny": "tiny_workload:create"}, (PLUGINS,)),
    ) as device:
        await device.ready()
        async with Worker([device], kill_after_us=kill_after_us, policy=policy) as worker:
            changed.append(worker)
            yield worker
            changed.clear()


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    async with worker_with_tiny_device() as worker:
        yield worker


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def open_order(session: str = "s", epoch: int = 1, **changes: object) -> SessionOpen:
    fields: dict[str, object] = {"workload": "tiny", "device": "tiny", "spec": b""}
    return SessionOpen(session, epoch, **(fields | changes))  # type: ignore[arg-type]


def piece(
    command: str, number: int = 0, *, session: str = "s", epoch: int = 1, due_us: int | None = None
) -> PieceRun:
    due_us = monotonic_us() + SOON_US if due_us is None else due_us
    return PieceRun(session, epoch, 0, number, "tiny", "tiny", 1.0, due_us, 4096, command.encode())


def deliver(worker: Worker, gateway: Gateway, message: Message, body: bytes = b"") -> None:
    """As a link does it: the body into the worker's buffer, then the message."""
    buffer: memoryview | None = memoryview(b"")
    if body:
        buffer = worker.body_buffer(gateway, message, len(body))
        if buffer is not None:
            buffer[:] = body
    worker.received(gateway, message, memoryview(b"") if buffer is None else buffer)


async def opened(worker: Worker, gateway: Gateway, **changes: object) -> None:
    deliver(worker, gateway, open_order(**changes))  # type: ignore[arg-type]
    assert isinstance(await gateway.hears(), SessionReady)


async def test_a_session_is_prepared_and_its_pieces_come_back(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("copy"), b"sensor sweep")
    assert await gateway.result() == b"sensor sweep"


async def test_inputs_that_come_with_no_buffer_of_ours_are_copied_in(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    worker.received(gateway, piece("copy"), memoryview(b"from my own half"))
    assert await gateway.result() == b"from my own half"


async def test_an_asset_is_fetched_once_and_shared_by_sessions(
    worker: Worker, gateway: Gateway
) -> None:
    deliver(worker, gateway, open_order("a", assets=(REF,)))
    assert await gateway.hears() == AssetWanted(REF.digest)
    deliver(worker, gateway, AssetData(REF.digest), ASSET)
    assert isinstance(await gateway.hears(), SessionReady)
    await opened(worker, gateway, session="b", assets=(REF,))
    deliver(worker, gateway, piece("sum", session="b"))
    assert await gateway.result() == str(sum(ASSET)).encode()


async def test_an_asset_comes_in_ranges_and_each_byte_once(
    worker: Worker, gateway: Gateway
) -> None:
    deliver(worker, gateway, open_order(assets=(REF,)))
    assert await gateway.hears() == AssetWanted(REF.digest)
    deliver(worker, gateway, AssetData(REF.digest, 5), ASSET[5:])
    assert gateway.hears_nothing
    with pytest.raises(ProtocolViolation, match="come in more than"):
        worker.body_buffer(gateway, AssetData(REF.digest, 4), 2)
    worker.channel_gone(gateway)
    deliver(worker, gateway, open_order(epoch=2, assets=(REF,)))
    assert await gateway.hears() == AssetWanted(REF.digest)  # there was a gap at its start
    deliver(worker, gateway, AssetData(REF.digest), ASSET[:5])
    deliver(worker, gateway, AssetData(REF.digest, 5), ASSET[5:])
    assert isinstance(await gateway.hears(), SessionReady)


async def test_what_comes_after_its_session_is_closed_harms_nobody(
    worker: Worker, gateway: Gateway
) -> None:
    deliver(worker, gateway, open_order(assets=(REF,)))
    assert await gateway.hears() == AssetWanted(REF.digest)
    deliver(worker, gateway, AssetData(REF.digest), ASSET[:5])
    deliver(worker, gateway, SessionClose("s", 1))
    deliver(worker, gateway, open_order("b", assets=(REF,)))
    deliver(worker, gateway, AssetData(REF.digest, 5), ASSET[5:])  # was under way all along
    assert await gateway.hears() == SessionReady("b", 1, "tiny")


async def test_an_asset_that_does_not_fit_fails_its_session_and_not_the_link(
    worker: Worker, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker._hosting._assets, "quota_bytes", len(ASSET) - 1)
    deliver(worker, gateway, open_order(assets=(REF,)))
    assert await gateway.hears() == AssetWanted(REF.digest)
    deliver(worker, gateway, AssetData(REF.digest), ASSET[:5])
    failed = await gateway.hears()
    assert isinstance(failed, SessionFailed)
    assert "does not fit" in failed.problem.what
    monkeypatch.setattr(worker._hosting._assets, "quota_bytes", len(ASSET))
    deliver(worker, gateway, open_order(epoch=2, assets=(REF,)))
    deliver(worker, gateway, AssetData(REF.digest, 5), ASSET[5:])  # the rest of the first
    assert await gateway.hears() == AssetWanted(REF.digest)  # which is asked for anew
    deliver(worker, gateway, AssetData(REF.digest), ASSET)
    assert isinstance(await gateway.hears(), SessionReady)


async def test_a_device_that_came_back_is_ready_without_its_assets_being_sent_again() -> None:
    gateway = Gateway()
    async with worker_with_tiny_device(kill_after_us=300_000) as worker:
        deliver(worker, gateway, open_order(assets=(REF,)))
        assert await gateway.hears() == AssetWanted(REF.digest)
        deliver(worker, gateway, AssetData(REF.digest), ASSET)
        assert isinstance(await gateway.hears(), SessionReady)
        deliver(worker, gateway, piece("hang"))
        assert isinstance(await gateway.hears(), PieceRefused)
        [device] = worker._hosting._devices.values()
        await device.ready()
        deliver(worker, gateway, open_order(assets=(REF,)))
        assert isinstance(await gateway.hears(), SessionReady)
        deliver(worker, gateway, piece("sum", 1))
        assert await gateway.result() == str(sum(ASSET)).encode()


async def test_damaged_asset_bytes_fail_the_session_with_the_reason(
    worker: Worker, gateway: Gateway
) -> None:
    deliver(worker, gateway, open_order(assets=(REF,)))
    assert isinstance(await gateway.hears(), AssetWanted)
    deliver(worker, gateway, AssetData(REF.digest), ASSET[::-1])
    failed = await gateway.hears()
    assert isinstance(failed, SessionFailed)
    assert "digest" in failed.problem.why


async def test_a_gateway_that_lost_the_asset_fails_the_session(
    worker: Worker, gateway: Gateway
) -> None:
    deliver(worker, gateway, open_order(assets=(REF,)))
    assert isinstance(await gateway.hears(), AssetWanted)
    deliver(worker, gateway, AssetMissing(REF.digest))
    assert isinstance(await gateway.hears(), SessionFailed)


@pytest.mark.parametrize("body", [ASSET, ASSET + b"!"])
async def test_an_asset_unasked_or_of_another_size_ends_the_link(
    worker: Worker, gateway: Gateway, body: bytes
) -> None:
    if len(body) != len(ASSET):
        deliver(worker, gateway, open_order(assets=(REF,)))
    with pytest.raises(ProtocolViolation):
        worker.body_buffer(gateway, AssetData(REF.digest), len(body))


async def test_what_the_executor_refuses_fails_the_session(
    worker: Worker, gateway: Gateway
) -> None:
    deliver(worker, gateway, open_order(spec=b"refuse"))
    failed = await gateway.hears()
    assert isinstance(failed, SessionFailed)
    assert failed.problem.code == "content_refused"


@pytest.mark.parametrize("changes", [{"device": "other"}, {"workload": "other"}])
async def test_a_session_for_what_is_not_offered_is_refused(
    worker: Worker, gateway: Gateway, changes: dict[str, object]
) -> None:
    deliver(worker, gateway, open_order(**changes))  # type: ignore[arg-type]
    assert isinstance(await gateway.hears(), SessionFailed)


async def test_only_the_newest_epoch_acts(worker: Worker, gateway: Gateway) -> None:
    await opened(worker, gateway, epoch=2)
    deliver(worker, gateway, open_order(epoch=1))
    stale = await gateway.hears()
    assert isinstance(stale, SessionFailed)
    assert "older" in stale.problem.why
    deliver(worker, gateway, piece("noop", epoch=1))
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert refused.reason == "unknown_session"
    await opened(worker, gateway, epoch=3)
    deliver(worker, gateway, piece("copy", epoch=3), b"new owner")
    assert await gateway.result() == b"new owner"


async def test_two_gateways_may_use_one_session_name(worker: Worker, gateway: Gateway) -> None:
    other = Gateway("other")
    await opened(worker, gateway)
    await opened(worker, other)
    deliver(worker, gateway, SessionClose("s", 1))
    deliver(worker, other, piece("copy"), b"mine")
    assert await other.result() == b"mine"
    deliver(worker, gateway, piece("noop"))
    assert isinstance(await gateway.hears(), PieceRefused)


async def test_a_piece_that_cannot_be_on_time_is_refused_and_not_run(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("noop", due_us=monotonic_us() - 1))
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert refused.reason == "late"


async def test_the_earliest_deadline_runs_first(worker: Worker, gateway: Gateway) -> None:
    await opened(worker, gateway)
    async with held(worker, gateway):
        for number, after_s in enumerate((40, 30, 10, 20)):  # each of two overtakes the staged one
            due_us = monotonic_us() + after_s * 1_000_000
            deliver(worker, gateway, piece("noop", number, due_us=due_us))
            await asyncio.sleep(0)
    done = [await gateway.hears() for _ in range(4)]
    assert [m.piece for m in done if isinstance(m, PieceDone)] == [2, 3, 1, 0]


async def test_a_cancelled_piece_is_dropped_in_silence(worker: Worker, gateway: Gateway) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("noop", 0))
    deliver(worker, gateway, piece("noop", 1))
    deliver(worker, gateway, Cancel("s", 1, 0, 0))
    done = await gateway.hears()
    assert isinstance(done, PieceDone)
    assert done.piece == 1
    assert gateway.hears_nothing


async def test_a_failing_piece_is_answered_with_its_reason(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("raise overflow"))
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert refused.reason == "failed"
    assert refused.problem is not None
    assert "overflow" in refused.problem.why


async def test_a_crash_answers_every_piece_and_the_device_comes_back_with_its_sessions(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("die", 0))
    deliver(worker, gateway, piece("noop", 1))
    answers = [await gateway.hears(), await gateway.hears()]
    assert [a.reason for a in answers if isinstance(a, PieceRefused)] == ["device_lost"] * 2
    async with asyncio.timeout(30):
        while not worker.offers():  # noqa: ASYNC110  the device's own event is the supervisor's
            await asyncio.sleep(0.01)
    await opened(worker, gateway)
    deliver(worker, gateway, piece("copy", 2), b"again")
    assert await gateway.result() == b"again"


async def test_a_piece_past_the_kill_limit_is_said_to_be_and_the_device_comes_back(
    gateway: Gateway,
) -> None:
    async with worker_with_tiny_device(kill_after_us=300_000) as worker:
        await opened(worker, gateway)
        deliver(worker, gateway, piece("hang", 0))
        refused = await gateway.hears()
        assert isinstance(refused, PieceRefused)
        assert (refused.piece, refused.reason) == (0, "overran")
        assert refused.problem is not None
        assert refused.problem.code == "piece_overran"
        assert "did not answer within 300 ms" in refused.problem.why
        await worker._slots["tiny"].device.ready()
        deliver(worker, gateway, piece("sum", 1))
        assert await gateway.result() == b"0"


async def test_a_piece_cancelled_while_it_runs_makes_way_at_its_end_and_is_never_sent(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("wait_for", 0), bytes(1))
    slot = worker._slots["tiny"]
    while slot.running.jobs[0].inputs.arena:  # noqa: ASYNC110
        await asyncio.sleep(0)  # until the device process has it
    deliver(worker, gateway, piece("sum", 1))
    deliver(worker, gateway, Cancel("s", 1, 0, 0))
    arena = slot.device._arena
    assert arena is not None
    arena._view[0] = 1  # its input, which it waits for
    assert await gateway.result() == b"0"
    assert gateway.hears_nothing
    assert arena.leases == 0


async def heeding(worker: Worker, gateway: Gateway) -> int:
    """Have the device run what ends only when nobody wants it; returns the process's id."""
    deliver(worker, gateway, piece("heed", 0))
    for _ in range(3):
        await asyncio.sleep(0)
    return worker._slots["tiny"].device.pid


@pytest.mark.parametrize("answer", [False, True])
async def test_a_running_piece_is_abandoned_when_cancelled_and_the_next_begins(
    worker: Worker, gateway: Gateway, answer: bool
) -> None:
    await opened(worker, gateway)
    pid = await heeding(worker, gateway)
    deliver(worker, gateway, piece("sum", 1))
    deliver(worker, gateway, Cancel("s", 1, 0, 0, answer=answer))
    if answer:
        refused = await gateway.hears()
        assert isinstance(refused, PieceRefused)
        assert (refused.piece, refused.reason, refused.problem) == (0, "cancelled", None)
    assert await gateway.result() == b"0"
    assert gateway.hears_nothing
    device = worker._slots["tiny"].device
    assert (device.pid, device.restarts) == (pid, 0)
    assert device._arena is not None
    assert device._arena.leases == 0


async def test_a_straggler_that_can_be_stopped_is_and_its_device_is_free(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    pid = await heeding(worker, gateway)
    deliver(worker, gateway, piece("sum", 1))
    deliver(worker, gateway, Cancel("s", 1, 0, 1, straggler=True))  # it only waits
    deliver(worker, gateway, Cancel("s", 1, 0, 0, straggler=True))
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert (refused.piece, refused.reason) == (0, "cancelled")
    assert await gateway.result() == b"0"
    assert worker._slots["tiny"].device.pid == pid


async def test_a_straggler_that_does_not_look_up_brings_its_result(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    async with held(worker, gateway):
        arena = worker._slots["tiny"].device._arena
        assert arena is not None
        while arena._view[SLOT_ALIGN] != ord("!"):  # noqa: ASYNC110
            await asyncio.sleep(0)  # until it has begun: its output is behind its inputs
        deliver(worker, gateway, Cancel("s", 1, 0, 99, straggler=True))


async def test_a_queued_piece_that_is_cancelled_is_confirmed_where_that_is_asked_for(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("noop", 0))
    deliver(worker, gateway, Cancel("s", 1, 0, 0, answer=True))
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert refused.reason == "cancelled"


async def test_a_staged_piece_that_is_cancelled_never_begins_and_another_takes_its_place(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    async with held(worker, gateway):
        for number, command in ((0, "exit 1"), (1, "sum"), (2, "sum")):
            deliver(worker, gateway, piece(command, number))
        await asyncio.sleep(0)  # the first is with the device process
        deliver(worker, gateway, Cancel("s", 1, 0, 0, answer=True))
    said = [await gateway.hears() for _ in range(3)]
    assert [type(m) for m in said] == [PieceRefused, PieceDone, PieceDone]
    assert isinstance(said[0], PieceRefused)
    assert (said[0].piece, said[0].reason) == (0, "cancelled")
    assert worker._slots["tiny"].device.restarts == 0


async def test_a_staged_piece_goes_down_with_the_process_and_is_answered(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("exit 1", 0))
    deliver(worker, gateway, piece("sum", 1))
    said = [await gateway.hears() for _ in range(2)]
    assert [m.reason for m in said if isinstance(m, PieceRefused)] == ["device_lost"] * 2
    deliver(worker, gateway, piece("sum", 2))
    assert await gateway.result() == b"0"


@pytest.mark.parametrize("gone", ["session", "gateway"])
async def test_what_runs_for_a_session_or_gateway_that_is_gone_makes_way(
    worker: Worker, gateway: Gateway, gone: str
) -> None:
    other = Gateway("other")
    await opened(worker, gateway)
    await opened(worker, other)
    pid = await heeding(worker, gateway)
    deliver(worker, other, piece("sum", 1))
    if gone == "session":
        deliver(worker, gateway, SessionClose("s", 1))
    else:
        worker.channel_gone(gateway)
    assert await other.result() == b"0"
    assert gateway.hears_nothing
    assert worker._slots["tiny"].device.pid == pid


async def test_a_gateway_that_is_gone_leaves_nothing_behind(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    half_received = worker.body_buffer(gateway, piece("copy", 7), 16)
    assert half_received is not None
    worker.channel_gone(gateway)
    deliver(worker, gateway, piece("noop"))
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert refused.reason == "unknown_session"


async def test_fifo_runs_in_order_of_arrival_whatever_the_deadlines(gateway: Gateway) -> None:
    async with worker_with_tiny_device("fifo") as worker:
        await opened(worker, gateway)
        for number, after_s in enumerate((30, 10, 20)):
            due_us = monotonic_us() + after_s * 1_000_000
            deliver(worker, gateway, piece("noop", number, due_us=due_us))
        done = [await gateway.hears() for _ in range(3)]
        assert [m.piece for m in done if isinstance(m, PieceDone)] == [0, 1, 2]


async def test_inputs_that_found_no_room_are_refused_and_the_piece_is_not_run_without_them(
    worker: Worker, gateway: Gateway
) -> None:
    await opened(worker, gateway)
    deliver(worker, gateway, piece("copy"), bytes(2 << 20))  # the device's arena has 1 MiB
    refused = await gateway.hears()
    assert isinstance(refused, PieceRefused)
    assert refused.reason == "full"


# --- batches --------------------------------------------------------------------------------------


@asynccontextmanager
async def held(worker: Worker, gateway: Gateway) -> AsyncIterator[None]:
    """Let pieces gather in the queue: the device is busy until this is left."""
    deliver(worker, gateway, piece("wait_for", 99), bytes(1))
    slot = worker._slots["tiny"]
    while slot.running.jobs[0].inputs.arena:  # noqa: ASYNC110
        await asyncio.sleep(0)  # until the device process has it
    yield
    slot.device._arena._view[0] = 1  # its input, which it waits for
    assert await gateway.result() == b"done"


@pytest.fixture
async def gateways(worker: Worker) -> tuple[Gateway, Gateway]:
    """Two, each with a session of one model, of which single pieces have run."""
    both = Gateway("one"), Gateway("two")
    for gateway in both:
        await opened(worker, gateway, spec=b"batch model")
        for number in range(3):
            deliver(worker, gateway, piece("noop", number))
            assert await gateway.result() == b""
    return both


async def batches(worker: Worker, gateway: Gateway) -> list[int]:
    deliver(worker, gateway, piece("batches", 98))
    found: list[int] = json.loads(await gateway.result())
    return found


async def test_waiting_pieces_of_one_model_run_in_one_call_and_each_gateway_gets_its_own(
    worker: Worker, gateways: tuple[Gateway, Gateway]
) -> None:
    one, two = gateways
    async with held(worker, one):
        deliver(worker, one, piece("copy", 0), b"mine")
        deliver(worker, two, piece("copy", 0), b"yours")
        deliver(worker, two, piece("refuse it is crooked", 1))
        deliver(worker, one, piece("stamp 1", 2))
    assert await one.result() == b"mine"
    assert await two.result() == b"yours"
    refused = await two.hears()
    assert isinstance(refused, PieceRefused)
    assert (refused.piece, refused.reason) == (1, "failed")
    assert await one.result() == b"\1" * 4096
    assert await batches(worker, one) == [4]


async def test_the_time_of_a_batch_is_shared_by_work_and_said(
    worker: Worker, gateways: tuple[Gateway, Gateway]
) -> None:
    one, _ = gateways
    async with held(worker, one):
        for number, units in enumerate((1.0, 3.0)):
            deliver(worker, one, msgspec.structs.replace(piece("noop", number), units=units))
    first, second = await one.hears(), await one.hears()
    assert isinstance(first, PieceDone)
    assert isinstance(second, PieceDone)
    assert first.run_us + first.held_us == second.run_us + second.held_us
    assert abs(3 * first.run_us - second.run_us) <= 3


async def test_of_a_batch_that_runs_one_piece_can_be_cancelled(
    worker: Worker, gateways: tuple[Gateway, Gateway]
) -> None:
    one, two = gateways
    async with held(worker, one):
        deliver(worker, one, piece("wait_for", 0), bytes(1))
        deliver(worker, two, piece("copy", 0), b"yours")
        slot = worker._slots["tiny"]
        gate = slot.jobs["one", PieceKey("s", 1, 0, 0)].inputs.view
    while len(slot.running.jobs) != 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    deliver(worker, one, Cancel("s", 1, 0, 0))
    gate[0] = 1
    assert await two.result() == b"yours"
    assert one.hears_nothing


async def test_sessions_that_a_batch_failed_with_run_alone_from_then_on(
    worker: Worker, gateways: tuple[Gateway, Gateway]
) -> None:
    one, two = gateways
    async with held(worker, one):
        deliver(worker, one, piece("raise for all", 0))
        deliver(worker, two, piece("noop", 0))
    for gateway in gateways:
        refused = await gateway.hears()
        assert isinstance(refused, PieceRefused)
        assert refused.reason == "failed"
    async with held(worker, one):
        deliver(worker, one, piece("copy", 0), b"mine")
        deliver(worker, two, piece("copy", 0), b"yours")
    assert await one.result() == b"mine"
    assert await two.result() == b"yours"
    assert await batches(worker, one) == []


async def test_sessions_of_no_model_run_alone(worker: Worker, gateway: Gateway) -> None:
    await opened(worker, gateway)
    for number in range(3):
        deliver(worker, gateway, piece("noop", number))
        await gateway.result()
    async with held(worker, gateway):
        for number in range(2):
            deliver(worker, gateway, piece("noop", number))
    assert [await gateway.result() for _ in range(2)] == [b"", b""]
    assert await batches(worker, gateway) == []
