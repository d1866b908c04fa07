"""Timed pieces of one model through a real worker and a real device process."""

from __future__ import annotations

import asyncio

from bench.timed.frames import JOB_BYTES
from bench.timed.plugin import NAME, PieceSpec, encode
from bench.timed.roads import LONG_US, device_process
from mesh.channel import Channel, LocalChannel
from mesh.core.loop import monotonic_us
from mesh.core.wire import Message, PieceDone, PieceRun, SessionOpen
from mesh.worker import Worker

CALL_US, PIECE_US = 20_000, 5_000
TOGETHER = 6
SESSIONS = ("one", "two")


class Gateway:
    """Keeps what the worker says."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Message] = asyncio.Queue()

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview:
        return memoryview(bytearray(size))

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        self.said.put_nowait(message)


def piece(number: int, device: str) -> PieceRun:
    spec = encode(PieceSpec(PIECE_US, call_us=CALL_US, nbytes=JOB_BYTES))
    due_us = monotonic_us() + LONG_US
    session = SESSIONS[number % len(SESSIONS)]
    return PieceRun(session, 1, number, 0, device, NAME, 1.0, due_us, JOB_BYTES, spec)


async def answers(gateway: Gateway, count: int) -> list[PieceDone]:
    said = [await gateway.said.get() for _ in range(count)]
    assert all(isinstance(message, PieceDone) for message in said), said
    return said


async def test_what_waits_for_a_model_shares_one_call_of_it():
    gateway = Gateway()
    async with device_process() as device, Worker([device], kill_after_us=LONG_US) as worker:
        channel, _ = LocalChannel.pair("here", gateway, worker)
        for session in SESSIONS:
            channel.send(SessionOpen(session, 1, NAME, device.name, b"model"))
            await gateway.said.get()
        for number in range(3):  # what one alone takes
            channel.send(piece(number, device.name))
            (alone,) = await answers(gateway, 1)
            assert (alone.held_us, alone.frame) == (0, number)
        channel.send(piece(3, device.name))
        while not worker._slots[device.name].running:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for number in range(4, 4 + TOGETHER):
            channel.send(piece(number, device.name))
        _, *together = await answers(gateway, 1 + TOGETHER)
    assert [done.frame for done in together] == list(range(4, 4 + TOGETHER))
    assert {done.session for done in together} == set(SESSIONS)
    (took_us,) = {done.run_us + done.held_us for done in together}
    assert took_us >= CALL_US + TOGETHER * PIECE_US
    assert abs(sum(done.run_us for done in together) - took_us) <= TOGETHER
