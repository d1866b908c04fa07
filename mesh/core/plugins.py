"""Workloads and finders by name, through entry points: the same door for ours and for plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mesh.core.errors import ConfigError
from mesh.core.workload import Finder, Settings, Workload

WORKLOADS = "framemesh.workloads"
FINDERS = "framemesh.discovery"


def installed(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name. Raises ConfigError if two packages claim one name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ConfigError(
                what=f"plug-in '{entry.name}' of {group} cannot be chosen",
                why=f"both {other.value} and {entry.value} claim the name",
                fix="Uninstall one of the two packages.",
            )
    return found


def create_workload(name: str, settings: Settings) -> Workload:
    """The workload an entry point names, configured. Raises ConfigError."""
    workload: Workload = _factory(WORKLOADS, name)(settings)
    return workload


def create_finder(name: str, settings: Settings) -> Finder:
    """The finder an entry point names, configured. Raises ConfigError."""
    finder: Finder = _factory(FINDERS, name)(settings)
    return finder


def _factory(group: str, name: str) -> Callable[[Settings], Any]:
    entries = installed(group)
    if name not in entries:
        raise ConfigError(
            what=f"no plug-in '{name}' in {group}",
            why=f"installed are: {_listed(sorted(entries))}",
            fix="Correct the name in the configuration, or install the package that brings it.",
        )
    try:
        factory: Callable[[Settings], Any] = entries[name].load()
    except (ImportError, AttributeError) as problem:
        raise ConfigError(
            what=f"plug-in '{name}' does not load",
            why=f"{entries[name].value}: {problem}",
            fix="Reinstall the package that brings it; `pip check` names what it lacks.",
        ) from problem
    return factory


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
