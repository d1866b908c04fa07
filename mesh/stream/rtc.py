"""One WebRTC connection that shows a stream: aiortc, extended at the places where it falls short.

Everything that reaches inside aiortc or aioice is in this file and `mesh.stream.rtcmedia` (and
the SDP parser in `mesh.stream.offer`); nothing is forked and no class of theirs is replaced. Each
place is one function named `_extend_...`, and tests/mesh/stream/test_aiortc_canary.py fails naming
the place when a release moves it. Written against aiortc 1.16.0, aioice 0.13.

What is extended, and why:

* pictures come from our encoder and go out past aiortc's sender (mesh.stream.sending), many
  packets in one system call; PLI and FIR reach the encoder, and what the viewer reports becomes
  its bitrate: transport-wide feedback, which aiortc cannot read, or else REMB and loss;
* the playout-delay extension (0, 0) rides on every packet: Chromium then shows frames as they
  come; for VP8, which cannot say so itself, the colour space too;
* 1024 packets are kept for retransmission (128 do not hold one keyframe of a big picture), and
  how many go again is bounded: answering every NACK fills a full path a second time;
* a viewer that loses packets gets parity beside them (FlexFEC), which aiortc lacks;
* loopback is a host candidate, so that a browser on this machine needs no network;
* datagrams that cannot be the viewer's are dropped unread (mesh.stream.datagramgate);
* whatever the viewer sends is a sign of life, so that silence can be noticed in seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
    clock,
    rtp,
)
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)

from mesh.core.loop import monotonic_us
from mesh.stream import sctpgate
from mesh.stream.congestion import PathControl
from mesh.stream.datagramgate import DatagramGate, is_data
from mesh.stream.fec import ParityPolicy, Protection
from mesh.stream.fragment import Fragment
from mesh.stream.offer import (
    ABS_SEND_TIME,
    CHANGING,
    COLOR_SPACE,
    MAX_CANDIDATES,
    MID,
    PLAYOUT_DELAY,
    TRANSPORT_CC,
    Offer,
    OfferUnacceptable,
    refused,
)
from mesh.stream.packets import PacketWriter
from mesh.stream.parts import MAX_RESULT
from mesh.stream.ratecontrol import HIGHEST_BPS
from mesh.stream.repair import RetransmitGate, RoundTrip
from mesh.stream.rtcmedia import Outlet, SilentTrack
from mesh.stream.sending import Extensions, PictureSender, Resending
from mesh.stream.transportcc import take_feedback

log = logging.getLogger(__name__)

FRAMES_CHANNEL, INPUT_CHANNEL = 1, 2  # negotiated ids; docs/protocol-browser.md
# Bytes waiting in the frames channel; what finds more there is dropped, not delayed. So at most
# one result waits whole, and beside it there is room for facts.
MAX_BUFFERED = 64 * 1024
MAX_TEXT = 64 * 1024
MAX_WAITING_DATAGRAMS = 1024  # received, and not yet looked at
CLOSE_S = 5.0

# Minimum and maximum delay, 12 bits each, in units of 10 ms.
_NO_PLAYOUT_DELAY = b"\0\0\0"
# BT.709 primaries, transfer and matrix; limited range, chroma left-sited (libwebrtc's
# RtpColorSpaceExtension without HDR metadata).
_BT709_LIMITED = bytes((1, 1, 1, (1 << 4) | (1 << 2) | 2))

_MIME = {"h264": "video/H264", "vp8": "video/VP8"}
_H264_PROFILES = ("42e01f", "42001f")  # Constrained Baseline; a Baseline decoder takes it too


class PeerEvents(Protocol):
    """What a peer reports, on the event loop."""

    def peer_connected(self, peer: Peer) -> None:
        """Media can flow."""
        ...

    def peer_lost(self, peer: Peer, reason: str) -> None:
        """It is gone for good. Reported once."""
        ...

    def keyframe_wanted(self, peer: Peer) -> None:
        """It cannot decode until it gets a whole picture."""
        ...

    def bitrate_estimated(self, peer: Peer, bps: int) -> None:
        """It believes that its path carries `bps` bits per second."""
        ...

    def packets_lost(self, peer: Peer, share: float) -> None:
        """It missed that share, 0 to 1, of the packets since its last report."""
        ...

    def bitrate_allowed(self, peer: Peer, bps: int) -> None:
        """Its path carries pictures of `bps` bits per second. Stands for the two above."""
        ...

    def input_received(self, peer: Peer, message: str | bytes) -> None:
        """A message on the input channel, unchecked."""
        ...

    def misbehaved(self, peer: Peer, why: str) -> None:
        """It did what the protocol forbids."""
        ...


class Peer:
    """One viewer's connection: a video track out, frame facts out, inputs in.

    codecs: names in order of preference; empty for a stream without pictures.
    ice_servers: STUN or TURN URLs; none by default, so nothing outside is ever asked.
    most_bps: the most that its pictures will ever take.
    """

    def __init__(
        self,
        events: PeerEvents,
        codecs: Sequence[str],
        ice_servers: Sequence[str] = (),
        most_bps: int = HIGHEST_BPS,
    ) -> None:
        servers = [RTCIceServer(urls=url) for url in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._events = events
        self._codecs = codecs
        self._track = SilentTrack()
        self._outlet: Outlet | None = None
        self._pictures: PictureSender | None = None
        self._transceiver: RTCRtpTransceiver | None = None
        self._frames: RTCDataChannel | None = None
        self._retransmits = RetransmitGate()
        self._round_trip = RoundTrip()
        self._parity = ParityPolicy()
        self._protection: Protection | None = None
        self._most_bps = most_bps
        self._path: PathControl | None = None  # where the viewer offered transport-wide feedback
        self._lost = False
        self._decodes = False  # it has what the next picture refers to
        self._trickled = 0
        self.ufrag = ""  # the viewer's, once answered
        self.connected = False
        self.heard_us = monotonic_us()  # when it last sent anything genuine

    @property
    def codec(self) -> str | None:
        """The codec agreed on, once answered."""
        if self._transceiver is None:
            return None
        agreed = self._transceiver._codecs[0].mimeType.lower()
        return next(name for name, mime in _MIME.items() if mime.lower() == agreed)

    @property
    def congested(self) -> bool:
        """Whether a picture sent now would wait on the path behind what was sent too much."""
        return self._path is not None and self._path.congested(monotonic_us())

    async def answer(self, offer: Offer) -> str:
        """Our SDP answer, with all our candidates. Raises SessionRefused; close() in any case."""
        try:
            return await self._answer(offer)
        except Exception as problem:  # aiortc raises whatever its first surprise was
            why = str(problem) or type(problem).__name__
            if "description send parameters" in why:
                raise OfferUnacceptable(
                    what="the SDP offer cannot be used",
                    why=f"it has no codec of those wanted: {', '.join(self._codecs)}",
                    fix="Offer one of them, or ask for another (?codec=).",
                ) from problem
            raise refused(why) from problem

    async def _answer(self, offer: Offer) -> str:
        self.ufrag = offer.ufrag
        connection = self._connection
        connection.on("connectionstatechange", self._state_changed)
        connection.on("datachannel", self._channel_opened_by_peer)
        if self._codecs:
            self._transceiver = connection.addTransceiver(self._track, direction="sendonly")
            self._transceiver.setCodecPreferences(_preferences(self._codecs))
        await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        if self._transceiver is not None:
            _keep_first_codec(self._transceiver)
            self._extend_codecs(self._transceiver, offer)
            self._extend_sender(self._transceiver, offer)
        if offer.has_data:
            self._open_channels()
            self._extend_data()
        self._extend_ice()
        await connection.setLocalDescription(await connection.createAnswer())
        return self._with_parity_stream(connection.localDescription.sdp)

    async def trickle(self, fragment: Fragment) -> None:
        """Check the viewer's later candidates too; those over the bound are left out."""
        room = MAX_CANDIDATES - self._trickled
        taken = fragment.candidates[:room]
        self._trickled += len(taken)
        for transport in list(self._connection._RTCPeerConnection__iceTransports):  # type: ignore[attr-defined]
            for candidate in taken:
                await transport.addRemoteCandidate(candidate)
            if fragment.ended:
                await transport.addRemoteCandidate(None)

    def send_picture(self, payloads: Sequence[bytes], pts: int, keyframe: bool) -> None:
        """Send one encoded picture; nothing is sent before the first whole one.

        payloads: what its packets carry (mesh.stream.payloads). pts: in 1 / 90,000 s.
        A viewer whose queue is full loses what waits, and starts again at the next keyframe.
        """
        if self._pictures is None or not (keyframe or self._decodes):
            return
        assert self._transceiver is not None
        if keyframe:
            self._retransmits.whole_picture(monotonic_us())
        self._decodes = self._pictures.picture(payloads, pts)
        self._count_sent(self._transceiver.sender, self._pictures)
        if not self._decodes:
            self._events.keyframe_wanted(self)

    def say(self, text: str) -> bool:
        """Send JSON on the frames channel; False if it was dropped."""
        return len(text) <= MAX_TEXT and self._send([text], MAX_BUFFERED + MAX_RESULT)

    def send_parts(self, parts: Sequence[bytes]) -> bool:
        """Send a result (mesh.stream.parts) on the frames channel; False if it was dropped."""
        return self._send(parts, MAX_BUFFERED)

    def _send(self, messages: Sequence[bytes] | Sequence[str], most_waiting: int) -> bool:
        channel = self._frames
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > most_waiting:
            return False
        try:
            for message in messages:
                channel.send(message)
        except ValueError:  # longer than the viewer said it takes
            return False
        return True

    async def close(self) -> None:
        """End the connection; the viewer is told (DTLS close_notify). Idempotent."""
        self._lost = True
        self.connected = False
        self._track.stop()
        if self._outlet is not None:
            self._outlet.close()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_S)
        except Exception:  # a connection that failed half-way may not close cleanly either
            log.warning("a WebRTC connection did not close cleanly", exc_info=True)

    # --- what the viewer does -------------------------------------------------------------

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and not self.connected:
            self.connected = True
            self._events.peer_connected(self)
        elif state in ("failed", "closed"):
            self._report_lost("its connection failed" if state == "failed" else "it left")

    def _report_lost(self, reason: str) -> None:
        self.connected = False
        if not self._lost:
            self._lost = True
            self._events.peer_lost(self, reason)

    def _channel_opened_by_peer(self, channel: RTCDataChannel) -> None:
        channel.close()
        self._events.misbehaved(self, "it opened a data channel that the protocol does not have")

    def _open_channels(self) -> None:
        options: dict[str, Any] = {"ordered": False, "maxRetransmits": 0, "negotiated": True}
        create = self._connection.createDataChannel
        self._frames = create("frames", id=FRAMES_CHANNEL, **options)
        self._frames.on(
            "message", lambda _: self._events.misbehaved(self, "it wrote to the frames channel")
        )
        inputs = create("input", id=INPUT_CHANNEL, **options)
        inputs.on("message", lambda message: self._events.input_received(self, message))

    # --- where aiortc is extended ---------------------------------------------------------

    def _extend_sender(self, transceiver: RTCRtpTransceiver, offer: Offer) -> None:
        sender = transceiver.sender
        self._extend_sending(transceiver, offer, self._extend_header(transceiver, offer))
        self._extend_reports(sender)
        self._extend_feedback(sender)

    def _extend_header(self, transceiver: RTCRtpTransceiver, offer: Offer) -> dict[int, bytes]:
        """Agree on header extensions beyond aiortc's: all that packets carry, by id."""
        ours = {PLAYOUT_DELAY: _NO_PLAYOUT_DELAY}
        if self.codec == "vp8":
            ours[COLOR_SPACE] = _BT709_LIMITED
        if offer.transport_cc:
            ours[TRANSPORT_CC] = bytes(2)
        transceiver._headerExtensions += [
            RTCRtpHeaderExtensionParameters(id=offer.extensions[uri], uri=uri)
            for uri in ours
            if uri in offer.extensions
        ]
        carried = {MID: str(transceiver.mid).encode(), **ours}
        if not offer.transport_cc:
            carried[ABS_SEND_TIME] = bytes(3)
        return {
            offer.extensions[uri]: value
            for uri, value in carried.items()
            if uri in offer.extensions
        }

    def _extend_codecs(self, transceiver: RTCRtpTransceiver, offer: Offer) -> None:
        """Transport-wide feedback and parity (FlexFEC), where the viewer offered them."""
        if offer.transport_cc:
            transceiver._codecs[0].rtcpFeedback.append(RTCRtcpFeedback(type="transport-cc"))
            self._path = PathControl(2 * self._most_bps)  # room for parity
        if offer.flexfec is None:
            return
        self._protection = Protection(
            self._parity,
            payload_type=offer.flexfec,
            ssrc=secrets.randbits(32),
            mutable={offer.extensions[uri] for uri in CHANGING if uri in offer.extensions},
        )
        transceiver._codecs.append(
            RTCRtpCodecParameters(
                mimeType="video/flexfec-03",
                clockRate=90_000,
                payloadType=offer.flexfec,
                parameters={"repair-window": "10000000"},  # microseconds, as Chromium offers
            )
        )

    def _with_parity_stream(self, answer: str) -> str:
        """Our answer, saying which stream the parity is of (RFC 5956)."""
        if self._transceiver is None or self._protection is None:
            return answer
        media, parity = self._transceiver.sender._ssrc, self._protection.ssrc
        names = re.search(rf"a=ssrc:{media} (cname:\S+)", answer)
        assert names is not None
        line = names.group()
        return answer.replace(
            line,
            f"a=ssrc-group:FEC-FR {media} {parity}\r\n{line}\r\na=ssrc:{parity} {names.group(1)}",
            1,
        )

    def _extend_reports(self, sender: RTCRtpSender) -> None:
        """Read transport-wide feedback; aiortc drops whatever came together with it."""
        path = self._path
        if path is None:
            return
        transport = sender.transport
        handle = transport._handle_rtcp_data

        async def handle_rtcp_data(data: bytes) -> None:
            try:
                reports, others = take_feedback(data)
            except ValueError:
                return
            for report in reports:
                path.received(report, monotonic_us())
                self._events.bitrate_allowed(self, path.media_bps)
            if others:
                await handle(others)

        transport._handle_rtcp_data = handle_rtcp_data  # type: ignore[method-assign]

    def _extend_feedback(self, sender: RTCRtpSender) -> None:
        """See the viewer's RTCP before aiortc, whose encoder is not the one that runs."""
        handle = sender._handle_rtcp_packet

        async def handle_rtcp_packet(packet: rtp.AnyRtcpPacket) -> None:
            if isinstance(packet, rtp.RtcpPsfbPacket):
                self._feedback(sender, packet)
            elif isinstance(packet, rtp.RtcpRtpfbPacket) and packet.fmt == rtp.RTCP_RTPFB_NACK:
                packet.lost = self._missed(packet.lost)
            elif isinstance(packet, rtp.RtcpRrPacket):
                for report in packet.reports:
                    if report.ssrc == sender._ssrc:
                        self._reported(report)
            await handle(packet)

        sender._handle_rtcp_packet = handle_rtcp_packet  # type: ignore[method-assign]

    def _missed(self, numbers: Sequence[int]) -> list[int]:
        """Which packets to send again."""
        now_us = monotonic_us()
        if self._retransmits.hopeless(numbers, now_us):
            self._events.keyframe_wanted(self)
        return self._retransmits.allow(numbers, now_us)

    def _reported(self, report: rtp.RtcpReceiverInfo) -> None:
        now_us = monotonic_us()
        share = report.fraction_lost / 256
        self._parity.lost(share, now_us)
        if self._round_trip.report_received(report.lsr, report.dlsr, now_us):
            assert self._round_trip.us is not None
            self._parity.round_trip(self._round_trip.us)
            self._retransmits.round_trip(self._round_trip.us)
        if self._path is None:
            self._events.packets_lost(self, share)

    def _feedback(self, sender: RTCRtpSender, packet: rtp.RtcpPsfbPacket) -> None:
        if packet.fmt in (rtp.RTCP_PSFB_PLI, rtp.RTCP_PSFB_FIR):
            self._events.keyframe_wanted(self)
        elif packet.fmt == rtp.RTCP_PSFB_APP:
            try:
                bps, ssrcs = rtp.unpack_remb_fci(packet.fci)
            except (ValueError, struct.error):
                return  # another application's message
            if sender._ssrc in ssrcs:
                self._events.bitrate_estimated(self, bps)

    def _extend_sending(
        self, transceiver: RTCRtpTransceiver, offer: Offer, carried: Mapping[int, bytes]
    ) -> None:
        """Send past aiortc, and have it send again what we kept.

        carried: header extensions.
        """
        sender = transceiver.sender
        first, *others = transceiver._codecs
        assert first.payloadType is not None
        again = [
            Resending(codec.payloadType, sender._rtx_ssrc)
            for codec in others
            if codec.payloadType is not None and codec.parameters.get("apt") == first.payloadType
        ]
        self._outlet = Outlet(sender.transport)
        self._pictures = pictures = PictureSender(
            PacketWriter(first.payloadType, sender._ssrc, carried, random.getrandbits(16)),
            self._outlet.send,
            self._retransmits,
            extensions=Extensions(
                send_time=None if offer.transport_cc else offer.extensions.get(ABS_SEND_TIME),
                number=offer.extensions[TRANSPORT_CC] if offer.transport_cc else None,
            ),
            path=self._path,
            protection=self._protection,
            resending=again[0] if again else None,
        )

        async def retransmit(sequence_number: int) -> None:
            pictures.again(sequence_number)

        sender._retransmit = retransmit  # type: ignore[method-assign]
        self._extend_sender_reports(sender)

    def _extend_sender_reports(self, sender: RTCRtpSender) -> None:
        """Note when they leave: viewers answer them, which gives the round trip."""
        transport = sender.transport
        send = transport._send_rtp

        async def send_rtp(data: bytes) -> None:
            if rtp.is_rtcp(data) and data[1] == rtp.RTCP_SR:
                self._round_trip.report_sent(int.from_bytes(data[10:14]), monotonic_us())
            await send(data)

        transport._send_rtp = send_rtp  # type: ignore[method-assign]

    def _count_sent(self, sender: Any, pictures: PictureSender) -> None:
        """What aiortc's sender reports say."""
        sender._RTCRtpSender__ntp_timestamp = clock.current_ntp_time()
        sender._RTCRtpSender__rtp_timestamp = pictures.timestamp
        sender._RTCRtpSender__packet_count = pictures.packets
        sender._RTCRtpSender__octet_count = pictures.octets

    def _extend_data(self) -> None:
        """What SCTP's parser would choke on does not reach it, and is an offence."""
        association: Any = self._connection.sctp
        handle = association._handle_data

        async def handle_or_complain(data: bytes) -> None:
            if not sctpgate.readable(data):
                self._events.misbehaved(self, "SCTP that is malformed")
            elif sctpgate.in_window(
                data, association._last_received_tsn, association._advertised_rwnd
            ):
                await self._handle_data(handle, data)

        association._handle_data = handle_or_complain

    async def _handle_data(self, handle: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
        try:
            await handle(data)
        except ConnectionError:
            raise
        except Exception as problem:  # it raises whatever its first surprise was
            self._events.misbehaved(self, f"SCTP out of place ({type(problem).__name__})")

    def _extend_ice(self) -> None:
        """Loopback among our candidates, strangers kept out, and a note of life."""
        for transport in self._connection._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]
            ice = transport._connection
            gate = DatagramGate(ice.local_username)
            gather = _with_loopback(ice.get_component_candidates)
            ice.get_component_candidates = _with_gate(gather, ice, gate)
            ice.check_incoming = self._noting_check(ice.check_incoming, gate)
            ice.data_received = self._noting_data(ice.data_received, ice)

    def _noting_check(self, handle: Callable[..., None], gate: DatagramGate) -> Callable[..., None]:
        def note_and_handle(message: Any, address: Any, protocol: Any) -> None:  # authenticated
            self.heard_us = monotonic_us()
            gate.checked((protocol.id, address))
            handle(message, address, protocol)

        return note_and_handle

    def _noting_data(self, handle: Callable[..., None], ice: Any) -> Callable[..., None]:
        def note_and_handle(data: bytes, component: int) -> None:
            # What looked like STUN and was not comes here too.
            if is_data(data) and ice._queue.qsize() < MAX_WAITING_DATAGRAMS:
                self.heard_us = monotonic_us()
                handle(data, component)

        return note_and_handle


def _keep_first_codec(transceiver: RTCRtpTransceiver) -> None:
    """Answer with the codec that will be sent and its retransmissions, not with all in common."""
    first, *others = transceiver._codecs
    rtx = [codec for codec in others if codec.parameters.get("apt") == first.payloadType]
    transceiver._codecs = [first, *rtx]


def _with_loopback(gather: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    def gather_with_loopback(component: int, addresses: list[str], timeout: int = 5) -> Any:
        return gather(component, [*addresses, "127.0.0.1"], timeout)

    return gather_with_loopback


def _with_gate(
    gather: Callable[..., Awaitable[Any]], ice: Any, gate: DatagramGate
) -> Callable[..., Awaitable[Any]]:
    async def gather_behind_gate(**how: Any) -> Any:
        candidates = await gather(**how)
        for protocol in ice._protocols:
            protocol.datagram_received = _gated(protocol.datagram_received, protocol.id, gate)
        return candidates

    return gather_behind_gate


def _gated(
    receive: Callable[[bytes, Any], None], socket: int, gate: DatagramGate
) -> Callable[[bytes, Any], None]:
    def receive_believed(data: bytes, address: Any) -> None:
        if gate.admits(data, (socket, address[:2])):
            receive(data, address)

    return receive_believed


def _preferences(codecs: Sequence[str]) -> list[Any]:
    """Capabilities of those names in that order, then retransmission (RFC 4588)."""
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    wanted = []
    for name in codecs:
        of_name = [c for c in capabilities if c.mimeType == _MIME[name]]
        if name == "h264":
            of_name.sort(key=lambda c: _H264_PROFILES.index(str(c.parameters["profile-level-id"])))
        wanted += of_name
    return wanted + [c for c in capabilities if c.mimeType == "video/rtx"]
