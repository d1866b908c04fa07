"""How long a link's messages take to write and to read, from objects to bytes and back.

Bodies of 1 KB (a no-op piece), 64 KB (one chunk), 345 KB (an I420 tile of 640x360) and 1.8 MB (a
whole sweep). Writing makes the frames that are handed to the transport, without copying a body;
reading takes a stream apart as a transport would, which copies each body once into its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mesh.core.wire import (
    ClientResult,
    Message,
    PieceDone,
    PieceRefused,
    PieceRun,
    Ping,
    decode_message,
    encode_message,
)
from mesh.link.framing import FrameReader
from mesh.link.sendqueue import SendQueue

SESSION = "a-session-of-22-letters"
MESSAGES: dict[str, Message] = {
    "ping": Ping(123_456_789),
    "piece run": PieceRun(
        SESSION, 1, 1000, 3, "cpu", "tile", 57_600.0, 10**12, 400_000, bytes(200)
    ),
    "piece done": PieceDone(SESSION, 1, 1000, 3, "cpu", 150, 4200, 8400),
    "piece refused": PieceRefused(SESSION, 1, 1000, 3, "cpu", "late", None, 8400),
    "client result": ClientResult(SESSION, 1000, 1000, bytes(800)),
}
BODIES = {"1 KB": 1 << 10, "64 KB": 1 << 16, "345 KB": 640 * 360 * 3 // 2, "1.8 MB": 114_000 * 16}
HEADER = encode_message(MESSAGES["piece done"])
PING = encode_message(MESSAGES["ping"])

named = pytest.mark.parametrize
Benchmark = Callable[..., Any]


@named("name", MESSAGES)
def test_encode_a_header(benchmark: Benchmark, name: str) -> None:
    assert decode_message(benchmark(encode_message, MESSAGES[name])) == MESSAGES[name]


@named("name", MESSAGES)
def test_decode_a_header(benchmark: Benchmark, name: str) -> None:
    assert benchmark(decode_message, encode_message(MESSAGES[name])) == MESSAGES[name]


def frames(queue: SendQueue) -> list[tuple[bytes, memoryview]]:
    """Everything that waits, as it is handed to the transport."""
    written = []
    while (frame := queue.next_frame()) is not None:
        written.append((frame.head, frame.chunk))
        if frame.last:
            frame.sending.finish()
    return written


@named("body", BODIES)
def test_write_a_message(benchmark: Benchmark, body: str) -> None:
    queue, data = SendQueue(), bytes(BODIES[body])

    def write() -> list[tuple[bytes, memoryview]]:
        queue.push(HEADER, data, 0, None)
        return frames(queue)

    assert sum(len(chunk) for _, chunk in benchmark(write)) == len(data)


def test_write_16_tiles_and_as_many_urgent_messages(benchmark: Benchmark) -> None:
    """Interleaved: each time an urgent one comes between two chunks of what is under way."""
    queue, data = SendQueue(), bytes(BODIES["345 KB"])

    def write() -> int:
        for _ in range(16):
            queue.push(HEADER, data, 1, None)
        count = 0
        while (frame := queue.next_frame()) is not None:
            count += 1
            if frame.last:
                frame.sending.finish()
            if count % 12 == 0 and count < 12 * 17:
                queue.push(PING, b"", 0, None)
        return count

    assert benchmark(write) >= 16 * 6 + 8


def read(reader: FrameReader, stream: memoryview) -> list[tuple[Message, memoryview]]:
    """What a transport does with bytes that have come."""
    at, arrived = 0, []
    while at < len(stream):
        buffer = reader.buffer()
        count = min(len(buffer), len(stream) - at)
        buffer[:count] = stream[at : at + count]
        at += count
        arrived += reader.advance(count)
    return arrived


@named("body", BODIES)
def test_read_a_message(benchmark: Benchmark, body: str) -> None:
    queue = SendQueue()
    queue.push(HEADER, bytes(BODIES[body]), 0, None)
    stream = memoryview(b"".join(part for frame in frames(queue) for part in frame))
    memory = memoryview(bytearray(BODIES[body]))
    reader = FrameReader(lambda message, size: memory)
    [(message, arrived)] = benchmark(read, reader, stream)
    assert (message, len(arrived)) == (MESSAGES["piece done"], BODIES[body])


def test_read_a_burst_of_100_small_messages(benchmark: Benchmark) -> None:
    queue = SendQueue()
    for _ in range(100):
        queue.push(HEADER, b"", 0, None)
    stream = memoryview(b"".join(head for head, _ in frames(queue)))
    reader = FrameReader(lambda message, size: None)
    assert len(benchmark(read, reader, stream)) == 100
