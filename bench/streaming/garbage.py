"""Malformed datagrams as a stranger would send them to a WebRTC port: seeded, without end.

Each begins as what the port's demultiplexer (RFC 7983) lets through: STUN, DTLS, SRTP or SRTCP;
then some of its bytes, lengths or ends are spoilt. Some are nothing at all.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

MOST_BYTES = 1400
_MAGIC = 0x2112A442  # of STUN (RFC 8489)
_USERNAME, _INTEGRITY, _PRIORITY, _CONTROLLING = 0x0006, 0x0008, 0x0024, 0x802A


def datagrams(seed: int, username: bytes) -> Iterator[bytes]:
    """username: what the gateway's ICE expects ("ours:theirs"); half of the STUN carries it."""
    chance = random.Random(seed)
    makers: tuple[Callable[[random.Random], bytes], ...] = (
        lambda c: _stun(c, username),
        _dtls,
        _rtp,
        _rtcp,
        lambda c: c.randbytes(c.randrange(64)),
    )
    while True:
        yield spoilt(chance, chance.choice(makers)(chance))[:MOST_BYTES]


def spoilt(chance: random.Random, datagram: bytes) -> bytes:
    """With up to four bytes changed, or an end cut off, or more behind it; or as it was."""
    changed = bytearray(datagram)
    match chance.randrange(4):
        case 0 if changed:
            for _ in range(chance.randrange(1, 5)):
                changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        case 1:
            del changed[chance.randrange(len(changed) + 1) :]
        case 2:
            changed += chance.randbytes(chance.randrange(1200))
    return bytes(changed)


def _stun(chance: random.Random, username: bytes) -> bytes:
    """A request, answer or error with attributes and an integrity that nobody could have made."""
    name = username if chance.random() < 0.5 else chance.randbytes(9)
    attributes = b"".join(
        struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
        for kind, value in (
            (_USERNAME, name),
            (_PRIORITY, chance.randbytes(4)),
            (_CONTROLLING, chance.randbytes(8)),
            (_INTEGRITY, chance.randbytes(20)),
        )
    )
    kind = chance.choice((0x0001, 0x0011, 0x0101, 0x0111))
    return struct.pack("!HHI", kind, len(attributes), _MAGIC) + chance.randbytes(12) + attributes


def _dtls(chance: random.Random) -> bytes:
    """A record of any content type, epoch and length; many a ClientHello."""
    content = chance.choice((20, 21, 22, 22, 22, 23, 24))
    body = chance.randbytes(chance.randrange(200))
    if content == 22:
        hello = struct.pack("!BHB", 1, 0, len(body) & 0xFF) + bytes(5) + b"\xfe\xfd" + body
        body = hello
    epoch, length = chance.choice((0, 0, 1, 0xFFFF)), chance.choice((len(body), 0, 0xFFFF))
    return struct.pack("!BHHHIH", content, 0xFEFD, epoch, 0, chance.getrandbits(32), length) + body


def _rtp(chance: random.Random) -> bytes:
    first, kind = 0x80 | chance.randrange(64), chance.randrange(256)
    return bytes((first, kind)) + chance.randbytes(10 + chance.randrange(1200))


def _rtcp(chance: random.Random) -> bytes:
    """Reports and feedback of all formats, transport-wide feedback among them."""
    first, kind = 0x80 | chance.randrange(32), chance.randrange(200, 208)
    body = chance.randbytes(4 * chance.randrange(1, 60))
    words = chance.choice((len(body) // 4, 0, 0xFFFF))
    return struct.pack("!BBH", first, kind, words) + body
