"""The degrade ladder in a real stream: a gateway, two workers, one of them slowed, a viewer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesh.channel import LocalChannel
from mesh.core.config import GatewayConfig
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.token import Scope, sign_token
from mesh.core.workload import SessionRequest
from mesh.device.supervisor import Device, Plugins, open_device
from mesh.gateway import Gateway
from mesh.link.handshake import Credentials
from mesh.worker import Worker
from render.workload import create

PLUGINS = Path(__file__).parent / "plugins"
SIZE = (400, 224)
TILES = 4
DEADLINE_MS = 160
# The first worker is four times as fast as the second. Both make a frame in two fifths of the
# deadline; with the first one slowed four times, at full quality, it takes all of it.
FRAME_S = 0.064
SPEEDS = (4, 1)
SETTLED = 5  # frames in a row
KILL_AFTER_US = 20_000_000
OPTIONS = {"width": SIZE[0], "height": SIZE[1], "tiles": TILES, "fps": 6.0}


@dataclass
class Stream:
    """A session as its viewer sees it."""

    viewer: Any
    devices: list[Device]
    paced: Any  # the devices' workload
    facts: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for a run of frames that are as wanted."""
        run = 0
        while run < SETTLED:
            self.facts.append(json.loads(await self.viewer.messages.get()))
            run = run + 1 if wanted(self.facts[-1]) else 0

    def slow_down(self) -> None:
        """The faster worker, from now on."""
        os.kill(self.devices[0].pid, self.paced.SLOW)

    def recover(self) -> None:
        """The faster worker, from now on."""
        os.kill(self.devices[0].pid, self.paced.RECOVER)


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(PLUGINS))
    yield __import__("paced")
    sys.modules.pop("paced")


@pytest.fixture
async def stream(viewers: Any, paced: Any, repository: Path) -> AsyncIterator[Stream]:
    """A gateway with two workers, each with a device process of its own."""
    key, now_s = RealmKey.generate(), int(time.time())
    credentials = Credentials(NodeIdentity.generate(), key.public_key, b"")
    token = sign_token(
        key,
        realm_public=key.public_key,
        subject="alice",
        scopes=[Scope.CONTROL],
        not_before=now_s - 60,
        not_after=now_s + 3600,
    )
    [info, *_] = create({}).find_devices()
    units = TILES * paced.units_of(SIZE[0] * SIZE[1] / TILES, 100)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            Gateway(GatewayConfig(), credentials, {"render": create({})})
        )
        devices = []
        for name, speed in zip(("fast", "slow"), SPEEDS, strict=True):
            pace = {"s_per_unit": FRAME_S * sum(SPEEDS) / speed / units}
            opened = open_device(
                name,
                [info],
                {"render": pace},
                changed=lambda _: None,
                plugins=Plugins({"render": "paced:create"}, (PLUGINS, repository)),
            )
            devices.append(await stack.enter_async_context(opened))
            await devices[-1].ready()
            worker = await stack.enter_async_context(
                Worker([devices[-1]], kill_after_us=KILL_AFTER_US)
            )
            ours, _ = LocalChannel.pair(name, gateway, worker)
            gateway.worker_found(ours, name, worker.offers())
        viewer = viewers()
        request = SessionRequest("render", {**OPTIONS, "deadline_ms": DEADLINE_MS})
        client = gateway.authorize(token, Scope.CONTROL)
        answered = await gateway.open_session(client, request, await viewer.offer())
        await viewer.accept(answered.answer_sdp)
        yield Stream(viewer, devices, paced)


async def pictures(viewer: Any) -> AsyncIterator[tuple[int, np.ndarray]]:
    """When each picture is to be shown, and its luma."""
    [receiver] = viewer.connection.getReceivers()
    while True:
        frame = await receiver.track.recv()
        yield frame.pts, frame.to_ndarray(format="gray").astype(int)


async def test_a_slowed_worker_costs_quality_and_no_frame_stands_still(stream: Stream):
    def whole(facts: dict[str, Any], rung: int) -> bool:
        return facts["rung"] == rung and not facts["filled"] and len(facts["makers"]) == 2

    async def story() -> None:
        await stream.until(lambda facts: whole(facts, rung=0))
        stream.slow_down()
        await stream.until(lambda facts: facts["rung"] > 0 and not facts["filled"])
        stream.recover()
        await stream.until(lambda facts: whole(facts, rung=0))

    told = asyncio.create_task(story())
    shown: list[tuple[int, np.ndarray]] = []
    async for picture in pictures(stream.viewer):
        shown.append(picture)
        if told.done():
            break
    await told
    frames = [facts["frame"] for facts in stream.facts]
    assert frames == sorted(set(frames))
    # Where not even the last rung is in time the picture before is shown, as it is seen from here.
    assert max(after - before for before, after in pairwise(frames)) <= 2
    times = [time for time, _ in shown]
    assert times == sorted(set(times))
    for (_, before), (_, after) in pairwise(shown):  # the camera turns
        assert np.abs(after - before).mean() > 0
