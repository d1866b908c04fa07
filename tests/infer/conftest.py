"""A gateway and devices without a network between them, real sweeps, and scenes of known boxes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    def open(self, points: NDArray[np.float32], sectors: int = 1) -> SweepFrame:
        self._stamp_us += 100_000
        self.session.offer_input(self._stamp_us, encode_sweep(points))
        return self.session.open_frame(0, 0, CutHint(sectors), NOTHING, NOTHING)

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


@dataclass(frozen=True)
class Thing:
    """A box on the ground: centre x, y; length, width, height, metres; yaw in degrees."""

    x: float
    y: float
    size: tuple[float, float, float]
    yaw: float = 0.0


# The car is as high as the sensor: of a flat roof just below, beams meet only far strips.
CAR, TRUCK, WALKER = (4.2, 1.8, 1.75), (10.0, 2.5, 2.9), (0.6, 0.5, 1.75)
SENSOR_HEIGHT = 1.73


def scan(things: Sequence[Thing], *, noise: float = 0.01, seed: int = 0) -> NDArray[np.float32]:
    """What a 64-beam sensor sees of things on flat ground: one ray per beam and 0.2 degrees."""
    azimuth = np.radians(np.arange(0, 360, 0.2))
    elevation = np.radians(np.linspace(-24.8, 2.0, 64))
    azimuth, elevation = (grid.ravel() for grid in np.meshgrid(azimuth, elevation))
    ray = np.stack(
        (
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        )
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(ray[2] < 0, -SENSOR_HEIGHT / ray[2], np.inf)
        for thing in things:
            far = np.minimum(far, _hit(thing, ray))
    far += np.random.default_rng(seed).normal(0, noise, far.shape)
    seen = far < 80
    points = np.zeros((int(seen.sum()), 4), np.float32)
    points[:, :3] = (ray[:, seen] * far[seen]).T
    return points


def _hit(thing: Thing, ray: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each ray goes to the box (the slab test); inf where it misses."""
    c, s = np.cos(np.radians(thing.yaw)), np.sin(np.radians(thing.yaw))
    turned = np.stack((c * ray[0] + s * ray[1], c * ray[1] - s * ray[0], ray[2]))
    eye = np.array((-c * thing.x - s * thing.y, s * thing.x - c * thing.y, 0.0))
    length, width, height = thing.size
    low = np.array((-length / 2, -width / 2, -SENSOR_HEIGHT))
    high = np.array((length / 2, width / 2, height - SENSOR_HEIGHT))
    one = (low - eye)[:, None] / turned
    two = (high - eye)[:, None] / turned
    enter, leave = np.minimum(one, two).max(axis=0), np.maximum(one, two).min(axis=0)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


@pytest.fixture(scope="session")
def scene() -> Callable[..., NDArray[np.float32]]:
    """scan(things): a synthetic sweep."""
    return scan


@pytest.fixture(scope="session")
def thing() -> Callable[..., Thing]:
    """thing("car", x, y, yaw)."""
    sizes = {"car": CAR, "truck": TRUCK, "walker": WALKER}

    def make(kind: str, x: float, y: float, yaw: float = 0.0) -> Thing:
        return Thing(x, y, sizes[kind], yaw)

    return make
