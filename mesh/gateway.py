"""The gateway half of a node: admits clients, keeps their sessions on workers, routes answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

import numpy as np

from mesh.channel import Channel
from mesh.core.config import GatewayConfig
from mesh.core.errors import (
    DeviceUnavailable,
    MeshError,
    NotAuthorized,
    ProtocolViolation,
    SessionRefused,
    WrongRoad,
    from_problem,
)
from mesh.core.loop import LoopLag, monotonic_us
from mesh.core.token import ClientToken, Scope
from mesh.core.wire import (
    AssetData,
    AssetMissing,
    AssetRef,
    AssetWanted,
    DeviceOffer,
    DevicesChanged,
    Message,
    PieceDone,
    PieceRefused,
    SessionClose,
    SessionFailed,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import Asset, NodeId, SessionRequest, SessionWork, Workload
from mesh.http import JoinedSession, OpenedSession, UnknownSession, UnknownViewer
from mesh.link.handshake import Credentials
from mesh.rights import OpeningRate, check_limits, longest_until_s
from mesh.schedule.cost import CostModel
from mesh.schedule.directory import Directory
from mesh.schedule.driver import Nudge, SessionDriver
from mesh.schedule.ids import DeviceKey
from mesh.schedule.placement import Placer
from mesh.schedule.pool import REVIEW_US, SessionPool
from mesh.session import Deliver, Session
from mesh.stream.fragment import Fragment
from mesh.stream.offer import read_offer
from mesh.stream.session import LEAVING, Joined, Stream, StreamOptions

log = logging.getLogger(__name__)

PREPARE_TIMEOUT_S = 30.0
# Assets must not delay any frame: as a deadline they rank behind everything under way.
ASSET_DUE_US = 60_000_000
ASSET_RANGE = 1 << 20  # bytes in one message; at most the ranges under way are sent again
# Kept back from a frame's deadline for composing, encoding and sending.
ENCODE_RESERVE_US = 6_000
FIRST_EPOCH = 1


@dataclass(slots=True)
class _WorkerNode:
    """A worker as the gateway sees it."""

    channel: Channel
    name: str
    offers: dict[str, DeviceOffer] = field(default_factory=dict)
    leaving: bool = False  # it takes no more pieces


@dataclass(slots=True)
class _Hosting:
    """A session with what the gateway must remember around it."""

    session: Session
    pool: SessionPool
    workload: str
    work: SessionWork
    owner: ClientToken
    private: bool  # nobody else's token may look on
    until_s: float  # in unix seconds, the longest that its owner's token allows
    refs: tuple[AssetRef, ...]
    assets: dict[str, Asset]
    asked: set[DeviceKey] = field(default_factory=set)
    failed: dict[DeviceKey, MeshError] = field(default_factory=dict)
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # ready somewhere, or nowhere
    task: asyncio.Task[None] | None = None
    review: asyncio.TimerHandle | None = None  # of its pool
    told_of_end: Callable[[str], None] | None = None
    lookers: dict[str, ClientToken] = field(default_factory=dict)  # by viewer
    ended: bool = False


class Gateway:
    """Serves clients with the realm's workers. Use as an async context manager."""

    def __init__(
        self,
        config: GatewayConfig,
        credentials: Credentials,
        workloads: Mapping[str, Workload],
        lag: LoopLag | None = None,
        *,
        region: str = "",
    ) -> None:
        """lag: the node's loop lag, shown in `status`. region: where the gateway is."""
        self._config = config
        self._region = region
        self._lag = lag or LoopLag()
        self.link_port = 0  # where clients that want a link find the node
        self._credentials = credentials
        self._workloads = workloads
        self._workers: dict[NodeId, _WorkerNode] = {}
        self._hosted: dict[str, _Hosting] = {}
        self._opening = 0
        self._opened_lately = OpeningRate()
        self._draining = False
        self._idle = asyncio.Event()  # no session is left, once none is opened any more
        costs = CostModel(credentials.identity.node_id)
        self._placer = Placer(costs)
        self._directory = Directory(costs)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hosting in list(self._hosted.values()):
            self._end(hosting, "the gateway is shutting down")
        await self._tasks.__aexit__(kind, problem, trace)

    # --- clients (mesh.http.GatewayApi) ------------------------------------------------------

    def authorize(self, token: str, scope: str) -> ClientToken:
        """The verified token. Raises NotAuthorized."""
        client = self._credentials.trust.token(token, int(time.time()))
        client.require(Scope(scope))
        return client

    async def open_session(
        self,
        principal: ClientToken,
        request: SessionRequest,
        offer_sdp: str,
        deliver: Deliver | None = None,
        ended: Callable[[str], None] | None = None,
    ) -> OpenedSession:
        """Admit a session: prepared on at least one device, and its viewer answered.

        offer_sdp: "" for a client that takes its results by `deliver` alone.
        ended: told the reason when the session ends.
        Raises NotAuthorized, SessionRefused, DeviceUnavailable (nothing can serve it now), or
        what the workers said of the content.
        """
        if self._draining:
            raise DeviceUnavailable(
                what="the session is not opened",
                why="this gateway is leaving",
                fix="Open it at another gateway of the realm.",
            )
        if len(self._hosted) + self._opening >= self._config.max_sessions:
            raise DeviceUnavailable(
                what="the session is not opened",
                why=f"this gateway serves {self._config.max_sessions} already",
                fix="Close one, try again later, or raise [gateway] max_sessions.",
            )
        self._opened_lately.take(principal, time.monotonic())
        self._opening += 1
        try:
            if offer_sdp:  # before anything is loaded: a bad one must cost its sender alone
                await asyncio.to_thread(read_offer, offer_sdp)
            options, rest = StreamOptions.take(request.options)
            work = await self._open_work(SessionRequest(request.workload, rest))
            fed = work.contract.trigger == "input"
            principal.require(Scope.INFER if fed else Scope.CONTROL)
            check_limits(principal, request.workload, work, self._region)
            _check_roads(work, offer_sdp, deliver)
            hosting = self._new_hosting(principal, request.workload, work, options, deliver)
            hosting.told_of_end = ended
            return await self._host(hosting, offer_sdp)
        finally:
            self._opening -= 1
            self._note_idle()

    def enforce(self) -> None:
        """End the sessions of whose owner's token this gateway no longer believes."""
        now_s = int(time.time())
        for hosting in list(self._hosted.values()):
            if not self._credentials.trust.holds_token(hosting.owner, now_s):
                self._end(hosting, "its client's token was revoked, or has expired")
            elif hosting.until_s <= now_s:
                self._end(hosting, "it has had the time that its client's token allows")
            for viewer, token in list(hosting.lookers.items()):
                if not self._credentials.trust.holds_token(token, now_s):
                    del hosting.lookers[viewer]
                    hosting.session.stream.leave(viewer)

    def drain(self) -> None:
        """Open no more sessions, and have viewers go to another gateway, if there is one."""
        self._draining = True
        if self._config.others:
            for hosting in self._hosted.values():
                hosting.session.stream.publish(LEAVING)
        self._note_idle()

    async def drained(self) -> None:
        """Wait until no session is left, after `drain`."""
        await self._idle.wait()

    @property
    def open_sessions(self) -> int:
        """Served now."""
        return len(self._hosted)

    def _note_idle(self) -> None:
        if self._draining and not self._hosted and not self._opening:
            self._idle.set()

    async def close_session(self, principal: ClientToken, session_id: str) -> None:
        """End a session of the same client. Raises NotAuthorized, UnknownSession."""
        self._end(self._owned(principal, session_id), "its client closed it")

    async def join_session(
        self, principal: ClientToken, session_id: str, offer_sdp: str
    ) -> JoinedSession:
        """Let one more viewer look on at a running session; it steers nothing.

        Raises NotAuthorized, UnknownSession, or SessionRefused (the offer, or too many viewers).
        """
        hosting = self._visible(principal, session_id)
        joined = await hosting.session.stream.join(offer_sdp)
        there = hosting.session.stream.viewer_ids
        hosting.lookers = {v: token for v, token in hosting.lookers.items() if v in there}
        hosting.lookers[joined.viewer_id] = principal
        log.info("session %s: '%s' looks on", session_id, principal.subject)
        return JoinedSession(joined.viewer_id, joined.answer_sdp, tag=joined.viewer_id)

    async def resume_session(
        self, principal: ClientToken, session_id: str, resume: str, offer_sdp: str
    ) -> OpenedSession:
        """Go on with a session over a new connection; the one before it is dropped.

        Raises NotAuthorized, UnknownSession, or SessionRefused (the offer).
        """
        hosting = self._owned(principal, session_id)
        held = await hosting.session.stream.take_over(offer_sdp, resume)
        log.info("session %s: resumed by '%s'", session_id, principal.subject)
        return self._opened(hosting, held)

    async def trickle(
        self,
        principal: ClientToken,
        session_id: str,
        viewer_id: str | None,
        if_match: str | None,
        fragment: Fragment,
    ) -> None:
        """Take a viewer's later ICE candidates; None: the viewer that it was opened for.

        Raises NotAuthorized, UnknownSession, UnknownViewer, TagMissing, TagOutdated,
        RestartRefused.
        """
        find = self._owned if viewer_id is None else self._visible
        stream = find(principal, session_id).session.stream
        if not await stream.trickle(viewer_id, if_match, fragment):
            raise _no_viewer(viewer_id or "that holds it", session_id)

    def leave_session(self, principal: ClientToken, session_id: str, viewer_id: str) -> None:
        """A viewer that looked on is through.

        Raises NotAuthorized, UnknownSession, UnknownViewer.
        """
        if not self._visible(principal, session_id).session.stream.leave(viewer_id):
            raise _no_viewer(viewer_id, session_id)

    def sessions(self, principal: ClientToken) -> Sequence[Mapping[str, Any]]:
        """What the client may join."""
        return [
            {
                "session": hosting.session.id,
                "subject": hosting.owner.subject,
                "viewers": hosting.session.stream.viewers,
                **self._description(hosting),
            }
            for hosting in self._hosted.values()
            if hosting.task is not None and _may_see(principal, hosting)
        ]

    def session(self, session_id: str) -> Session | None:
        """An open session, for whoever has made sure that it is the asker's."""
        hosting = self._hosted.get(session_id)
        return hosting.session if hosting is not None else None

    def end_session(self, session_id: str, reason: str) -> None:
        """End a session, if it is still open."""
        hosting = self._hosted.get(session_id)
        if hosting is not None:
            self._end(hosting, reason)

    def describe_session(self, principal: ClientToken, session_id: str) -> Mapping[str, Any]:
        """What is said of a session to its viewers. Raises NotAuthorized, UnknownSession."""
        return self._description(self._visible(principal, session_id))

    def status(self) -> dict[str, Any]:
        """JSON-ready state, for people and for the demo's check."""
        return {
            "node": self._credentials.identity.node_id,
            "link_port": self.link_port,
            "draining": self._draining,
            "workers": [
                {
                    "node": node,
                    "name": worker.name,
                    "devices": [
                        {"device": offer.device, "workloads": list(offer.workloads)}
                        for offer in worker.offers.values()
                    ],
                }
                for node, worker in self._workers.items()
            ],
            "sessions": [self._session_status(h) for h in self._hosted.values()],
            "loop_lag": self._lag.summary(),
        }

    def _session_status(self, hosting: _Hosting) -> dict[str, Any]:
        session = hosting.session
        counts = session.driver.counts
        return {
            "session": session.id,
            "workload": hosting.workload,
            "subject": hosting.owner.subject,
            "frames": counts.composed,
            "frames_filled": counts.filled_frames,
            "frames_given_up": session.frames_given_up,
            "instants_skipped": session.driver.clock.skipped,
            "viewers": session.stream.viewers,
            "results": asdict(session.stream.results),
            "pieces": {
                "sent": counts.sent,
                "filled": counts.filled_pieces,
                "refused": counts.refusals,
                "hedged": counts.hedges,
                "probes": counts.probes,
                "duplicate": counts.duplicates,
                "too_late": counts.too_late,
            },
            "pieces_by": {self.maker_name(d): n for d, n in session.pieces_by.items()},
            "ready": [self.maker_name(d) for d in session.driver.ready],
            "failed": {self.maker_name(d): str(p) for d, p in hosting.failed.items()},
            "troubles": {self.maker_name(d): why for d, why in session.troubles.items()},
        }

    def _owned(self, principal: ClientToken, session_id: str) -> _Hosting:
        hosting = self._running(session_id)
        if not _owns(principal, hosting):
            raise NotAuthorized(
                what=f"session {session_id} is not yours",
                why=f"'{hosting.owner.subject}' opened it",
                fix="Use the token that it was opened with.",
            )
        return hosting

    def _visible(self, principal: ClientToken, session_id: str) -> _Hosting:
        hosting = self._running(session_id)
        if not _may_see(principal, hosting):
            raise NotAuthorized(
                what=f"session {session_id} is private",
                why=f"'{hosting.owner.subject}' opened it for nobody else",
                fix="Use the token that it was opened with, or have it opened without private=1.",
            )
        return hosting

    def _running(self, session_id: str) -> _Hosting:
        hosting = self._hosted.get(session_id)
        if hosting is None or hosting.task is None:
            raise UnknownSession(
                what=f"no session {session_id[:40]}",
                why="it has ended or never was",
                fix="Open a new one, or take one that GET /sessions lists.",
            )
        return hosting

    # --- opening a session -------------------------------------------------------------------

    async def _open_work(self, request: SessionRequest) -> SessionWork:
        workload = self._workloads.get(request.workload)
        if workload is None:
            raise SessionRefused(
                what=f"no workload '{request.workload}'",
                why=f"this gateway serves {', '.join(self._workloads) or 'none'}",
                fix="Ask for one of these, or install and configure the workload here.",
            )
        if not any(request.workload in o.workloads for w in self._workers.values()
                   for o in w.offers.values()):  # fmt: skip
            raise DeviceUnavailable(
                what="the session is not opened",
                why=f"no worker that serves '{request.workload}' is linked now",
                fix="Start a worker of this realm (`framemesh node`) and try again.",
            )
        return await asyncio.to_thread(workload.open_session, request)

    async def _host(self, hosting: _Hosting, offer_sdp: str) -> OpenedSession:
        self._hosted[hosting.session.id] = hosting
        try:
            self._fill(hosting)
            await self._until_settled(hosting)
            held = await hosting.session.stream.hold(offer_sdp) if offer_sdp else Joined("", "")
        except BaseException:
            self._end(hosting, "it could not be opened")
            raise
        if hosting.ended:
            raise SessionRefused(
                what="the session is not opened",
                why="it ended while it was being opened",
                fix="Try again.",
            )
        hosting.task = self._tasks.create_task(self._serve(hosting))
        self._review_later(hosting)
        log.info(
            "session %s (%s) for '%s'", hosting.session.id, hosting.workload, hosting.owner.subject
        )
        return self._opened(hosting, held)

    def _opened(self, hosting: _Hosting, held: Joined) -> OpenedSession:
        return OpenedSession(
            hosting.session.id,
            held.answer_sdp,
            self._description(hosting),
            tag=held.viewer_id,
            resume=held.resume,
        )

    def _new_hosting(
        self,
        principal: ClientToken,
        workload: str,
        work: SessionWork,
        options: StreamOptions,
        deliver: Deliver | None,
    ) -> _Hosting:
        session_id = secrets.token_urlsafe(16)
        contract = work.contract

        def on_input(event: Mapping[str, Any]) -> None:
            session.on_input(event)

        def on_closed(reason: str) -> None:
            self._end(hosting, reason)

        stream = Stream(
            work.picture,
            1e6 / contract.period_us,
            on_input=on_input,
            on_closed=on_closed,
            options=options,
        )
        driver = SessionDriver(
            session_id,
            FIRST_EPOCH,
            contract,
            self._placer,
            start_us=monotonic_us(),
            reserve_us=min(ENCODE_RESERVE_US, contract.deadline_us // 4) if work.picture else 0,
            latest_start=not options.steady,
        )
        # Seeded so that what it draws can be told afterwards; guessing it would gain nothing.
        chance = Random(session_id)  # noqa: S311
        pool = SessionPool(self._directory, workload, contract, chance)
        session = Session(
            driver=driver,
            work=work,
            stream=stream,
            key=(session_id, FIRST_EPOCH),
            channel_of=self._channel_of,
            maker_name=self.maker_name,
            nudge=self._nudge,
            composed=pool.composed,
            deliver=deliver,
        )
        assets = {asset.digest: asset for asset in work.setup.assets}
        refs = tuple(AssetRef(a.digest, len(a.data), a.name[:64]) for a in assets.values())
        until_s = longest_until_s(principal, time.time())
        hosting = _Hosting(
            session, pool, workload, work, principal, options.private, until_s, refs, assets
        )
        return hosting

    def _nudge(self, action: Nudge) -> None:
        """One session's frames bear on another's: its turn comes when this one is done."""

        def look() -> None:
            hosting = self._hosted.get(action.session)
            if hosting is not None:
                hosting.session.nudged(action.frame)

        asyncio.get_running_loop().call_soon(look)

    async def _until_settled(self, hosting: _Hosting) -> None:
        """Wait until some device holds the session. Raises what they said if none will."""
        try:
            async with asyncio.timeout(PREPARE_TIMEOUT_S):
                await hosting.settled.wait()
        except TimeoutError:
            raise SessionRefused(
                what="the session is not opened",
                why=f"no worker had it ready within {PREPARE_TIMEOUT_S:.0f} s",
                fix="Try again; the workers' logs say what they were doing.",
            ) from None
        if not hosting.session.driver.ready:
            raise next(
                iter(hosting.failed.values()),
                SessionRefused(
                    what="the session is not opened",
                    why="every worker that could serve it is gone",
                    fix="Start a worker of this realm and try again.",
                ),
            )

    def _fill(self, hosting: _Hosting) -> None:
        """Have the session opened on the devices that its pool misses."""
        now_us = monotonic_us()
        for device in hosting.pool.take(hosting.pool.draw(), now_us):
            if device not in self._placer:
                self._placer.add(device, now_us)
            self._ask(hosting, device)

    def _ask(self, hosting: _Hosting, device: DeviceKey) -> None:
        hosting.asked.add(device)
        worker = self._workers[device.node]
        worker.channel.send(
            SessionOpen(
                hosting.session.id,
                hosting.session.epoch,
                hosting.workload,
                device.device,
                hosting.work.setup.spec,
                hosting.refs,
            )
        )

    def _review_later(self, hosting: _Hosting) -> None:
        """Let the pool judge its devices, twice a second for as long as the session lives."""

        def review() -> None:
            for release in hosting.pool.review(monotonic_us()):
                log.info(
                    "session %s lets go of %s: %s",
                    hosting.session.id,
                    self.maker_name(release.device),
                    release.why,
                )
                self._release(hosting, release.device)
            self._fill(hosting)
            self._review_later(hosting)

        hosting.review = asyncio.get_running_loop().call_later(REVIEW_US / 1e6, review)

    def _release(self, hosting: _Hosting, device: DeviceKey) -> None:
        """The session gives a device back; its node forgets the session with the last of them."""
        hosting.asked.discard(device)
        hosting.failed.pop(device, None)
        hosting.session.device_lost(device)
        if not any(other.node == device.node for other in hosting.asked):
            close = SessionClose(hosting.session.id, hosting.session.epoch)
            self._workers[device.node].channel.send(close)

    async def _serve(self, hosting: _Hosting) -> None:
        try:
            await hosting.session.serve()
        except Exception:
            # A workload's or our own bug: it ends this session, never the gateway.
            log.exception("session %s failed", hosting.session.id)
            self._end(hosting, "the gateway failed at it; its log says how")

    def _end(self, hosting: _Hosting, reason: str) -> None:
        if hosting.ended:
            return
        hosting.ended = True
        hosting.pool.close()
        if hosting.review is not None:
            hosting.review.cancel()
        session = hosting.session
        self._hosted.pop(session.id, None)
        log.info("session %s ends: %s", session.id, reason)
        if hosting.told_of_end is not None:
            hosting.told_of_end(reason)
        for node in {device.node for device in hosting.asked}:
            worker = self._workers.get(node)
            if worker is not None:
                worker.channel.send(SessionClose(session.id, session.epoch))
        if hosting.task is not None and hosting.task is not asyncio.current_task():
            hosting.task.cancel()
        self._tasks.create_task(session.stream.close(reason))
        self._note_idle()

    def _description(self, hosting: _Hosting) -> dict[str, Any]:
        contract = hosting.work.contract
        return {
            "workload": hosting.workload,
            "fps": 1e6 / contract.period_us,
            "deadline_us": contract.deadline_us,
            **hosting.work.describe(),
            "pictures": hosting.work.picture is not None,
        }

    # --- workers -----------------------------------------------------------------------------

    def worker_found(self, channel: Channel, name: str, offers: tuple[DeviceOffer, ...]) -> None:
        """A worker of the realm is linked (or this node's own half, at start)."""
        before = self._workers.get(channel.node)
        if before is not None:
            self.worker_gone(before.channel)
        self._workers[channel.node] = _WorkerNode(channel, name)
        self._offered(channel, offers)

    def worker_gone(self, channel: Channel) -> None:
        """Its link ended."""
        worker = self._workers.get(channel.node)
        if worker is not None and worker.channel is channel:
            self._offered(channel, ())
            del self._workers[channel.node]

    def maker_name(self, device: DeviceKey) -> str:
        """A device for people: the node's name, the first group of its id, the device."""
        worker = self._workers.get(device.node)
        name = worker.name if worker is not None else "gone"
        return f"{name}@{device.node.partition('-')[0]}/{device.device}"

    def _channel_of(self, node: NodeId) -> Channel | None:
        worker = self._workers.get(node)
        return worker.channel if worker is not None else None

    def _offered(self, channel: Channel, offers: tuple[DeviceOffer, ...]) -> None:
        worker = self._workers[channel.node]
        now = {offer.device: offer for offer in offers}
        for device in worker.offers.keys() - now.keys():
            del worker.offers[device]
            self._device_lost(DeviceKey(channel.node, device))
        for device, offer in now.items():
            worker.offers[device] = offer
            self._directory.add(DeviceKey(channel.node, device), offer.workloads)
        for hosting in self._hosted.values():
            self._fill(hosting)

    def _worker_leaving(self, channel: Channel) -> None:
        """Nothing more goes there; what is there is awaited until the link ends."""
        worker = self._workers[channel.node]
        worker.leaving = True
        for name in worker.offers:
            device = DeviceKey(channel.node, name)
            self._directory.remove(device)
            for hosting in self._hosted.values():
                hosting.pool.lost(device)
                hosting.session.device_leaving(device)
        for hosting in self._hosted.values():
            self._fill(hosting)

    def _device_lost(self, device: DeviceKey) -> None:
        self._placer.remove(device)
        self._directory.remove(device)
        for hosting in list(self._hosted.values()):
            hosting.pool.lost(device)
            hosting.asked.discard(device)
            hosting.session.device_lost(device)
            self._settle(hosting)

    def _settle(self, hosting: _Hosting) -> None:
        """Tell whoever opens the session once it is clear whether any device holds it."""
        ready = hosting.session.driver.ready
        if ready or not hosting.asked - hosting.failed.keys():
            hosting.settled.set()

    # --- messages from workers (Endpoint) ------------------------------------------------------

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview | None:
        """Only results carry a body here, and only wanted ones are received."""
        if not isinstance(message, PieceDone):
            raise ProtocolViolation(
                what=f"{type(message).__name__} came with a body of {size} bytes",
                why="only results carry one here",
                fix="Update the sender; this link is closed.",
            )
        hosting = self._hosted.get(message.session)
        if hosting is None or not hosting.session.wants(channel, message, size):
            return None
        return np.empty(size, np.uint8).data  # a bytearray would be zeroed first

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        """One message from a worker."""
        match message:
            case PieceDone():
                hosting = self._hosted.get(message.session)
                if hosting is not None:
                    hosting.session.piece_done(channel, message, body)
            case PieceRefused():
                hosting = self._hosted.get(message.session)
                if hosting is not None:
                    hosting.session.piece_refused(channel, message)
            case SessionReady():
                self._session_ready(channel, message)
            case SessionFailed():
                self._session_failed(channel, message)
            case AssetWanted():
                self._send_asset(channel, message)
            case DevicesChanged():
                if message.leaving:
                    self._worker_leaving(channel)
                else:
                    self._offered(channel, message.devices)
            case _:
                raise ProtocolViolation(
                    what=f"unexpected {type(message).__name__}",
                    why="a gateway does not take it",
                    fix="Update the sender; this link is closed.",
                )

    def _asked_of(self, channel: Channel, message: SessionReady | SessionFailed) -> _Hosting | None:
        hosting = self._hosted.get(message.session)
        if hosting is None or hosting.session.epoch != message.epoch:
            return None
        return hosting if DeviceKey(channel.node, message.device) in hosting.asked else None

    def _session_ready(self, channel: Channel, message: SessionReady) -> None:
        hosting = self._asked_of(channel, message)
        if hosting is not None and not self._workers[channel.node].leaving:
            device = DeviceKey(channel.node, message.device)
            hosting.failed.pop(device, None)
            hosting.session.device_ready(device)
            self._settle(hosting)

    def _session_failed(self, channel: Channel, message: SessionFailed) -> None:
        hosting = self._asked_of(channel, message)
        if hosting is not None:
            device = DeviceKey(channel.node, message.device)
            hosting.failed[device] = from_problem(message.problem)
            log.warning("%s: %s", self.maker_name(device), hosting.failed[device])
            hosting.pool.unfit(device)
            hosting.session.device_lost(device)
            self._settle(hosting)

    def _send_asset(self, channel: Channel, message: AssetWanted) -> None:
        for hosting in self._hosted.values():
            asset = hosting.assets.get(message.digest)
            if asset is not None and any(d.node == channel.node for d in hosting.asked):
                send_asset(channel, asset, message.offset)
                return
        channel.send(AssetMissing(message.digest))


def send_asset(channel: Channel, asset: Asset, offset: int) -> None:
    """In ranges, in order: what has come when the link breaks need not be sent again."""
    data, due_us = memoryview(asset.data).cast("B"), monotonic_us() + ASSET_DUE_US
    step = ASSET_RANGE if channel.may_break else max(len(data), 1)
    for start in range(offset, max(len(data), offset + 1), step):
        body = data[start : start + step]
        channel.send(AssetData(asset.digest, start), body, due_us=due_us)
        due_us += 1


def _owns(principal: ClientToken, hosting: _Hosting) -> bool:
    owner = hosting.owner
    return (owner.signer, owner.subject) == (principal.signer, principal.subject)


def _no_viewer(viewer_id: str, session_id: str) -> UnknownViewer:
    return UnknownViewer(
        what=f"no viewer {viewer_id[:40]} of session {session_id}",
        why="it has left or never was",
        fix="Join anew.",
    )


def _may_see(principal: ClientToken, hosting: _Hosting) -> bool:
    """A token with the scope `view` may see every session but others' private ones."""
    return not hosting.private or _owns(principal, hosting)


def _check_roads(work: SessionWork, offer_sdp: str, deliver: Deliver | None) -> None:
    """Whether inputs and results of such a session can travel as the client asks."""
    if work.picture is not None and not offer_sdp:
        why, fix = "it makes pictures, which go over WebRTC", "Send an SDP offer."
    elif work.contract.trigger == "input" and deliver is None:
        why, fix = "its inputs come over a mesh link", "Open it with the SDK (`framemesh.connect`)."
    else:
        return
    raise WrongRoad(what="the session is not opened", why=why, fix=fix)
