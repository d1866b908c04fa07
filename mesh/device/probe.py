"""What this machine can compute on: each workload's probe, in a confined child that may crash."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.core.errors import DeviceLost, MeshError
from mesh.core.workload import DeviceInfo, Settings
from mesh.device.child import Child
from mesh.device.launch import DeviceLimits, Plugins, planned_launch
from mesh.device.messages import FindDevices, Found


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was found, and for each workload that found nothing, why not."""

    found: Mapping[str, tuple[DeviceInfo, ...]]  # by workload
    why_not: Mapping[str, str]  # by workload

    @property
    def units(self) -> dict[str, tuple[DeviceInfo, ...]]:
        """Every info once, by the silicon it runs on: what shares one device process."""
        units: dict[str, dict[DeviceInfo, None]] = {}
        for infos in self.found.values():
            for info in infos:
                units.setdefault(info.unit, {})[info] = None
        return {unit: tuple(infos) for unit, infos in units.items()}

    def found_on(self, unit: str) -> dict[str, tuple[DeviceInfo, ...]]:
        """What each workload found on one unit: `open_device(found=...)`."""
        return {
            workload: tuple(info for info in infos if info.unit == unit)
            for workload, infos in self.found.items()
        }


async def probe(
    workloads: Mapping[str, Settings],
    *,
    limits: DeviceLimits = DeviceLimits(),  # noqa: B008  frozen
    plugins: Plugins | None = None,
) -> ProbeReport:
    """Run `find_devices` of each workload, each in its own child, for at most `limits.start_us`.

    A probe that raises, crashes or hangs is a `why_not`, never an error here.
    Raises ConfigError for a workload that is not installed.
    """
    if plugins is None:
        plugins = Plugins.from_entry_points(workloads)
    names = list(workloads)
    outcomes = await asyncio.gather(
        *(_find(name, workloads[name], limits, plugins) for name in names)
    )
    return ProbeReport(
        {name: infos for name, infos in zip(names, outcomes, strict=True) if type(infos) is tuple},
        {name: why for name, why in zip(names, outcomes, strict=True) if type(why) is str},
    )


async def _find(
    name: str, settings: Settings, limits: DeviceLimits, plugins: Plugins
) -> tuple[DeviceInfo, ...] | str:
    async with planned_launch(f"probe-{name}", limits, plugins) as launch:
        child = Child(f"probe of {name}", launch.environment)
        try:
            await child.call(launch.confine, kill_after_us=limits.start_us)
            found = await child.call(
                lambda number: FindDevices(number, plugins.plugin(name, settings)),
                kill_after_us=limits.start_us,
            )
        except DeviceLost as problem:
            return f"the probe of '{name}' ended early: {problem.why}"
        except MeshError as problem:
            return str(problem)
        finally:
            await child.close()
    if not isinstance(found, Found) or not found.infos:
        return f"the probe of '{name}' found no device and gave no reason"
    return found.infos
