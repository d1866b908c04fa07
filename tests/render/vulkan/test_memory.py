"""Which memory is chosen for what, on devices that are not here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mesh.core.errors import MeshError
from render.vulkan.api import new, vk
from render.vulkan.memory import HOST_MEMORY, choose_memory_type

LOCAL = vk.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
VISIBLE = vk.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vk.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
CACHED = vk.VK_MEMORY_PROPERTY_HOST_CACHED_BIT


def device_with(*flags: int) -> Any:
    types = new("VkPhysicalDeviceMemoryProperties", memoryTypeCount=len(flags))
    for index, value in enumerate(flags):
        types.memoryTypes[index].propertyFlags = value
    return SimpleNamespace(memory_types=types, physical=SimpleNamespace(name="a device"))


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ((LOCAL, VISIBLE, VISIBLE | CACHED, LOCAL | VISIBLE), 2),
        ((LOCAL, VISIBLE, LOCAL | VISIBLE), 1),
        ((LOCAL | VISIBLE | CACHED,), 0),
    ],
    ids=["discrete", "without cached memory", "lavapipe"],
)
def test_what_the_host_reads_is_cached_where_it_can_be(flags: tuple[int, ...], chosen: int):
    assert choose_memory_type(device_with(*flags), 0b1111, *HOST_MEMORY) == chosen


def test_a_type_that_the_resource_does_not_allow_is_not_chosen():
    device = device_with(VISIBLE | CACHED, VISIBLE)
    assert choose_memory_type(device, 0b10, *HOST_MEMORY) == 1
    with pytest.raises(MeshError, match="no suitable memory"):
        choose_memory_type(device, 0b11, LOCAL, 0)
