"""A vehicle with two real gateways and a process of its own, which all go away one by one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest

import framemesh
from infer.codec import CLASSES
from infer.frames.pose import Pose
from infer.offload.cycles import Mark
from infer.offload.vehicle import Answer, Vehicle, open_vehicle
from infer.synthetic import scan, street
from mesh.core.errors import ContentRefused, Misuse, NotAuthorized
from mesh.core.offload import FedSession, Options
from mesh.core.token import Scope

DEADLINE_MS = 1000  # a busy machine may miss it: what is asserted does not depend on that


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return scan(street())[::2]


@pytest.fixture
async def gateways(open_host: Any) -> AsyncIterator[list[Any]]:
    """Two of them, each its own worker."""
    async with open_host(infer={"api": "cpu"}) as one, open_host(infer={"api": "cpu"}) as other:
        yield [one, other]


async def gone(host: Any) -> None:
    """It ends its sessions and takes no others."""
    host.node.gateway.drain()
    await host.node.close_links()


class Road:
    """Drives cycles and holds every answer against the contract."""

    def __init__(self, vehicle: Vehicle, points: np.ndarray) -> None:
        self.answers: list[Answer] = []
        self._vehicle, self._points = vehicle, points

    async def cycle(self) -> Answer:
        answer = await self._vehicle.cycle(self._points)
        self.answers.append(answer)
        assert answer.cycle == len(self.answers) == sum(self._vehicle.counts.values())
        assert (answer.result is None) == (answer.mark == "extrapolated")
        if answer.result is not None:
            assert answer.result.stamp_us == answer.stamp_us
        assert answer.objects.tracks.time_s == pytest.approx(answer.stamp_us / 1e6)
        return answer

    async def until(self, mark: Mark) -> Answer:
        while (answer := await self.cycle()).mark != mark:
            pass
        return answer


async def test_every_cycle_is_answered_whatever_goes_away(
    gateways: list[Any], points: np.ndarray
) -> None:
    urls = [host.url() for host in gateways]
    bases = [url.partition("/?")[0] for url in urls]
    options = {"rate_hz": 10, "deadline_ms": DEADLINE_MS, "local_every": 2}
    async with (
        framemesh.offload(urls, **options) as vehicle,
        framemesh.offload(urls, local=False, **options) as bare,
    ):
        road, other_road = Road(vehicle, points), Road(bare, points)
        seen = await other_road.until("remote")
        answer = await road.until("remote")
        assert (answer.objects.classes == CLASSES.index("car")).sum() > 3

        # The home drains: the next sweep goes to the other, and no cycle is without a gateway.
        while len(vehicle.sessions) < 2:
            await road.cycle()
        home, moves, before = bases.index(vehicle.home), vehicle.moves, len(road.answers)
        drained = asyncio.create_task(gateways[home].node.drain(within_s=60))
        while vehicle.home == bases[home]:
            await road.cycle()
        assert vehicle.home == bases[1 - home]
        assert vehicle.moves > moves
        assert all(answer.sent_to for answer in road.answers[before:])
        assert await road.until("remote")
        assert await drained

        # The other vanishes: what is left is the vehicle's own.
        await gone(gateways[1 - home])
        while (answer := await road.until("local")).sent_to:
            pass
        assert (answer.objects.classes == CLASSES.index("car")).sum() > 3

        # Without a process of its own it goes on with what it knew.
        guessed = await other_road.until("extrapolated")
        assert guessed.objects.seen_us >= seen.stamp_us
        assert len(guessed.objects) > 10

        # Its process is killed, and started again: there are answers all the same.
        killed = vehicle.local_pid
        os.kill(killed, signal.SIGKILL)
        while vehicle.local_pid == killed:
            assert (await road.cycle()).mark != "remote"
        await road.until("local")


async def test_a_bug_costs_a_session_and_no_answer(points: np.ndarray) -> None:
    def broken(options: Options) -> AbstractAsyncContextManager[FedSession]:
        raise ZeroDivisionError

    options = {"local": False, "deadline_ms": 40}
    async with open_vehicle({"broken": broken}, options) as vehicle:
        road = Road(vehicle, points)
        for _ in range(3):
            assert (await road.cycle()).mark == "extrapolated"
        assert "unexpectedly" in str(vehicle.troubles["broken"])


async def test_what_is_wrong_is_said_at_once(open_host: Any, points: np.ndarray) -> None:
    async with open_host(infer={"api": "cpu"}) as host:
        await refusals(host, points)


async def refusals(host: Any, points: np.ndarray) -> None:
    with pytest.raises(NotAuthorized):
        async with framemesh.offload([host.url(Scope.VIEW)], local=False):
            pass
    for wrong in ({"nonsense": 1}, {"local_every": 0}, {"rate_hz": 1e9}):
        with pytest.raises(Misuse, match="nothing is offloaded"):
            async with framemesh.offload([host.url()], **wrong):
                pass
    with pytest.raises(Misuse, match="no gateway"):
        async with framemesh.offload([]):
            pass
    with pytest.raises(Misuse, match="cannot be offloaded"):
        async with framemesh.offload([host.url()], "render"):
            pass
    async with framemesh.offload([host.url()], local=False, deadline_ms=1000) as vehicle:
        with pytest.raises(ContentRefused):
            await vehicle.cycle(points[:, :3])
        await vehicle.cycle(points, stamp_us=5)
        with pytest.raises(Misuse, match="not above"):
            await vehicle.cycle(points, stamp_us=5)
        with pytest.raises(Misuse, match="of world and sensor"):
            await vehicle.cycle(points, stamp_us=6, pose=Pose.identity("map", "sensor"))
        last = asyncio.create_task(vehicle.cycle(points, stamp_us=6))
        await asyncio.sleep(0)
    with pytest.raises(Misuse, match="was left"):
        await last
    with pytest.raises(Misuse, match="was left"):
        await vehicle.cycle(points, stamp_us=7)
