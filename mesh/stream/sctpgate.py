"""Which SCTP packets of a viewer reach the library that parses them (RFC 9260, RFC 8831). Pure.

The library trusts lengths: a parameter of length 0 has it loop for ever, gaps of an acknowledgement
cost a step for each number in them, and data far ahead is kept without bound. Whoever sends such
packets has a token and keys, and still must cost nobody else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_PACKET = 2048  # what the port takes at all, see mesh.stream.datagramgate
MOST_AHEAD = 2048  # numbers of data beyond the last in order: more than any browser's window
MOST_IN_GAPS = 16_384  # of our numbers that may be under way at once
_HEADER, _CHUNK = 12, 4
_DATA, _FORWARD_TSN = 0, 192
_INIT_FIELDS = 16
# Heartbeats, abort, error, re-configuration: nothing but parameters.
_PARAMETERS = frozenset((4, 5, 6, 9, 130))
_WRAP = 1 << 32


def readable(packet: bytes) -> bool:
    """Whether its lengths hold, all the way down."""
    if not _HEADER + _CHUNK <= len(packet) <= MAX_PACKET:
        return False
    try:
        return all(_chunk_holds(kind, body) for kind, body in chunks(packet))
    except ValueError:
        return False


def in_window(packet: bytes, last: int | None, room: int) -> bool:
    """Whether a readable packet's data is what may be sent now (RFC 9260, 6.2).

    last: the last number of data that came in order, None before there is an association. room:
    bytes that may still wait for the rest of their message.
    """
    for kind, body in chunks(packet):
        if kind not in {_DATA, _FORWARD_TSN}:
            continue
        ahead = 0 if last is None else (int.from_bytes(body[:4]) - last) % _WRAP
        if MOST_AHEAD < ahead < _WRAP // 2 or (kind == _DATA and room <= 0):
            return False
    return True


def chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """Each chunk's type and value. Raises ValueError for a length that cannot be."""
    at = _HEADER
    while at <= len(packet) - _CHUNK:
        kind, _, length = struct.unpack_from("!BBH", packet, at)
        if length < _CHUNK or at + length > len(packet):
            raise ValueError(f"a chunk of {length} bytes")
        yield kind, packet[at + _CHUNK : at + length]
        at += length + -length % 4


def _chunk_holds(kind: int, body: bytes) -> bool:
    match kind:
        case 0:  # DATA
            return len(body) >= 12
        case 1 | 2:  # INIT, INIT ACK
            return len(body) >= _INIT_FIELDS and _parameters_hold(body[_INIT_FIELDS:])
        case 3:  # SACK
            return _acknowledgement_holds(body)
        case 7:  # SHUTDOWN
            return len(body) == 4
        case 192:  # FORWARD TSN (RFC 3758)
            return len(body) >= 4 and len(body) % 4 == 0
        case _:
            return kind not in _PARAMETERS or _parameters_hold(body)


def _parameters_hold(body: bytes) -> bool:
    at = 0
    while at <= len(body) - 4:
        length = int.from_bytes(body[at + 2 : at + 4])
        if length < 4 or at + length > len(body):
            return False
        at += length + -length % 4
    return True


def _acknowledgement_holds(body: bytes) -> bool:
    """Gaps are in order, apart, and of no more numbers than may be under way."""
    if len(body) < 12:
        return False
    gaps, twice = struct.unpack_from("!HH", body, 8)
    if len(body) < 12 + 4 * (gaps + twice):
        return False
    before = 0
    for begin, end in struct.iter_unpack("!HH", body[12 : 12 + 4 * gaps]):
        if not before < begin <= end <= MOST_IN_GAPS:
            return False
        before = end
    return True
