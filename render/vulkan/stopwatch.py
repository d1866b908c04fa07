"""How long a device takes over each part of a submission, by timestamps that it writes itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import TypeAlias

from render.vulkan.api import CData, check, ffi, lib, new, vk
from render.vulkan.instance import PhysicalDevice

MARKS = 8  # of a submission: its start and the end of each lap

Create: TypeAlias = Callable[[ExitStack, str, CData], CData]


class Stopwatch:
    """Times the laps of one submission; one per device.

    Marks cost something where a device must finish before it can tell the time (lavapipe does):
    few of them, and only after what was worth recording.
    """

    def __init__(
        self, physical: PhysicalDevice, handle: CData, create: Create, scope: ExitStack
    ) -> None:
        self._physical, self._handle = physical, handle
        kind = vk.VK_QUERY_TYPE_TIMESTAMP
        info = new("VkQueryPoolCreateInfo", queryType=kind, queryCount=MARKS)
        self._queries = create(scope, "QueryPool", info)
        self._ticks = ffi.new("uint64_t[]", MARKS)
        self._laps: list[str] = []

    def start(self, commands: CData) -> None:
        """First of a recording, before any rendering begins."""
        self._laps.clear()
        lib.vkCmdResetQueryPool(commands, self._queries, 0, MARKS)
        self._mark(commands)

    def lap(self, commands: CData, name: str) -> None:
        """All that was recorded since the mark before is `name`. At most MARKS - 1 in a recording.

        Outside of rendering; after `start`.
        """
        self._laps.append(name)
        self._mark(commands)

    def _mark(self, commands: CData) -> None:
        stage = vk.VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
        lib.vkCmdWriteTimestamp2(commands, stage, self._queries, len(self._laps))

    def read_us(self) -> dict[str, int]:
        """Whole microseconds by lap, of the last recording, which has run; nothing waits.

        They are rounded down: together they are never more than the submission took.
        """
        count = len(self._laps) + 1
        ticks, flags = self._ticks, vk.VK_QUERY_RESULT_64_BIT
        result = lib.vkGetQueryPoolResults(
            self._handle, self._queries, 0, count, 8 * count, ticks, 8, flags
        )
        check(result, "vkGetQueryPoolResults")
        marks = ffi.unpack(ticks, count)
        bits, tick_ns = self._physical.timestamp_bits, self._physical.timestamp_ns
        return laps_us(self._laps, marks, bits, tick_ns)


def laps_us(
    names: Sequence[str], marks: Sequence[int], bits: int, tick_ns: float
) -> dict[str, int]:
    """Whole microseconds by name, laps of one name together. Pure.

    marks: ticks at the start and at the end of each lap; a counter of `bits` bits, which may have
    begun anew between two of them.
    """
    found: dict[str, int] = {}
    for name, (before, after) in zip(names, pairwise(marks), strict=True):
        elapsed_us = int((after - before) % (1 << bits) * tick_ns / 1000)
        found[name] = found.get(name, 0) + elapsed_us
    return found
