"""The device process: `python -m mesh.device.process FD`, started by the node, one per device.

Single-threaded: it answers one request after the other over the SOCK_SEQPACKET socket `FD` and
does nothing else. The first request confines it (`mesh.device.sandbox`); only then are workloads
imported and drivers opened. It ends when the node closes the socket, or dies.
"""

from __future__ import annotations

import array
import contextlib
import faulthandler
import gc
import logging
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint

import msgspec

from mesh.core.errors import (
    ContentRefused,
    DeviceLost,
    DeviceUnavailable,
    MeshError,
    Misuse,
    PieceAbandoned,
    PieceFailed,
    Problem,
)
from mesh.core.workload import (
    Abandonable,
    Batching,
    DeviceInfo,
    Executor,
    Passes,
    PieceCall,
    Timing,
    Workload,
)
from mesh.device import sandbox
from mesh.device.buffers import STOP_BYTES, STOP_WORDS
from mesh.device.messages import (
    MAX_ASSETS,
    MAX_BATCH_KEY,
    MAX_MESSAGE,
    Abandoned,
    Answer,
    BatchFinished,
    BatchPiece,
    Close,
    Confine,
    Confined,
    Done,
    Failed,
    FindDevices,
    Finished,
    Forget,
    Found,
    OpenExecutors,
    Outcome,
    Plugin,
    Prepare,
    Prepared,
    Ready,
    Request,
    Run,
    RunBatch,
    Slot,
    decode_request,
    encode,
)

log = logging.getLogger(__name__)


class Wire:
    """The child's end of the socket: blocking, one message per datagram."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(MAX_MESSAGE)
        self._control = socket.CMSG_SPACE((MAX_ASSETS + 1) * array.array("i").itemsize)

    def receive(self) -> tuple[Request, list[int]] | None:
        """The next request and its descriptors; None when the node closed the socket."""
        size, controls, _, _ = self._sock.recvmsg_into(
            [self._buffer], self._control, socket.MSG_CMSG_CLOEXEC
        )
        if size == 0:
            return None
        fds = array.array("i")
        for level, kind, data in controls:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        return decode_request(memoryview(self._buffer)[:size]), list(fds)

    def send(self, answer: Answer) -> None:
        """Answer the request just received."""
        self._sock.send(encode(answer))


class Host:
    """The executors of one device, and the arena they read from and write to."""

    def __init__(self) -> None:
        self._executors: dict[str, Executor] = {}
        self._timing: dict[str, Timing] = {}  # those of them that say where time went
        self._sessions: dict[str, str] = {}  # session -> workload
        self._arena = memoryview(b"")
        self._stop = memoryview(bytes(STOP_BYTES)).cast("Q")
        self._running = 0  # the run under way, by its request; 0 for none

    def open(self, request: OpenExecutors, fds: list[int]) -> Ready:
        """Open one executor per workload."""
        arena, stop = fds
        self._arena = _mapped(arena, request.arena_bytes, mmap.PROT_READ | mmap.PROT_WRITE)
        self._stop = _mapped(stop, STOP_BYTES, mmap.PROT_READ).cast("Q")
        opened: dict[str, DeviceInfo] = {}
        why_not: dict[str, str] = {}
        for plugin in request.plugins:
            try:
                executor, opened[plugin.name] = _open(plugin)
                if isinstance(executor, Abandonable):
                    executor.heed(self._check)
                if isinstance(executor, Timing):
                    self._timing[plugin.name] = executor
                self._executors[plugin.name] = executor
            except Exception as problem:
                log.debug("%s does not open", plugin.name, exc_info=True)
                why_not[plugin.name] = said(problem)[:2000]
        return Ready(request.request, opened, why_not)

    def prepare(self, request: Prepare, fds: list[int]) -> Prepared:
        """Map the assets read-only and hand them to the executor."""
        assets = {}
        for digest, fd in zip(request.assets, fds, strict=True):
            assets[digest] = _mapped(fd, os.fstat(fd).st_size, mmap.PROT_READ)
        executor = self._executor(request.workload)
        self._sessions[request.session] = request.workload
        executor.prepare(request.session, request.spec, assets)
        key = executor.batch_key(request.session) if isinstance(executor, Batching) else ""
        if len(key) > MAX_BATCH_KEY:
            executor.forget(request.session)
            raise _defect("a session was not prepared", f"its batch key has {len(key)} characters")
        return Prepared(request.request, key)

    def _check(self) -> None:
        """What executors call between the steps of a run. Raises PieceAbandoned."""
        if self._running and self._stop[self._running % STOP_WORDS] == self._running:
            raise PieceAbandoned(
                what="a piece was not run to its end",
                why="nobody wants it any more",
                fix="Nothing: let this error pass through the executor.",
            )

    def run_wanted(self, request: Run | RunBatch) -> Finished | BatchFinished | Abandoned:
        """Run a piece or a batch, unless it is taken back before or meanwhile, or is too late."""
        self._running = request.request
        start_ns = time.monotonic_ns()
        try:
            self._check()
            if isinstance(request, RunBatch):
                return self.run_batch(request)
            if request.start_by_us and start_ns // 1000 > request.start_by_us:
                return Abandoned(request.request, 0)
            return self.run(request)
        except PieceAbandoned:
            return Abandoned(request.request, (time.monotonic_ns() - start_ns) // 1000)
        finally:
            self._running = 0

    def run(self, request: Run) -> Finished:
        """Run one piece between two slots of the arena."""
        executor = self._executor(request.workload)
        inputs = self._view(request.inputs).toreadonly()
        output = self._view(request.output)
        start_ns = time.monotonic_ns()
        nbytes = executor.run(request.session, request.spec, inputs, output)
        run_us = (time.monotonic_ns() - start_ns) // 1000
        _check_size(nbytes, output)
        timing = self._timing.get(request.workload)
        passes_us = _passes(timing.passes_us()) if timing is not None else {}
        return Finished(request.request, request.output.generation, nbytes, run_us, passes_us)

    def run_batch(self, request: RunBatch) -> BatchFinished:
        """Run several pieces in one call."""
        executor = self._executor(request.workload)
        if not isinstance(executor, Batching):
            raise _defect("a batch was not run", f"'{request.workload}' takes pieces one by one")
        calls = [
            PieceCall(
                piece.session,
                piece.spec,
                self._view(piece.inputs).toreadonly(),
                self._view(piece.output),
            )
            for piece in request.pieces
        ]
        start_ns = time.monotonic_ns()
        results = executor.run_batch(calls)
        run_us = (time.monotonic_ns() - start_ns) // 1000
        if len(results) != len(calls):
            raise _defect("a batch failed", f"{len(calls)} pieces got {len(results)} results")
        outcomes = map(_outcome, request.pieces, calls, results)
        return BatchFinished(request.request, tuple(outcomes), run_us)

    def forget(self, request: Forget) -> Done:
        """Let the session's executor release what it alone used."""
        workload = self._sessions.pop(request.session, None)
        if workload is not None:
            self._executors[workload].forget(request.session)
        return Done(request.request)

    def close(self) -> None:
        """Close every executor; one that fails does not keep the others open."""
        for name, executor in self._executors.items():
            try:
                executor.close()
            except Exception:
                log.exception("closing %s failed", name)

    def _executor(self, workload: str) -> Executor:
        if workload not in self._executors:
            raise Misuse(
                what=f"workload '{workload}' is not open on this device",
                why=f"open are: {', '.join(sorted(self._executors)) or 'none'}",
                fix="Use a workload that the device offers.",
            )
        return self._executors[workload]

    def _view(self, slot: Slot | None) -> memoryview:
        return self._arena[slot.offset : slot.offset + slot.nbytes] if slot else memoryview(b"")


def serve(wire: Wire) -> None:
    """Answer requests until the node closes the socket or asks to end."""
    host = Host()
    try:
        while (received := wire.receive()) is not None:
            request, fds = received
            if isinstance(request, Close):
                break
            try:
                answer = _answer(host, request, fds)
                if isinstance(answer, Ready):
                    gc.freeze()  # what is imported now stays: a collection need not walk it
            except MeshError as problem:
                answer = Failed(request.request, problem.to_problem())
            except Exception as problem:
                log.debug("%s failed", type(request).__name__, exc_info=True)
                answer = Failed(request.request, _unexpected(request, problem))
            finally:
                for fd in fds:
                    os.close(fd)
            wire.send(answer)
    finally:
        host.close()


def _answer(host: Host, request: Request, fds: list[int]) -> Answer:
    answer: Answer
    match request:
        case Run() | RunBatch():
            answer = host.run_wanted(request)
        case Prepare():
            answer = host.prepare(request, fds)
        case Forget():
            answer = host.forget(request)
        case OpenExecutors():
            answer = host.open(request, fds)
        case FindDevices():
            found = tuple(_load(request.plugin).find_devices())
            answer = Found(request.request, found)
        case Confine():
            sandbox.die_with_parent(request.parent)
            answer = Confined(request.request, sandbox.apply(request.rules))
        case _:
            raise Misuse(
                what=f"a device process cannot do {type(request).__name__}",
                why="it is not a request it answers",
                fix="Report this: node and device process disagree about their protocol.",
            )
    return answer


def _open(plugin: Plugin) -> tuple[Executor, DeviceInfo]:
    """The first of the plug-in's devices that opens. Raises DeviceUnavailable with every reason."""
    workload = _load(plugin)
    passed_over: list[str] = []
    for info in plugin.infos:
        try:
            return workload.open_executor(info), info
        except DeviceUnavailable as problem:
            passed_over.append(f"{info.api} {info.name}: {problem}")
    raise DeviceUnavailable(
        what=f"workload '{plugin.name}' opens on none of the unit's devices",
        why="; ".join(passed_over) or "none was given",
        fix="See the reasons; `framemesh devices` repeats the search.",
    )


def _load(plugin: Plugin) -> Workload:
    factory: Callable[[Mapping[str, object]], Workload]
    factory = EntryPoint(plugin.name, plugin.factory, group="").load()
    return factory(plugin.settings)


def _mapped(fd: int, nbytes: int, prot: int) -> memoryview:
    if nbytes == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(fd, nbytes, mmap.MAP_SHARED, prot))


def said(problem: BaseException) -> str:
    """An exception in one line, for people."""
    if isinstance(problem, MeshError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _check_size(nbytes: int, output: memoryview) -> None:
    if not 0 <= nbytes <= len(output):
        raise _defect(
            "a result was refused",
            f"the executor says it wrote {nbytes} bytes into {len(output)}",
        )


def _passes(reported: Passes) -> Passes:
    """What an executor says of its time, as long as it is short enough to be sent."""
    try:
        return msgspec.convert(reported, Passes)
    except msgspec.ValidationError as problem:
        raise _defect("a result was refused", f"its passes cannot be sent: {problem}") from problem


def _outcome(piece: BatchPiece, call: PieceCall, result: int | MeshError) -> Outcome:
    if isinstance(result, DeviceLost):
        raise result  # that concerns more than this piece
    try:
        if isinstance(result, MeshError):
            raise result
        _check_size(result, call.output)
    except MeshError as problem:
        return Outcome(piece.output.generation, 0, problem.to_problem())
    return Outcome(piece.output.generation, result)


def _defect(what: str, why: str) -> PieceFailed:
    return PieceFailed(
        what=what, why=why, fix="This is a defect of the workload: report it to its authors."
    )


def _unexpected(request: Request, problem: Exception) -> Problem:
    kind: type[MeshError]
    match request:
        case Run():
            kind, what = PieceFailed, f"a piece of session {request.session} failed"
        case RunBatch():
            kind, what = PieceFailed, f"a batch of {len(request.pieces)} pieces failed"
        case Prepare():
            kind, what = ContentRefused, f"session {request.session} could not be prepared"
        case _:
            kind, what = DeviceUnavailable, f"the device process failed in {type(request).__name__}"
    return kind(
        what=what,
        why=said(problem),
        fix="If the content is sound, this is a defect of the workload: report it to its authors.",
    ).to_problem()


def main() -> None:
    """Entry point of the process; the argument is the socket's descriptor."""
    faulthandler.enable()
    # It computes, so it need not preempt whoever runs when it wakes: a node's loop, mostly. Where
    # a machine's cores are shared by many, frames are whole about 5 % earlier (bench.split).
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    sock = socket.socket(fileno=int(sys.argv[1]))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), sock:
        try:
            serve(Wire(sock))
        except msgspec.DecodeError as problem:
            raise SystemExit(f"not a request: {problem}") from None


if __name__ == "__main__":
    main()
