"""Mutations of what lies inside a scene: pictures and compressed meshes, by their own structure."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from bench.fuzz.bytework import spoil

_PNG, _JPEG, _DRACO = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"DRACO"
_SIDES = (0, 1, 2, 15, 255, 4096, 8191, 8192, 8193, 65_535, 2**31 - 1, 2**32 - 1)


def spoil_stream(rng: random.Random, data: bytes) -> bytes:
    """By its first bytes; what is not known, and a third of everything, as plain bytes."""
    if rng.random() < 0.33:
        return spoil(rng, data)
    for magic, change in _KINDS.items():
        if data.startswith(magic):
            return change(rng, data)
    return spoil(rng, data)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """With its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(rng: random.Random, data: bytes) -> bytes:
    """Chunks changed, swapped, repeated or gone; their checksums are right."""
    chunks = _png_chunks(data)
    if not chunks:
        return spoil(rng, data)
    for _ in range(rng.randint(1, 2)):
        number = rng.randrange(len(chunks))
        kind, body = chunks[number]
        if kind == b"IHDR" and len(body) == 13:
            chunks[number] = kind, _png_head(rng, body)
        elif kind == b"IDAT" and rng.random() < 0.5:
            chunks[number] = kind, _deflated_otherwise(rng, body)
        else:
            action = rng.randrange(4)
            if action == 0:
                chunks[number] = kind, spoil(rng, body)
            elif action == 1 and len(chunks) > 1:
                del chunks[number]
            elif action == 2:
                chunks.insert(rng.randrange(len(chunks) + 1), (kind, body))
            else:
                extra = rng.choice((b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"gAMA", b"acTL", b"fdAT"))
                chunks.insert(rng.randrange(len(chunks) + 1), (extra, _text_bomb(rng)))
    return _PNG + b"".join(png_chunk(kind, body) for kind, body in chunks)


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        [length] = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png_head(rng: random.Random, body: bytes) -> bytes:
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", body)
    if rng.random() < 0.5:
        width = rng.choice(_SIDES)
    if rng.random() < 0.5:
        height = rng.choice(_SIDES)
    if rng.random() < 0.3:
        depth, colour = rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 7))
    if rng.random() < 0.2:
        rest[2] ^= 1  # interlaced
    return struct.pack(">IIBBBBB", width, height, depth, colour, *rest)


def _deflated_otherwise(rng: random.Random, body: bytes) -> bytes:
    """The pixels changed under a sound compression, or far more of them than there should be."""
    if rng.random() < 0.2:
        return zlib.compress(bytes(1 << rng.randint(16, 24)))
    try:
        return zlib.compress(spoil(rng, zlib.decompress(body)), 1)
    except zlib.error:
        return spoil(rng, body)


def _text_bomb(rng: random.Random) -> bytes:
    """What a small chunk may hold that inflates without end."""
    return b"name\0\0" + zlib.compress(bytes(1 << rng.randint(4, 24)))


def _jpeg(rng: random.Random, data: bytes) -> bytes:
    """One segment changed, removed or repeated; or the frame's size."""
    segments = _jpeg_segments(data)
    if not segments:
        return spoil(rng, data)
    start, end = rng.choice(segments)
    if data[start + 1] in (0xC0, 0xC2) and rng.random() < 0.7 and end - start >= 9:
        height, width = (min(rng.choice(_SIDES), 65_535) for _ in range(2))
        return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]
    action = rng.randrange(4)
    if action == 0:
        return data[:start] + data[end:]
    if action == 1:
        other = rng.choice(segments)[0]
        return data[:other] + data[start:end] * rng.choice((1, 1, 70, 2000)) + data[other:]
    if action == 2:
        return data[: start + 2] + struct.pack(">H", rng.randrange(65_536)) + data[start + 4 :]
    return data[: start + 4] + spoil(rng, data[start + 4 : end]) + data[end:]


def _jpeg_segments(data: bytes) -> list[tuple[int, int]]:
    """Where each begins and ends, up to the first scan."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((at, min(end, len(data))))
        if data[at + 1] == 0xDA:
            break
        at = end
    return found


def _draco(rng: random.Random, data: bytes) -> bytes:
    """The header's numbers, or the bytes behind it, where the decoder's tables are."""
    if rng.random() < 0.3:
        at = rng.randrange(5, min(len(data), 24))
        number = rng.choice((0, 1, 127, 2**14 - 1, 2**21 - 1, 2**28 - 1, 2**32 - 1))
        return data[:at] + _varint(number) + data[at + rng.randint(0, 2) :]
    at = min(len(data), rng.choice((11, 16, 32)))
    return data[:at] + spoil(rng, data[at:])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


_KINDS: dict[bytes, Callable[[random.Random, bytes], bytes]] = {
    _PNG: _png,
    _JPEG: _jpeg,
    _DRACO: _draco,
}
