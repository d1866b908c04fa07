"""A vehicle that offloads its sweeps and has an answer to each on time: the asyncio shell.

What is decided is in `infer.offload.cycles` and `infer.offload.homes`; here it is carried out.
Every event takes one turn: the deciders are told, asked what follows, and a timer is set for when
they want to know the time next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from infer.codec import Result, decode_result
from infer.frames.pose import Pose
from infer.offload.cycles import Cycles, Give, Mark, StartLocal, StopLocal
from infer.offload.homes import Homes, Leave, Open
from infer.offload.local import LocalPipeline, open_local
from infer.offload.situation import HERE, Objects, Situation, warm_up
from infer.sweep import encode_sweep
from infer.uplink.packing import pack_sweep
from infer.warmup import small_scene
from infer.workload import InferOptions
from mesh.core.errors import (
    ConfigError,
    ContentRefused,
    MeshError,
    Misuse,
    NotAuthorized,
    SessionRefused,
)
from mesh.core.loop import monotonic_us
from mesh.core.offload import Door, FedSession

log = logging.getLogger(__name__)

RANKS: Mapping[Mark, int] = {"local": 0, "remote": 1}
MARGIN_SHARE = 0.2  # of the deadline, kept back for the way from the decision to the asker
# Of what is left: what a gateway gets from when it has the sweep. The rest is for both ways.
SESSION_SHARE = 0.75
PATIENCE_S = 10.0  # with gateways, before the first cycle
REMEMBERED = 64  # cycles, for answers that come late
# What waiting does not mend: where every gateway says so, it is the caller's to mend.
_FINAL = (ConfigError, NotAuthorized, SessionRefused)


class VehicleOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a vehicle chooses for itself, beside its sessions' options (InferOptions).

    deadline_ms: from `cycle` to its answer; 0 for one period. margin_ms: how long before that the
    answer is given, at least; 0 for a fifth of the deadline. local: whether to keep a pipeline of
    its own. local_every: of so many points that one looks at one.
    """

    deadline_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    margin_ms: Annotated[float, Meta(ge=0, le=5_000)] = 0.0
    local: bool = True
    local_every: Annotated[int, Meta(ge=1, le=64)] = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """The one answer to a cycle.

    cycle: counts from 1. stamp_us: when the sweep was taken, as it was given. mark: where this
    comes from. objects: what is around the sensor at the sweep's time. result: of this very sweep,
    None if extrapolated. sent_to: the gateways that the sweep went to. deadline_us, answered_us:
    on this machine's monotonic clock.
    """

    cycle: int
    stamp_us: int
    mark: Mark
    objects: Objects
    result: Result | None
    sent_to: tuple[str, ...]
    deadline_us: int
    answered_us: int


@dataclass(slots=True)
class _Open:
    """A cycle that waits for its answer."""

    stamp_us: int
    deadline_us: int
    pose: Pose
    points: NDArray[np.float32]
    data: bytes
    answer: asyncio.Future[Answer]
    results: dict[Mark, Result] = field(default_factory=dict)
    sent_to: list[str] = field(default_factory=list)


class Vehicle:
    """See `open_vehicle`. For one event loop.

    counts: answers so far, by mark. improved: answers that came too late for their cycle, and still
    made the tracks better. troubles: why the last session at each gateway ended or did not open.
    """

    def __init__(
        self,
        doors: Mapping[str, Door],
        session: Mapping[str, Any],
        deadline_us: int,
        margin_us: int,
    ) -> None:
        """session: the options of its sessions."""
        self.counts: Counter[Mark] = Counter()
        self.improved = 0
        self.troubles: dict[str, MeshError] = {}
        self._doors, self._options = dict(doors), dict(session)
        self._deadline_us = deadline_us
        self._encode = pack_sweep if session.get("compress") == "delta" else encode_sweep
        self._cycles, self._homes = Cycles(margin_us), Homes(list(doors))
        self._situation = Situation()
        self._local: LocalPipeline | None = None
        self._sessions: dict[str, FedSession] = {}
        self._stays: dict[str, asyncio.Task[None]] = {}
        self._open: dict[int, _Open] = {}
        self._numbers: dict[tuple[str, int], int] = {}  # of inputs at gateways: their cycles
        self._by_stamp: dict[int, tuple[int, Pose]] = {}  # the last cycles
        self._deadlines: deque[tuple[int, int]] = deque()  # and cycles, for those not yet over
        self._timer: asyncio.TimerHandle | None = None
        self._tried = asyncio.Event()
        self._last, self._last_stamp_us = 0, -(1 << 62)
        self._frames: tuple[str, str] | None = None  # of the poses it is given
        self._closed = False
        self._tasks = asyncio.TaskGroup()

    @property
    def home(self) -> str | None:
        """The gateway that its sweeps go to."""
        return self._homes.home

    @property
    def sessions(self) -> tuple[str, ...]:
        """The gateways at which it has a session."""
        return tuple(self._sessions)

    @property
    def moves(self) -> int:
        """How often it changed from one gateway to another."""
        return self._homes.moves

    @property
    def local_pid(self) -> int:
        """The local pipeline's process; 0 without one."""
        return self._local.pid if self._local is not None else 0

    async def cycle(
        self, points: NDArray[np.float32], *, stamp_us: int | None = None, pose: Pose = HERE
    ) -> Answer:
        """Have a sweep answered: by the deadline, once, whatever happens.

        points: float32 (n, 4), x y z in metres in the sensor's frame, intensity; left unchanged
        until this returns. stamp_us: when it was taken, above all before on one clock; now, on this
        machine's monotonic clock, if not given. pose: world_from_sensor at that time, of any world
        that stands still; for all sweeps or for none. Cycles may overlap.
        Raises ContentRefused for other points, Misuse for a stamp that does not rise or a pose of
        other frames of reference than the one before.
        """
        opened_us = monotonic_us()
        stamp_us = opened_us if stamp_us is None else stamp_us
        self._require_open()
        if stamp_us <= self._last_stamp_us:
            raise Misuse(
                what="a cycle is not begun",
                why=f"its stamp {stamp_us} is not above the last one's, {self._last_stamp_us}",
                fix="Give sweeps in the order they were taken, each once.",
            )
        self._frames = self._frames or (pose.target, pose.source)
        if self._frames != (pose.target, pose.source):
            raise Misuse(
                what="a cycle is not begun",
                why=f"its pose is {pose.name}, and the first was of {' and '.join(self._frames)}",
                fix="Give poses of the same two frames of reference for all sweeps, or for none.",
            )
        data = self._encode(points)
        self._last, self._last_stamp_us = self._last + 1, stamp_us
        deadline_us = opened_us + self._deadline_us
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[self._last] = _Open(stamp_us, deadline_us, pose, points, data, answer)
        self._remember(self._last, stamp_us, deadline_us, pose)
        self._cycles.open(self._last, deadline_us, opened_us)
        for name in self._homes.targets(self._last):
            self._send_later(name, self._last)
        self._turn()
        return await answer

    # --- life ------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, options: InferOptions, own: VehicleOptions) -> AsyncIterator[None]:
        """Sessions and the local pipeline, for the block. Raises what waiting cannot mend."""
        async with _said_plainly(), self._tasks, AsyncExitStack() as stack:
            await asyncio.to_thread(self._warm_up)
            if own.local:
                opening = open_local(options, own.local_every, self._local_is)
                self._local = await stack.enter_async_context(opening)
                for took_us in self._local.took_us:
                    self._cycles.local.observe(took_us)
            try:
                self._turn()
                await self._until_tried()
                yield
            finally:
                self._close()

    def _warm_up(self) -> None:
        """What would otherwise hold the loop at the first sweep."""
        warm_up()
        self._encode(small_scene())

    async def _until_tried(self) -> None:
        """Raises what every gateway says, if that is not mended by waiting."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._tried.wait()
        problems = list(self.troubles.values())
        if len(problems) == len(self._doors) and all(isinstance(p, _FINAL) for p in problems):
            raise problems[0]

    def _close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._stays.values():
            task.cancel()
        for waiting in self._open.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(_left())
        self._open.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise _left()

    def _remember(self, cycle: int, stamp_us: int, deadline_us: int, pose: Pose) -> None:
        self._deadlines.append((deadline_us, cycle))
        self._by_stamp[stamp_us] = cycle, pose
        while len(self._by_stamp) > REMEMBERED:
            self._by_stamp.pop(next(iter(self._by_stamp)))
        while len(self._numbers) > REMEMBERED:
            self._numbers.pop(next(iter(self._numbers)))

    # --- turns -----------------------------------------------------------------------------

    def _turn(self) -> None:
        """Carry out what follows from the news and the time."""
        if self._closed:
            return
        now_us = monotonic_us()
        while self._deadlines and self._deadlines[0][0] <= now_us:
            self._homes.over(self._deadlines.popleft()[1], now_us)
        for cycle in self._open:
            self._cycles.foresee(cycle, self._homes.finish_us(cycle, now_us))
        for decision in self._cycles.poll(now_us):
            match decision:
                case Give(cycle, mark):
                    self._give(cycle, mark)
                case StartLocal(cycle):
                    self._tasks.create_task(self._look(cycle, self._open[cycle]))
                case StopLocal() if self._local is not None:
                    self._local.stop()
        for door in self._homes.poll(now_us):
            match door:
                case Open(name):
                    self._stays[name] = self._tasks.create_task(self._stay(name))
                case Leave(name):
                    self._stays[name].cancel()
        self._arm()

    def _arm(self) -> None:
        """Wake when one of the deciders wants to know the time (uvloop counts milliseconds)."""
        if self._timer is not None:
            self._timer.cancel()
        now_us = monotonic_us()
        wishes = [self._cycles.wake_us(), self._homes.wake_us(now_us)]
        wishes += [deadline_us for deadline_us, _ in list(self._deadlines)[:1]]
        wake_us = min((wish for wish in wishes if wish is not None), default=None)
        if wake_us is not None:
            wait_ms = max(0, wake_us - now_us + 999) // 1000
            self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._turn)

    def _give(self, cycle: int, mark: Mark) -> None:
        waiting = self._open.pop(cycle)
        self.counts[mark] += 1
        if waiting.answer.done():
            return  # whoever asked has gone
        waiting.answer.set_result(
            Answer(
                cycle,
                waiting.stamp_us,
                mark,
                self._situation.at(waiting.stamp_us, waiting.pose),
                waiting.results.get(mark),
                tuple(waiting.sent_to),
                waiting.deadline_us,
                monotonic_us(),
            )
        )

    def _learn(self, cycle: int, mark: Mark, result: Result, pose: Pose) -> None:
        """Of any result, whether its cycle still waits for it or not."""
        used = self._situation.learn(result.stamp_us, result.boxes, RANKS[mark], pose)
        waiting = self._open.get(cycle)
        if waiting is not None:
            waiting.results[mark] = result
        else:
            self.improved += used

    # --- the local pipeline ----------------------------------------------------------------

    def _local_is(self, ready: bool) -> None:
        self._cycles.local_up(ready)
        self._turn()

    async def _look(self, cycle: int, waiting: _Open) -> None:
        assert self._local is not None
        try:
            found = await self._local.run(waiting.points)
        except MeshError as problem:
            log.info("the local pipeline does not answer cycle %d: %s", cycle, problem)
            self._cycles.local_failed(monotonic_us())
        else:
            self._learn(cycle, "local", replace(found, stamp_us=waiting.stamp_us), waiting.pose)
            self._cycles.local_came(cycle, monotonic_us())
        self._turn()

    # --- gateways --------------------------------------------------------------------------

    async def _stay(self, name: str) -> None:
        """One session at a gateway, from its opening to its end."""
        try:
            async with self._doors[name](self._options) as session:
                self._sessions[name] = session
                self.troubles.pop(name, None)
                self._homes.opened(name)
                self._tried.set()
                self._turn()
                await self._listen(name, session)
        except* MeshError as problems:
            problem = next(_leaves(problems))
            log.info("no session at %s: %s", name, problem)
            self.troubles[name] = problem
        except* Exception:
            # Our own bug: it costs this session, never the answers.
            log.exception("the session at %s failed", name)
            self.troubles[name] = MeshError(
                what=f"no session at {name}",
                why="something failed unexpectedly",
                fix="The log has the details; please report them.",
            )
        finally:
            self._parted(name)

    async def _listen(self, name: str, session: FedSession) -> None:
        async with asyncio.TaskGroup() as readers:
            readers.create_task(self._take_results(name, session))
            readers.create_task(self._take_refusals(name, session))
            readers.create_task(self._take_notices(name, session))

    def _parted(self, name: str) -> None:
        """What the gateway had not answered goes to the new home."""
        self._sessions.pop(name, None)
        unanswered = self._homes.lost(name, monotonic_us())
        home = self._homes.home
        for cycle in unanswered:
            if home is not None and cycle in self._open:
                self._send_later(home, cycle)
        if len(self.troubles) == len(self._doors):
            self._tried.set()
        self._turn()

    def _send_later(self, name: str, cycle: int) -> None:
        waiting = self._open[cycle]
        if name in waiting.sent_to or self._closed:
            return
        waiting.sent_to.append(name)
        self._homes.sent(name, cycle, monotonic_us())
        self._tasks.create_task(self._send(name, cycle, waiting))

    async def _send(self, name: str, cycle: int, waiting: _Open) -> None:
        left_s = (waiting.deadline_us - monotonic_us()) / 1e6
        try:
            async with asyncio.timeout(left_s):
                session = self._sessions[name]
                number = await session.send(waiting.data, stamp_us=waiting.stamp_us)
        except (MeshError, TimeoutError, KeyError):
            self._homes.refused(name, cycle)
            self._turn()
        else:
            self._numbers[name, number] = cycle

    async def _take_results(self, name: str, session: FedSession) -> None:
        async for came in session.results:
            try:
                result = decode_result(came.data)
            except ContentRefused as problem:
                log.warning("%s sent what cannot be read: %s", name, problem)
                continue
            if result.stamp_us not in self._by_stamp:
                continue  # from too long ago
            cycle, pose = self._by_stamp[result.stamp_us]
            if result.missing:
                self._homes.refused(name, cycle)  # in part it is known, and an answer is whole
            else:
                self._homes.answered(name, cycle, monotonic_us())
                self._learn(cycle, "remote", result, pose)
                self._cycles.remote_came(cycle)
            self._turn()

    async def _take_refusals(self, name: str, session: FedSession) -> None:
        async for refusal in session.refusals:
            cycle = self._numbers.pop((name, refusal.number), None)
            log.info("%s refuses cycle %s: %s", name, cycle, refusal.problem.why)
            if cycle is not None:
                self._homes.refused(name, cycle)
                self._turn()

    async def _take_notices(self, name: str, session: FedSession) -> None:
        async for notice in session.notices:
            log.info("%s leaves within %d ms", name, notice.within_us // 1000)
            self._homes.leaving(name)
            self._turn()


@asynccontextmanager
async def open_vehicle(
    doors: Mapping[str, Door], options: Mapping[str, Any]
) -> AsyncIterator[Vehicle]:
    """A vehicle with sessions at two of the gateways, as soon as one was reached or all were tried.

    doors: gateways by name, those to be tried first first. options: of VehicleOptions and of
    InferOptions. Raises Misuse for others; what every gateway refuses for good (the token, the
    options); DeviceUnavailable or DeviceLost if the local pipeline does not start.
    """
    own, session = _checked(doors, options)
    deadline_us = round((own.deadline_ms or 1000 / session.rate_hz) * 1000)
    margin_us = round(own.margin_ms * 1000) or round(MARGIN_SHARE * deadline_us)
    asked = {name: value for name, value in options.items() if name not in _OWN}
    session_us = SESSION_SHARE * max(deadline_us - margin_us, 1000)
    asked |= {"rate_hz": session.rate_hz, "deadline_ms": session_us / 1000}
    vehicle = Vehicle(doors, asked, deadline_us, margin_us)
    async with vehicle.running(session, own):
        yield vehicle


@asynccontextmanager
async def _said_plainly() -> AsyncIterator[None]:
    """What alone was raised leaves the task group as itself, for the caller to handle."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


def _leaves(group: BaseExceptionGroup[MeshError]) -> Iterator[MeshError]:
    for problem in group.exceptions:
        if isinstance(problem, MeshError):
            yield problem
        else:
            yield from _leaves(problem)


def _left() -> Misuse:
    return Misuse(
        what="a cycle is not answered",
        why="the vehicle's `async with` block was left",
        fix="Open another with `framemesh.offload`.",
    )


_OWN = frozenset(VehicleOptions.__struct_fields__)


def _checked(
    doors: Mapping[str, Door], options: Mapping[str, Any]
) -> tuple[VehicleOptions, InferOptions]:
    own = {name: value for name, value in options.items() if name in _OWN}
    others = {name: value for name, value in options.items() if name not in _OWN}
    try:
        if not doors:
            raise msgspec.ValidationError("no gateway is named")
        return msgspec.convert(own, VehicleOptions), msgspec.convert(others, InferOptions)
    except msgspec.ValidationError as problem:
        raise Misuse(
            what="nothing is offloaded",
            why=str(problem),
            fix=f"Options are {', '.join(sorted(_OWN))} and those of an infer session.",
        ) from problem
