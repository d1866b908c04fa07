"""Cameras that share a model beside players, in virtual time, as in bench/batching.py."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from bench.batching import CALL_US, CAMERA, PICTURE_US, PLAYER, missed
from mesh.sim.link import LinkModel
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

RUN_US = 2_000_000


def test_together_twice_the_pictures_come_in_time_and_nobody_else_pays():
    alone = missed(24, together=False, seed=1, run_us=RUN_US)
    together = missed(24, together=True, seed=1, run_us=RUN_US)
    assert alone.cameras > 50, "this is no overload"
    assert together.cameras < 5
    assert together.players <= alone.players + 1


def test_where_one_by_one_would_do_nothing_is_lost():
    together = missed(4, together=True, seed=2, run_us=RUN_US)
    assert together.cameras < 1
    assert together.players < 1


@pytest.mark.parametrize("seed", range(4))
def test_no_piece_of_a_batch_is_lost_whatever_fails(seed):
    """Two gateways, bad links, stalls, a node that dies in the midst and comes back."""
    random = Random(seed)
    device = DeviceModel(PICTURE_US, call_us=CALL_US, noise=0.2, stall=0.02)
    link = LinkModel(jitter_us=500, loss=0.02)
    mesh = SimulatedMesh([NodeModel((device,), link)] * 2, seed=seed, gateways=2, keep_trace=True)
    sessions = [mesh.open_session(CAMERA, gateway=n % 2) for n in range(random.randrange(8, 20))]
    sessions.append(mesh.open_session(PLAYER))
    mesh.run(random.randrange(300_000, 600_000))
    mesh.kill("node-2")
    mesh.run(1_000_000)
    mesh.restart("node-2")
    mesh.run(3_000_000)
    # When, and on which device.
    starts = Counter((e[0], e[2], e[3]) for e in mesh.world.trace if e[1] == "start")
    assert max(starts.values()) > 1, "nothing ran together"
    for session in sessions:
        closed = [frame.frame for frame in (*session.shown, *session.refused)]
        # In order, each once; of those still open, no more than may be in flight.
        assert len(closed) == len(set(closed))
        assert session.driver.clock.opened - len(closed) <= session.model.max_in_flight
        assert [frame.frame for frame in session.shown] == sorted(f.frame for f in session.shown)
        for frame in session.shown:
            for piece in frame.pieces:
                assert (piece.maker is None) == (piece.key.piece in frame.missing)
