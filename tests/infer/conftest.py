"""A gateway and devices without a network between them, real sweeps, and scenes of known boxes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]


def _kernels_digest() -> str:
    """Compiled code is kept between runs, and never used for kernels that have changed."""
    sources = sorted((ROOT / "infer").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


CACHE = ROOT / ".pytest_cache" / "infer" / _kernels_digest()
os.environ["NUMBA_CACHE_DIR"] = str(CACHE / "numba")  # read when numba is imported

from infer.codec import Result, decode_result  # noqa: E402
from infer.executor import InferExecutor  # noqa: E402
from infer.readers.kitti import list_sweeps, read_points  # noqa: E402
from infer.session import InferSession, SweepFrame  # noqa: E402
from infer.sweep import encode_sweep  # noqa: E402
from infer.synthetic import Thing, scan  # noqa: E402
from infer.workload import create  # noqa: E402
from mesh.core.workload import CutHint, SessionRequest  # noqa: E402

NOTHING = memoryview(b"")


class Bench:
    """One session and one executor; sweeps go through as bytes, as they would over a link."""

    def __init__(self, api: str = "cpu", **options: object) -> None:
        workload = create({"api": api})
        self.session: InferSession = workload.open_session(SessionRequest("infer", options))
        self.executor: InferExecutor = workload.open_executor(workload.find_devices()[0])
        self.executor.prepare("s", self.session.setup.spec, {})
        self._stamp_us = 0

    def open(
        self, points: NDArray[np.float32], sectors: int = 1, hint: CutHint | None = None
    ) -> SweepFrame:
        self._stamp_us += 100_000
        self.session.offer_input(self._stamp_us, encode_sweep(points))
        return self.session.open_frame(0, 0, hint or CutHint(sectors), NOTHING, NOTHING)

    def answer(self, frame: SweepFrame, index: int) -> bytes:
        piece = frame.pieces[index]
        output = bytearray(piece.output_bytes)
        inputs = memoryview(piece.inputs).toreadonly()
        return bytes(output[: self.executor.run("s", piece.spec, inputs, memoryview(output))])

    def __call__(
        self, points: NDArray[np.float32], sectors: int = 1, without: Sequence[int] = ()
    ) -> Result:
        """The result of one sweep, cut for that many devices; `without` sectors never come."""
        frame = self.open(points, sectors)
        for index in range(len(frame.pieces)):
            if index in without:
                frame.fill(index)
            else:
                frame.accept(index, memoryview(self.answer(frame, index)))
        return decode_result(frame.finish())


@pytest.fixture(scope="session")
def bench() -> Bench:
    """With the default options."""
    return Bench()


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture(scope="session")
def device_cache() -> Path:
    """Where device processes of the tests keep compiled code between runs."""
    return CACHE / "devices"


@pytest.fixture(scope="session")
def clip(data_dir: Path) -> list[NDArray[np.float32]]:
    """The eight sweeps of the KITTI clip."""
    return [read_points(path) for path in list_sweeps(data_dir / "kitti_raw_clip")]


@pytest.fixture(scope="session")
def same() -> Callable[[Result, Result], None]:
    """Assert that two results say the same, byte for byte; times and the cut may differ."""

    def compare(one: Result, other: Result) -> None:
        assert one.counts == other.counts
        for name in one.boxes.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(one.boxes, name), getattr(other.boxes, name))

    return compare


# The car is as high as the sensor: of a flat roof just below, beams meet only far strips.
SIZES = {"car": (4.2, 1.8, 1.75), "truck": (10.0, 2.5, 2.9), "walker": (0.6, 0.5, 1.75)}


@pytest.fixture(scope="session")
def scene() -> Callable[..., NDArray[np.float32]]:
    """scan(things): a synthetic sweep."""
    return scan


@pytest.fixture(scope="session")
def thing() -> Callable[..., Thing]:
    """thing("car", x, y, yaw)."""

    def make(kind: str, x: float, y: float, yaw: float = 0.0) -> Thing:
        return Thing(x, y, SIZES[kind], yaw)

    return make
