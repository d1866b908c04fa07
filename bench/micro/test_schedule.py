"""How long the schedule's decisions take: cut, placement, ledger, driver; queue, cost model.

All of it is pure: time is invented, nothing is sent. Devices are trusted (they have a history),
which is what they are but for their first pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mesh.core.workload import Contract, CutHint, Lane, Piece
from mesh.schedule.cost import CostModel
from mesh.schedule.cut import divide_line, divide_plane, shares
from mesh.schedule.driver import Compose, OpenFrame, Send, SessionDriver
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import FrameLedger, Verdict
from mesh.schedule.placement import Place, Placer
from mesh.schedule.promises import Want
from mesh.schedule.queue import DeviceQueue, Start, Waiting

PERIOD_US, DEADLINE_US, RUN_US = 100_000, 80_000, 4_000
KIND, TILE_BYTES = "tile", 57_600

Benchmark = Callable[..., Any]
of_size = pytest.mark.parametrize("pieces", [4, 16], ids="{} pieces".format)
over = pytest.mark.parametrize("devices", [2, 16], ids="{} devices".format)


def known_devices(count: int, costs: CostModel) -> list[DeviceKey]:
    """Devices of two speeds, each measured often."""
    devices = [DeviceKey(f"node-{index:02}", "gpu") for index in range(count)]
    for index, device in enumerate(devices):
        for _ in range(40):
            costs.observe(device, KIND, 1.0, RUN_US * (1 + index % 2))
            costs.observe_transfer(device.node, TILE_BYTES, 800)
    return devices


class Mesh:
    """A session's driver over trusted devices, carried out in invented time."""

    def __init__(self, devices: int) -> None:
        self.placer = Placer(CostModel())
        self.now_us = 0
        self.devices = known_devices(devices, self.placer.costs)
        self.driver = SessionDriver(
            "s", 1, Contract(PERIOD_US, DEADLINE_US), self.placer, start_us=0
        )
        for device in self.devices:
            self.placer.add(device, 0)
            self.driver.device_ready(device, 0)
        # Probes go to what has proven nothing yet; after their answers all devices are trusted.
        for _ in range(3):
            self.frame(devices)

    def open(self) -> int:
        self.now_us = self.driver.clock.next_open_us
        [opened] = [a for a in self.driver.tick(self.now_us) if isinstance(a, OpenFrame)]
        return opened.frame

    def frame(self, pieces: int) -> int:
        """Everything that is decided about one frame; returns how many pieces were missing."""
        cut = [Piece(index, KIND, 1.0, b"", TILE_BYTES) for index in range(pieces)]
        actions = self.driver.pieces(self.open(), cut, self.now_us)
        self.now_us += RUN_US
        missing = pieces
        for send in [action for action in actions if isinstance(action, Send)]:
            self.driver.verdict(send.key, send.device)
            said = self.driver.result(
                send.key, send.device, self.now_us,
                queue_us=0, run_us=RUN_US, backlog_us=0, nbytes=TILE_BYTES,
            )  # fmt: skip
            for action in said:
                if isinstance(action, Compose):
                    missing = len(action.missing)
        return missing


def test_driver_has_nothing_to_do(benchmark: Benchmark) -> None:
    """A wake-up between frames, with nothing in doubt."""
    mesh = Mesh(4)
    now_us = mesh.now_us + 1
    assert benchmark(mesh.driver.tick, now_us) == []
    assert mesh.driver.wake_us(now_us) > now_us


@of_size
@over
def test_driver_carries_a_frame(benchmark: Benchmark, pieces: int, devices: int) -> None:
    """Open, place, take every answer, compose."""
    mesh = Mesh(devices)
    assert benchmark(mesh.frame, pieces) == 0


@over
def test_sizes_of_a_cut(benchmark: Benchmark, devices: int) -> None:
    """A sweep for devices of two speeds behind links of a gigabit."""
    lanes = [Lane(1000.0, {KIND: 0.04 * (1 + index % 2)}, 0.008) for index in range(devices)]
    sizes = benchmark(
        shares, CutHint(devices, lanes=lanes), KIND, 114_000.0, bytes_per_unit=16.0, most=16
    )
    assert devices <= len(sizes) <= 16
    assert sum(sizes) == pytest.approx(1)


@of_size
def test_cut_of_a_picture(benchmark: Benchmark, pieces: int) -> None:
    """1280x720 in cells of 16 pixels."""
    costs = np.random.default_rng(1).uniform(1, 4, (45, 80))
    assert len(benchmark(divide_plane, costs, [1 / pieces] * pieces)) == pieces


@of_size
def test_cut_of_a_sweep(benchmark: Benchmark, pieces: int) -> None:
    """1024 bins of azimuth."""
    costs = np.random.default_rng(1).uniform(1, 4, 1024)
    assert len(benchmark(divide_line, costs, [1 / pieces] * pieces)) == pieces + 1


@of_size
@over
def test_place(benchmark: Benchmark, pieces: int, devices: int) -> None:
    mesh = Mesh(devices)
    frames = itertools.count(1000)

    def wants() -> tuple[tuple[Any, ...], dict[str, Any]]:
        mesh.placer.drop_session("s")
        frame = next(frames)
        made = [
            Want(PieceKey("s", 1, frame, index), KIND, 1.0, 0, TILE_BYTES, TILE_BYTES)
            for index in range(pieces)
        ]
        return (made, mesh.now_us + DEADLINE_US, mesh.now_us, mesh.devices), {"probe": False}

    placed = benchmark.pedantic(mesh.placer.place, setup=wants, rounds=2000, warmup_rounds=10)
    assert len(placed) == pieces
    assert all(isinstance(decision, Place) for decision in placed)


@pytest.mark.parametrize("depth", [0, 16, 128], ids="behind {}".format)
def test_queue_takes_and_starts_a_piece(benchmark: Benchmark, depth: int) -> None:
    """Submit, poll, finish, with so many less urgent pieces waiting."""
    queue = DeviceQueue()
    for index in range(depth):
        queue.submit(Waiting(PieceKey("s", 1, 0, index), "s", "n", 10**9 + index, RUN_US))
    frames = itertools.count(1)

    def serve() -> list[Any]:
        key = PieceKey("s", 1, next(frames), 0)
        queue.submit(Waiting(key, "s", "n", DEADLINE_US, RUN_US))
        decided = queue.poll(0)
        queue.finished(0)
        return list(decided)

    [decision] = benchmark(serve)
    assert isinstance(decision, Start)
    assert len(queue) == depth


@of_size
def test_ledger_of_a_frame(benchmark: Benchmark, pieces: int) -> None:
    """Open, ask, take every answer, close."""
    ledger, device, frames = FrameLedger("s", 1), DeviceKey("n", "gpu"), itertools.count()

    def frame() -> list[Any]:
        number = next(frames)
        ledger.open(number, pieces, DEADLINE_US, 0)
        for index in range(pieces):
            ledger.asked(PieceKey("s", 1, number, index), device, 0)
        for index in range(pieces):
            answer = ledger.result(PieceKey("s", 1, number, index), device, RUN_US)
            assert answer.verdict is Verdict.ACCEPTED
        return ledger.poll(RUN_US)

    [closed] = benchmark(frame)
    assert closed.missing == ()


def test_cost_model_learns_from_a_run(benchmark: Benchmark) -> None:
    costs = CostModel()
    [device] = known_devices(1, costs)
    runs = itertools.cycle(range(RUN_US - 200, RUN_US + 200, 7))
    benchmark(lambda: costs.observe(device, KIND, 1.0, next(runs)))
    assert costs.predict_us(device, KIND, 1.0) == pytest.approx(RUN_US, rel=0.1)


def test_cost_model_predicts(benchmark: Benchmark) -> None:
    costs = CostModel()
    [device] = known_devices(1, costs)
    assert benchmark(costs.predict_us, device, KIND, 1.0) == RUN_US
