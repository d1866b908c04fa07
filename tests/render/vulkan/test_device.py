"""Instances and devices: chosen exactly, validated, and left without a trace."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from mesh.core.errors import DeviceUnavailable
from render.vulkan.api import lib, new, vk
from render.vulkan.device import open_device
from render.vulkan.instance import open_instance
from render.vulkan.memory import STAGING_BYTES, Uploader, create_buffer


def test_a_planted_violation_is_reported():
    with open_instance(validate=True) as instance, ExitStack() as scope:
        device = scope.enter_context(open_device(instance, instance.choose()))
        assert instance.messages == []
        create_buffer(device, scope, 64, 0)  # a buffer must have a use
    assert any("VUID-VkBufferCreateInfo-usage" in message for message in instance.messages)


def test_a_planted_race_is_reported():
    with open_instance(validate=True) as instance, ExitStack() as scope:
        device = scope.enter_context(open_device(instance, instance.choose()))
        both = vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        first, second = (create_buffer(device, scope, 64, both) for _ in range(2))
        region = new("VkBufferCopy", size=64)
        with device.recording() as commands:
            lib.vkCmdCopyBuffer(commands, first.handle, second.handle, 1, region)
            lib.vkCmdCopyBuffer(commands, second.handle, first.handle, 1, region)
    assert any("SYNC-HAZARD" in message for message in instance.messages)


def test_what_is_never_destroyed_is_reported():
    with (
        open_instance(validate=True) as instance,
        open_device(instance, instance.choose()) as device,
    ):
        create_buffer(device, ExitStack(), 64, vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT)
    assert any("VUID-vkDestroyDevice" in message for message in instance.messages)


def test_a_device_that_is_not_there_is_refused_with_the_reason_for_each():
    with open_instance() as instance:
        found = instance.physical_devices()
        with pytest.raises(DeviceUnavailable) as caught:
            instance.choose(name="no such device")
        for device in found:
            assert f"{device.name}: its name does not contain" in str(caught.value)
        with pytest.raises(DeviceUnavailable, match=f"it is device 0, not {len(found)}"):
            instance.choose(index=len(found))
        with pytest.raises(DeviceUnavailable, match="its UUID is"):
            instance.choose(unit="00000000-0000-0000-0000-000000000000")
        assert instance.choose(index=found[0].index, name=found[0].name).uuid == found[0].uuid


def test_long_data_arrives_whole():
    data = np.random.default_rng(1).integers(0, 256, STAGING_BYTES + 4096, dtype=np.uint8)
    with open_instance(validate=True) as instance, ExitStack() as scope:
        device = scope.enter_context(open_device(instance, instance.choose()))
        usage = vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        target = create_buffer(device, scope, len(data) + 16, usage, host=True)
        assert target.mapped is not None
        Uploader(device, scope).fill_buffer(target, data, 16)
        assert np.array_equal(target.mapped[16:], data)
    assert instance.messages == []


def test_what_was_noted_down_while_recording_is_undone_only_if_it_does_not_run():
    undone: list[str] = []
    with (
        open_instance(validate=True) as instance,
        open_device(instance, instance.choose()) as device,
    ):
        with pytest.raises(KeyError), device.recording():
            device.if_not_run(lambda: undone.append("broken off"))
            raise KeyError
        with device.recording():
            device.if_not_run(lambda: undone.append("run"))
        with pytest.raises(KeyError), device.recording():
            raise KeyError
        assert instance.messages == []
    assert undone == ["broken off"]
