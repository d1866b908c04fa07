"""A viewer with a token and keys of its own sends garbage in all that its keys protect."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct

import pylibsrtp
import pytest
from google_crc32c import value as crc32c

from mesh.stream.session import StreamOptions

EACH = 150


def sctp(chance: random.Random) -> bytes:
    """A packet (RFC 9260) of chunks of all types, with lengths that lie; its checksum may be right,
    as whoever sends it can make one.
    """
    chunks = b""
    for _ in range(chance.randrange(1, 5)):
        body = chance.randbytes(chance.randrange(40))
        length = chance.choice((4 + len(body), 0, 3, 0xFFFF, chance.randrange(64)))
        kind = chance.choice((*range(15), 64, 130, 192, 193, chance.randrange(256)))
        chunks += struct.pack("!BBH", kind, chance.randrange(256), length) + body
        chunks += bytes(-len(chunks) % 4)
    packet = bytearray(struct.pack("!HHLL", 5000, 5000, chance.getrandbits(32), 0) + chunks)
    packet[8:12] = struct.pack("<L", crc32c(bytes(packet)))
    return bytes(packet)


def rtcp(chance: random.Random) -> bytes:
    """Compounds of reports and feedback of all formats, whose counts and lengths lie."""
    packets = b""
    for _ in range(chance.randrange(1, 4)):
        body = chance.randbytes(4 * chance.randrange(2, 30))
        words = chance.choice((len(body) // 4, len(body) // 4, 0, 1, 0xFFFF))
        kind = chance.choice((200, 201, 202, 203, 205, 205, 206, 206, 207))
        packets += struct.pack("!BBH", 0x80 | chance.randrange(32), kind, words) + body
    return packets


def rtp(chance: random.Random) -> bytes:
    """With header extensions of either form, padding and contributors that may not be there."""
    first = 0x80 | chance.randrange(64)
    head = struct.pack("!BBHLL", first, chance.randrange(128), *(chance.randrange(65536),) * 3)
    profile = chance.choice((b"\xbe\xde", b"\x10\x00", chance.randbytes(2)))
    extension = profile + struct.pack("!H", chance.choice((0, 1, 3, 200, 0xFFFF)))
    return head + bytes(4 * (first & 15)) + extension + chance.randbytes(chance.randrange(60))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [sctp, rtcp, rtp], ids=lambda make: make.__name__)
async def test_garbage_under_its_own_keys_costs_that_viewer_alone(streams, viewers, make, seed):
    unforeseen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: unforeseen.append(what))
    harness = streams(options=StreamOptions(barcode=True))
    honest = await harness.connect(viewers())
    hostile = viewers()
    joined = await harness.stream.join(await hostile.offer())
    await hostile.accept(joined.answer_sdp)
    chance = random.Random(seed)
    [receiver] = hostile.connection.getReceivers()
    async with harness.running():
        await honest.next_picture_id()
        await hostile.next_picture_id()
        for _ in range(EACH):
            garbage = make(chance)
            if make is sctp:
                await receiver.transport._send_data(garbage)
            else:
                with contextlib.suppress(pylibsrtp.Error):  # what cannot be encrypted is not sent
                    await receiver.transport._send_rtp(garbage)
        seen = [await honest.next_picture_id() for _ in range(15)]
    assert seen == sorted(set(seen))
    assert not harness.closed.done()
    assert unforeseen == []
