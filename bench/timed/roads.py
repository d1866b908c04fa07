"""One no-op piece there and back, by the roads a node has, each as an awaitable call."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from bench.timed.frames import JOB_BYTES
from bench.timed.plugin import NAME, PieceSpec, create, encode
from mesh.channel import Channel, LocalChannel
from mesh.core.loop import monotonic_us
from mesh.core.wire import Message, PieceDone, PieceRun, SessionOpen, SessionReady
from mesh.device.supervisor import Device, Plugins, open_device
from mesh.worker import Worker

Call = Callable[[], Awaitable[None]]

SESSION = "noop"
LONG_US = 60_000_000
SPEC = encode(PieceSpec(0.0, nbytes=JOB_BYTES))
INPUTS = bytes(JOB_BYTES)


@asynccontextmanager
async def device_process() -> AsyncIterator[Device]:
    """A supervised process with a timed device."""
    plugins = Plugins({NAME: "bench.timed.plugin:create"})
    infos = create({}).find_devices()
    async with open_device(
        "bench", infos, {NAME: {}}, changed=lambda _: None, plugins=plugins
    ) as device:
        await device.ready()
        yield device


@asynccontextmanager
async def straight(device: Device) -> AsyncIterator[Call]:
    """The device process asked by its supervisor: no queue, no messages."""
    await device.prepare(SESSION, NAME, b"", {})

    async def call() -> None:
        inputs = device.lease_input(JOB_BYTES)
        assert inputs is not None
        inputs.view[:] = INPUTS
        result = await device.run(
            SESSION, NAME, SPEC, JOB_BYTES, inputs=inputs, kill_after_us=LONG_US
        )
        result.lease.release()

    yield call
    device.forget(SESSION)


class _Asker:
    """The gateway's end of a node's channel to itself."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview:
        return memoryview(bytearray(size))

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        match message:
            case SessionReady():
                self.ready.set()
            case PieceDone():
                assert len(body) == JOB_BYTES
                self.answer.set_result(None)
            case _:
                self.answer.set_exception(RuntimeError(f"the worker said {message}"))


@asynccontextmanager
async def dispatched(device: Device) -> AsyncIterator[Call]:
    """A node's own road: message, deadline queue, device process, message."""
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(Worker([device], kill_after_us=LONG_US))
        asker = _Asker()
        channel, _ = LocalChannel.pair("bench", asker, worker)
        channel.send(SessionOpen(SESSION, 1, NAME, device.name, b""))
        await asker.ready.wait()
        frames = itertools.count()

        async def call() -> None:
            asker.answer = asyncio.get_running_loop().create_future()
            order = PieceRun(
                SESSION,
                1,
                next(frames),
                0,
                device.name,
                NAME,
                1.0,
                monotonic_us() + LONG_US,
                JOB_BYTES,
                SPEC,
            )
            channel.send(order, INPUTS)
            await asker.answer

        yield call
