"""One WebRTC connection that receives a session: aiortc, extended at the places where it waits.

Everything that reaches inside aiortc or aioice for the SDK is in this file; nothing is forked.
Each place is one function named `_extend_...` or `PromptBuffer`, and
tests/clients/test_sdk_receiver.py fails naming the place when a release moves it. Written
against aiortc 1.16.0, aioice 0.13.

What is extended, and why:

* a picture goes to the decoder with its last packet (the RTP marker, RFC 6184 5.1, RFC 7741 4.2),
  not with the next picture's first: stock aiortc shows each a whole frame period late;
* when a gap closes, all pictures behind it go to the decoder, not one for each further packet;
* a whole picture can be asked for at any time, for a recording to begin with;
* loopback is a host candidate if the gateway is on this machine, which then needs no network.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import av
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket

from mesh.core.errors import LinkLost, ProtocolViolation
from mesh.core.loop import monotonic_us

log = logging.getLogger(__name__)

FRAMES_CHANNEL, INPUT_CHANNEL = 1, 2  # negotiated ids; docs/protocol-browser.md
CONNECT_S = 15.0  # the gateway waits no longer either
CLOSE_S = 5.0
_PACKETS = 512  # as aiortc's own buffer for video
_RTP_MODULUS = 2**32
_KEPT_TIMES = 256  # pictures between their last packet and the decoder's output


class ReceiverEvents(Protocol):
    """What a receiver reports, on the event loop."""

    def picture_came(self, picture: av.VideoFrame, rtp: int, received_us: int) -> None:
        """A decoded picture, its RTP timestamp (from any start), when its last packet came."""
        ...

    def encoded_came(self, data: bytes, rtp: int) -> None:
        """The same before it is decoded; `rtp` counts from another start."""
        ...

    def message_came(self, message: str | bytes) -> None:
        """A message on the frames channel, unchecked."""
        ...

    def receiver_ended(self, why: LinkLost) -> None:
        """The connection is gone."""
        ...


@asynccontextmanager
async def open_receiver(
    events: ReceiverEvents, *, pictures: bool, loopback: bool
) -> AsyncIterator[Receiver]:
    """A connection to offer to a gateway, closed with the block.

    pictures: ask for the video track. loopback: the gateway is on this machine.
    """
    receiver = Receiver(events, pictures=pictures, loopback=loopback)
    try:
        yield receiver
    finally:
        await receiver.close()


class Receiver:
    """See `open_receiver`. First `offer`, then `accept` the gateway's answer."""

    def __init__(self, events: ReceiverEvents, *, pictures: bool, loopback: bool) -> None:
        # No servers: nobody but the gateway is ever asked.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._events = events
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching: asyncio.Task[None] | None = None
        self._arrivals = _Arrivals()
        self._video: RTCRtpReceiver | None = None
        self._closing = False
        if pictures:
            self._video = self._connection.addTransceiver("video", direction="recvonly").receiver
            _extend_buffer(self._video, self._picture_complete)
        options: dict[str, Any] = {"ordered": False, "maxRetransmits": 0, "negotiated": True}
        create = self._connection.createDataChannel
        self._frames = create("frames", id=FRAMES_CHANNEL, **options)
        self._input: RTCDataChannel = create("input", id=INPUT_CHANNEL, **options)
        if loopback:
            _extend_ice(self._connection)
        self._connection.on("connectionstatechange", self._state_changed)
        self._connection.on("track", self._track_came)
        self._frames.on("message", events.message_came)
        for channel in (self._frames, self._input):
            channel.on("open", self._channel_opened)

    async def offer(self) -> str:
        """Our SDP offer, with all our candidates."""
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def accept(self, answer_sdp: str) -> None:
        """Take the gateway's answer and wait until data can flow.

        Raises ProtocolViolation if the answer cannot be used, LinkLost if no way is found.
        """
        answer = RTCSessionDescription(answer_sdp, "answer")
        try:
            await self._connection.setRemoteDescription(answer)
        except Exception as problem:  # aiortc raises whatever its first surprise was
            raise ProtocolViolation(
                what="the gateway's SDP answer cannot be used",
                why=str(problem) or type(problem).__name__,
                fix="Update framemesh on the older of the two sides.",
            ) from problem
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._ready
        except TimeoutError:
            raise _lost(f"no UDP path to it was found in {CONNECT_S:.0f} s") from None

    def steer(self, event: bytes) -> None:
        """Send a JSON object on the input channel; dropped if the connection is gone."""
        if self._input.readyState == "open":
            self._input.send(event.decode())

    async def want_keyframe(self) -> None:
        """Ask for a picture that decoding can begin with."""
        if self._video is not None:
            await _extend_feedback(self._video)

    async def close(self) -> None:
        """End the connection; the gateway is told."""
        self._closing = True
        self._ready.cancel()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_S)
        except Exception:  # a connection that failed half-way may not close cleanly either
            log.warning("a WebRTC connection did not close cleanly", exc_info=True)

    # --- what aiortc reports --------------------------------------------------------------

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state in ("failed", "closed"):
            self._lost("the path to it broke" if state == "failed" else "it hung up")

    def _channel_opened(self) -> None:
        both = (self._frames, self._input)
        if not self._ready.done() and all(channel.readyState == "open" for channel in both):
            self._ready.set_result(None)

    def _picture_complete(self, picture: JitterFrame) -> None:
        self._arrivals.note(picture.timestamp)
        self._events.encoded_came(picture.data, picture.timestamp)

    def _track_came(self, track: MediaStreamTrack) -> None:
        self._watching = asyncio.create_task(self._watch(track), name="sdk-pictures")

    async def _watch(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                picture = await track.recv()
                assert isinstance(picture, av.VideoFrame)
                rtp = int(picture.pts or 0) % _RTP_MODULUS
                self._events.picture_came(picture, rtp, self._arrivals.of(rtp))
        except MediaStreamError:
            self._lost("it ended the picture")

    def _lost(self, why: str) -> None:
        if self._closing:
            return
        problem = _lost(why)
        if not self._ready.done():
            self._ready.set_exception(problem)
            self._ready.exception()  # retrieved: `accept` may have given up already
        self._events.receiver_ended(problem)


class _Arrivals:
    """When the last packet of each of the latest pictures came, by timestamp as decoders see it."""

    def __init__(self) -> None:
        self._first: int | None = None  # decoders count from there
        self._times: OrderedDict[int, int] = OrderedDict()

    def note(self, timestamp: int) -> None:
        """A picture of that RTP timestamp is complete."""
        if self._first is None:
            self._first = timestamp
        self._times[(timestamp - self._first) % _RTP_MODULUS] = monotonic_us()
        if len(self._times) > _KEPT_TIMES:
            self._times.popitem(last=False)

    def of(self, rtp: int) -> int:
        """Microseconds, for a decoded picture."""
        return self._times.get(rtp) or monotonic_us()


# --- where aiortc is extended -------------------------------------------------------------------


class PromptBuffer(JitterBuffer):
    """Hands out a picture as soon as its last packet, and all before it, are here.

    early: given all but the newest picture when one packet completes several, with that packet.
    complete: told of every picture handed out, first of all.
    """

    def __init__(
        self,
        early: Callable[[RtpPacket, JitterFrame], None],
        complete: Callable[[JitterFrame], None],
    ) -> None:
        super().__init__(capacity=_PACKETS, is_video=True)
        self._early, self._complete = early, complete

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """See JitterBuffer: (whether a whole picture must be asked for, the newest picture)."""
        wants_keyframe, newest = super().add(packet)
        while newest is not None:
            later = self._remove_frame(packet.sequence_number)
            if later is None:
                break
            self._early(packet, newest)
            newest = later
        return wants_keyframe, newest

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        assert self._origin is not None
        data: list[bytes] = []
        timestamp = None
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None:
                return None
            if timestamp is None:
                timestamp = packet.timestamp
            if packet.timestamp != timestamp:  # its sender sets no marker
                return self._take(count, data, timestamp)
            data.append(packet._data)  # type: ignore[attr-defined]
            if packet.marker:
                return self._take(count + 1, data, timestamp)
        return None

    def _take(self, packets: int, data: list[bytes], timestamp: int) -> JitterFrame:
        self.remove(packets)
        picture = JitterFrame(data=b"".join(data), timestamp=timestamp)
        self._complete(picture)
        return picture


def _extend_buffer(receiver: RTCRtpReceiver, complete: Callable[[JitterFrame], None]) -> None:
    """Give a receiver that has not started yet a PromptBuffer."""
    inside: Any = receiver

    def early(packet: RtpPacket, picture: JitterFrame) -> None:
        if inside._RTCRtpReceiver__decoder_thread is not None:
            codec = inside._RTCRtpReceiver__codecs[packet.payload_type]
            picture.timestamp = inside._RTCRtpReceiver__timestamp_mapper.map(picture.timestamp)
            inside._RTCRtpReceiver__decoder_queue.put((codec, picture))

    inside._RTCRtpReceiver__jitter_buffer = PromptBuffer(early, complete)


async def _extend_feedback(receiver: RTCRtpReceiver) -> None:
    """Ask for a whole picture (PLI, RFC 4585 6.3.1)."""
    inside: Any = receiver
    for ssrc in inside._RTCRtpReceiver__remote_streams:
        await inside._send_rtcp_pli(ssrc)


def _extend_ice(connection: RTCPeerConnection) -> None:
    """Loopback among our candidates."""
    inside: Any = connection
    for transport in inside._RTCPeerConnection__iceTransports:
        ice = transport._connection
        ice.get_component_candidates = _with_loopback(ice.get_component_candidates)


def _with_loopback(gather: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    def gather_with_loopback(component: int, addresses: list[str], timeout: int = 5) -> Any:
        return gather(component, [*addresses, "127.0.0.1"], timeout)

    return gather_with_loopback


def _lost(why: str) -> LinkLost:
    return LinkLost(
        what="the WebRTC connection to the gateway is lost",
        why=why,
        fix="Check that the gateway runs, and that UDP gets through between the two machines.",
    )
