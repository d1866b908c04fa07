"""One short drive, and one of its scenes."""

from __future__ import annotations

import pytest

from infer.drives.drive import Drive, Scene

TIME_US = 4_000_000


@pytest.fixture(scope="session")
def drive() -> Drive:
    return Drive(3, 8.0)


@pytest.fixture(scope="session")
def drive_scene(drive: Drive) -> Scene:
    return drive.at(TIME_US)
