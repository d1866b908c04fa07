"""The sweep that the micro-benchmarks work on, and which one it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infer.readers.kitti import list_sweeps, read_points
from infer.synthetic import scan, street

ROOT = Path(__file__).resolve().parents[2]
CLIP = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "kitti_raw_clip"


def pytest_report_header() -> str:
    return f"sweep: {'the first of the KITTI clip' if CLIP.is_dir() else 'synthetic'}"


@pytest.fixture(scope="session")
def sweep() -> NDArray[np.float32]:
    """Points (n, 4) of a 64-beam sensor, about 114,000: KITTI's where it is, else synthetic."""
    return read_points(list_sweeps(CLIP)[0]) if CLIP.is_dir() else scan(street())
