"""A running piece is cancelled, on a node as it is: messages, queue, device process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bench.timed.plugin import NAME, PieceSpec, encode
from bench.timed.roads import JOB_BYTES, LONG_US, device_process
from mesh.channel import Channel, LocalChannel
from mesh.core.loop import monotonic_us
from mesh.core.wire import Cancel, Message, PieceDone, PieceRefused, PieceRun, SessionOpen
from mesh.worker import Worker

HALF_A_MINUTE_US = 30_000_000


class Listener:
    """The gateway's end of a node's channel to itself: keeps what the worker says, in order."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Message] = asyncio.Queue()

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview:
        return memoryview(bytearray(size))

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        self.said.put_nowait(message)


def order(frame: int, device: str, run_us: int) -> PieceRun:
    spec = encode(PieceSpec(run_us, nbytes=JOB_BYTES))
    due_us = monotonic_us() + LONG_US
    return PieceRun("s", 1, frame, 0, device, NAME, 1.0, due_us, JOB_BYTES, spec)


async def test_a_cancelled_piece_gives_its_device_back_long_before_its_end() -> None:
    async with device_process() as device, AsyncExitStack() as stack:
        worker = await stack.enter_async_context(Worker([device], kill_after_us=LONG_US))
        gateway = Listener()
        channel, _ = LocalChannel.pair("node", gateway, worker)
        pid = device.pid
        channel.send(SessionOpen("s", 1, NAME, device.name, b""))
        await gateway.said.get()
        channel.send(order(0, device.name, HALF_A_MINUTE_US))
        while device._child is None or not device._child._flying:  # noqa: ASYNC110
            await asyncio.sleep(0)  # until the process has it
        channel.send(order(1, device.name, 0))
        channel.send(Cancel("s", 1, 0, 0, answer=True))
        told, done = await gateway.said.get(), await gateway.said.get()
        assert isinstance(told, PieceRefused)
        assert (told.frame, told.reason) == (0, "cancelled")
        assert isinstance(done, PieceDone)
        assert done.frame == 1
        assert told.run_us < HALF_A_MINUTE_US
        assert (device.pid, device.restarts, device.state) == (pid, 0, "ready")
