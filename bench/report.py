"""What every benchmark prints and writes, in one form, so that two runs can be compared."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("framemesh", "aiortc", "av", "numpy", "uvloop", "vulkan")
_ICD_FOLDERS = ("/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d")


def arguments(about: str | None, *, parser: argparse.ArgumentParser | None = None) -> Any:
    """Parse a benchmark's command line: `quick`, `json`, and what `parser` adds to them."""
    parser = parser or argparse.ArgumentParser()
    parser.description = about
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for ratios, not times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args()


class Report:
    """One benchmark's result: tables for people, figures for comparison.

    name: the benchmark's. config: what was measured, JSON-ready. seeds: of whatever was random.
    """

    def __init__(
        self, name: str, *, config: Mapping[str, Any] | None = None, seeds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.config = dict(config or {})
        self.seeds = list(seeds)
        self.figures: dict[str, float | None] = {}

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Print rows under a header: text to the left, numbers to the right."""
        cells = [list(header), *([_cell(value) for value in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        text = [all(isinstance(row[i], str) for row in rows) for i in range(len(header))]
        print()
        for row in cells:
            aligned = (
                cell.ljust(width) if left else cell.rjust(width)
                for cell, width, left in zip(row, widths, text, strict=True)
            )
            print("  ".join(aligned).rstrip())

    def figure(self, key: str, value: float) -> None:
        """Keep one number under a name that says its unit. Raises ValueError for NaN and infinity,
        and for a name given twice.
        """
        if key in self.figures or not math.isfinite(value):
            raise ValueError(f"figure {key} = {value} cannot be kept")
        self.figures[key] = float(value)

    def missing(self, key: str, why: str) -> None:
        """A figure that could not be measured here: null, and `config` says why."""
        if key in self.figures:
            raise ValueError(f"figure {key} was kept already")
        self.figures[key] = None
        self.config.setdefault("missing", {})[key] = why

    def finish(self, options: Any) -> None:
        """Print the figures, and write them if `options` (of `arguments`) asks for it."""
        print()
        for key, value in self.figures.items():
            print(f"{key} = {_cell('-' if value is None else value)}")
        if options.json is not None:
            result = {
                "name": self.name,
                "figures": self.figures,
                "machine": machine(),
                "seeds": self.seeds,
                "config": {**self.config, "quick": options.quick},
            }
            options.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names the machine or its owner."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "vulkan_drivers": sorted(
            path.stem for folder in _ICD_FOLDERS for path in Path(folder).glob("*.json")
        ),
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 3
    return f"{value:,.{digits}f}"
