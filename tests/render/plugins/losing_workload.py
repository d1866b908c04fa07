"""The render workload on a driver that fails where a piece's inputs say: between us and Vulkan."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import render.vulkan.device as vulkan_device
from mesh.core.workload import DeviceInfo
from render.executor import RenderExecutor
from render.workload import RenderWorkload
from render.workload import create as create_render

NOTHING = memoryview(b"")
DEVICE_LOST, TIMEOUT = -4, 2  # vulkan_core.h, VkResult


def killed(*_: Any) -> int:
    """The process ends while the device works on a frame."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


FAILURES: Mapping[bytes, tuple[str, Callable[..., int]]] = {
    b"lost at submission": ("vkQueueSubmit2", lambda *_: DEVICE_LOST),
    b"hung": ("vkWaitForFences", lambda *_: TIMEOUT),
    b"killed mid-frame": ("vkWaitForFences", killed),
}


class Failing:
    """The driver's entry points, one of them replaced."""

    def __init__(self, lib: Any, name: str, instead: Callable[..., int]) -> None:
        self._lib, self._name, self._instead = lib, name, instead

    def __getattr__(self, name: str) -> Any:
        return self._instead if name == self._name else getattr(self._lib, name)


class LosingExecutor(RenderExecutor):
    """Draws as ever until a piece brings the name of a failure."""

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        if inputs:
            vulkan_device.lib = Failing(vulkan_device.lib, *FAILURES[bytes(inputs)])
        return super().run(session, spec, NOTHING, output)


class LosingWorkload:
    """The render workload with that executor."""

    def __init__(self, inner: RenderWorkload) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open_executor(self, device: DeviceInfo) -> LosingExecutor:
        return LosingExecutor(device)


def create(settings: Mapping[str, Any]) -> LosingWorkload:
    """The factory of the entry point."""
    return LosingWorkload(create_render(settings))
