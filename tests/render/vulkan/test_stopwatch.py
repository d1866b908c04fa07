"""What a device says of its time: laps add up, and never to more than went by."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from render.vulkan.api import lib, vk
from render.vulkan.device import open_device
from render.vulkan.instance import open_instance
from render.vulkan.memory import create_buffer
from render.vulkan.stopwatch import MARKS, laps_us


def test_device_times_add_up():
    with open_instance(validate=True) as instance, ExitStack() as scope:
        device = scope.enter_context(open_device(instance, instance.choose()))
        buffer = create_buffer(device, scope, 1 << 20, vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT)
        began_ns = time.perf_counter_ns()
        with device.recording() as commands:
            device.stopwatch.start(commands)
            for place, name in enumerate(("fill", "nothing", "fill")):
                if name == "fill":
                    lib.vkCmdFillBuffer(commands, buffer.handle, place << 18, 1 << 18, 7)
                device.stopwatch.lap(commands, name)
        took_us = (time.perf_counter_ns() - began_ns) // 1000
        laps = device.stopwatch.read_us()
        assert list(laps) == ["fill", "nothing"]
        assert 0 < laps["fill"] <= sum(laps.values()) <= took_us
        with device.recording() as commands:
            device.stopwatch.start(commands)
        assert device.stopwatch.read_us() == {}
    assert instance.messages == []


TICKS = st.integers(0, 2**36 - 1)


@given(TICKS, st.lists(st.integers(0, 2**35), max_size=MARKS - 1), st.sampled_from([1.0, 52.08]))
def test_laps_are_told_though_the_counter_begins_anew(start: int, spans: list[int], tick_ns: float):
    marks = [tick % 2**36 for tick in accumulate(spans, initial=start)]
    names = [f"pass {index % 3}" for index in range(len(spans))]
    found = laps_us(names, marks, 36, tick_ns)
    for name in names:
        mine = [span for span, known in zip(spans, names, strict=True) if known == name]
        assert found[name] == sum(int(span * tick_ns / 1000) for span in mine)
    assert sum(found.values()) <= sum(spans) * tick_ns / 1000 + 1e-6
