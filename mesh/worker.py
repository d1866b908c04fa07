"""The worker half of a node: hosts gateways' sessions on its devices and runs their pieces.

One EDF queue per device. Its process is given the next piece while it runs one, and begins it
unless a more urgent one comes. Every piece that arrives is answered exactly once, with its result
or with a refusal, so that the gateway can place it again without waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mesh.channel import Channel
from mesh.core.errors import (
    DeviceLost,
    MeshError,
    PieceAbandoned,
    PieceOverran,
    ProtocolViolation,
)
from mesh.core.loop import monotonic_us
from mesh.core.wire import (
    MAX_BODY,
    AssetData,
    AssetMissing,
    Cancel,
    DeviceOffer,
    Message,
    PieceDone,
    PieceRefused,
    PieceRun,
    SessionClose,
    SessionOpen,
)
from mesh.core.workload import Passes
from mesh.device.buffers import Lease
from mesh.device.supervisor import BatchedPiece, Device, Recall
from mesh.hosting import Hosting, host_key
from mesh.schedule.batching import BatchCosts, share_us
from mesh.schedule.cost import CostModel, bounded_units
from mesh.schedule.ids import CANCELLED, DeviceKey, PieceKey
from mesh.schedule.queue import DeviceQueue, Refuse, Start, Waiting

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.01  # whether all pieces are done, when draining


@dataclass(slots=True)
class _Job:
    """One accepted piece, from its arrival to its answer."""

    channel: Channel
    order: PieceRun
    session: str  # its name here, see host_key
    workload: str
    inputs: Lease | None
    received_us: int
    units: float
    batch: str = ""  # equal for jobs that may run together
    cancelled: bool = False
    straggles: bool = False  # wanted only if it cannot be stopped
    answer: bool = False  # also if cancelled
    passes_us: Passes = field(default_factory=dict)  # what its run went into, if that is told


@dataclass(eq=False, slots=True)
class _Call:
    """Jobs that were given to a device process, to run together if they are several."""

    jobs: Sequence[_Job]
    given_us: int
    waiting: Waiting | None = None  # what is staged, to be queued again should it not begin
    recall: Recall = field(default_factory=Recall)


@dataclass(slots=True)
class _Slot:
    """A device with its queue and what its process was given.

    jobs: queued ones, by node and piece. staged: begins when `running` ends. calls: all that the
    process has not answered, also what was taken back. free_us: when it answered last. alone:
    sessions that a batch failed with.
    """

    device: Device
    queue: DeviceQueue
    batching: BatchCosts
    jobs: dict[tuple[str, PieceKey], _Job] = field(default_factory=dict)
    running: _Call | None = None
    staged: _Call | None = None
    calls: list[_Call] = field(default_factory=list)
    free_us: int = 0
    alone: set[str] = field(default_factory=set)

    def take_back(self) -> None:
        """Give the staged call's place to another; it is answered in its own time."""
        if self.staged is not None:
            self.staged.recall.abandon()
            self.staged = None
            self.queue.unstaged()

    def ended(self, call: _Call, now_us: int) -> None:
        """The process has answered a call."""
        self.calls.remove(call)
        self.free_us = now_us
        if call is self.running:
            self.running, self.staged = self.staged, None
            self.queue.finished(now_us)
        elif call is self.staged:
            self.staged = None
            self.queue.unstaged()


class Worker:
    """Serves pieces to every gateway of the realm. Use as an async context manager."""

    def __init__(
        self, devices: Iterable[Device], *, kill_after_us: int, policy: str = "edf"
    ) -> None:
        """kill_after_us: a piece that holds its device longer costs the process its life.

        policy: the order of the devices' queues, see mesh.schedule.queue.
        """
        self._kill_after_us = kill_after_us
        self._costs = CostModel()
        self._slots = {device.name: self._slot(device, policy) for device in devices}
        # Inputs being received, by node, device and piece; None: there was no room for them.
        self._incoming: dict[tuple[str, str, PieceKey], Lease | None] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._closing = self.draining = False
        self._unsent = 0  # results
        self._hosting = Hosting(
            {name: slot.device for name, slot in self._slots.items()},
            self._tasks,
            forgotten=self._drop_session,
        )

    def _slot(self, device: Device, policy: str) -> _Slot:
        batching = BatchCosts(self._costs, DeviceKey("", device.name))
        return _Slot(device, DeviceQueue(policy=policy, batching=batching), batching)

    # --- the node's side -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Serve every device's queue from now on."""
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hosting.close_all()
        self._closing = True
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, problem, trace)

    def drain(self) -> None:
        """Offer no device any more; what has come is finished."""
        self.draining = True

    async def drained(self) -> None:
        """Wait until nothing is under way, after `drain`."""
        while self._busy():  # noqa: ASYNC110  a piece ends in many places
            await asyncio.sleep(LOOK_AGAIN_S)

    def _busy(self) -> bool:
        """Whether a piece is being received, waits, runs, or its result is still to be sent."""
        slots = self._slots.values()
        return bool(self._incoming or self._unsent) or any(s.jobs or s.calls for s in slots)

    def offers(self) -> tuple[DeviceOffer, ...]:
        """The devices that can take sessions now."""
        if self.draining:
            return ()
        return tuple(
            DeviceOffer(name, tuple(slot.device.infos), tuple(slot.device.workloads))
            for name, slot in self._slots.items()
            if slot.device.state == "ready"
        )

    def device_changed(self, device: Device) -> None:
        """A device process came or went; queued pieces wait for no corpse."""
        slot = self._slots.get(device.name)
        if slot is None:
            return
        if device.state == "ready":
            self._feed(slot)
            return
        for waiting in slot.queue.drain():
            self._refuse_waiting(slot, waiting, "device_lost")

    def channel_gone(self, channel: Channel) -> None:
        """A gateway is unreachable: forget its sessions and pieces."""
        self._hosting.close_all(channel)
        for (node, _, _), lease in self._incoming.items():
            if node == channel.node and lease is not None:
                lease.release()
        self._incoming = {k: v for k, v in self._incoming.items() if k[0] != channel.node}

    # --- the channel's side ----------------------------------------------------------------

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview | None:
        """Pieces' inputs go straight into device memory, assets into their own buffer."""
        match message:
            case PieceRun():
                slot = self._slots.get(message.device)
                lease = slot.device.lease_input(size) if slot else None
                self._incoming[channel.node, message.device, _key(message)] = lease
                return lease.view if lease is not None else None
            case AssetData():
                return self._hosting.asset_buffer(channel, message, size)
            case _:
                raise ProtocolViolation(
                    what=f"{type(message).__name__} came with a body of {size} bytes",
                    why="only piece inputs and assets carry one here",
                    fix="Update the sender; this link is closed.",
                )

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        """One message from a gateway."""
        match message:
            case PieceRun():
                self._piece(channel, message, body)
            case Cancel():
                self._cancel(channel, message)
            case SessionOpen():
                self._hosting.open(channel, message)
            case SessionClose():
                self._hosting.close(channel, message)
            case AssetData():
                self._hosting.asset_came(channel, message, body)
            case AssetMissing():
                self._hosting.asset_missing(channel, message.digest)
            case _:
                raise ProtocolViolation(
                    what=f"unexpected {type(message).__name__}",
                    why="a worker does not take it",
                    fix="Update the sender; this link is closed.",
                )

    # --- pieces ----------------------------------------------------------------------------

    def _piece(self, channel: Channel, order: PieceRun, body: memoryview) -> None:
        now_us = monotonic_us()
        key = _key(order)
        incoming = (channel.node, order.device, key)
        no_room = incoming in self._incoming and self._incoming[incoming] is None
        inputs = self._incoming.pop(incoming, None)
        session = host_key(channel, order.session)
        workload = self._hosting.workload(session, order.epoch, order.device)
        units = bounded_units(order.units)
        job = _Job(channel, order, session, workload or "", inputs, now_us, units)
        if workload is None or order.output_bytes > MAX_BODY:
            self._refuse(job, "unknown_session")
            return
        slot = self._slots[order.device]
        if len(body) and inputs is None:  # came over the local channel: one copy, like a link's
            inputs = job.inputs = slot.device.lease_input(len(body))
            no_room = inputs is None
            if inputs is not None:
                inputs.view[:] = body
        if no_room:
            self._refuse(job, "full")
            return
        if (channel.node, key) in slot.jobs:
            self._refuse(job, "duplicate")
            return
        self._enqueue(slot, job, self._waiting(slot, job))
        self._feed(slot)

    def _enqueue(self, slot: _Slot, job: _Job, waiting: Waiting) -> None:
        slot.jobs[job.channel.node, waiting.key] = job
        refused = slot.queue.submit(waiting)
        if refused is not None:
            self._refuse_waiting(slot, refused.waiting, refused.reason)
        elif slot.queue.overtakes(waiting):
            slot.take_back()

    def _waiting(self, slot: _Slot, job: _Job) -> Waiting:
        """A job as the queue sees it."""
        order, channel = job.order, job.channel
        shared_us = 0
        together = slot.device.batch_key(job.session)
        if together and job.session not in slot.alone:
            job.batch = f"{job.workload}/{together}/{order.kind}"
            shared_us = slot.batching.shared_us(order.kind, job.units)
        return Waiting(
            _key(order),
            job.session,
            channel.node,
            deadline_us=channel.to_local_us(order.deadline_us) - channel.error_us,
            predicted_us=self._costs.predict_us(DeviceKey("", order.device), order.kind, job.units),
            batch=job.batch,
            kind=order.kind,
            units=job.units,
            quantum_us=order.quantum_us,
            shared_us=shared_us,
        )

    def _cancel(self, channel: Channel, order: Cancel) -> None:
        for slot in self._slots.values():
            if order.device not in ("", slot.device.name):
                continue
            if order.straggler:
                self._stop_straggler(slot, channel, order)
                continue
            for waiting in slot.queue.cancel(
                host_key(channel, order.session), order.epoch, order.frame, order.piece
            ):
                if order.answer:
                    self._refuse_waiting(slot, waiting, CANCELLED)
                else:
                    self._drop(slot, waiting)
            for job in [job for call in slot.calls for job in call.jobs]:
                if _names(order, channel, job):
                    job.cancelled, job.answer = True, order.answer
            self._stop_unwanted(slot)

    def _stop_straggler(self, slot: _Slot, channel: Channel, order: Cancel) -> None:
        """Stop what the device is at, if that is what the order names and nobody else's runs too.

        What only waits is no straggler.
        """
        call = slot.running
        for job in call.jobs if call is not None else ():
            if _names(order, channel, job):
                job.straggles = job.answer = True
        if call is not None and all(job.cancelled or job.straggles for job in call.jobs):
            call.recall.abandon()

    def _stop_unwanted(self, slot: _Slot) -> None:
        for call in list(slot.calls):
            if not all(job.cancelled for job in call.jobs):
                continue
            if call is slot.staged:
                slot.take_back()
                self._feed(slot)
            else:
                call.recall.abandon()

    # --- the device --------------------------------------------------------------------------

    def _feed(self, slot: _Slot) -> None:
        """Give the device process what it runs now, and what it runs next."""
        if slot.device.state != "ready" or self._closing:
            return
        now_us = monotonic_us()
        for decision in slot.queue.poll(now_us):
            match decision:
                case Refuse(waiting, reason):
                    self._refuse_waiting(slot, waiting, reason)
                case Start(waiting, others):
                    jobs = [slot.jobs.pop((each.node, each.key)) for each in (waiting, *others)]
                    slot.running = self._give(slot, _Call(jobs, now_us))
        next_one = slot.queue.stage(now_us)
        if next_one is not None:
            job = slot.jobs.pop((next_one.node, next_one.key))
            slot.staged = self._give(slot, _Call([job], now_us, next_one))

    def _give(self, slot: _Slot, call: _Call) -> _Call:
        slot.calls.append(call)
        task = self._tasks.create_task(self._serve(slot, call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return call

    async def _serve(self, slot: _Slot, call: _Call) -> None:
        """See a call through."""
        outcome: tuple[Sequence[Lease | MeshError], int] | MeshError
        try:
            outcome = await self._on_device(slot, call)
        except MeshError as problem:
            outcome = problem
        finally:
            begun_us = max(call.given_us, slot.free_us)
            slot.ended(call, monotonic_us())
            for job in call.jobs:
                if job.inputs is not None:
                    job.inputs.release()
        self._feed(slot)  # before the results are sent, which takes longer
        if isinstance(outcome, PieceAbandoned):
            self._abandoned(slot, call, outcome)
        elif isinstance(outcome, MeshError):
            if len(call.jobs) > 1:
                slot.alone.update(job.session for job in call.jobs)
            for job in call.jobs:
                self._failed(job, outcome)
        else:
            self._done(slot, call.jobs, *outcome, begun_us)

    def _done(
        self,
        slot: _Slot,
        jobs: Sequence[_Job],
        outcomes: Sequence[Lease | MeshError],
        run_us: int,
        begun_us: int,
    ) -> None:
        total = sum(job.units for job in jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, MeshError):
                self._failed(job, outcome)
            elif job.cancelled:
                outcome.release()
                self._confirm(slot, job, run_us)
            else:
                mine_us = share_us(run_us, job.units, total)
                queue_us = max(0, begun_us - job.received_us)
                self._answer(slot, job, outcome, times_us=(queue_us, mine_us, run_us - mine_us))
        if not any(isinstance(outcome, MeshError) for outcome in outcomes):
            self._learn(slot, jobs, run_us)  # what waits for the results does not wait for this

    def _abandoned(self, slot: _Slot, call: _Call, problem: PieceAbandoned) -> None:
        """A call was not run to its end: nobody wants it any more, or it was staged in vain."""
        name = DeviceKey("", slot.device.name)
        for job in call.jobs:
            if job.cancelled or job.straggles:
                self._costs.observe_at_least(name, job.order.kind, job.units, problem.run_us)
                self._confirm(slot, job, problem.run_us)
            elif call.waiting is None:  # nobody said so
                self._failed(job, problem)
            else:
                job.inputs, call.recall.inputs = call.recall.inputs, None
                self._enqueue(slot, job, call.waiting)
                self._feed(slot)
        if call.recall.inputs is not None:
            call.recall.inputs.release()

    def _confirm(self, slot: _Slot, job: _Job, run_us: int) -> None:
        """Say that the device is free of a cancelled piece, if its gateway asked for that."""
        if job.answer:
            backlog_us = slot.queue.backlog_us(monotonic_us())
            self._refuse(job, CANCELLED, backlog_us=backlog_us, run_us=run_us)

    async def _on_device(self, slot: _Slot, call: _Call) -> tuple[Sequence[Lease | MeshError], int]:
        """Run one job, or several together: what became of each, and the time of all."""
        jobs = call.jobs
        if len(jobs) > 1:
            pieces = [
                BatchedPiece(job.session, job.order.spec, job.order.output_bytes, job.inputs)
                for job in jobs
            ]
            return await slot.device.run_batch(
                jobs[0].workload, pieces, kill_after_us=self._kill_after_us, recall=call.recall
            )
        (job,) = jobs
        result = await slot.device.run(
            job.session,
            job.workload,
            job.order.spec,
            job.order.output_bytes,
            inputs=job.inputs,
            kill_after_us=self._kill_after_us,
            start_by_us=slot.queue.start_by_us(call.waiting) if call.waiting is not None else 0,
            recall=call.recall,
        )
        job.passes_us = result.passes_us
        return [result.lease], result.run_us

    def _learn(self, slot: _Slot, jobs: Sequence[_Job], run_us: int) -> None:
        kind, units = jobs[0].order.kind, [job.units for job in jobs]
        if jobs[0].batch:
            slot.batching.observe(kind, units, run_us)
        else:
            self._costs.observe(DeviceKey("", slot.device.name), kind, units[0], run_us)

    def _answer(
        self, slot: _Slot, job: _Job, result: Lease, *, times_us: tuple[int, int, int]
    ) -> None:
        """Send a result. times_us: it waited, it ran, others ran with it."""
        order = job.order
        queue_us, run_us, held_us = times_us
        self._unsent += 1

        def sent() -> None:
            self._unsent -= 1
            result.release()

        job.channel.send(
            PieceDone(
                order.session,
                order.epoch,
                order.frame,
                order.piece,
                order.device,
                queue_us=queue_us,
                run_us=run_us,
                backlog_us=slot.queue.backlog_us(monotonic_us()),
                held_us=held_us,
                passes_us=job.passes_us,
            ),
            result.view,
            due_us=job.channel.to_local_us(order.deadline_us),
            sent=sent,
        )

    def _failed(self, job: _Job, problem: MeshError) -> None:
        log.warning("piece %s failed: %s", _key(job.order), problem)
        self._refuse(job, _reason(problem), problem)

    def _refuse_waiting(self, slot: _Slot, waiting: Waiting, reason: str) -> None:
        job = slot.jobs.pop((waiting.node, waiting.key), None)
        if job is not None:
            self._refuse(job, reason, backlog_us=slot.queue.backlog_us(monotonic_us()))

    def _refuse(
        self,
        job: _Job,
        reason: str,
        problem: MeshError | None = None,
        *,
        backlog_us: int = 0,
        run_us: int = 0,
    ) -> None:
        if job.inputs is not None:
            job.inputs.release()
        order = job.order
        job.channel.send(
            PieceRefused(
                order.session,
                order.epoch,
                order.frame,
                order.piece,
                order.device,
                reason,
                problem.to_problem() if problem else None,
                backlog_us,
                run_us,
            )
        )

    def _drop_session(self, session: str) -> None:
        for slot in self._slots.values():
            for waiting in slot.queue.cancel_session(session):
                self._drop(slot, waiting)
            slot.alone.discard(session)
            for job in [job for call in slot.calls for job in call.jobs]:
                job.cancelled |= job.session == session
            self._stop_unwanted(slot)

    def _drop(self, slot: _Slot, waiting: Waiting) -> None:
        """A cancelled piece needs no answer, unless asked for: the gateway closed its account."""
        job = slot.jobs.pop((waiting.node, waiting.key), None)
        if job is not None and job.inputs is not None:
            job.inputs.release()


def _reason(problem: MeshError) -> str:
    """Why a piece that had begun is refused."""
    match problem:
        case PieceOverran():
            return "overran"
        case DeviceLost():
            return "device_lost"
    return "failed"


def _names(order: Cancel, channel: Channel, job: _Job) -> bool:
    """Whether an order concerns a piece."""
    ours = job.order
    return (
        job.channel is channel
        and (ours.session, ours.epoch, ours.frame) == (order.session, order.epoch, order.frame)
        and order.piece in (None, ours.piece)
    )


def _key(order: PieceRun) -> PieceKey:
    return PieceKey(order.session, order.epoch, order.frame, order.piece)
