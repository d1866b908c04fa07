"""Frames go one at a time when two together leave holes in both."""

from __future__ import annotations

from mesh.core.workload import Contract
from mesh.schedule.frameclock import CALM_AFTER, CROWDED_AT, CROWDED_OF, Crowding
from mesh.sim.gateway import SessionModel
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel


def test_a_rare_hole_changes_nothing() -> None:
    crowding = Crowding()
    for number in range(200):
        crowding.closed(whole=bool(number % CROWDED_OF))
        assert not crowding.one_at_a_time


def test_holes_in_a_cluster_send_frames_one_at_a_time_until_it_is_calm() -> None:
    crowding = Crowding()
    for _ in range(CROWDED_AT):
        assert not crowding.one_at_a_time
        crowding.closed(whole=False)
    for _ in range(CALM_AFTER):
        assert crowding.one_at_a_time
        crowding.closed(whole=True)
    assert not crowding.one_at_a_time


def test_a_hole_starts_the_calm_anew() -> None:
    crowding = Crowding()
    for _ in range(CROWDED_AT):
        crowding.closed(whole=False)
    for _ in range(CALM_AFTER - 1):
        crowding.closed(whole=True)
    crowding.closed(whole=False)
    for _ in range(CALM_AFTER - 1):
        crowding.closed(whole=True)
        assert crowding.one_at_a_time


def test_devices_that_cannot_keep_the_rate_show_fewer_frames_and_whole_ones() -> None:
    # One device, a frame costs it 88 ms, one is due each 67 ms and must be there after 133 ms.
    device = DeviceModel(us_per_unit=22_000.0)
    mesh = SimulatedMesh([NodeModel(devices=(device,))], seed=3)
    session = mesh.open_session(SessionModel(contract=Contract(66_667, 133_333)))
    mesh.run(until_us=20_000_000)
    counts = session.driver.counts
    assert counts.composed > 150
    assert counts.filled_frames < 0.1 * counts.composed
