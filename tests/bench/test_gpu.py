"""`make gpu` says what is missing, and takes a software driver only when asked to."""

from __future__ import annotations

from bench import gpu
from render.vulkan.instance import open_instance


def test_a_software_driver_counts_only_when_asked_for():
    with open_instance() as instance:
        usable = [found for found in instance.physical_devices() if not found.lacks]
    device, missing = gpu.find_device(software=True)
    assert (device, missing) == (f"{usable[0].name} {usable[0].driver}", "")
    device, missing = gpu.find_device(software=False)
    hardware = [f"{found.name} {found.driver}" for found in usable if not found.software]
    if hardware:
        assert (device, missing) == (hardware[0], "")
    else:
        assert device is None
        for found in usable:
            assert f"{found.name} is no GPU for this: it runs on the CPU" in missing
        assert "CUDA" in missing
