"""The sessions gateways keep on a worker: who owns them, what they need, where they are ready."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mesh.assets import AssetCache
from mesh.channel import Channel
from mesh.core.errors import ContentRefused, MeshError, ProtocolViolation
from mesh.core.wire import (
    AssetData,
    AssetRef,
    AssetWanted,
    SessionClose,
    SessionFailed,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import AssetId, Buffer, NodeId
from mesh.device.supervisor import Device

log = logging.getLogger(__name__)

ASSET_QUOTA_BYTES = 1 << 30
MAX_SESSIONS_PER_GATEWAY = 64
MOST_TRANSFERS = 4096  # assets under way, from all gateways


def host_key(channel: Channel, session: str) -> str:
    """A session's name here: its gateway's node id keeps equal names of two gateways apart."""
    return f"{channel.node}/{session}"


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
class _Transfer:
    """An asset that was asked for. left: bytes of it that have not begun to come; coming: ranges
    that have, and are not whole.
    """

    size: int
    left: int
    coming: int = 0


class Hosting:
    """Opens sessions, fetches their assets, prepares devices; answers the gateway each time."""

    def __init__(
        self,
        devices: Mapping[str, Device],
        tasks: asyncio.TaskGroup,
        *,
        forgotten: Callable[[str], None],
    ) -> None:
        """tasks: parent of what is under way. forgotten: called with the key of a session that
        ends, before its devices forget it.
        """
        self._devices = devices
        self._tasks = tasks
        self._forgotten = forgotten
        self._hosted: dict[str, _Hosted] = {}
        self._assets = AssetCache(ASSET_QUOTA_BYTES)
        self._transfers: OrderedDict[tuple[NodeId, AssetId], _Transfer] = OrderedDict()

    def workload(self, key: str, epoch: int, device: str) -> str | None:
        """The workload of a session that is ready on `device` under exactly that epoch."""
        hosted = self._hosted.get(key)
        if hosted is None or hosted.epoch != epoch or device not in hosted.ready:
            return None
        return hosted.opens[device].workload

    def open(self, channel: Channel, order: SessionOpen) -> None:
        """Have a device prepared for a session; answered with SessionReady or SessionFailed."""
        key = host_key(channel, order.session)
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
                self._ask(channel, ref)
        self._prepare_when_complete(key, hosted)

    def _admit(self, channel: Channel, key: str, order: SessionOpen) -> _Hosted:
        hosted = self._hosted.get(key)
        if hosted is not None and hosted.epoch > order.epoch:
            raise ProtocolViolation(
                what=f"session {order.session} is not opened",
                why=f"epoch {order.epoch} is older than {hosted.epoch}, which owns it",
                fix="Only the newest owner of a session may act for it.",
            )
        device = self._devices.get(order.device)
        if device is None or order.workload not in device.workloads:
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
        try:
            assets = {ref.digest: self._assets.get(ref.digest) for ref in order.assets}
            await self._devices[order.device].prepare(key, order.workload, order.spec, assets)
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

    def close(self, channel: Channel, order: SessionClose) -> None:
        """The gateway ends a session; an owner of an older epoch ends nothing."""
        key = host_key(channel, order.session)
        hosted = self._hosted.get(key)
        if hosted is not None and hosted.epoch <= order.epoch:
            self._forget(key)

    def close_all(self, channel: Channel | None = None) -> None:
        """Forget what a lost gateway keeps here, or everything; what came of its assets stays."""
        for key, hosted in list(self._hosted.items()):
            if channel is None or hosted.channel is channel:
                self._forget(key)
        if channel is not None:
            for transfer in [
                transfer for transfer in self._transfers if transfer[0] == channel.node
            ]:
                del self._transfers[transfer]
            self._assets.sender_lost(channel.node)

    def _forget(self, key: str) -> None:
        hosted = self._hosted.pop(key)
        for task in hosted.preparing.values():
            task.cancel()
        for digest in hosted.pinned:
            self._assets.unpin(digest)
        self._forgotten(key)
        for device in self._devices.values():
            device.forget(key)

    # --- assets ----------------------------------------------------------------------------

    def _ask(self, channel: Channel, ref: AssetRef) -> None:
        """Have what is lacking of an asset sent, if it is not under way already."""
        key = channel.node, ref.digest
        if key in self._transfers:
            return
        if len(self._transfers) >= MOST_TRANSFERS:
            self._transfers.popitem(last=False)
        partial = self._assets.partial(*key)
        known = partial.prefix if partial is not None and len(partial.data) == ref.size else 0
        self._transfers[key] = _Transfer(ref.size, ref.size - known)
        channel.send(AssetWanted(ref.digest, known))

    def asset_buffer(self, channel: Channel, message: AssetData, size: int) -> memoryview | None:
        """Where to receive a range of an asset that was asked for; None where there is no room.

        Raises ProtocolViolation.
        """
        key = channel.node, message.digest
        transfer = self._transfers.get(key)
        if transfer is None or size > transfer.left or message.offset + size > transfer.size:
            raise ProtocolViolation(
                what=f"{size} bytes of asset {message.digest[:12]} came unasked",
                why="no session here waits for them, or it is not of the size announced",
                fix="Send assets only in answer to AssetWanted; this link is closed.",
            )
        transfer.left -= size
        transfer.coming += 1
        try:
            partial = self._assets.begin_partial(*key, transfer.size)
        except ContentRefused as problem:
            self._asset_failed(self._waiting_for(channel, message.digest), problem)
            return None
        return partial.begin(message.offset, size)

    def asset_came(self, channel: Channel, message: AssetData, body: memoryview) -> None:
        """Once it is whole, check its digest in a thread and go on with who waited for it."""
        key = channel.node, message.digest
        transfer, partial = self._transfers.get(key), self._assets.partial(*key)
        if transfer is None:
            return
        if not transfer.coming:  # from this node's own half, in one piece
            del self._transfers[key]
            self._tasks.create_task(self._store_asset(channel, message.digest, body))
            return
        transfer.coming -= 1
        if partial is not None and body.obj is partial.data:
            partial.end(message.offset)
        if transfer.left or transfer.coming:
            return
        del self._transfers[key]
        if partial is not None and partial.prefix == transfer.size:
            self._assets.drop_partial(*key)
            self._tasks.create_task(self._store_asset(channel, message.digest, partial.data))
            return
        # There was no room for some of it. Who waits for it now came when there may be.
        self._assets.drop_partial(*key)
        if self._waiting_for(channel, message.digest):
            self._ask(channel, AssetRef(message.digest, transfer.size))

    async def _store_asset(self, channel: Channel, digest: AssetId, body: Buffer) -> None:
        found = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        waiting = self._waiting_for(channel, digest)
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

    def asset_missing(self, channel: Channel, digest: AssetId) -> None:
        """The gateway cannot give it: the sessions that waited for it fail."""
        self._transfers.pop((channel.node, digest), None)
        waiting = self._waiting_for(channel, digest)
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

    def _waiting_for(self, channel: Channel, digest: AssetId) -> list[tuple[str, _Hosted]]:
        return [
            (key, hosted)
            for key, hosted in self._hosted.items()
            if hosted.channel is channel and digest in hosted.awaited
        ]
