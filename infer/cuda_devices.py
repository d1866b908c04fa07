"""The CUDA devices Numba can use, and why there are none. Device processes only."""

from __future__ import annotations

import importlib
import os
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mesh.core.errors import DeviceUnavailable
from mesh.core.workload import DeviceInfo

CPU_UNIT = "cpu"
_FIX = (
    "Install NVIDIA's driver, and `pip install 'framemesh[cuda]'` into framemesh's environment; "
    "`nvidia-smi` says whether the driver works."
)


def find() -> list[DeviceInfo]:
    """Every CUDA GPU. Raises DeviceUnavailable, also where Numba's simulator stands in for them."""
    if _config().ENABLE_CUDASIM:
        raise DeviceUnavailable(
            what="no CUDA device can be used",
            why="NUMBA_ENABLE_CUDASIM is set, so that CUDA here is Numba's simulator",
            fix='Unset it; or, to have the simulator, say api = "cuda-simulator".',
        )
    cuda = _numba_cuda()
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
        why = " ".join(str(problem).split()).rstrip(" .:") or repr(problem)
        raise DeviceUnavailable(what="no CUDA device can be used", why=why, fix=_FIX) from problem


def simulator() -> DeviceInfo:
    """Numba's simulator of a CUDA device, which CUDA is in this process from now on."""
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # what numba-cuda reads,
    _config().ENABLE_CUDASIM = 1  # and what numba has read already
    return DeviceInfo(
        unit=CPU_UNIT,
        api="cuda",
        name="Numba CUDA simulator",
        driver=f"numba {version('numba')}",
        index=0,
        software=True,
    )


def choose(device: DeviceInfo) -> None:
    """Make exactly that GPU this process's current one. Raises DeviceUnavailable."""
    found = [simulator()] if device.software else find()
    if device not in found:
        listed = ", ".join(f"{info.index}: {info.name}" for info in found) or "none"
        raise DeviceUnavailable(
            what=f"CUDA device {device.index} ({device.name}) is not there",
            why=f"found: {listed}",
            fix="Restart the node, so that it looks for devices again.",
        )
    if not device.software:
        _numba_cuda().select_device(device.index)


def _config() -> Any:
    """Numba's; it is loaded when asked for, because clients load this file and no compiler."""
    return importlib.import_module("numba").config


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
