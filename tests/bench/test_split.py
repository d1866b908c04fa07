"""Real tiles of real node processes make the picture, whatever the devices' speeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest

from bench.timed.mesh import Made, ask, linked, timed_mesh, timed_session
from bench.timed.plugin import Pattern
from bench.victim import free_port
from clients.sdk.session import Session

SIZE = (640, 368)
SPEEDS = {"slow": 1.0, "twice": 2.0, "four": 4.0}  # of worker-1, worker-2 and worker-3


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """Pictures of `SIZE` from three unequal nodes, with all the time of the world."""
    async with timed_mesh(free_port(), SPEEDS) as mesh:
        await linked(mesh, len(SPEEDS))
        async with timed_session(
            mesh, len(SPEEDS), width=SIZE[0], height=SIZE[1], frame_ms=40, deadline_ms=30_000
        ) as session:
            yield session


def pattern(number: int) -> bytes:
    planes = Pattern(*SIZE).planes(number, (0, 0, *SIZE))
    return b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)


def pixels(frame: Made) -> Counter[str]:
    """By worker."""
    made: Counter[str] = Counter()
    for (_, _, width, height), maker, _, _ in frame.pieces:
        made[maker.partition("@")[0]] += width * height
    return made


async def until_most_is_made_by(worker: str, session: Session, **slower: float) -> None:
    """Ask for pictures, each of which must be right; the test's time ends what never comes."""
    most = ""
    while most != worker:
        frame = await ask(session, slower=slower, whole=True)
        assert bytes(frame.result) == pattern(frame.number)
        assert frame.filled == 0
        made = pixels(frame)
        assert made.total() == SIZE[0] * SIZE[1]
        [(most, _)] = made.most_common(1)


async def test_the_fastest_of_three_nodes_makes_most_of_a_picture_until_it_slows_down(session):
    await until_most_is_made_by("worker-3", session)
    await until_most_is_made_by("worker-2", session, four=16.0)
    await until_most_is_made_by("worker-3", session)
