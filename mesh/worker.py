"""The worker half of a node: hosts gateways' sessions on its devices and runs their pieces.

One EDF queue and one serving task per device. Every piece that arrives is answered exactly once,
with its result or with a refusal, so that the gateway can place it again without waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mesh.channel import Channel
from mesh.core.errors import DeviceLost, MeshError, PieceOverran, ProtocolViolation
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
from mesh.device.buffers import Lease
from mesh.device.supervisor import Device
from mesh.hosting import Hosting, host_key
from mesh.schedule.cost import CostModel
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.queue import DeviceQueue, Refuse, Start, Waiting

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    """One accepted piece, from its arrival to its answer."""

    channel: Channel
    order: PieceRun
    session: str  # its name here, see host_key
    workload: str
    inputs: Lease | None
    received_us: int
    cancelled: bool = False


@dataclass(slots=True)
class _Slot:
    """A device with its queue and the job it runs now."""

    device: Device
    queue: DeviceQueue
    jobs: dict[tuple[str, PieceKey], _Job] = field(default_factory=dict)  # queued; by node, piece
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    running: _Job | None = None


class Worker:
    """Serves pieces to every gateway of the realm. Use as an async context manager."""

    def __init__(
        self, devices: Iterable[Device], *, kill_after_us: int, policy: str = "edf"
    ) -> None:
        """kill_after_us: a piece that holds its device longer costs the process its life.

        policy: the order of the devices' queues, see mesh.schedule.queue.
        """
        self._kill_after_us = kill_after_us
        self._slots = {d.name: _Slot(d, DeviceQueue(policy=policy)) for d in devices}
        # Inputs being received, by node, device and piece; None: there was no room for them.
        self._incoming: dict[tuple[str, str, PieceKey], Lease | None] = {}
        self._costs = CostModel()
        self._tasks = asyncio.TaskGroup()
        self._hosting = Hosting(
            {name: slot.device for name, slot in self._slots.items()},
            self._tasks,
            forgotten=self._drop_session,
        )
        self._serving: list[asyncio.Task[None]] = []

    # --- the node's side -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Serve every device's queue from now on."""
        await self._tasks.__aenter__()
        self._serving = [
            self._tasks.create_task(self._serve_device(slot), name=f"serve {slot.device.name}")
            for slot in self._slots.values()
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hosting.close_all()
        for task in self._serving:
            task.cancel()
        await self._tasks.__aexit__(kind, problem, trace)

    def offers(self) -> tuple[DeviceOffer, ...]:
        """The devices that can take sessions now."""
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
            slot.wake.set()
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
                return self._hosting.asset_buffer(channel, message.digest, size)
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
                self._hosting.asset_came(channel, message.digest, body)
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
        job = _Job(channel, order, session, workload or "", inputs, now_us)
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
        deadline_us = channel.to_local_us(order.deadline_us) - channel.error_us
        predicted_us = self._costs.predict_us(DeviceKey("", order.device), order.kind, order.units)
        if (channel.node, key) in slot.jobs:
            self._refuse(job, "duplicate")
            return
        slot.jobs[channel.node, key] = job
        refused = slot.queue.submit(Waiting(key, session, channel.node, deadline_us, predicted_us))
        if refused is not None:
            self._refuse_waiting(slot, refused.waiting, refused.reason)
        slot.wake.set()

    def _cancel(self, channel: Channel, order: Cancel) -> None:
        for slot in self._slots.values():
            if order.device not in ("", slot.device.name):
                continue
            for waiting in slot.queue.cancel(
                host_key(channel, order.session), order.epoch, order.frame, order.piece
            ):
                self._drop(slot, waiting)
            job = slot.running
            if (
                job is not None
                and job.channel is channel
                and (job.order.session, job.order.epoch, job.order.frame)
                == (order.session, order.epoch, order.frame)
                and order.piece in (None, job.order.piece)
            ):
                job.cancelled = True

    async def _serve_device(self, slot: _Slot) -> None:
        while True:
            await slot.wake.wait()
            slot.wake.clear()
            while slot.device.state == "ready":
                job = self._next(slot)
                if job is None:
                    break
                slot.running = job
                try:
                    await self._run(slot, job)
                finally:
                    slot.running = None
                    if job.inputs is not None:
                        job.inputs.release()

    def _next(self, slot: _Slot) -> _Job | None:
        for decision in slot.queue.poll(monotonic_us()):
            match decision:
                case Refuse(waiting, reason):
                    self._refuse_waiting(slot, waiting, reason)
                case Start(waiting):
                    return slot.jobs.pop((waiting.node, waiting.key))
        return None

    async def _run(self, slot: _Slot, job: _Job) -> None:
        order, started_us = job.order, monotonic_us()
        try:
            result = await slot.device.run(
                job.session,
                job.workload,
                order.spec,
                order.output_bytes,
                inputs=job.inputs,
                kill_after_us=self._kill_after_us,
            )
        except MeshError as problem:
            slot.queue.finished(monotonic_us())
            reason = _reason(problem)
            log.warning("piece %s failed: %s", _key(order), problem)
            self._refuse(job, reason, problem)
            return
        slot.queue.finished(monotonic_us())
        self._costs.observe(DeviceKey("", order.device), order.kind, order.units, result.run_us)
        if job.cancelled:
            result.lease.release()
            return
        job.channel.send(
            PieceDone(
                order.session,
                order.epoch,
                order.frame,
                order.piece,
                order.device,
                queue_us=max(0, started_us - job.received_us),
                run_us=result.run_us,
                backlog_us=slot.queue.backlog_us(monotonic_us()),
            ),
            result.lease.view,
            due_us=job.channel.to_local_us(order.deadline_us),
            sent=result.lease.release,
        )

    def _refuse_waiting(self, slot: _Slot, waiting: Waiting, reason: str) -> None:
        job = slot.jobs.pop((waiting.node, waiting.key), None)
        if job is not None:
            self._refuse(job, reason, backlog_us=slot.queue.backlog_us(monotonic_us()))

    def _refuse(
        self, job: _Job, reason: str, problem: MeshError | None = None, backlog_us: int = 0
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
            )
        )

    def _drop_session(self, session: str) -> None:
        for slot in self._slots.values():
            for waiting in slot.queue.cancel_session(session):
                self._drop(slot, waiting)
            if slot.running is not None and slot.running.session == session:
                slot.running.cancelled = True

    def _drop(self, slot: _Slot, waiting: Waiting) -> None:
        """A cancelled piece needs no answer: the gateway has closed its account."""
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


def _key(order: PieceRun) -> PieceKey:
    return PieceKey(order.session, order.epoch, order.frame, order.piece)
