"""An engine in Python, without framemesh: a grey that grows brighter, in I420.

[workloads.external] command = ["/usr/bin/python3", "/opt/engine/engine_sample.py"],
pixels = "i420"; [device] programs = ["/usr/bin/python3", "/opt/engine"]. The numbers are those of
framemesh_frame.h.
"""

from __future__ import annotations

import mmap
import os
import struct

WORDS = struct.Struct("<18I d")  # from `magic` to `time_s`
ANSWERED_AT = 20  # `answered`, then `status`
END = 0xFFFFFFFF


def draw(width: int, height: int, time_s: float) -> bytes:
    """One tile's planes: Y, then U and V without colour."""
    luma = 16 + int(20 * time_s) % 220
    return bytes([luma]) * (width * height) + b"\x80" * (width * height // 2)


def main() -> None:
    """Answer requests until there are no more."""
    shared, request_bell, answer_bell = map(int, os.environ["FRAMEMESH_FDS"].split(","))
    memory = mmap.mmap(shared, 0)

    def answer(asked: int) -> None:
        struct.pack_into("<II", memory, ANSWERED_AT, asked, 0)
        os.eventfd_write(answer_bell, 1)

    answer(0)  # ready
    while os.eventfd_read(request_bell):
        _, _, pixels_at, _, asked, *_, width, height, _, _, time_s = WORDS.unpack_from(memory)
        if asked == END:
            return
        planes = draw(width, height, time_s)
        memory[pixels_at : pixels_at + len(planes)] = planes
        answer(asked)


if __name__ == "__main__":
    main()
