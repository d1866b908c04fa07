"""Frames that take their device longer than the asked period, under the real driver.

Two may be in flight. Opened at even instants, the second waits for the first, at the gateway and on
the device, with its input already sampled.
"""

from __future__ import annotations

import statistics

import pytest

from mesh.core.workload import Contract
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

FRAMES = 80  # of which the last half is looked at


def play(period_us: int, run_us: int, *, latest_start: bool) -> SimSession:
    mesh = SimulatedMesh([NodeModel((DeviceModel(us_per_unit=run_us, noise=0.02),))], seed=1)
    session = mesh.open_session(
        SessionModel(Contract(period_us, 2_000_000), pieces=1, latest_start=latest_start)
    )
    while len(session.shown) < FRAMES:
        mesh.run(mesh.world.now_us + 1_000_000)
    return session


def open_us(session: SimSession) -> float:
    """From a typical frame's sampling of its input until it was whole."""
    return statistics.median(c.closed_us - c.opened_us for c in session.shown[FRAMES // 2 : FRAMES])


def fps(session: SimSession) -> float:
    first, last = session.shown[FRAMES // 2], session.shown[FRAMES - 1]
    return 1e6 * (FRAMES - 1 - FRAMES // 2) / (last.closed_us - first.closed_us)


@pytest.mark.parametrize(
    ("period_us", "run_us"), [(33_333, 45_000), (66_667, 90_000), (100_000, 150_000)]
)
def test_inputs_are_sampled_when_the_device_is_about_to_be_free(period_us, run_us):
    even = play(period_us, run_us, latest_start=False)
    latest = play(period_us, run_us, latest_start=True)
    assert open_us(even) > 1.5 * run_us
    assert open_us(latest) < 1.1 * run_us
    assert fps(latest) > 0.95 * fps(even)
