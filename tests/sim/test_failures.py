"""What losing, freezing or slowing a node costs, and how soon it is used again."""

from collections.abc import Callable

import pytest

from mesh.core.workload import Contract
from mesh.schedule.ids import DeviceKey
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.link import LinkModel
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

FIFTEEN_HZ = Contract(period_us=66_667, deadline_us=66_667)
NODE_2 = DeviceKey("node-2", "0")


def two_workers(seed: int, pieces: int = 3) -> tuple[SimulatedMesh, SimSession]:
    """Two noisy workers that take 12 ms a piece, 60 ms more for the first one of a kind."""
    device = DeviceModel(us_per_unit=12_000, noise=0.08, warm_up_us=60_000)
    mesh = SimulatedMesh([NodeModel((device,)), NodeModel((device,))], seed=seed)
    session = mesh.open_session(SessionModel(FIFTEEN_HZ, pieces=pieces))
    return mesh, session


def missed_after(session: SimSession, start_us: int) -> int:
    closed = [*session.shown, *session.refused]
    return sum(bool(c.missing) for c in closed if c.closed_us >= start_us)


def first_piece_us(session: SimSession, maker: DeviceKey, after_us: int) -> int:
    times = [us for device, us in session.merged.values() if device == maker and us > after_us]
    return min(times) - after_us


def hellos(mesh: SimulatedMesh, node: str, after_us: int) -> list[int]:
    return [
        int(str(when_us))
        for when_us, what, *names in mesh.world.trace
        if what == "hello" and names[1] == node and int(str(when_us)) > after_us
    ]


@pytest.mark.parametrize("hurt_us", range(2_000_000, 2_070_000, 7_000))
@pytest.mark.parametrize("hurt", [SimulatedMesh.kill, SimulatedMesh.stop])
def test_losing_one_of_two_workers_costs_at_most_three_frames(
    hurt: Callable[[SimulatedMesh, str], None], hurt_us: int
) -> None:
    mesh, session = two_workers(seed=hurt_us)
    mesh.run(hurt_us)
    hurt(mesh, "node-2")
    mesh.run(hurt_us + 3_000_000)
    assert missed_after(session, hurt_us) <= 3
    assert len(session.shown) >= 70
    assert session.shown[-1].missing == ()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("hurt", "heal"),
    [
        (SimulatedMesh.kill, SimulatedMesh.restart),
        (SimulatedMesh.stop, SimulatedMesh.resume),
    ],
)
def test_a_worker_that_comes_back_makes_pieces_within_two_seconds_of_its_hello(
    hurt: Callable[[SimulatedMesh, str], None],
    heal: Callable[[SimulatedMesh, str], None],
    seed: int,
) -> None:
    device = DeviceModel(us_per_unit=12_000, noise=0.08, warm_up_us=60_000)
    mesh = SimulatedMesh([NodeModel((device,))] * 2, seed=seed, keep_trace=True)
    session = mesh.open_session(SessionModel(FIFTEEN_HZ, pieces=3))
    mesh.run(1_500_000)
    hurt(mesh, "node-2")
    mesh.run(3_000_000)
    heal(mesh, "node-2")
    mesh.run(7_000_000)
    hello_us = hellos(mesh, "node-2", 3_000_000)[0]
    assert first_piece_us(session, NODE_2, hello_us) <= 2_000_000
    assert missed_after(session, 3_000_000) == 0, "its return must cost nothing"
    last = [maker for maker, us in session.merged.values() if us > 6_000_000]
    assert last.count(NODE_2) >= 0.3 * len(last)


def test_a_nap_shorter_than_the_links_patience_is_slept_without_a_new_hello() -> None:
    mesh, session = two_workers(seed=5)
    mesh.run(2_000_000)
    mesh.stop("node-2")
    mesh.run(2_200_000)
    mesh.resume("node-2")
    mesh.run(4_000_000)
    assert missed_after(session, 2_000_000) <= 3
    assert first_piece_us(session, NODE_2, 2_200_000) <= 200_000


def test_a_device_that_slows_down_gets_less_within_ten_frames() -> None:
    mesh, session = two_workers(seed=3, pieces=5)
    mesh.run(2_000_000)
    mesh.slow("node-2", 3.0)
    mesh.run(4_000_000)
    assert missed_after(session, 2_000_000) <= 10
    late = [maker for maker, us in session.merged.values() if us > 3_000_000]
    assert late.count(NODE_2) <= 0.3 * len(late)
    mesh.slow("node-2", 1.0)
    mesh.run(9_000_000)
    late = [maker for maker, us in session.merged.values() if us > 8_000_000]
    assert late.count(NODE_2) >= 0.4 * len(late), "a device that recovers is found out"


@pytest.mark.parametrize(("nodes", "pieces"), [(2, 1), (2, 3), (3, 4), (4, 6)])
def test_equal_devices_make_equal_shares(nodes: int, pieces: int) -> None:
    mesh = SimulatedMesh(nodes, seed=2)
    mesh.open_session(SessionModel(FIFTEEN_HZ, pieces=pieces))
    mesh.run(20_000_000)
    assert max(mesh.shares().values()) <= 1.1 / nodes
    assert min(mesh.shares().values()) >= 0.9 / nodes


def test_a_calm_mesh_misses_nothing_and_repeats_almost_nothing() -> None:
    mesh = SimulatedMesh(3, seed=9)
    session = mesh.open_session(SessionModel(FIFTEEN_HZ, pieces=6, spread=0.3))
    mesh.run(20_000_000)
    counts = session.driver.counts
    assert counts.composed >= 298
    assert counts.filled_frames == 0
    assert counts.sent - counts.composed * 6 <= 0.02 * counts.sent


def test_losing_a_node_on_a_lossy_link_costs_at_most_one_more_frame_in_twenty() -> None:
    lossy = NodeModel(link=LinkModel(delay_us=4_000, jitter_us=500, loss=0.02))
    mesh = SimulatedMesh([lossy] * 3, seed=7)
    session = mesh.open_session(SessionModel(Contract(66_667, 100_000), pieces=4))
    mesh.run(10_000_000)
    before = mesh.missed_frames()
    mesh.kill("node-2")
    mesh.run(20_000_000)
    assert mesh.missed_frames() - before <= before + 0.05 * len(session.shown) / 2


def test_earliest_deadline_first_serves_the_tight_session_better_than_fifo() -> None:
    missed = {}
    for policy in ("edf", "fifo"):
        mesh = SimulatedMesh(2, seed=4, policy=policy)
        tight = mesh.open_session(SessionModel(FIFTEEN_HZ, pieces=4, out_bytes=90_000))
        loose = mesh.open_session(
            SessionModel(Contract(200_000, 200_000), kind="sector", pieces=8, units=1.5)
        )
        mesh.run(30_000_000)
        missed[policy] = [s.driver.counts.filled_frames for s in (tight, loose)]
    assert missed["edf"][0] <= missed["fifo"][0]
    assert missed["edf"][1] <= missed["fifo"][1] + 2


def test_two_gateways_share_the_workers_without_starving_each_other() -> None:
    mesh = SimulatedMesh(3, seed=8, gateways=2)
    sessions = [
        mesh.open_session(SessionModel(FIFTEEN_HZ, pieces=4), gateway=gateway) for gateway in (0, 1)
    ]
    mesh.run(20_000_000)
    for session in sessions:
        assert session.driver.counts.composed >= 290
        assert session.driver.counts.filled_frames <= 6
