import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse, ProtocolViolation
from mesh.core.wire import MAX_BODY, MAX_HEADER, AssetData, Ping, encode_message
from mesh.link.framing import (
    CHUNK,
    MAX_PARTIAL,
    MORE,
    OPEN,
    PREFIX,
    SLOTS,
    FrameReader,
    more_prefix,
    open_prefix,
)
from mesh.link.sendqueue import SendQueue

PING = encode_message(Ping(0))
ASSET = encode_message(AssetData("0" * 64))
# Around every border: one frame, a chunk, the prefix that may be received behind a chunk.
SIZES = [0, 1, 15, 16, 17, 2047, 2048, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 15, CHUNK + 16]
SIZES += [2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 17, 200_000]


def fresh(message, size):
    return memoryview(bytearray(size))


def feed(reader, stream, pieces=lambda: 1 << 20):
    """Receive `stream` in pieces of the sizes drawn, as a transport would."""
    arrived, at = [], 0
    while at < len(stream):
        buffer = reader.buffer()
        count = min(len(buffer), len(stream) - at, max(pieces(), 1))
        buffer[:count] = stream[at : at + count]
        at += count
        arrived += list(reader.advance(count))
    return arrived


def digest(number):
    return f"{number:064x}"


@given(
    st.lists(st.tuples(st.sampled_from(SIZES), st.integers(0, 3)), max_size=12),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_whatever_the_interleaving_and_the_splits_every_body_arrives(sent, seed, drop_odd):
    rng = random.Random(seed)
    queue, bodies, finished = SendQueue(), [], []
    stream = bytearray()

    def write_some():
        for _ in range(rng.randrange(6)):
            frame = queue.next_frame()
            if frame is None:
                return
            stream.extend(frame.head)
            stream.extend(frame.chunk)
            if frame.last:
                frame.sending.finish()

    for number, (size, due_us) in enumerate(sent):
        bodies.append(rng.randbytes(size))
        header = encode_message(AssetData(digest(number)))
        queue.push(header, bodies[-1], due_us, lambda n=number: finished.append(n))
        write_some()
    while queue.queued_bytes:
        write_some()

    def allocate(message, size):
        if drop_odd and int(message.digest, 16) % 2:
            return None
        return memoryview(bytearray(size))

    arrived = feed(FrameReader(allocate), stream, lambda: int(rng.paretovariate(0.3)))
    assert [int(message.digest, 16) for message, _ in arrived] == finished
    assert sorted(finished) == list(range(len(sent)))
    for message, body in arrived:
        number = int(message.digest, 16)
        assert bytes(body) == (b"" if drop_odd and number % 2 else bodies[number])


def test_a_body_lands_in_the_very_memory_that_was_given_for_it():
    memory = bytearray(3 * CHUNK)
    view = memoryview(memory)[5 : 5 + 2 * CHUNK]
    body = random.Random(1).randbytes(2 * CHUNK)
    stream = open_prefix(0, CHUNK, len(ASSET), 2 * CHUNK) + ASSET + body[:CHUNK]
    stream += more_prefix(0, CHUNK) + body[CHUNK:]
    ((_, arrived),) = feed(FrameReader(lambda message, size: view), stream)
    assert memory[5 : 5 + 2 * CHUNK] == body == arrived
    assert not any(memory[:5]) and not any(memory[5 + 2 * CHUNK :])


def opened(slot, chunk, body):
    return open_prefix(slot, chunk, len(ASSET), body) + ASSET + bytes(chunk)


FORBIDDEN = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n", "reserved byte"),
    (PREFIX.pack(7, 0, 0, 0, 1, 0), "unknown kind 7"),
    (PREFIX.pack(OPEN, 1, 0, 0, 1, 0), "reserved byte"),
    (open_prefix(0, 0, MAX_HEADER + 1, 0), "header has 65537 bytes"),
    (open_prefix(0, 0, 0, 0), "header has 0 bytes"),
    (open_prefix(0, CHUNK, 1, MAX_BODY + 1), "body has 67108865 bytes"),
    (open_prefix(0, CHUNK + 1, 1, 2 * CHUNK), "first chunk of a 131072-byte body has 65537"),
    (open_prefix(0, 0, 1, 10), "first chunk of a 10-byte body has 0"),
    (open_prefix(0, 11, 1, 10), "first chunk of a 10-byte body has 11"),
    (open_prefix(SLOTS, 1, 1, 10), "slot 16, which is taken or out of range"),
    (opened(3, 1, 10) + opened(3, 1, 10), "slot 3, which is taken"),
    (open_prefix(1, 0, len(PING), 0), "whole in one frame names a slot"),
    (open_prefix(0, 0, 4, 0) + b"\x81\xa1\xff\x00", "header cannot be read"),
    (open_prefix(0, 0, 40_000, 0) + b"\x91" * 40_000, "header cannot be read"),
    (open_prefix(0, 1, len(PING), 1) + PING, "a Ping has a body"),
    (more_prefix(0, 1), "slot 0, where no message is under way"),
    (opened(0, 1, 10) + more_prefix(0, 10), "chunk of 10 bytes does not fit"),
    (opened(0, 1, 10) + more_prefix(0, 0), "chunk of 0 bytes does not fit"),
    (opened(0, 1, 10) + PREFIX.pack(MORE, 0, 0, 1, 1, 0), "does not fit"),
    (
        b"".join(opened(slot, 1, MAX_BODY) for slot in range(3)),
        f"more than {MAX_PARTIAL} bytes",
    ),
]


@pytest.mark.parametrize(("stream", "why"), FORBIDDEN, ids=[why for _, why in FORBIDDEN])
def test_what_the_protocol_forbids_is_refused_with_the_reason(stream, why):
    with pytest.raises(ProtocolViolation, match=why):
        feed(FrameReader(lambda message, size: None), stream)


def test_an_oversize_announcement_is_refused_before_memory_is_asked_for():
    asked = []
    reader = FrameReader(lambda message, size: asked.append(size), max_body=1000)
    with pytest.raises(ProtocolViolation, match="1000 are allowed"):
        feed(reader, opened(0, 1, 1001))
    assert asked == []


@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_random_bytes_are_a_violation_or_wait_for_more(stream, seed):
    rng = random.Random(seed)
    reader = FrameReader(fresh, max_body=1 << 20)
    try:
        feed(reader, stream, lambda: rng.randrange(1, 50))
    except ProtocolViolation as problem:
        assert problem.fix


@given(st.binary(max_size=300))
def test_random_headers_are_a_violation_or_a_message(header):
    try:
        feed(FrameReader(fresh), open_prefix(0, 0, len(header), 0) + header)
    except ProtocolViolation as problem:
        assert problem.why


@pytest.mark.parametrize("given_", [memoryview(bytearray(9)), memoryview(bytes(10))])
def test_a_handler_that_gives_an_unusable_buffer_is_told_so(given_):
    with pytest.raises(Misuse, match="read-only or not of its size"):
        feed(FrameReader(lambda message, size: given_), opened(0, 10, 10))
