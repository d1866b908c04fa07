"""Structures own what they point to, results become errors, a missing driver is named."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.core.errors import DeviceLost, DeviceUnavailable, MeshError, Misuse
from render.vulkan.api import array, check, ffi, new, text, vk


def test_nested_structures_live_as_long_as_what_points_to_them():
    info = new(
        "VkDeviceCreateInfo",
        queueCreateInfoCount=2,
        pQueueCreateInfos=[
            new("VkDeviceQueueCreateInfo", queueCount=1, pQueuePriorities=[0.25 * (1 + index)])
            for index in range(2)
        ],
        pNext=new("VkPhysicalDeviceVulkan13Features", synchronization2=1),
    )
    names = new("VkInstanceCreateInfo", ppEnabledLayerNames=["first", "second"])
    application = new("VkApplicationInfo", pApplicationName="name")
    gc.collect()
    litter = [ffi.new("char[]", b"\xff" * size) for size in range(1, 400)]  # takes freed memory
    priorities = [info.pQueueCreateInfos[index].pQueuePriorities[0] for index in range(2)]
    assert priorities == [0.25, 0.5]
    assert ffi.cast("VkPhysicalDeviceVulkan13Features*", info.pNext).synchronization2 == 1
    assert [text(names.ppEnabledLayerNames[index]) for index in range(2)] == ["first", "second"]
    assert text(application.pApplicationName) == "name"
    del litter


def test_structures_held_by_value_are_copied():
    view = new(
        "VkImageViewCreateInfo", subresourceRange=new("VkImageSubresourceRange", aspectMask=1)
    )
    assert view.subresourceRange.aspectMask == 1
    assert view.sType == vk.VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO


def test_arrays_hold_numbers_strings_and_structures():
    numbers, chars = array("uint32_t", [1, 2, 3]), array("char *", ["a", "b"])
    pairs = array("VkOffset2D", [new("VkOffset2D", x=index) for index in range(2)])
    gc.collect()
    assert ffi.unpack(numbers, 3) == [1, 2, 3]
    assert [text(chars[index]) for index in range(2)] == ["a", "b"]
    assert [pairs[index].x for index in range(2)] == [0, 1]
    assert array("uint32_t", []) != ffi.NULL


def test_a_structure_without_a_known_type_is_our_mistake():
    with pytest.raises(Misuse, match="VK_STRUCTURE_TYPE"):
        new("VkBaseOutStructure")


@pytest.mark.parametrize(
    ("result", "error", "said"),
    [
        (-1, MeshError, "VK_ERROR_OUT_OF_HOST_MEMORY"),
        (-4, DeviceLost, "VK_ERROR_DEVICE_LOST"),
        (-9, DeviceUnavailable, "VK_ERROR_INCOMPATIBLE_DRIVER.*apt install"),
        (-12345, MeshError, "VkResult -12345"),
    ],
)
def test_failures_are_raised_by_kind_and_named(result: int, error: type[MeshError], said: str):
    with pytest.raises(error, match=f"vkSomething failed: .*{said}") as caught:
        check(result, "vkSomething")
    assert type(caught.value) is error
    check(0, "vkSomething")


ASK = """
from mesh.core.errors import DeviceUnavailable
from render.workload import create
try:
    print(create({}).find_devices())
except DeviceUnavailable as problem:
    print(problem)
"""


def test_without_a_driver_the_package_to_install_is_named(repository: Path):
    environment = os.environ | {
        "VK_DRIVER_FILES": "/nonexistent",
        "VK_ICD_FILENAMES": "/nonexistent",
    }
    said = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "sudo apt install libvulkan1 mesa-vulkan-drivers" in said
    assert "no Vulkan device" in said or "VK_ERROR_INCOMPATIBLE_DRIVER" in said


def test_without_the_loader_the_package_to_install_is_named(repository: Path):
    hide = "import ctypes.util, sys\nsys.modules['vulkan'] = None\n"
    asked = hide + ASK.replace(
        "from render.workload import create\ntry:\n",
        "try:\n    from render.workload import create\n",
    )
    said = subprocess.run(
        [sys.executable, "-c", asked], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    assert "Vulkan cannot be used on this machine" in said
    assert "sudo apt install libvulkan1" in said
