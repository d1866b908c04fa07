"""One device as the node uses it: prepared sessions, leased buffers, pieces run one at a time.

The device process behind it may crash, hang or be killed; it is replaced, and every session it
had is prepared again before it counts as ready. Whoever awaited a piece learns `DeviceLost` at
once. A `prepare` takes its turn between pieces: a long one delays the pieces behind it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from mesh.core.errors import (
    DeviceLost,
    DeviceUnavailable,
    MeshError,
    Misuse,
    PieceAbandoned,
    PieceFailed,
    PieceOverran,
    from_problem,
)
from mesh.core.workload import AssetId, Buffer, DeviceInfo, Passes, Settings
from mesh.device.assetfiles import AssetFiles
from mesh.device.buffers import Arena, Lease
from mesh.device.child import Child
from mesh.device.launch import DeviceLimits, Plugins, planned_launch
from mesh.device.messages import (
    BatchFinished,
    BatchPiece,
    Confine,
    Confined,
    Finished,
    Forget,
    OpenExecutors,
    Outcome,
    Plugin,
    Prepare,
    Prepared,
    Ready,
    Run,
    RunBatch,
    Slot,
)
from mesh.device.restart import RestartPolicy
from mesh.device.sandbox import SandboxReport

__all__ = [
    "BatchedPiece",
    "Device",
    "DeviceLimits",
    "Lease",
    "PieceResult",
    "Plugins",
    "Recall",
    "open_device",
]

log = logging.getLogger(__name__)

State: TypeAlias = Literal["starting", "ready", "restarting", "failed"]

# A session whose preparation ended this many processes is not prepared again.
_STRIKES = 2
# One whose pieces ended so many in a row gets no other: the device is for the others too.
_FATAL_PIECES = 4


@dataclass(frozen=True, slots=True)
class PieceResult:
    """What a piece produced: `lease.view` is exactly the result; release it when sent or merged."""

    lease: Lease
    run_us: int  # inside the executor
    passes_us: Passes  # what that went into, if the executor says so


@dataclass(frozen=True, slots=True)
class BatchedPiece:
    """One piece for `Device.run_batch`; see `Device.run`."""

    session: str
    spec: bytes
    output_bytes: int
    inputs: Lease | None = None


class Recall:
    """Takes back what was given to `Device.run`, by whoever waits for it to end.

    What has not begun never will. What has begun ends early if its executor looks up from its
    work (mesh.core.workload.Abandonable), and otherwise as if nothing had been said.

    inputs: of a piece that was abandoned, to run it again; whoever does not must release them.
    """

    __slots__ = ("_child", "_number", "_unwanted", "inputs")

    def __init__(self) -> None:
        self.inputs: Lease | None = None
        self._child: Child | None = None
        self._number = 0
        self._unwanted = False

    def begin(self, child: Child, number: int) -> None:
        """It was given to that process as that request."""
        self._child, self._number = child, number
        if self._unwanted:
            child.abandon(number)

    def abandon(self) -> None:
        """Nobody wants it any more."""
        self._unwanted = True
        if self._child is not None:
            self._child.abandon(self._number)


@dataclass(slots=True)
class _Session:
    workload: str
    spec: bytes
    assets: tuple[AssetId, ...]
    batch_key: str = field(default="", compare=False)
    strikes: int = 0
    fatal_pieces: int = 0  # in a row
    problem: MeshError | None = None  # why it cannot be run although it was prepared once


class Device:
    """See `open_device`. Everything here is called on the event loop and none of it blocks."""

    def __init__(
        self,
        name: str,
        infos: Sequence[DeviceInfo],
        plugins: Sequence[Plugin],
        limits: DeviceLimits,
        *,
        spawn: Callable[[Callable[[Child], None]], Child],
        confine: Callable[[int], Confine],
        changed: Callable[[Device], None],
    ) -> None:
        self.name = name
        self.infos = tuple(infos)
        self.limits = limits
        self.state: State = "starting"
        self.sandbox = SandboxReport()
        self.pid = 0
        self.restarts = 0
        self.opened: Mapping[str, DeviceInfo] = {}  # by workload
        self.why_not: Mapping[str, str] = {}  # of the workloads that did not open
        self._plugins = tuple(plugins)
        self._spawn, self._confine, self._changed = spawn, confine, changed
        self._assets = AssetFiles(limits.asset_bytes)
        self._sessions: dict[str, _Session] = {}
        self._preparing = asyncio.Lock()
        self._settled = asyncio.Event()  # ready, or failed for good
        self._problem: MeshError | None = None  # why, once failed
        self._child: Child | None = None
        self._arena: Arena | None = None
        self._unreaped: dict[Child, Arena] = {}
        self._lent_out: list[Arena] = []  # of reaped processes, with leases still out

    @property
    def workloads(self) -> tuple[str, ...]:
        """What it can run now."""
        return tuple(self.opened)

    async def ready(self) -> None:
        """Wait until pieces can be run. Raises DeviceUnavailable or DeviceLost once it failed."""
        await self._settled.wait()
        if self._problem is not None:
            raise self._problem

    # --- sessions ------------------------------------------------------------------------------

    async def prepare(
        self, session: str, workload: str, spec: bytes, assets: Mapping[AssetId, Buffer]
    ) -> None:
        """Have the executor load what the session needs; kept until `forget`, across restarts.

        Waits while the device is starting. Preparing a session anew replaces what it was.
        Raises ContentRefused, DeviceLost, or what else the executor raised; the session is then
        not prepared, and nothing of it is kept.
        """
        async with self._preparing:
            record = _Session(workload, spec, tuple(assets))
            if (known := self._sessions.get(session)) is not None:
                if known == record:
                    return
                self.forget(session)
            await self._assets.hold(assets)
            try:
                await self.ready()
                assert self._child is not None
                await self._prepare_on(self._child, session, record)
            except BaseException:
                self._assets.release(record.assets)
                self._tell_forget(session)
                raise
            self._sessions[session] = record

    def forget(self, session: str) -> None:
        """Let go of a session; unknown ones are ignored."""
        record = self._sessions.pop(session, None)
        if record is not None:
            self._assets.release(record.assets)
            self._tell_forget(session)

    async def _prepare_on(self, child: Child, session: str, record: _Session) -> None:
        answer = await child.call(
            lambda number: Prepare(number, session, record.workload, record.spec, record.assets),
            self._assets.fds(record.assets),
            kill_after_us=self.limits.prepare_us,
        )
        record.batch_key = answer.batch_key if isinstance(answer, Prepared) else ""

    def batch_key(self, session: str) -> str:
        """What sessions have in common whose pieces may share a `run_batch`; "" for none."""
        record = self._sessions.get(session)
        return record.batch_key if record is not None and record.problem is None else ""

    def _tell_forget(self, session: str) -> None:
        if self._child is not None and not self._child.lost.done():
            self._child.call(
                lambda number: Forget(number, session), kill_after_us=self.limits.prepare_us
            ).add_done_callback(lambda answer: answer.cancelled() or answer.exception())

    # --- pieces --------------------------------------------------------------------------------

    def lease_input(self, nbytes: int) -> Lease | None:
        """A slot to receive a piece's inputs into; None while there is no room or no process."""
        return self._lease(nbytes) if self.state == "ready" else None

    async def run(
        self,
        session: str,
        workload: str,
        spec: bytes,
        output_bytes: int,
        *,
        inputs: Lease | None = None,
        kill_after_us: int,
        start_by_us: int = 0,
        recall: Recall | None = None,
    ) -> PieceResult:
        """Run one piece. `inputs` is taken over, and released however this ends, unless `recall`
        gets it back.

        Calls are served in order, one at a time; `kill_after_us` counts from when the process
        has done what was before. Cancelling withdraws a piece that has not begun; one that has is
        asked to stop, and its result discarded if it comes. `recall` does the same while this
        goes on waiting until the device is free. A piece that has not begun by `start_by_us`, of
        the system's monotonic clock, never does (0: it may always).
        Raises PieceAbandoned if the piece was taken back or late, PieceFailed, ContentRefused
        (the device lives on), or DeviceLost: the process ended and is being replaced; PieceOverran
        if it was killed because of this very piece.
        A session whose pieces go on ending processes is refused for good.
        """
        taken = inputs.take() if inputs is not None else None
        flight = _Flight(taken)
        try:
            child, flight.inputs = self._runnable(session, workload, taken)
            flight.output = output = self._result_lease(output_bytes)
            slots = _slot(flight.inputs), Slot(output.offset, output_bytes, output.generation)

            def order(number: int) -> Run:
                flight.number = number
                return Run(number, session, workload, spec, *slots, start_by_us)

            answer = child.call(order, kill_after_us=kill_after_us, settled=flight.land)
            flight.flying = not answer.done()
            if recall is not None:
                recall.begin(child, flight.number)
            result = await answer
            if (
                not isinstance(result, Finished)
                or result.generation != output.generation
                or not 0 <= result.nbytes <= output_bytes
            ):
                child.kill(
                    "it answered a piece with a result that cannot be the piece's",
                    answered=flight.number,
                )
                raise child.obituary()
        except BaseException as problem:
            if isinstance(problem, PieceAbandoned) and recall is not None:
                recall.inputs, flight.inputs = flight.inputs, None
            flight.abandon()
            if isinstance(problem, asyncio.CancelledError):
                child.abandon(flight.number)
            if isinstance(problem, DeviceLost) and flight.number:
                raise self._lost_with(child, [session], flight.number, problem) from None
            raise
        if (record := self._sessions.get(session)) is not None:
            record.fatal_pieces = 0
        flight.arrive()
        output.shorten(result.nbytes)
        return PieceResult(output, result.run_us, result.passes_us)

    async def run_batch(
        self,
        workload: str,
        pieces: Sequence[BatchedPiece],
        *,
        kill_after_us: int,
        recall: Recall | None = None,
    ) -> tuple[list[Lease | MeshError], int]:
        """Run 2 to MAX_BATCH pieces of sessions with one `batch_key` in one call.

        Each piece's `inputs` are taken over, as by `run`; `kill_after_us` and `recall` are for all
        together.
        Returns each piece's result, or why it has none, in their order; and the run time of all.
        Raises as `run` does if there is nothing to say of any single one.
        """
        flights: list[_Flight] = []
        number = 0
        try:
            for piece in pieces:
                flights.append(_Flight(piece.inputs.take() if piece.inputs is not None else None))
            child, slots = self._board(workload, pieces, flights)

            def order(asked: int) -> RunBatch:
                nonlocal number
                number = asked
                return RunBatch(asked, workload, slots)

            answer = child.call(order, kill_after_us=kill_after_us, settled=partial(_land, flights))
            for flight in flights:
                flight.flying = not answer.done()
            if recall is not None:
                recall.begin(child, number)
            result = await answer
            if not isinstance(result, BatchFinished) or not _fits(result, slots):
                child.kill(
                    "it answered a batch with results that cannot be its pieces'", answered=number
                )
                raise child.obituary()
        except BaseException as problem:
            for flight in flights:
                flight.abandon()
            if isinstance(problem, asyncio.CancelledError):
                child.abandon(number)
            if isinstance(problem, DeviceLost) and number:
                sessions = {piece.session for piece in pieces}
                raise self._lost_with(child, sessions, number, problem) from None
            raise
        landed = map(self._landed, pieces, flights, result.outcomes)
        return list(landed), result.run_us

    def _board(
        self, workload: str, pieces: Sequence[BatchedPiece], flights: Sequence[_Flight]
    ) -> tuple[Child, tuple[BatchPiece, ...]]:
        """The process for a batch, and its pieces with slots for what goes in and comes out."""
        boarded = []
        for piece, flight in zip(pieces, flights, strict=True):
            child, flight.inputs = self._runnable(piece.session, workload, flight.inputs)
            flight.output = output = self._result_lease(piece.output_bytes)
            slot = Slot(output.offset, piece.output_bytes, output.generation)
            boarded.append(BatchPiece(piece.session, piece.spec, _slot(flight.inputs), slot))
        return child, tuple(boarded)

    def _landed(self, piece: BatchedPiece, flight: _Flight, outcome: Outcome) -> Lease | MeshError:
        if (record := self._sessions.get(piece.session)) is not None:
            record.fatal_pieces = 0
        flight.arrive()
        assert flight.output is not None
        if outcome.problem is not None:
            flight.output.release()
            return from_problem(outcome.problem)
        flight.output.shorten(outcome.nbytes)
        return flight.output

    def _lost_with(
        self, child: Child, sessions: Collection[str], request: int, problem: DeviceLost
    ) -> DeviceLost:
        """The error for what was sent to a process now lost, held against its sessions."""
        if child.ended_at != request:
            return problem  # it waited for its turn
        for session in sessions:
            record = self._sessions.get(session)
            if record is None:
                continue
            record.fatal_pieces += 1
            if record.fatal_pieces >= _FATAL_PIECES:
                record.problem = DeviceLost(
                    what=f"device {self.name} runs no more pieces of session {session}",
                    why=f"{record.fatal_pieces} in a row ended its process; {problem.why}",
                    fix="Open the session anew with smaller pieces or other content, or raise "
                    "[device] kill_ms where they are only slow.",
                )
        kind = PieceOverran if child.hung else DeviceLost
        return kind(problem.what, problem.why, problem.fix)

    def _runnable(
        self, session: str, workload: str, inputs: Lease | None
    ) -> tuple[Child, Lease | None]:
        """The process for a piece, and the inputs where that process can read them."""
        record = self._sessions.get(session)
        if record is None or record.workload != workload:
            raise Misuse(
                what=f"a piece of session {session} cannot run on {self.name}",
                why=f"the session is not prepared here for '{workload}'",
                fix="Await prepare() first, and run nothing after forget().",
            )
        if record.problem is not None:
            raise record.problem
        if self.state != "ready" or self._child is None:
            raise DeviceLost(
                what=f"device {self.name} cannot run a piece now",
                why=f"it is {self.state}",
                fix="Run the piece elsewhere, or again once the device is ready.",
            )
        if inputs is None or inputs.arena is self._arena:
            return self._child, inputs
        # Received before the process was replaced: the new one cannot see the old arena.
        moved = self._result_lease(inputs.nbytes)
        moved.view[:] = inputs.view
        inputs.release()
        return self._child, moved

    def _lease(self, nbytes: int) -> Lease | None:
        if self._arena is None:
            return None
        # Leases of ended processes count too, or a crash loop could multiply the memory.
        self._lent_out = [arena for arena in self._lent_out if not arena.unmapped]
        leased = sum(a.leased_bytes for a in (*self._unreaped.values(), *self._lent_out))
        if leased + nbytes > self.limits.arena_bytes:
            return None
        return self._arena.lease(nbytes)

    def _result_lease(self, nbytes: int) -> Lease:
        lease = self._lease(nbytes)
        if lease is None:
            raise PieceFailed(
                what=f"device {self.name} has no room for {nbytes} bytes",
                why=f"its {self.limits.arena_bytes} bytes of shared memory are leased",
                fix="Release results sooner, or queue fewer pieces with inputs.",
            )
        return lease

    # --- the process -----------------------------------------------------------------------------

    async def supervise(self) -> None:
        """Keep a process running until it fails for good; never returns earlier."""
        try:
            await self._keep_running()
        except Exception as defect:
            log.exception("device %s: its supervision failed", self.name)
            self._problem = DeviceLost(
                what=f"device {self.name} is no longer supervised",
                why=repr(defect),
                fix="Restart the node, and report this with its log.",
            )
        self._set_state("failed")
        self._settled.set()

    async def _keep_running(self) -> None:
        policy = RestartPolicy()
        while True:
            served_since_us: int | None = None
            try:
                child = await self._start()
            except MeshError as problem:
                self._problem = problem
                log.warning("%s", problem)
                if isinstance(problem, DeviceUnavailable) and self.restarts == 0:
                    break
            else:
                if not child.lost.done():
                    served_since_us = time.monotonic_ns() // 1000
                    self._problem = None
                    self._set_state("ready")
                    self._settled.set()
                log.warning("device %s: %s", self.name, await asyncio.shield(child.lost))
            wait_us = policy.ended(time.monotonic_ns() // 1000, served_since_us)
            if wait_us is None:
                break
            self.restarts += 1
            if self.state == "starting":
                self._set_state("restarting")
            await asyncio.sleep(wait_us / 1e6)

    async def _start(self) -> Child:
        """A confined process with executors open and every session prepared."""
        child, arena = self._launch()
        self._unreaped[child] = arena
        child.reaped.add_done_callback(lambda _: self._bury(child))
        self._child, self._arena, self.pid = child, arena, child.pid
        try:
            await self._open(child, arena)
            for session in list(self._sessions):
                await self._prepare_again(child, session)
        except BaseException:
            child.kill("it was not started to the end")
            raise
        return child

    def _launch(self) -> tuple[Child, Arena]:
        try:
            arena = Arena(f"framemesh-{self.name}", self.limits.arena_bytes)
            try:
                return self._spawn(self._lost), arena
            except BaseException:
                arena.reaped()
                raise
        except OSError as problem:
            raise DeviceLost(
                what=f"device {self.name} cannot start a process",
                why=str(problem),
                fix="Free memory, processes or descriptors (`ulimit -a`); it is tried again.",
            ) from problem

    async def _open(self, child: Child, arena: Arena) -> None:
        start_us = self.limits.start_us
        confined = await child.call(self._confine, kill_after_us=start_us)
        opened = await child.call(
            lambda number: OpenExecutors(number, arena.nbytes, self._plugins),
            [arena.fd, child.stop_words.fd],
            kill_after_us=start_us,
        )
        arena.close_fd()
        child.stop_words.close_fd()
        if not isinstance(confined, Confined) or not isinstance(opened, Ready):
            child.kill("it answered its start with something else")
            raise child.obituary()
        self.sandbox = confined.report
        self.opened, self.why_not = opened.opened, opened.why_not
        if not opened.opened:
            raise DeviceUnavailable(
                what=f"device {self.name} runs no workload",
                why="; ".join(f"{name}: {why}" for name, why in opened.why_not.items()),
                fix="See the reasons; `framemesh devices` repeats the search.",
            )

    async def _prepare_again(self, child: Child, session: str) -> None:
        record = self._sessions.get(session)  # it may have been forgotten meanwhile
        if record is None or record.problem is not None:
            return
        try:
            await self._prepare_on(child, session, record)
        except DeviceLost as problem:
            record.strikes += 1
            if record.strikes >= _STRIKES:
                record.problem = problem
            raise
        except MeshError as problem:
            record.problem = problem
        else:
            record.strikes = 0

    def _set_state(self, state: State) -> None:
        if self.state != state:
            self.state = state
            self._changed(self)

    def _lost(self, child: Child) -> None:
        self._unreaped[child].retire()
        if child is self._child and self.state == "ready":
            self._settled.clear()
            self._set_state("restarting")

    def _bury(self, child: Child) -> None:
        arena = self._unreaped.pop(child)
        arena.reaped()
        if not arena.unmapped:
            self._lent_out.append(arena)

    async def close(self) -> None:
        """End every process and free what was held. Leases still out stay valid memory."""
        self._child = self._arena = None
        self.state = "failed"
        self._problem = DeviceLost(
            what=f"device {self.name} is closed",
            why="the node let go of it",
            fix="Open it again, or use another device.",
        )
        self._settled.set()
        await asyncio.gather(*(child.close() for child in list(self._unreaped)))
        for session in list(self._sessions):
            self.forget(session)


class _Flight:
    """Who holds a piece's slots: the process while it flies, and whoever waits for it."""

    def __init__(self, inputs: Lease | None) -> None:
        self.inputs = inputs
        self.output: Lease | None = None
        self.number = 0  # of the request, once it is made
        self.flying = False
        self._abandoned = False

    def land(self) -> None:
        """The process is done with the slots."""
        self.flying = False
        if self._abandoned:
            self._release()

    def abandon(self) -> None:
        """The caller wants neither."""
        self._abandoned = True
        if not self.flying:
            self._release()

    def arrive(self) -> None:
        """The result is the caller's now; the inputs have served."""
        if self.inputs is not None:
            self.inputs.release()

    def _release(self) -> None:
        for lease in (self.inputs, self.output):
            if lease is not None:
                lease.release()


def _land(flights: Sequence[_Flight]) -> None:
    """The process is done with a batch."""
    for flight in flights:
        flight.land()


def _fits(result: BatchFinished, pieces: Sequence[BatchPiece]) -> bool:
    """Whether the results can be those of the pieces."""
    return len(result.outcomes) == len(pieces) and all(
        outcome.generation == piece.output.generation and 0 <= outcome.nbytes <= piece.output.nbytes
        for outcome, piece in zip(result.outcomes, pieces, strict=True)
    )


def _slot(lease: Lease | None) -> Slot | None:
    return Slot(lease.offset, lease.nbytes, lease.generation) if lease is not None else None


@asynccontextmanager
async def open_device(
    name: str,
    infos: Sequence[DeviceInfo],
    workloads: Mapping[str, Settings],
    *,
    limits: DeviceLimits = DeviceLimits(),  # noqa: B008  frozen
    changed: Callable[[Device], None],
    found: Mapping[str, Sequence[DeviceInfo]] | None = None,
    plugins: Plugins | None = None,
) -> AsyncIterator[Device]:
    """A supervised device process for one unit; starts at once, await `ready()` or see `changed`.

    infos: the ways to compute on the unit; they share the process and its queue.
    workloads: settings by name; an executor is opened for each that the unit can run.
    changed: called on the loop at each change of `state`.
    found: which infos each workload's own probe reported (see `probe`); a workload is offered
        only those. None: each is offered all, and must itself refuse a foreign api.
    plugins: where workloads are loaded from; None: the installed entry points.
    Raises ConfigError for a workload that is not installed. On leaving, the process is ended and
    reaped.
    """
    if plugins is None:
        plugins = Plugins.from_entry_points(workloads)
    offered = [
        plugins.plugin(workload, settings, (found or {}).get(workload, () if found else infos))
        for workload, settings in workloads.items()
    ]
    async with planned_launch(name, limits, plugins) as launch:
        device = Device(
            name,
            infos,
            offered,
            limits,
            spawn=lambda lost: Child(name, launch.environment, lost),
            confine=launch.confine,
            changed=changed,
        )
        supervising = asyncio.create_task(device.supervise(), name=f"device {name}")
        try:
            yield device
        finally:
            supervising.cancel()
            await asyncio.wait([supervising])
            await device.close()
