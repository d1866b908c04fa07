"""Mutations of environments: Radiance headers and lines, OpenEXR attributes and blocks."""

from __future__ import annotations

import random
import re
import struct

from bench.fuzz.bytework import spoil

_SIZES = (b"0", b"1", b"7", b"8", b"127", b"8192", b"8193", b"32768", b"999999", b"-1", b"1e5")
_BOUNDS = (-(2**31), -1, 0, 1, 15, 127, 2048, 4095, 8191, 2**31 - 1)


def spoil_sky(rng: random.Random, data: bytes) -> bytes:
    """By its first bytes; a fifth of everything as plain bytes."""
    if rng.random() < 0.2:
        return spoil(rng, data)
    if data[:2] == b"#?":
        return _radiance(rng, data)
    if data[:4] == b"\x76\x2f\x31\x01":
        return _exr(rng, data)
    return spoil(rng, data)


def _radiance(rng: random.Random, data: bytes) -> bytes:
    head, blank, rest = data.partition(b"\n\n")
    size, newline, body = rest.partition(b"\n")
    action = rng.randrange(5)
    if action == 0:
        size = re.sub(rb"\d+", lambda _: rng.choice(_SIZES), size, count=rng.randint(1, 2))
    elif action == 1:
        lines = head.split(b"\n")
        extra = rng.choice((b"EXPOSURE=1e-11", b"EXPOSURE=nan", b"EXPOSURE=", b"FORMAT=xyze"))
        lines.insert(rng.randrange(len(lines) + 1), extra)
        head = b"\n".join(lines)
    elif action == 2:
        head = spoil(rng, head)
    else:
        body = spoil(rng, body)
    return head + blank + size + newline + body


def _exr(rng: random.Random, data: bytes) -> bytes:
    attributes, end = _attributes(data)
    if not attributes or rng.random() < 0.4:
        return data[:end] + spoil(rng, data[end:])
    number = rng.randrange(len(attributes))
    name, kind, value = attributes[number]
    action = rng.randrange(6)
    if action == 0:
        del attributes[number]
    elif action == 1:
        attributes.insert(rng.randrange(len(attributes) + 1), (name, kind, value))
    elif action == 2:
        attributes[number] = name, rng.choice(attributes)[1], value
    elif kind == b"box2i" and rng.random() < 0.8:
        box = list(struct.unpack("<iiii", value)) if len(value) == 16 else [0] * 4
        box[rng.randrange(4)] = rng.choice(_BOUNDS)
        attributes[number] = name, kind, struct.pack("<iiii", *box)
    elif kind == b"compression":
        attributes[number] = name, kind, bytes((rng.randrange(12),))
    else:
        attributes[number] = name, kind, spoil(rng, value)
    version = data[4:8] if rng.random() < 0.95 else struct.pack("<I", 2 | 1 << rng.randrange(9, 13))
    head = b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value
        for name, kind, value in attributes
    )
    return data[:4] + version + head + b"\0" + data[end:]


def _attributes(data: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], int]:
    """(name, type, value) of each, and where the header ends."""
    found, at = [], 8
    while at < len(data) and data[at]:
        name, zero, rest = data[at : at + 300].partition(b"\0")
        kind, also, _ = rest.partition(b"\0")
        start = at + len(name) + len(kind) + 6
        if not zero or not also or start > len(data):
            return [], min(len(data), 8)
        [size] = struct.unpack_from("<I", data, start - 4)
        found.append((name, kind, data[start : start + size]))
        at = start + size
    return found, min(at + 1, len(data))
