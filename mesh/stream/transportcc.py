"""Transport-wide feedback: which packets of a connection arrived, and when. Pure.

Every packet carries a number in a header extension, whatever stream it belongs to; the viewer
reports arrivals by that number (draft-holmer-rmcat-transport-wide-cc-extensions-01, RTPFB format
15). Chromium reports every 50 to 250 ms.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_PACKETS = 4096  # in one report; run lengths could claim 65535 with a few bytes
FORMAT = 15  # of RTCP's transport-layer feedback (RTPFB)

_RTPFB = 205
_HEADER = struct.Struct("!BBH")
_FEEDBACK = struct.Struct("!8xHHI")  # after both SSRCs: first number, count, time and report number
_TICK_US, _REFERENCE_US = 250, 64_000
_REFERENCE_BITS = 24
_ONE_BYTE_FORM = b"\xbe\xde"  # RFC 8285


@dataclass(frozen=True, slots=True)
class Feedback:
    """One report.

    first: number of the first packet that it tells of, 16 bits; the others follow it.
    arrivals_us: for each packet when it came, on the viewer's clock, or None. That clock wraps
        around every CLOCK_US.
    """

    first: int
    arrivals_us: tuple[int | None, ...]


CLOCK_US = _REFERENCE_US << _REFERENCE_BITS


def take_feedback(compound: bytes) -> tuple[list[Feedback], bytes]:
    """The reports in a compound RTCP packet (RFC 3550), and what else is in it, unread.

    Raises ValueError if the compound or a report in it is malformed.
    """
    found: list[Feedback] = []
    others: list[bytes] = []
    at = 0
    while at < len(compound):
        if len(compound) - at < _HEADER.size:
            raise ValueError("an RTCP header is cut short")
        first, kind, words = _HEADER.unpack_from(compound, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(compound):
            raise ValueError("an RTCP packet is of another version, or cut short")
        if kind == _RTPFB and first & 0x1F == FORMAT:
            found.append(parse_feedback(compound[at + 4 : end]))
        else:
            others.append(compound[at:end])
        at = end
    return found, b"".join(others)


def parse_feedback(body: bytes) -> Feedback:
    """A report, from its first SSRC on; padding at the end is ignored. Raises ValueError."""
    if len(body) < _FEEDBACK.size:
        raise ValueError("a transport feedback is cut short")
    first, count, time_and_number = _FEEDBACK.unpack_from(body)
    if not 0 < count <= MAX_PACKETS:
        raise ValueError(f"a transport feedback tells of {count} packets")
    symbols, at = _symbols(body, count)
    now_us = (time_and_number >> 8) * _REFERENCE_US
    arrivals: list[int | None] = []
    for symbol in symbols:
        if symbol == 0:
            arrivals.append(None)
            continue
        if symbol == 3:
            raise ValueError("a transport feedback has a reserved symbol")
        if at + symbol > len(body):
            raise ValueError("a transport feedback lacks arrival times")
        # One byte without a sign, or two with one.
        ticks = body[at] if symbol == 1 else int.from_bytes(body[at : at + 2], signed=True)
        at += symbol
        now_us += ticks * _TICK_US
        arrivals.append(now_us % CLOCK_US)
    return Feedback(first, tuple(arrivals))


def _symbols(body: bytes, count: int) -> tuple[list[int], int]:
    """Each packet's two-bit symbol, and where they end."""
    symbols: list[int] = []
    at = _FEEDBACK.size
    while len(symbols) < count:
        if at + 2 > len(body):
            raise ValueError("a transport feedback lacks symbols")
        chunk = int.from_bytes(body[at : at + 2])
        at += 2
        if not chunk & 0x8000:
            run = min(chunk & 0x1FFF, count - len(symbols))
            symbols += [chunk >> 13] * run
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return symbols[:count], at


def numbered(packet: bytes, extension: int, number: int) -> bytes:
    """An RTP packet with `number` in its one-byte header extension of that id, if it has one."""
    start = 12 + 4 * (packet[0] & 0x0F)
    if not (packet[0] & 0x10 and packet[start : start + 2] == _ONE_BYTE_FORM):
        return packet
    at, end = start + 4, start + 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    while at < end:
        found, size = packet[at] >> 4, (packet[at] & 0x0F) + 1
        if found == extension:
            return packet[: at + 1] + number.to_bytes(size) + packet[at + 1 + size :]
        at += 1 + size if packet[at] else 1  # a zero byte is padding
    return packet
