"""SCTP packets whose lengths lie never reach the parser, and those of browsers do."""

from __future__ import annotations

import struct

import pytest
from aiortc import rtcsctptransport as sctp
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.sctpgate import MOST_AHEAD, MOST_IN_GAPS, chunks, in_window, readable


def packet(*parts: tuple[int, bytes]) -> bytes:
    written = b"".join(
        struct.pack("!BBH", kind, 0, 4 + len(body)) + body + bytes(-len(body) % 4)
        for kind, body in parts
    )
    return struct.pack("!HHLL", 5000, 5000, 1, 0) + written


def data(tsn: int, text: bytes = b"x") -> bytes:
    return packet((0, struct.pack("!LHHL", tsn, 2, 0, 51) + text))


def sack(*gaps: tuple[int, int], claimed: int | None = None) -> bytes:
    count = len(gaps) if claimed is None else claimed
    ranges = b"".join(struct.pack("!HH", *gap) for gap in gaps)
    return packet((3, struct.pack("!LLHH", 9, 1 << 17, count, 0) + ranges))


def init(*parameters: tuple[int, int, bytes], kind: int = 1) -> bytes:
    written = b"".join(struct.pack("!HH", name, length) + body for name, length, body in parameters)
    return packet((kind, struct.pack("!LLHHL", 7, 1 << 17, 64, 64, 3) + written))


@pytest.mark.parametrize(
    "honest",
    [
        data(5),
        data(5, b"a whole input"),
        sack(),
        sack((2, 3), (5, 5)),
        init(),
        init((0xC000, 4, b""), (0x8008, 6, b"\xc0\x82\0\0")),
        packet((10, b"cookie"), (0, bytes(12))),
        packet((4, struct.pack("!HH", 1, 8) + b"beat")),
        packet((192, struct.pack("!LHH", 8, 2, 0))),
        packet((200, b"of a kind nobody knows")),
    ],
)
def test_what_browsers_send_is_read(honest):
    assert readable(honest)


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        data(5)[:15],
        packet((0, bytes(11))),
        init((0xC000, 0, b"")),  # has the library loop for ever
        init((0xC000, 0, b""), kind=2),
        init((0xC000, 3, b"")),
        init((0xC000, 9, b"")),
        packet((130, struct.pack("!HH", 13, 0))),
        sack((1, 0xFFFF)),
        sack((4, 3)),
        sack((3, 4), (4, 5)),
        sack((1, 2), claimed=2),
        packet((3, bytes(8))),
        packet((7, b"")),
        packet((192, bytes(5))),
        data(5) + struct.pack("!BBH", 0, 0, 400),
        data(5) + bytes(4096),
    ],
)
def test_what_has_the_library_choke_is_not(malformed):
    assert not readable(malformed)


@given(st.binary(max_size=400))
def test_whatever_comes_is_judged_and_what_is_read_the_library_reads(body):
    whole = packet((0, bytes(12))) + body
    if readable(whole):
        checked = bytearray(whole)
        checked[8:12] = struct.pack("<L", sctp.crc32c(bytes(whole)))
        found = sctp.parse_packet(bytes(checked))[3]
        known = [kind for kind, _ in chunks(whole) if kind in sctp.CHUNK_TYPES]
        assert [chunk.type for chunk in found] == known


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_data_far_ahead_is_dropped_and_no_other(last, ahead):
    told = data((last + ahead) % 2**32)
    assert in_window(told, last, room=1) == (ahead <= MOST_AHEAD or ahead >= 2**31)
    assert not in_window(told, last, room=0)
    assert in_window(told, None, room=1)


def test_acknowledgements_need_no_room():
    assert in_window(sack((1, MOST_IN_GAPS)), 5, room=0)
