"""The stream of one session: canvases out to the composer, pictures out to viewers, inputs in.

One encoder serves all viewers of the session. It runs in a thread of its own; everything else
here belongs to the event loop.

Viewers are of two kinds. Those that `hold` admits hold the session: they steer it, and when the
last of them is gone or has misbehaved the stream ends itself (`on_closed`); whoever made it then
calls `close`. With the option `resume` it waits a while for a viewer that takes the place of the
one that is gone (`take_over`); what that one still sends is refused. Those that `join` admits look
on: they may come, go and misbehave, and cost nobody but themselves the stream.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from mesh.core.errors import ContentRefused, MeshError, Misuse, NotAuthorized, SessionRefused
from mesh.core.loop import monotonic_us
from mesh.core.workload import PictureFormat
from mesh.stream import barcode
from mesh.stream.canvas import Canvas, CanvasPool
from mesh.stream.encoders import CLOCK_HZ, ENCODERS, PictureEncoder, open_encoder
from mesh.stream.fragment import Fragment, check_session
from mesh.stream.inputs import InputGate, Offence
from mesh.stream.offer import read_offer
from mesh.stream.parts import count_parts, split
from mesh.stream.payloads import Payloader, payloader
from mesh.stream.ratecontrol import (
    HIGHEST_BPS,
    LOWEST_BPS,
    BitrateControl,
    default_bitrate,
)
from mesh.stream.repair import KeyframeGate
from mesh.stream.rtc import Peer

log = logging.getLogger(__name__)

MAX_VIEWERS = 8
MAX_IN_ENCODER = 2  # one being encoded and one waiting; more would only add delay
CONNECT_US = 15_000_000  # an answered viewer must have connected by then
GRACE_US = 15_000_000  # a viewer that may resume has so long to come back
BEAT_US = 100_000  # of a viewer that may resume: it hears something at least so often
SILENCE_US = 10_000_000  # viewers send checks and reports far more often (RFC 7675: each 5 s)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a client may choose about its stream, apart from the workload's own options."""

    codec: str | None = None  # "h264" or "vp8"; None: the best that the viewer offers
    barcode: bool = False  # draw the frame id into each picture
    bitrate: int | None = None  # the most bits per second; None: by size and rate
    private: bool = False  # nobody else's token lets a viewer join
    resume: bool = False  # another connection may take the viewer's place
    steady: bool = False  # frames at even instants, rather than with the freshest input

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> tuple[StreamOptions, dict[str, Any]]:
        """Split a client's options into the stream's and the rest, which is the workload's.

        Raises SessionRefused on a value that the stream cannot follow.
        """
        rest = dict(options)
        codec = rest.pop("codec", None)
        if codec is not None and codec not in ENCODERS:
            raise _bad_option("codec", codec, f"one of {', '.join(ENCODERS)}")
        flags = {name: rest.pop(name, 0) for name in ("barcode", "private", "resume", "steady")}
        for name, value in flags.items():
            if value not in (0, 1):
                raise _bad_option(name, value, "0 or 1")
        bitrate = rest.pop("bitrate", None)
        in_range = type(bitrate) is int and LOWEST_BPS <= bitrate <= HIGHEST_BPS
        if bitrate is not None and not in_range:
            raise _bad_option("bitrate", bitrate, f"{LOWEST_BPS} to {HIGHEST_BPS}")
        return cls(codec, bitrate=bitrate, **{n: bool(v) for n, v in flags.items()}), rest


@dataclass(frozen=True, slots=True)
class SendReport:
    """What became of one sent canvas. All zero when nobody was watching."""

    queue_us: int = 0  # waiting for the encoder thread
    encode_us: int = 0  # barcode, encoder, and the cut into payloads
    bytes: int = 0
    keyframe: bool = False


@dataclass(frozen=True, slots=True)
class _Encoded:
    """One picture, cut for its packets; no payloads if the encoder dropped it."""

    payloads: Sequence[bytes]
    pts: int  # 1 / CLOCK_HZ seconds
    report: SendReport


@dataclass(slots=True)
class ResultCounts:
    """What became of a session's results, counted once for each viewer."""

    sent: int = 0
    dropped: int = 0  # the viewer's channel was not open, or had too much waiting
    too_long: int = 0  # for a data channel; counted once, whoever looks on


@dataclass(frozen=True, slots=True)
class Joined:
    """A viewer that was admitted."""

    viewer_id: str  # URL-safe, unguessable: whoever knows it may send it away if it looks on
    answer_sdp: str
    resume: str = ""  # what takes its place with; "" where nothing may


class Stream:
    """The stream of one session.

    format: the canvas, or None for a workload whose results are messages only.
    fps: the frame rate that the rate control plans for.
    on_input: called on the event loop with each new decoded input (a JSON object with an `id`);
        a ContentRefused that it raises counts as the viewer's offence.
    on_closed: called once on the event loop if the stream ends itself, with the reason.
    ice_servers: STUN or TURN URLs; none by default.
    Raises Misuse for a format that cannot be encoded, SessionRefused for one too small for the
    barcode that the client asked for.
    """

    def __init__(
        self,
        format: PictureFormat | None,  # noqa: A002 - the word of the workload contract
        fps: float,
        *,
        on_input: Callable[[Mapping[str, Any]], None],
        on_closed: Callable[[str], None],
        options: StreamOptions = StreamOptions(),
        ice_servers: Sequence[str] = (),
        silence_us: int = SILENCE_US,
        connect_us: int = CONNECT_US,
        grace_us: int = GRACE_US,
    ) -> None:
        if format is not None:
            _check_format(format, options)
        self._format, self._fps, self._options = format, fps, options
        self._on_input, self._on_closed = on_input, on_closed
        self._ice_servers = ice_servers
        self._silence_us, self._connect_us = silence_us, connect_us
        self._grace_us = grace_us if options.resume else 0
        self._resume = ""  # what the next viewer takes the place of the last one with
        self._forsaken: tuple[int, str] | None = None  # since when nobody holds it, and why
        self._pool = CanvasPool(format) if format is not None else None
        self._most_bps = options.bitrate or (default_bitrate(format, fps) if format else 0)
        self._rate = BitrateControl(self._most_bps)
        self._keyframes = KeyframeGate()
        self._encoder: PictureEncoder | None = None
        self._payloader: Payloader | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._in_encoder = 0
        self._started_us = monotonic_us()
        self._last_pts = -1
        self._viewers: dict[Peer, _Viewer] = {}
        self.results = ResultCounts()
        self._answering = asyncio.Lock()
        self._closing_peers: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None
        self._said_us = 0  # when viewers were last told anything
        self._ended = False  # nothing more is sent
        self._closed = False

    # --- for the gateway ------------------------------------------------------------------

    @property
    def watched(self) -> bool:
        """Whether any viewer is connected; without one, frames are work for nobody."""
        return any(peer.connected for peer in self._viewers)

    @property
    def viewers(self) -> int:
        """How many viewers are connected, or about to."""
        return len(self._viewers)

    @property
    def previous(self) -> memoryview:
        """The last sent canvas, read-only, until the next `send`; empty before the first.

        A frame that fills from it must use its own `Canvas.previous`, which stays unchanged
        for as long as that canvas is out.
        """
        return self._pool.previous if self._pool is not None else memoryview(b"")

    async def answer(self, offer_sdp: str, *, codec: str | None = None) -> str:
        """`hold`, for whoever needs no more than our SDP answer."""
        return (await self.hold(offer_sdp, codec=codec)).answer_sdp

    async def hold(self, offer_sdp: str, *, codec: str | None = None) -> Joined:
        """Admit a viewer that holds the session: its SDP offer in, our SDP answer out.

        codec: overrides the session's option for the first viewer; later ones get the codec
            that the session encodes.
        Raises SessionRefused if the offer is malformed, holds no usable codec, or the stream has
        ended or is full; DeviceUnavailable if the encoder does not open.
        """
        viewer = _Viewer(holds=True)
        answer_sdp = await self._admit(offer_sdp, codec, viewer)
        self._resume = secrets.token_urlsafe(24) if self._options.resume else ""
        return Joined(viewer.id, answer_sdp, self._resume)

    async def take_over(self, offer_sdp: str, resume: str) -> Joined:
        """Admit a viewer in the place of those that held the session until now.

        resume: what the last of them was told. It serves once: the new viewer is told another, and
            nothing that those before it still send is taken.
        Raises NotAuthorized if that is another's or was used, else as `hold` does; then all is as
        before.
        """
        if not self._resume or not secrets.compare_digest(resume.encode(), self._resume.encode()):
            raise NotAuthorized(
                what="the session is not resumed",
                why="another connection has taken it over, or it was not opened with resume=1",
                fix="Open a new session.",
            )
        given, self._resume = self._resume, ""
        before = [peer for peer, viewer in self._viewers.items() if viewer.holds]
        try:
            taken = await self.hold(offer_sdp)
        except BaseException:
            self._resume = given
            raise
        for peer in before:
            self._drop(peer)
        return taken

    async def join(self, offer_sdp: str) -> Joined:
        """Admit a viewer that looks on. Raises as `hold` does."""
        viewer = _Viewer(holds=False)
        return Joined(viewer.id, await self._admit(offer_sdp, None, viewer))

    async def trickle(
        self, viewer_id: str | None, if_match: str | None, fragment: Fragment
    ) -> bool:
        """Take a viewer's later ICE candidates; False if there is no such viewer.

        viewer_id: of one that looks on; None: the one that holds the session.
        if_match: the request's precondition; the entity tag of an ICE session is its viewer's id.
        Raises TagMissing, TagOutdated or RestartRefused.
        """
        for peer, viewer in reversed(self._viewers.items()):
            if viewer.holds if viewer_id is None else viewer.id == viewer_id:
                check_session(fragment, if_match, tag=viewer.id, ufrag=peer.ufrag)
                await peer.trickle(fragment)
                return True
        return False

    @property
    def viewer_ids(self) -> frozenset[str]:
        """Of all who are connected, or about to be."""
        return frozenset(viewer.id for viewer in self._viewers.values())

    def leave(self, viewer_id: str) -> bool:
        """Send a viewer that looks on away; False if there is none of that id."""
        for peer, viewer in self._viewers.items():
            if viewer.id == viewer_id and not viewer.holds:
                self._drop(peer)
                return True
        return False

    async def _admit(self, offer_sdp: str, codec: str | None, viewer: _Viewer) -> str:
        offer = await asyncio.to_thread(read_offer, offer_sdp)
        if self._format is not None and not offer.has_video:
            raise _unanswered("it has no video section, and this session makes pictures")
        async with self._answering:
            if self._ended:
                raise _unanswered("the session has ended")
            if len(self._viewers) >= MAX_VIEWERS:
                raise _unanswered(f"the session has {MAX_VIEWERS} viewers already")
            codecs = self._codecs_to_offer(codec)
            peer = Peer(self, codecs, self._ice_servers, self._most_bps)
            try:
                answer = await peer.answer(offer)
                await self._open_encoder(peer.codec)
                if self._ended:
                    raise _unanswered("the session has ended")
            except BaseException:
                await peer.close()
                raise
            viewer.answered_us = monotonic_us()
            self._viewers[peer] = viewer
            if viewer.holds:
                self._forsaken = None
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_viewers(), name="stream-watch")
            if self._options.resume:
                self._beat = asyncio.create_task(self._say_so(), name="stream-beat")
        return answer

    def lease_canvas(self) -> Canvas | None:
        """A canvas to compose the next frame in; None when the encoder is behind, or the path of
        every viewer: skip the frame.

        Give it back with `send` or `release_canvas`. Raises Misuse if the session has no picture.
        """
        if self._pool is None:
            raise Misuse(
                what="no canvas to lease",
                why="the session's workload makes no pictures",
                fix="Check SessionWork.picture before leasing.",
            )
        if self._in_encoder >= MAX_IN_ENCODER or self._congested():
            return None
        return self._pool.lease()

    def _congested(self) -> bool:
        connected = [peer for peer in self._viewers if peer.connected]
        return bool(connected) and all(peer.congested for peer in connected)

    def release_canvas(self, canvas: Canvas) -> None:
        """Take back a canvas whose frame was given up."""
        assert self._pool is not None
        self._pool.release(canvas)

    def send(self, canvas: Canvas, frame_id: int, captured_us: int) -> Awaitable[SendReport]:
        """Encode a composed canvas and hand it to every viewer; call in frame order.

        captured_us: when the frame was opened, on this node's clock; becomes its RTP time.
        Begins at once, before it is awaited. Cancelling the wait does not stop the picture:
        viewers' decoders need every one.
        """
        assert self._pool is not None
        loop = asyncio.get_running_loop()
        done: asyncio.Future[SendReport] = loop.create_future()
        encoder = self._encoder
        if encoder is None or not self.watched or self._ended:
            self._pool.finish(canvas)
            done.set_result(SendReport())
            return done
        now_us = monotonic_us()
        job = functools.partial(
            self._encode,
            encoder,
            canvas,
            frame_id=frame_id,
            pts=self._next_pts(captured_us),
            bps=self._rate.bitrate(now_us),
            keyframe=self._keyframes.take(now_us),
            asked_us=now_us,
        )
        self._in_encoder += 1
        self._thread.submit(self._encode_and_tell, loop, job, canvas, done)
        return asyncio.shield(done)

    def publish(self, facts: str) -> None:
        """Send a frame's facts (JSON) on the frames channel.

        Dropped for each viewer whose channel is not open or has too much waiting.
        """
        self._said_us = monotonic_us()
        for peer in self._viewers:
            peer.say(facts)

    def publish_result(self, frame_id: int, result: bytes) -> int:
        """Send a workload's result for a frame on the frames channel, before the frame's facts.

        Returns in how many parts it goes: 0 if it is longer than MAX_RESULT, and is not sent.
        Dropped for each viewer whose channel is not open or has too much waiting.
        """
        parts = count_parts(len(result))
        if not self._viewers:
            return parts
        if not parts:
            if not self.results.too_long:
                log.warning("a result of %d bytes is too long for a data channel", len(result))
            self.results.too_long += 1
            return 0
        messages = split(frame_id, result)
        for peer in self._viewers:
            if peer.send_parts(messages):
                self.results.sent += 1
            else:
                self.results.dropped += 1
        return parts

    async def close(self, reason: str = "the session has ended") -> None:
        """End every viewer's connection and the encoder. Idempotent; `on_closed` is not called.

        reason: told to the viewers, unless the stream ended itself and they know.
        """
        if self._closed:
            return
        if not self._ended:
            self._say_closed(reason)
        self._ended = self._closed = True
        if watches := [task for task in (self._watch, self._beat) if task is not None]:
            for task in watches:
                task.cancel()
            await asyncio.wait(watches)
            self._watch = self._beat = None
        for peer in list(self._viewers):
            self._drop(peer)
        if self._closing_peers:
            await asyncio.wait(self._closing_peers)
        # What is in the encoder still hands its canvas back; then its thread can go.
        await asyncio.get_running_loop().run_in_executor(self._thread, int)
        self._thread.shutdown(wait=False)

    # --- encoding -------------------------------------------------------------------------

    def _codecs_to_offer(self, asked: str | None) -> Sequence[str]:
        if self._format is None:
            return ()
        if self._encoder is not None:
            return (self._encoder.codec,)
        codec = asked or self._options.codec
        if codec is not None and codec not in ENCODERS:
            raise _bad_option("codec", codec, f"one of {', '.join(ENCODERS)}")
        return (codec,) if codec else tuple(ENCODERS)

    async def _open_encoder(self, codec: str | None) -> None:
        if self._encoder is not None or codec is None or self._format is None:
            return
        if self._ended:  # while the answer was being made
            raise _unanswered("the session has ended")
        self._encoder = await asyncio.get_running_loop().run_in_executor(
            self._thread, open_encoder, codec, self._format, self._fps, self._most_bps
        )
        self._payloader = payloader(codec)

    def _next_pts(self, captured_us: int) -> int:
        pts = (captured_us - self._started_us) * CLOCK_HZ // 1_000_000
        self._last_pts = max(self._last_pts + 1, pts)
        return self._last_pts

    def _encode_and_tell(
        self,
        loop: asyncio.AbstractEventLoop,
        job: Callable[[], _Encoded],
        canvas: Canvas,
        done: asyncio.Future[SendReport],
    ) -> None:
        """In the encoder thread. One wake-up of the loop, not the three of a wrapped future."""
        try:
            outcome: _Encoded | Exception = job()
        except Exception as problem:
            outcome = problem
        loop.call_soon_threadsafe(self._encoded, canvas, done, outcome)

    def _encode(
        self,
        encoder: PictureEncoder,
        canvas: Canvas,
        *,
        frame_id: int,
        pts: int,
        bps: int,
        keyframe: bool,
        asked_us: int,
    ) -> _Encoded:
        """In the encoder thread."""
        assert self._payloader is not None
        started_us = monotonic_us()
        if self._options.barcode:
            barcode.stamp(canvas.picture, frame_id)
        encoder.set_bitrate(bps)
        encoded = encoder.encode(canvas.picture, pts, keyframe)
        payloads = self._payloader(encoded.packet) if encoded.packet is not None else []
        report = SendReport(
            queue_us=started_us - asked_us,
            encode_us=monotonic_us() - started_us,
            bytes=encoded.nbytes,
            keyframe=encoded.keyframe,
        )
        return _Encoded(payloads, pts, report)

    def _encoded(
        self, canvas: Canvas, done: asyncio.Future[SendReport], outcome: _Encoded | Exception
    ) -> None:
        self._in_encoder -= 1
        assert self._pool is not None
        self._pool.finish(canvas)
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
            self._end(f"the encoder failed: {outcome}")
            return
        done.set_result(outcome.report)
        if not outcome.payloads:
            return
        for peer in self._viewers:
            if peer.connected:
                peer.send_picture(outcome.payloads, outcome.pts, outcome.report.keyframe)
        self._rate.sent(outcome.report.bytes, monotonic_us())

    # --- viewers (PeerEvents) -------------------------------------------------------------

    def peer_connected(self, peer: Peer) -> None:
        """A new viewer starts with a whole picture."""
        self._keyframes.request()

    def peer_lost(self, peer: Peer, reason: str) -> None:
        """A viewer is gone for good."""
        viewer = self._viewers.get(peer)
        if viewer is None:
            return
        self._drop(peer)
        if viewer.holds and not any(other.holds for other in self._viewers.values()):
            self._forsaken = (monotonic_us(), f"the last viewer is gone: {reason}")
            if not self._grace_us:
                self._end(self._forsaken[1])

    def keyframe_wanted(self, peer: Peer) -> None:
        """PLI or FIR, or its queue overflowed."""
        self._keyframes.request()

    def bitrate_estimated(self, peer: Peer, bps: int) -> None:
        """A receiver's estimate of its path."""
        self._rate.estimated(peer, bps, monotonic_us())

    def packets_lost(self, peer: Peer, share: float) -> None:
        """A receiver's report."""
        self._rate.lost(peer, share, monotonic_us())

    def bitrate_allowed(self, peer: Peer, bps: int) -> None:
        """Its path's own controller has spoken."""
        self._rate.allowed(peer, bps, monotonic_us())

    def input_received(self, peer: Peer, message: str | bytes) -> None:
        """One message of the input channel."""
        viewer = self._viewers.get(peer)
        if viewer is None:
            return
        try:
            if not viewer.holds:
                raise Offence("an input, though it only looks on")
            state = viewer.gate.admit(message, monotonic_us())
            if state is not None:
                self._on_input(state)
        except (Offence, ContentRefused) as problem:
            self.misbehaved(peer, str(problem))

    def misbehaved(self, peer: Peer, why: str) -> None:
        """Count an offence. When they outrun what is forgiven, the session ends for the viewer, and
        for everyone if that viewer held it.
        """
        viewer = self._viewers.get(peer)
        if viewer is None or viewer.gate.forgives(monotonic_us()):
            return
        reason = f"the viewer kept sending what it must not: {why}"
        if viewer.holds:
            self._end(reason)
        else:
            peer.say(_closed(reason))
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        if self._viewers.pop(peer, None) is None:
            return
        self._rate.forget(peer)
        task = asyncio.create_task(peer.close(), name="stream-peer-close")
        self._closing_peers.add(task)
        task.add_done_callback(self._closing_peers.discard)

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        log.info("stream ended: %s", reason)
        self._say_closed(reason)
        self._on_closed(reason)

    def _say_closed(self, reason: str) -> None:
        self.publish(_closed(reason))

    async def _say_so(self) -> None:
        """Let viewers hear that there is nothing to tell: a path that has died says less."""
        pause_us = BEAT_US
        while not self._ended:
            await asyncio.sleep(pause_us / 1_000_000)
            quiet_us = monotonic_us() - self._said_us
            if quiet_us >= BEAT_US:
                self.publish(_QUIET)
                quiet_us = 0
            pause_us = BEAT_US - quiet_us

    async def _watch_viewers(self) -> None:
        """Notice viewers that never came or fell silent (ICE alone takes half a minute)."""
        shortest_us = min(self._silence_us, self._connect_us, self._grace_us or self._silence_us)
        pause_s = shortest_us / 10 / 1_000_000
        while not self._ended:
            await asyncio.sleep(pause_s)
            now_us = monotonic_us()
            if self._forsaken is not None and now_us - self._forsaken[0] > self._grace_us:
                self._end(self._forsaken[1])
            for peer, viewer in list(self._viewers.items()):
                if not peer.connected and now_us - viewer.answered_us > self._connect_us:
                    self.peer_lost(peer, "it never connected")
                elif peer.connected and now_us - peer.heard_us > self._silence_us:
                    self.peer_lost(peer, f"silent for {self._silence_us // 1_000_000} s")


class _Viewer:
    """What the stream keeps about one peer."""

    def __init__(self, *, holds: bool) -> None:
        self.id = secrets.token_urlsafe(16)
        self.holds = holds
        self.answered_us = 0
        self.gate = InputGate()


# To viewers: this gateway ends; whoever knows another one goes there.
LEAVING = msgspec.json.encode({"leaving": True}).decode()
_QUIET = msgspec.json.encode({"quiet": True}).decode()


def _closed(reason: str) -> str:
    return msgspec.json.encode({"closed": reason}).decode()


def _check_format(picture: PictureFormat, options: StreamOptions) -> None:
    width, height = picture.width, picture.height
    if width % 2 or height % 2 or not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise Misuse(
            what=f"a {width}x{height} picture cannot be streamed",
            why="sides must be even, 16 to 8192",
            fix="Have the workload round or refuse the size that the client asks for.",
        )
    if options.barcode and width < barcode.MIN_WIDTH:
        raise SessionRefused(
            what="the barcode does not fit",
            why=f"it needs {barcode.MIN_WIDTH} pixels and the picture is {width} wide",
            fix="Ask for a wider picture, or leave out barcode=1.",
        )


def _bad_option(name: str, value: object, allowed: str) -> MeshError:
    return SessionRefused(
        what=f"option {name}={str(value)[:64]} cannot be followed",
        why=f"it must be {allowed}",
        fix="Correct the option in the address.",
    )


def _unanswered(why: str) -> SessionRefused:
    return SessionRefused(
        what="the viewer cannot be admitted",
        why=why,
        fix="Open a new session with an offer that fits it.",
    )
