import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.transportcc import (
    CLOCK_US,
    MAX_PACKETS,
    Feedback,
    numbered,
    parse_feedback,
    take_feedback,
)

# As Chromium sends it: numbers 65534 to 2, of which 0 is missing; four 250 us ticks apart.
REPORT = bytes.fromhex(
    "8fcd0006 00000001 0000abcd"  # RTPFB 15, six more words, both SSRCs
    "fffe 0005 000003 07"  # first, count, 3 * 64 ms, report 7
    "b600"  # one bit each: 1 1 0 1 1
    "04 04 04 04 0000"  # times, padding
)


def written(first, reference, ticks, *, chunks=None):
    """A report's body; ticks: one for each packet, None if it is missing."""
    symbols = [0 if t is None else 1 if 0 <= t < 256 else 2 for t in ticks]
    if chunks is None:
        chunks = b""
        for at in range(0, len(symbols), 7):
            chunk = 0xC000
            for shift, symbol in zip(range(12, -1, -2), symbols[at : at + 7], strict=False):
                chunk |= symbol << shift
            chunks += chunk.to_bytes(2)
    deltas = b"".join(
        t.to_bytes(1) if s == 1 else t.to_bytes(2, signed=True)
        for s, t in zip(symbols, ticks, strict=True)
        if s
    )
    head = struct.pack("!LLHHL", 1, 2, first, len(ticks), reference << 8)
    return head + chunks + deltas


def test_a_report_is_read_as_chromium_writes_it():
    [report], others = take_feedback(REPORT)
    start = 3 * 64_000
    assert report == Feedback(
        65534, (start + 1_000, start + 2_000, None, start + 3_000, start + 4_000)
    )
    assert others == b""


def test_what_comes_with_a_report_is_left_as_it_was():
    pli = bytes.fromhex("81ce0002 00000001 0000abcd")
    nack = bytes.fromhex("81cd0003 00000001 0000abcd 00070000")
    found, others = take_feedback(pli + REPORT + nack)
    assert len(found) == 1
    assert others == pli + nack


def test_a_run_of_one_symbol_is_read():
    body = written(9, 1, [4] * 300, chunks=(1 << 13 | 300).to_bytes(2))
    assert parse_feedback(body).arrivals_us == tuple(64_000 + 1000 * n for n in range(1, 301))


@given(
    st.integers(0, 65535),
    st.integers(0, 2**24 - 1),
    st.lists(st.none() | st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50),
)
def test_every_report_is_read_back(first, reference, ticks):
    report = parse_feedback(written(first, reference, ticks))
    at_us, expected = reference * 64_000, []
    for tick in ticks:
        at_us += 250 * (tick or 0)
        expected.append(None if tick is None else at_us % CLOCK_US)
    assert report == Feedback(first, tuple(expected))


@given(st.binary(max_size=64))
def test_garbage_raises_nothing_but_value_error(garbage):
    for read in (take_feedback, parse_feedback):
        try:
            read(garbage)
        except ValueError:
            continue


@given(st.integers(0, len(REPORT) - 4), st.integers(0, 255))
def test_a_spoilt_report_raises_nothing_but_value_error(at, byte):
    spoilt = REPORT[: at + 4] + bytes([byte]) + REPORT[at + 5 :]
    try:
        found, _ = take_feedback(spoilt)
    except ValueError:
        return
    assert all(len(report.arrivals_us) <= MAX_PACKETS for report in found)


@pytest.mark.parametrize(
    "body",
    [
        written(0, 0, [1])[:15],
        written(0, 0, []),
        written(0, 0, [1], chunks=b""),
        written(0, 0, [1])[:-1],
        written(0, 0, [1], chunks=(3 << 13 | 1).to_bytes(2)),
        written(0, 0, [None] * (MAX_PACKETS + 1), chunks=(MAX_PACKETS + 1).to_bytes(2)),
    ],
)
def test_a_report_that_does_not_add_up_is_refused(body):
    with pytest.raises(ValueError, match="transport feedback"):
        parse_feedback(body)


def test_the_number_is_written_into_its_extension_and_nowhere_else():
    head = bytes.fromhex("90600001 00000002 00000003")
    extensions = bytes.fromhex("bede000210aa005100002000")
    packet = head + extensions + b"payload"
    stamped = numbered(packet, 5, 0x1234)
    assert stamped == head + bytes.fromhex("bede000210aa005112342000") + b"payload"
    assert numbered(packet, 6, 0x1234) == packet
    plain = bytes([0x80]) + head[1:] + b"payload"
    assert numbered(plain, 5, 0x1234) == plain


@given(st.binary(min_size=12, max_size=64), st.integers(1, 14))
def test_numbering_never_changes_a_packets_length(packet, extension):
    start = 12 + 4 * (packet[0] & 0x0F)
    length = int.from_bytes(packet[start + 2 : start + 4]) if packet[0] & 0x10 else 0
    whole = packet.ljust(start + 4 + 4 * length + 20, b"\0")  # aiortc writes no others
    assert len(numbered(whole, extension, 77)) == len(whole)
