"""Pictures and sweeps at once on one mesh of real processes: the load, and a record of what came.

A real viewer (the SDK's, over WebRTC) watches a render session, and a sensor feeds an infer
session over a link; both are clients in this process, on one machine with the mesh, so that all
times are of one monotonic clock.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

import framemesh
from bench.cycles import Cycle, Fate, Wrongs, between, judge, out_of_order, with_skipped
from bench.victim import free_port
from clients.cli.demo import DemoMesh
from clients.cli.realm import viewer_token
from clients.sdk.session import Session
from infer.codec import Boxes, Result, decode_result
from infer.readers.kitti import list_sweeps, read_points
from infer.sweep import encode_sweep
from infer.synthetic import scan, street
from infer.workload import create as create_infer
from mesh.core.home import NodeHome, Signer
from mesh.core.loop import monotonic_us
from mesh.core.token import Scope
from mesh.core.workload import CutHint, SessionRequest
from mesh.stream import barcode

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = ("render", "infer")
TOKEN_LIFETIME_S = 3600
PATIENCE_S = 60.0
GRACE_S = 0.5  # after a deadline, for what is late


@dataclass(frozen=True, slots=True)
class Load:
    """What the two sessions ask for. Deadlines in milliseconds from a frame's opening."""

    width: int = 640
    height: int = 360
    fps: int = 15
    tiles: int = 4
    picture_deadline_ms: int = 133
    sweep_hz: int = 5
    sectors: int = 0
    sweep_deadline_ms: int = 200

    def deadlines_ms(self) -> dict[str, int]:
        """By workload."""
        return {"render": self.picture_deadline_ms, "infer": self.sweep_deadline_ms}

    def render_options(self) -> dict[str, int | str]:
        """For the gateway."""
        return {
            "scene": "courtyard",
            "width": self.width,
            "height": self.height,
            "fps": self.fps,
            "tiles": self.tiles,
            "deadline_ms": self.picture_deadline_ms,
            "barcode": 1,
        }

    def infer_options(self) -> dict[str, int]:
        """For the gateway."""
        return {
            "rate_hz": self.sweep_hz,
            "sectors": self.sectors,
            "deadline_ms": self.sweep_deadline_ms,
        }


# --- inputs -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scan:
    """A sweep as it is sent, and what one node says of it."""

    data: bytes
    alone: Result


def kitti() -> Path | None:
    """The folder of KITTI's sweeps, if it is there."""
    clip = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "kitti_raw_clip"
    return clip if clip.is_dir() else None


def scans(clip: Path | None, count: int = 8) -> list[Scan]:
    """The first sweeps in a folder of KITTI's; synthetic ones for None. Takes seconds."""
    if clip is not None:
        points = [read_points(path) for path in list_sweeps(clip)[:count]]
    else:
        points = [scan(street(seed), seed=seed) for seed in range(count)]
    node = _OneNode()
    return [Scan(encode_sweep(these), node.result(these)) for these in points]


class _OneNode:
    """The infer workload with its two halves joined: one sector, no mesh."""

    def __init__(self) -> None:
        workload = create_infer({"api": "cpu"})
        self._session = workload.open_session(SessionRequest("infer", {}))
        self._executor = workload.open_executor(workload.find_devices()[0])
        self._executor.prepare("alone", self._session.setup.spec, {})
        self._stamp_us = 0

    def result(self, points: NDArray[np.float32]) -> Result:
        """What is found in one sweep."""
        self._stamp_us += 1
        self._session.offer_input(self._stamp_us, memoryview(encode_sweep(points)))
        nothing = memoryview(b"")
        frame = self._session.open_frame(0, 0, CutHint(devices=1), nothing, nothing)
        for piece in frame.pieces:
            output = bytearray(piece.output_bytes)
            inputs = memoryview(piece.inputs).toreadonly()
            size = self._executor.run("alone", piece.spec, inputs, memoryview(output))
            frame.accept(piece.index, memoryview(output)[:size])
        return decode_result(frame.finish())


def same(one: Result, other: Result) -> bool:
    """Whether two results say the same, to the last bit; the cut and the times may differ."""
    return one.counts == other.counts and all(
        np.array_equal(getattr(one.boxes, name), getattr(other.boxes, name))
        for name in (entry.name for entry in fields(Boxes))
    )


# --- recording ----------------------------------------------------------------------------------


class Pictures:
    """What a viewer gets of a render session."""

    def __init__(self, session: Session, load: Load) -> None:
        self._session = session
        self._load = load
        self._facts: dict[int, Mapping[str, Any]] = {}
        self._shown: list[int | None] = []  # frame ids read from the pictures, as they came
        self._received_us: dict[int, int] = {}

    async def watch(self) -> None:
        """Until cancelled. Raises what ends the session."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._see())
            both.create_task(self._hear())

    async def _see(self) -> None:
        async for frame in self._session.frames:
            number = barcode.read(frame.to_ndarray()[: self._load.height])
            self._shown.append(number)
            if number is not None:
                self._received_us.setdefault(number, frame.received_us)

    async def _hear(self) -> None:
        async for facts in self._session.facts:
            self._facts[facts["frame"]] = facts

    def makers(self) -> set[str]:
        """Who has made tiles."""
        return {maker for facts in self._facts.values() for maker in facts["makers"]}

    def cycles(self) -> list[Cycle]:
        """All so far, in order."""
        judged = [
            judge(facts, self._received_us.get(frame), self._load.picture_deadline_ms)
            for frame, facts in self._facts.items()
        ]
        return with_skipped(judged, round(1e6 / self._load.fps))

    def wrongs(self) -> Wrongs:
        """Of all that was shown."""
        read = [number for number in self._shown if number is not None]
        return Wrongs(wrong=len(self._shown) - len(read)) + out_of_order(read)


class Sweeps:
    """A sensor that feeds an infer session, and what it gets back."""

    def __init__(self, session: Session, load: Load, scans: Sequence[Scan], seed: int) -> None:
        self._session = session
        self._load = load
        self._scans = scans
        self._period_us = round(1e6 / load.sweep_hz)
        self._random = Random(seed)
        self._sent: dict[int, tuple[int, int]] = {}  # by number: stamp, when
        self._cycles: dict[int, Cycle] = {}
        self._stamps: list[int] = []
        self._wrong = 0

    async def feed(self) -> None:
        """Send a sweep each period until cancelled, whatever comes back.

        The phase within a third of the period is drawn anew each time: at a fixed one, chance
        would decide once for all how sweeps and pictures of a multiple rate meet.
        """
        start_us, count = monotonic_us(), 0
        while True:
            due_us = start_us + round((count + self._random.random() / 3) * self._period_us)
            await asyncio.sleep(max(0, due_us - monotonic_us()) / 1e6)
            stamp_us = count * self._period_us
            sent_us = monotonic_us()
            scan = self._scans[count % len(self._scans)]
            number = await self._session.send(scan.data, stamp_us=stamp_us)
            self._sent[number] = stamp_us, sent_us
            count += 1

    async def listen(self) -> None:
        """Until cancelled. Raises what ends the session."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take_results())
            both.create_task(self._take_refusals())

    async def _take_results(self) -> None:
        async for came in self._session.results:
            received_us = monotonic_us()
            result = decode_result(came.data)
            cycle = judge(came.facts, received_us, self._load.sweep_deadline_ms)
            self._cycles.setdefault(came.number, cycle)
            self._stamps.append(result.stamp_us)
            self._wrong += not self._is_right(result, whole=cycle.fate is not Fate.FILLED)

    def _is_right(self, result: Result, *, whole: bool) -> bool:
        """What is missing must be said twice; what is whole must be what one node says."""
        if whole != (result.missing == 0):
            return False
        index = result.stamp_us // self._period_us % len(self._scans)
        return not whole or same(result, self._scans[index].alone)

    async def _take_refusals(self) -> None:
        async for refusal in self._session.refusals:
            self._cycles[refusal.number] = Cycle(0, Fate.REFUSED)

    def makers(self) -> set[str]:
        """Who has made sectors."""
        return {maker for cycle in self._cycles.values() for maker, _, _ in cycle.pieces}

    def cycles(self) -> list[Cycle]:
        """All so far, in order, due when they were sent."""
        lost = Cycle(0, Fate.LOST)
        return [
            replace(self._cycles.get(number, lost), due_us=sent_us)
            for number, (_, sent_us) in self._sent.items()
        ]

    def wrongs(self) -> Wrongs:
        """Of all results."""
        return Wrongs(wrong=self._wrong) + out_of_order(self._stamps)


@dataclass(frozen=True, slots=True)
class Both:
    """The two sessions under way."""

    pictures: Pictures
    sweeps: Sweeps
    rest_s: float  # from the last cycle until nothing can come any more

    def makers(self) -> dict[str, set[str]]:
        """Who took part, by workload."""
        return {"render": self.pictures.makers(), "infer": self.sweeps.makers()}

    def cycles(self, from_us: int, until_us: int) -> dict[str, list[Cycle]]:
        """By workload, those due in a stretch of time that ended `rest_s` ago."""
        return {
            "render": between(self.pictures.cycles(), from_us, until_us),
            "infer": between(self.sweeps.cycles(), from_us, until_us),
        }

    def wrongs(self) -> dict[str, Wrongs]:
        """By workload, from the beginning on."""
        return {"render": self.pictures.wrongs(), "infer": self.sweeps.wrongs()}

    async def joined(self, workers: int = 2) -> None:
        """Wait until so many workers took part in both."""
        await until(lambda: min(map(len, self.makers().values())) >= workers)


async def until(seen: Callable[[], bool]) -> None:
    """Wait for news of other processes. Raises TimeoutError when patience is at an end."""
    async with asyncio.timeout(PATIENCE_S):
        while not seen():  # noqa: ASYNC110  it comes by a log, or in many messages
            await asyncio.sleep(0.05)


@asynccontextmanager
async def playing(
    mesh: DemoMesh, load: Load, scans: Sequence[Scan], *, seed: int
) -> AsyncIterator[Both]:
    """Both sessions open at a running mesh. A session that ends by itself ends the block."""
    async with AsyncExitStack() as stack:
        view = await stack.enter_async_context(
            framemesh.connect(
                mesh.page_url(),
                "render",
                token=token(mesh, Scope.VIEW, Scope.CONTROL),
                **load.render_options(),
            )
        )
        fed = await stack.enter_async_context(
            framemesh.connect(
                mesh.page_url(),
                "infer",
                token=token(mesh, Scope.VIEW, Scope.INFER),
                **load.infer_options(),
            )
        )
        pictures = Pictures(view, load)
        sweeps = Sweeps(fed, load, scans, seed)
        longest_ms = max(load.deadlines_ms().values())
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(coroutine)
                for coroutine in (pictures.watch(), sweeps.feed(), sweeps.listen())
            ]
            yield Both(pictures, sweeps, longest_ms / 1000 + GRACE_S)
            for task in running:
                task.cancel()


def token(mesh: DemoMesh, *scopes: Scope) -> str:
    """A client's token for the mesh."""
    realm = NodeHome(mesh.folder / "admin").realm_key()
    return viewer_token(
        Signer.of(realm), subject="bench", lifetime_s=TOKEN_LIFETIME_S, scopes=scopes
    )


@asynccontextmanager
async def two_workers(queue: str = "edf") -> AsyncIterator[DemoMesh]:
    """A gateway and two workers that serve both workloads; `queue` orders their devices' work."""
    tables = {
        "workloads.infer": 'api = "cpu"',
        "device": f'queue = "{queue}"',
        "link": "silent_ms = 3000",  # a busy machine's pause is no death; a kill is told at once
    }
    extra = "".join(f"[{name}]\n{line}\n" for name, line in tables.items())
    with tempfile.TemporaryDirectory() as folder:
        mesh = DemoMesh.lay_out(Path(folder), workers=2, port=free_port(), extra=extra)
        async with mesh.running():
            await mesh.ready()
            yield mesh
