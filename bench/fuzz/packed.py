"""Packed sweeps to start from, and mutations inside of their streams as well as around them."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import zstandard

from bench.fuzz.bytework import spoil
from infer.synthetic import scan, street
from infer.uplink.form import HEADER_BYTES, STREAMS, decode_header
from infer.uplink.packing import pack_sweep, unpack_sweep
from mesh.core.errors import ContentRefused

_TURNS = (0, -1, 3_000_000, -100_000_000, 100_000_001, 2**31 - 1, -(2**31))
_COUNTS = (0, 1, 255, 65_536, 299_999, 300_000, 300_001, 2**31, 2**32 - 1)


def packed_sweeps() -> list[bytes]:
    """A street in the sensor's order, by rings and with times, in no order, and nothing."""
    points = scan(street(1))[::40]
    rng, n = np.random.default_rng(6), len(points)
    return [
        pack_sweep(points),
        pack_sweep(
            points,
            rings=np.arange(n) % 8,
            times_us=np.arange(n) * 7,
            bound_m=0.03,
            origin=(1, 0, -2),
        ),
        pack_sweep(rng.permutation(points)),
        pack_sweep(points[:0]),
    ]


def spoil_packed(rng: random.Random, data: bytes) -> bytes:
    """Bytes anywhere; or a stream's content, or a number of the header, with the rest in order."""
    if rng.random() < 0.3:
        return spoil(rng, data)
    try:
        head = decode_header(memoryview(data))
    except ContentRefused:
        return spoil(rng, data)
    ends = np.cumsum((HEADER_BYTES, *head.sizes))
    streams = [data[a:b] for a, b in pairwise(ends)]
    if rng.random() < 0.2:
        if rng.random() < 0.2:
            head = replace(head, turn_nrad=rng.choice(_TURNS))
        else:
            name = rng.choice(("points", "masked", "escapes", "step_um"))
            head = replace(head, **{name: rng.choice(_COUNTS)})
    else:
        at = rng.randrange(STREAMS)
        try:
            content = zstandard.ZstdDecompressor().decompress(streams[at], 1 << 20)
        except zstandard.ZstdError:
            content = b""
        changed = spoil(rng, content)
        if rng.random() < 0.7:  # as long as it was: mostly nothing else would be looked at
            changed = changed[: len(content)].ljust(len(content), b"\xff")
        streams[at] = zstandard.ZstdCompressor(level=1).compress(changed)
    head = replace(head, sizes=tuple(map(len, streams)))
    return b"".join((head.encode(), *streams))


def take_packed(data: bytes) -> None:
    """A packed sweep, as a gateway reads it from any client."""
    sweep = unpack_sweep(0, data)
    unusable = ~(np.abs(sweep.points[:, :3]) < 1000).all(axis=1)
    assert sweep.masked == unusable.sum()
    shades = sweep.points[:, 3]
    assert np.all(np.isnan(shades) | ((shades >= 0) & (shades <= 1)))
