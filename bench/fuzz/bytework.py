"""Mutations of bytes that know nothing of what the bytes mean."""

from __future__ import annotations

import random
import struct

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_FLOATS = (float("nan"), float("inf"), -float("inf"), 1e38, -1e38, 1e-45, -0.0)


def spoil(rng: random.Random, data: bytes) -> bytes:
    """One to three small changes; the result may be empty."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(_CHANGES)(rng, out)
    return bytes(out)


def place(rng: random.Random, out: bytearray) -> int:
    """An offset: any, or one near the beginning, where headers are."""
    return rng.randrange(min(len(out), rng.choice((64, 1024, len(out)))))


def _flip(rng: random.Random, out: bytearray) -> None:
    if out:
        out[place(rng, out)] ^= 1 << rng.randrange(8)


def _byte(rng: random.Random, out: bytearray) -> None:
    if out:
        out[place(rng, out)] = rng.randrange(256)


def _number(rng: random.Random, out: bytearray) -> None:
    """An extreme integer, little- or big-endian."""
    if len(out) >= 4:
        at = min(place(rng, out), len(out) - 4)
        struct.pack_into(rng.choice("<>") + "I", out, at, rng.choice(_NUMBERS))


def _real(rng: random.Random, out: bytearray) -> None:
    """A float that is none, or hardly, at a whole multiple of four."""
    if len(out) >= 4:
        at = min(place(rng, out), len(out) - 4) & ~3
        struct.pack_into("<f", out, at, rng.choice(_FLOATS))


def _cut(rng: random.Random, out: bytearray) -> None:
    if out:
        del out[rng.randrange(len(out)) :]


def _remove(rng: random.Random, out: bytearray) -> None:
    if out:
        at = place(rng, out)
        del out[at : at + rng.randint(1, 16)]


def _repeat(rng: random.Random, out: bytearray) -> None:
    if out:
        at = place(rng, out)
        out[at:at] = out[at : at + rng.randint(1, 64)]


def _insert(rng: random.Random, out: bytearray) -> None:
    at = place(rng, out) if out else 0
    out[at:at] = rng.randbytes(rng.randint(1, 16))


_CHANGES = (_flip, _flip, _byte, _byte, _number, _number, _real, _cut, _remove, _repeat, _insert)
