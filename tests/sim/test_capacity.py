"""Scenarios run: what is counted, what faults cost, how much is carried."""

import msgspec
import pytest

from mesh.sim.capacity import Run, find_capacity, simulate
from mesh.sim.scenario import NodeClass, Scenario, SessionClass

VIEWER = SessionClass(
    name="viewer", count=2, period_ms=50, deadline_ms=100, work_ms=20, pieces=4, varies=0.2
)


def scenario(nodes: int = 2, sessions: int = 2, work_ms: float = 20, **node: float) -> Scenario:
    return Scenario(
        nodes=(NodeClass(name="desktop", count=nodes, **node),),
        sessions=(msgspec.structs.replace(VIEWER, count=sessions, work_ms=work_ms),),
        duration_s=2.0,
        warm_up_s=1.0,
    )


def test_what_is_carried_with_ease_misses_nothing_and_keeps_the_nodes_as_busy_as_it_must() -> None:
    outcome = simulate(scenario())
    (viewers,), (desktops,) = outcome.sessions, outcome.nodes
    assert 80 <= viewers.due <= 82
    assert viewers.on_time == viewers.due
    assert 10 < viewers.p50_ms <= viewers.p95_ms <= viewers.p99_ms < 100
    # Two sessions of 20 ms of work each 50 ms, on two devices.
    assert 33 < desktops.busy_pct < 45
    assert desktops.busy_pct <= desktops.busiest_pct <= outcome.max_to_mean_load * 45


def test_what_cannot_be_carried_is_said_to_be_missed() -> None:
    outcome = simulate(scenario(sessions=8))
    (viewers,) = outcome.sessions
    assert viewers.missed_pct > 30  # of twice what two devices can do
    assert viewers.on_time + viewers.missed == viewers.due
    assert not outcome.carries(30.0)


def test_one_seed_is_one_trace_and_another_is_another() -> None:
    first, again, other = (simulate(scenario(), seed) for seed in (5, 5, 6))
    assert first == again
    assert first.trace_hash != other.trace_hash


def test_without_a_session_nothing_is_due_and_nothing_is_missed() -> None:
    (viewers,) = simulate(scenario(sessions=0)).sessions
    assert (viewers.due, viewers.missed, viewers.missed_pct) == (0, 0, 0.0)


@pytest.mark.parametrize(
    "fault",
    [
        {"slows_to": 3.0, "slow_after_s": 2.0},
        {"stall": 0.05, "stall_factor": 20.0},
        {"deaths_per_hour": 3_600.0, "back_after_s": 0.5},
    ],
    ids=["drift", "stalls", "deaths"],
)
def test_faults_cost_time_or_frames(fault: dict[str, float]) -> None:
    calm, hurt = simulate(scenario()), simulate(scenario(**fault))
    assert hurt.sessions[0].p99_ms > 1.2 * calm.sessions[0].p99_ms or not hurt.carries(1.0)


def test_a_drifting_class_slows_down_step_by_step() -> None:
    run = Run(scenario(slows_to=2.0, slow_after_s=1.0))
    run.fleet.run(500_000)
    device = next(iter(run.fleet.nodes["node-1"].devices.values()))
    assert device.slow_down == pytest.approx(1.5)
    run.fleet.run(1_500_000)
    assert device.slow_down == pytest.approx(2.0)


def test_the_capacity_found_is_carried_and_one_more_is_not() -> None:
    most = find_capacity(scenario(), "viewer")
    assert 3 <= most.count <= 5  # each works 0.4 of a device's time, and there are two
    assert most.outcome is not None
    assert most.outcome.sessions[0].sessions == most.count
    assert most.outcome.carries(1.0)
    assert dict(most.tried)[most.count + 1] is False


def test_hopeless_work_is_carried_by_nobody() -> None:
    slow = find_capacity(scenario(speed=0.05), "viewer")
    assert (slow.count, slow.outcome) == (0, None)


def test_a_death_in_a_large_mesh_is_made_up_for_by_a_stranger() -> None:
    run = Run(scenario(nodes=60, sessions=6, work_ms=60.0))
    run.fleet.run(1_500_000)
    gateway = run.fleet.pooled[0]
    pool = next(iter(gateway.pools.values()))
    before, victim = pool.held, pool.held[0]
    run.fleet.kill(victim.node)
    run.fleet.run(1_800_000)
    assert victim not in pool
    assert len(pool.held) >= len(before)
    assert set(pool.held) - set(before)
    assert run.fleet.tenants[victim] == 0
    for device, sessions in run.fleet.tenants.items():
        assert sessions == sum(device in other for other in gateway.pools.values())


def test_load_is_even_over_a_mesh_of_which_every_session_holds_a_part() -> None:
    viewers = msgspec.structs.replace(VIEWER, count=9, work_ms=160, pieces=20)
    large = msgspec.structs.replace(scenario(nodes=90), sessions=(viewers,), gateways=3)
    run = Run(large)
    run.live()
    held = [len(pool.held) for gateway in run.fleet.pooled for pool in gateway.pools.values()]
    assert max(held) <= 16
    assert run.outcome.max_to_mean_load <= 2.0
    assert run.outcome.carries(1.0)
