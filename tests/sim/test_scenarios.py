"""Random meshes with random failures: what must hold whatever happens."""

from collections.abc import Callable
from random import Random

import pytest

from mesh.core.workload import Contract
from mesh.schedule.ids import PieceKey
from mesh.sim.gateway import SessionModel, SimSession
from mesh.sim.link import LinkModel
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

CHUNKS = 20
ENDS_US = 500_000
LAG_US = 300


def random_mesh(seed: int, *, keep_trace: bool = True) -> tuple[SimulatedMesh, list[SimSession]]:
    """A mesh of up to 5 nodes and 4 sessions, with its misfortunes planned."""
    random = Random(seed)
    nodes = [
        NodeModel(
            devices=tuple(
                DeviceModel(
                    us_per_unit=random.choice([2_000, 5_000, 10_000, 25_000]),
                    noise=random.choice([0.0, 0.05, 0.4]),
                    stall=random.choice([0.0, 0.0, 0.02]),
                    warm_up_us=random.choice([0, 50_000]),
                    abandon_us=random.choice([0, 500, 10_000]),
                )
                for _ in range(random.randint(1, 2))
            ),
            link=LinkModel(
                delay_us=random.choice([20, 300, 5_000]),
                jitter_us=random.choice([0, 50, 2_000]),
                loss=random.choice([0.0, 0.0, 0.02]),
                bytes_per_s=random.choice([0, 1.25e7, 1.25e8]),
            ),
            boot_us=100_000,
            prepare_us=random.choice([0, 20_000]),
            redial_us=50_000,
        )
        for _ in range(random.randint(1, 5))
    ]
    mesh = SimulatedMesh(
        nodes,
        seed=seed,
        gateways=random.randint(1, 2),
        silent_us=random.choice([50_000, 200_000]),
        lag_us=LAG_US,
        keep_trace=keep_trace,
    )
    sessions = [
        mesh.open_session(
            SessionModel(
                Contract(*random.choice([(16_667, 20_000), (33_333, 50_000), (66_667, 66_667)])),
                kind=random.choice(["tile", "sector"]),
                pieces=random.randint(1, 6),
                units=random.choice([0.2, 1.0, 2.0]),
                spread=random.choice([0.0, 0.5]),
                out_bytes=random.choice([0, 1_000, 100_000]),
                max_in_flight=random.randint(1, 3),
                ends_us=ENDS_US,
            ),
            gateway=random.randrange(len(mesh.gateways)),
        )
        for _ in range(random.randint(1, 3))
    ]
    for _ in range(random.randint(0, 3)):
        name = random.choice(list(mesh.nodes))
        hurt, heal = random.choice(
            [(mesh.kill, mesh.restart), (mesh.stop, mesh.resume), (mesh.stop, mesh.resume)]
        )
        hurt_us = random.randrange(ENDS_US)
        mesh.at(hurt_us, lambda hurt=hurt, name=name: hurt(name))
        mesh.at(
            hurt_us + random.randrange(20_000, 300_000), lambda heal=heal, name=name: heal(name)
        )
        mesh.at(random.randrange(ENDS_US), lambda name=name: mesh.slow(name, 3.0))
    return mesh, sessions


def check_frames(session: SimSession) -> None:
    """In order and once; closed when complete or at the cut-off; nothing accepted afterwards."""
    shown = [closed.frame for closed in session.shown]
    assert shown == sorted(set(shown))
    assert session.driver.counts.composed == len(shown)
    assert session.driver.counts.refused == len(session.refused)
    assert not set(shown) & {closed.frame for closed in session.refused}
    previous_us = 0
    merged = 0
    for closed in sorted([*session.shown, *session.refused], key=lambda closed: closed.frame):
        assert closed.closed_us <= closed.cutoff_us + LAG_US
        if closed.missing:
            assert closed.closed_us >= closed.cutoff_us or closed.given_up
        else:
            complete_us = max(piece.answered_us for piece in closed.pieces)
            assert closed.closed_us == max(complete_us, previous_us)
        previous_us = closed.closed_us
        for index, piece in enumerate(closed.pieces):
            made = session.merged.get(PieceKey(session.name, 0, closed.frame, index))
            merged += made is not None
            assert (index in closed.missing) == (made is None) == (piece.maker is None)
            if made is not None:
                assert made == (piece.maker, piece.answered_us)
                assert closed.opened_us < made[1] <= closed.closed_us
    assert merged == len(session.merged), "accepted for a frame that was never closed"


def check_rest(mesh: SimulatedMesh, sessions: list[SimSession]) -> None:
    """After the last frame no promise, no queue and no piece is left over anywhere."""
    for session in sessions:
        assert session.orders == {}
        closed = len(session.shown) + len(session.refused)
        assert session.driver.clock.opened == closed + session.abandoned
    for node in mesh.nodes.values():
        for key, device in node.devices.items():
            assert len(device.queue) == 0
            assert device.queue.running is None
            for gateway in mesh.gateways:
                assert gateway.placer.outstanding(key) == 0


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_piece_is_lost_doubled_or_late_in_random_meshes(
    chunk: int, each_seed: Callable[..., None], checks_trace: Callable[..., set[PieceKey]]
) -> None:
    def scenario(seed: int) -> None:
        mesh, sessions = random_mesh(seed)
        mesh.run(until_us=ENDS_US + 3_000_000)
        for session in sessions:
            check_frames(session)
        credited = checks_trace(mesh.world.trace)
        assert credited == {key for session in sessions for key in session.merged}
        check_rest(mesh, sessions)

    each_seed(scenario, chunk=chunk, chunks=CHUNKS)


def test_a_seed_replays_exactly_and_another_does_not() -> None:
    hashes = []
    for seed in (11, 11, 12):
        mesh, _ = random_mesh(seed, keep_trace=False)
        mesh.run(until_us=ENDS_US)
        hashes.append(mesh.trace_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_failure_says_how_to_replay_it(
    each_seed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def scenario(seed: int) -> None:
        tried.append(seed)
        assert seed < 7

    monkeypatch.setenv("FRAMEMESH_SCENARIOS", "30")
    monkeypatch.delenv("FRAMEMESH_SEED", raising=False)
    with pytest.raises(AssertionError) as caught:
        each_seed(scenario, chunk=1, chunks=3)
    assert tried == [1, 4, 7]
    [note] = caught.value.__notes__
    assert "FRAMEMESH_SEED=7 python -m pytest" in note
    assert "test_a_failure_says_how_to_replay_it" in note

    monkeypatch.setenv("FRAMEMESH_SEED", "4")
    for chunk in range(3):
        each_seed(scenario, chunk=chunk, chunks=3)
    assert tried == [1, 4, 7, 4]
