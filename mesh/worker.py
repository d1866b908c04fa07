"""The worker half of a node: hosts gateways' sessions on its devices and runs their pieces.

One EDF queue and one serving task per device. Every piece that arrives is answered exactly once,
with its result or with a refusal, so that the gateway can place it again without waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mesh.assets import AssetCache
from mesh.channel import Channel
from mesh.core.errors import ContentRefused, DeviceLost, MeshError, ProtocolViolation
from mesh.core.loop import monotonic_us
from mesh.core.wire import (
    MAX_BODY,
    AssetData,
    AssetMissing,
    AssetWanted,
    Cancel,
    DeviceOffer,
    Message,
    PieceDone,
    PieceRefused,
    PieceRun,
    SessionClose,
    SessionFailed,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import AssetId
from mesh.device.buffers import Lease
from mesh.device.supervisor import Device
from mesh.schedule.cost import CostModel
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.queue import DeviceQueue, Refuse, Start, Waiting

log = logging.getLogger(__name__)

ASSET_QUOTA_BYTES = 1 << 30
MAX_SESSIONS_PER_GATEWAY = 64


@dataclass(slots=True)
class _Job:
    """One accepted piece, from its arrival to its answer."""

    channel: Channel
    order: PieceRun
    inputs: Lease | None
    received_us: int
    cancelled: bool = False


@dataclass(slots=True)
class _Hosted:
    """One gateway's session here: what it needs and which devices hold it."""

    channel: Channel
    epoch: int
    opens: dict[str, SessionOpen] = field(default_factory=dict)
    pinned: set[AssetId] = field(default_factory=set)
    awaited: set[AssetId] = field(default_factory=set)
    ready: set[str] = field(default_factory=set)
    preparing: dict[str, asyncio.Task[None]] = field(default_factory=dict)


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
        self._hosted: dict[str, _Hosted] = {}
        self._assets = AssetCache(ASSET_QUOTA_BYTES)
        self._incoming: dict[tuple[str, str, PieceKey], Lease] = {}  # by node, device, piece
        self._costs = CostModel()
        self._tasks = asyncio.TaskGroup()
        self._serving: list[asyncio.Task[None]] = []
        self.pieces_done = 0

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
        for key in list(self._hosted):
            self._forget(key)
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
        for key, hosted in list(self._hosted.items()):
            if hosted.channel is channel:
                self._forget(key)
        for (node, _, _), lease in list(self._incoming.items()):
            if node == channel.node:
                lease.release()
        self._incoming = {k: v for k, v in self._incoming.items() if k[0] != channel.node}

    # --- the channel's side ----------------------------------------------------------------

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview | None:
        """Pieces' inputs go straight into device memory, assets into their own buffer."""
        match message:
            case PieceRun():
                slot = self._slots.get(message.device)
                lease = slot.device.lease_input(size) if slot else None
                if lease is None:
                    return None
                self._incoming[channel.node, message.device, _key(message)] = lease
                return lease.view
            case AssetData():
                self._expect_asset(channel, message.digest, size)
                return memoryview(bytearray(size))
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
                self._open(channel, message)
            case SessionClose():
                hosted = self._hosted.get(_host_key(channel, message.session))
                if hosted is not None and hosted.epoch <= message.epoch:
                    self._forget(_host_key(channel, message.session))
            case AssetData():
                self._tasks.create_task(self._store_asset(channel, message.digest, body))
            case AssetMissing():
                self._asset_missing(channel, message.digest)
            case _:
                raise ProtocolViolation(
                    what=f"unexpected {type(message).__name__}",
                    why="a worker does not take it",
                    fix="Update the sender; this link is closed.",
                )

    # --- sessions --------------------------------------------------------------------------

    def _open(self, channel: Channel, order: SessionOpen) -> None:
        key = _host_key(channel, order.session)
        try:
            hosted = self._admit(channel, key, order)
        except MeshError as problem:
            self._session_failed(channel, order, problem)
            return
        if order.device in hosted.ready:
            # Asked again after the device came back: its supervisor has prepared it anew.
            channel.send(SessionReady(order.session, order.epoch, order.device))
            return
        hosted.opens[order.device] = order
        for ref in order.assets:
            if ref.digest not in hosted.pinned:
                self._assets.pin(ref.digest)
                hosted.pinned.add(ref.digest)
            if ref.digest not in self._assets and ref.digest not in hosted.awaited:
                hosted.awaited.add(ref.digest)
                channel.send(AssetWanted(ref.digest))
        self._prepare_when_complete(key, hosted)

    def _admit(self, channel: Channel, key: str, order: SessionOpen) -> _Hosted:
        hosted = self._hosted.get(key)
        if hosted is not None and hosted.epoch > order.epoch:
            raise ProtocolViolation(
                what=f"session {order.session} is not opened",
                why=f"epoch {order.epoch} is older than {hosted.epoch}, which owns it",
                fix="Only the newest owner of a session may act for it.",
            )
        slot = self._slots.get(order.device)
        if slot is None or order.workload not in slot.device.workloads:
            raise ContentRefused(
                what=f"session {order.session} is not opened",
                why=f"device '{order.device}' does not serve workload '{order.workload}'",
                fix="Choose among the devices this node offers.",
            )
        if hosted is not None and hosted.epoch < order.epoch:
            self._forget(key)
            hosted = None
        if hosted is None:
            if sum(h.channel is channel for h in self._hosted.values()) >= MAX_SESSIONS_PER_GATEWAY:
                raise ContentRefused(
                    what=f"session {order.session} is not opened",
                    why=f"this gateway already has {MAX_SESSIONS_PER_GATEWAY} sessions here",
                    fix="Close one first.",
                )
            hosted = self._hosted[key] = _Hosted(channel, order.epoch)
        return hosted

    def _prepare_when_complete(self, key: str, hosted: _Hosted) -> None:
        if hosted.awaited:
            return
        for device, order in hosted.opens.items():
            if device not in hosted.ready and device not in hosted.preparing:
                hosted.preparing[device] = self._tasks.create_task(
                    self._prepare(key, hosted, order)
                )

    async def _prepare(self, key: str, hosted: _Hosted, order: SessionOpen) -> None:
        slot = self._slots[order.device]
        try:
            assets = {ref.digest: self._assets.get(ref.digest) for ref in order.assets}
            await slot.device.prepare(key, order.workload, order.spec, assets)
        except MeshError as problem:
            self._session_failed(hosted.channel, order, problem)
            hosted.opens.pop(order.device, None)
        else:
            if self._hosted.get(key) is hosted:
                hosted.ready.add(order.device)
                hosted.channel.send(SessionReady(order.session, order.epoch, order.device))
        finally:
            hosted.preparing.pop(order.device, None)

    def _session_failed(self, channel: Channel, order: SessionOpen, problem: MeshError) -> None:
        log.warning("session %s refused on %s: %s", order.session, order.device, problem)
        channel.send(SessionFailed(order.session, order.epoch, order.device, problem.to_problem()))

    def _forget(self, key: str) -> None:
        hosted = self._hosted.pop(key)
        for task in hosted.preparing.values():
            task.cancel()
        for digest in hosted.pinned:
            self._assets.unpin(digest)
        for slot in self._slots.values():
            for waiting in slot.queue.cancel_session(key):
                self._drop(slot, waiting)
            if slot.running is not None and _host_key_of(slot.running) == key:
                slot.running.cancelled = True
            slot.device.forget(key)

    # --- assets ----------------------------------------------------------------------------

    def _expect_asset(self, channel: Channel, digest: AssetId, size: int) -> None:
        for hosted in self._hosted.values():
            if hosted.channel is channel and digest in hosted.awaited:
                for order in hosted.opens.values():
                    if any(ref.digest == digest and ref.size == size for ref in order.assets):
                        self._assets.make_room(size)
                        return
        raise ProtocolViolation(
            what=f"asset {digest[:12]} of {size} bytes came unasked",
            why="no session here waits for it, or its size is not the one announced",
            fix="Send assets only in answer to AssetWanted; this link is closed.",
        )

    async def _store_asset(self, channel: Channel, digest: AssetId, body: memoryview) -> None:
        found = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        waiting = [
            (key, h)
            for key, h in self._hosted.items()
            if h.channel is channel and digest in h.awaited
        ]
        try:
            if found != digest:
                raise ContentRefused(
                    what=f"asset {digest[:12]} is refused",
                    why=f"its bytes have the digest {found[:12]}",
                    fix="The sender's copy is damaged; reload the scene or model there.",
                )
            self._assets.store(digest, body)
        except ContentRefused as problem:
            self._asset_failed(waiting, problem)
            return
        for key, hosted in waiting:
            hosted.awaited.discard(digest)
            self._prepare_when_complete(key, hosted)

    def _asset_missing(self, channel: Channel, digest: AssetId) -> None:
        waiting = [
            (key, h)
            for key, h in self._hosted.items()
            if h.channel is channel and digest in h.awaited
        ]
        self._asset_failed(
            waiting,
            ContentRefused(
                what=f"asset {digest[:12]} cannot be had",
                why="the gateway no longer has it",
                fix="Open the session again.",
            ),
        )

    def _asset_failed(self, waiting: list[tuple[str, _Hosted]], problem: MeshError) -> None:
        for key, hosted in waiting:
            for order in hosted.opens.values():
                self._session_failed(hosted.channel, order, problem)
            self._forget(key)

    # --- pieces ----------------------------------------------------------------------------

    def _piece(self, channel: Channel, order: PieceRun, body: memoryview) -> None:
        now_us = monotonic_us()
        key = _key(order)
        inputs = self._incoming.pop((channel.node, order.device, key), None)
        job = _Job(channel, order, inputs, now_us)
        slot = self._slots.get(order.device)
        hosted = self._hosted.get(_host_key(channel, order.session))
        if (
            slot is None
            or hosted is None
            or hosted.epoch != order.epoch
            or order.device not in hosted.ready
            or order.output_bytes > MAX_BODY
        ):
            self._refuse(job, "unknown_session")
            return
        if len(body) and inputs is None:  # came over the local channel: one copy, like a link's
            inputs = job.inputs = slot.device.lease_input(len(body))
            if inputs is None:
                self._refuse(job, "full")
                return
            inputs.view[:] = body
        deadline_us = channel.to_local_us(order.deadline_us) - channel.error_us
        predicted_us = self._costs.predict_us(DeviceKey("", order.device), order.kind, order.units)
        if (channel.node, key) in slot.jobs:
            self._refuse(job, "duplicate")
            return
        slot.jobs[channel.node, key] = job
        refused = slot.queue.submit(
            Waiting(key, _host_key(channel, order.session), channel.node, deadline_us, predicted_us)
        )
        if refused is not None:
            self._refuse_waiting(slot, refused.waiting, refused.reason)
        slot.wake.set()

    def _cancel(self, channel: Channel, order: Cancel) -> None:
        for slot in self._slots.values():
            if order.device not in ("", slot.device.name):
                continue
            for waiting in slot.queue.cancel(
                _host_key(channel, order.session), order.epoch, order.frame, order.piece
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
                _host_key(job.channel, order.session),
                self._hosted_workload(job),
                order.spec,
                order.output_bytes,
                inputs=job.inputs,
                kill_after_us=self._kill_after_us,
            )
        except MeshError as problem:
            slot.queue.finished(monotonic_us())
            reason = "device_lost" if isinstance(problem, DeviceLost) else "failed"
            log.warning("piece %s failed: %s", _key(order), problem)
            self._refuse(job, reason, problem)
            return
        slot.queue.finished(monotonic_us())
        self._costs.observe(DeviceKey("", order.device), order.kind, order.units, result.run_us)
        self.pieces_done += 1
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

    def _hosted_workload(self, job: _Job) -> str:
        hosted = self._hosted.get(_host_key_of(job))
        return hosted.opens[job.order.device].workload if hosted else ""

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

    def _drop(self, slot: _Slot, waiting: Waiting) -> None:
        """A cancelled piece needs no answer: the gateway has closed its account."""
        job = slot.jobs.pop((waiting.node, waiting.key), None)
        if job is not None and job.inputs is not None:
            job.inputs.release()


def _key(order: PieceRun) -> PieceKey:
    return PieceKey(order.session, order.epoch, order.frame, order.piece)


def _host_key(channel: Channel, session: str) -> str:
    """Sessions are named by their gateway: the gateway's node id keeps two apart."""
    return f"{channel.node}/{session}"


def _host_key_of(job: _Job) -> str:
    return _host_key(job.channel, job.order.session)
