"""`framemesh devices`: what this machine could contribute, and why not the rest."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from mesh.core.config import read_config
from mesh.device.probe import probe

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("devices", help="list the devices found, and why others are not")
    parser.add_argument("--config", type=Path, metavar="FILE", help="node configuration (TOML)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Probe in a child process and print one line per device; 1 when there is none."""
    config = read_config(arguments.config)
    report = asyncio.run(probe(config.workloads))
    for unit, infos in report.units.items():
        for info in infos:
            software = "  (software)" if info.software else ""
            print(f"{unit}  {info.api}  {info.name}  {info.driver}{software}")
    for workload, why in report.why_not.items():
        print(f"{workload}: {why}")
    return 0 if report.units else 1
