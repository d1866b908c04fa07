"""The CUDA devices Numba can use, and why there are none. Device processes only."""

from __future__ import annotations

import importlib
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mesh.core.errors import DeviceUnavailable
from mesh.core.workload import DeviceInfo

CPU_UNIT = "cpu"
_FIX = (
    "Install NVIDIA's driver, and `pip install numba-cuda nvidia-nvvm nvidia-cuda-nvrtc` into "
    "framemesh's environment; `nvidia-smi` says whether the driver works."
)


def find() -> list[DeviceInfo]:
    """Every CUDA GPU, or the simulator where it is switched on. Raises DeviceUnavailable."""
    cuda = _numba_cuda()
    if getattr(importlib.import_module("numba").config, "ENABLE_CUDASIM", False):
        return [
            DeviceInfo(
                unit=CPU_UNIT,
                api="cuda",
                name="Numba CUDA simulator",
                driver=f"numba {version('numba')}",
                index=0,
                software=True,
            )
        ]
    try:
        driver = ".".join(str(part) for part in cuda.cudadrv.driver.driver.get_version())
        return [
            DeviceInfo(
                unit=_unit(gpu.uuid),
                api="cuda",
                name=gpu.name if isinstance(gpu.name, str) else gpu.name.decode(),
                driver=f"CUDA {driver}, {_compiler()}",
                index=gpu.id,
            )
            for gpu in cuda.gpus
        ]
    except Exception as problem:  # the driver's wrapper raises many kinds
        raise DeviceUnavailable(
            what="no CUDA device can be used", why=str(problem).strip() or repr(problem), fix=_FIX
        ) from problem


def choose(device: DeviceInfo) -> None:
    """Make exactly that GPU this process's current one. Raises DeviceUnavailable."""
    found = find()
    if device not in found:
        listed = ", ".join(f"{info.index}: {info.name}" for info in found) or "none"
        raise DeviceUnavailable(
            what=f"CUDA device {device.index} ({device.name}) is not there",
            why=f"found: {listed}",
            fix="Restart the node, so that it looks for devices again.",
        )
    if not device.software:
        _numba_cuda().select_device(device.index)


def _numba_cuda() -> Any:
    """Loaded when asked for: it looks for drivers and compilers."""
    return importlib.import_module("numba.cuda")


def _unit(said: str | bytes) -> str:
    """A GPU's UUID as Vulkan's deviceUUID reads, so that both are seen to be one piece of silicon.

    CUDA writes "GPU-" before it (MIG instances: "MIG-").
    """
    text = said.decode() if isinstance(said, bytes) else said
    try:
        return str(uuid.UUID(text.partition("-")[2]))
    except ValueError:
        return text


def _compiler() -> str:
    try:
        return f"numba-cuda {version('numba-cuda')}"
    except PackageNotFoundError:
        return f"numba {version('numba')}"
