"""A viewer's SDP offer (RFC 8866, RFC 9429): vetted, bounded, and written anew.

The WebRTC library parses SDP trustingly and acts on all of it. It is only ever shown the text
made here, which holds what a viewer of one video track needs and nothing else of what came.
`read_offer` is pure and takes milliseconds on the largest text it accepts: call it in a thread.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc import sdp
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from mesh.core.errors import SessionRefused

MAX_BYTES = 64 * 1024
MAX_LINES = 1500
MAX_CODEC_LINES = 256
MAX_SECTIONS = 4
MAX_CANDIDATES = 16  # each becomes checks sent to an address that a stranger chose
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
COLOR_SPACE = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
CHANGING = (ABS_SEND_TIME, TRANSPORT_CC)  # written anew whenever a packet is sent
_EXTENSIONS = {
    MID,
    ABS_SEND_TIME,
    PLAYOUT_DELAY,
    COLOR_SPACE,
    TRANSPORT_CC,
}
_CODECS = {"audio": {"opus", "pcmu"}, "video": {"h264", "vp8", "rtx", "flexfec-03"}}
_RECEIVES = {"recvonly", "sendrecv"}
_DIGESTS = {"sha-256", "sha-384", "sha-512"}
_MID = re.compile(r"[A-Za-z0-9_.+-]{1,32}")
_DYNAMIC = range(96, 128)  # payload types that can be mapped at will (RFC 3551)
# Chromium has run out of those: parity comes below them, where RTCP is not either (RFC 5761).
_TYPES = {"pcmu": {0, *_DYNAMIC}, "flexfec-03": {*range(35, 64), *_DYNAMIC}}
_ONE_BYTE = range(1, 15)  # header extension ids that fit the one-byte form (RFC 8285)


@dataclass(frozen=True, slots=True)
class Offer:
    """What of an offer is used. `sdp` is ours, made from it."""

    sdp: str
    has_video: bool
    has_data: bool
    ufrag: str  # of the one transport
    extensions: dict[str, int]  # the header extensions we may send, by URI
    flexfec: int | None = None  # its payload type for parity (mesh.stream.fec), if it takes any
    transport_cc: bool = False  # it reports arrivals of the whole connection's packets


def read_offer(text: str) -> Offer:
    """Vet an offer. Raises SessionRefused saying what is wrong with it."""
    _check_size(text)
    try:
        parsed = sdp.SessionDescription.parse(text)
    except Exception as problem:  # the parser raises whatever its first surprise was
        why = f"it is not SDP that can be read ({type(problem).__name__})"
        raise refused(why) from problem
    if not parsed.media:
        raise refused("it has no media section")
    if len(parsed.media) > MAX_SECTIONS:
        raise refused(f"it has more than {MAX_SECTIONS} media sections")
    _check_bundle(parsed)
    written = sdp.SessionDescription()
    written.origin = "- 1 1 IN IP4 0.0.0.0"
    written.media = [_section(media) for media in parsed.media]
    mids: list[int | str] = [media.rtp.muxId for media in written.media]
    written.group = [sdp.GroupDescription("BUNDLE", mids)]
    video = _only(written.media, "video")
    return Offer(
        sdp=str(written),
        has_video=video is not None,
        has_data=_only(written.media, "application") is not None,
        ufrag=_ufrag(written.media[0]),
        extensions={e.uri: e.id for e in video.rtp.headerExtensions} if video else {},
        flexfec=_type_of("flexfec-03", video.rtp.codecs) if video else None,
        transport_cc=video is not None and _reports_arrivals(video),
    )


class OfferUnacceptable(SessionRefused):
    """A sound offer that holds nothing which can be sent."""


def refused(why: str) -> SessionRefused:
    """The error for an offer that cannot be used."""
    return SessionRefused(
        what="the SDP offer cannot be used",
        why=why,
        fix="Send the offer of an RTCPeerConnection that asks to receive one video track, bundled"
        " with a data channel (docs/protocol-browser.md).",
    )


def may_be_asked(address: str) -> bool:
    """Whether ICE may send checks there: a literal address of one host.

    Names are not looked up for strangers (mDNS ones least of all), and nobody has many hosts asked.
    """
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (read.is_multicast or read.is_unspecified or "%" in address)


def _check_size(text: str) -> None:
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise refused(f"it is over {MAX_BYTES} bytes")
    lines = text.splitlines()
    if not lines or lines[0] != "v=0":
        raise refused("it does not start with v=0")
    if len(lines) > MAX_LINES:
        raise refused(f"it has more than {MAX_LINES} lines")
    if sum(line.startswith("a=rtpmap:") for line in lines) > MAX_CODEC_LINES:
        raise refused(f"it has more than {MAX_CODEC_LINES} codecs")


def _check_bundle(parsed: sdp.SessionDescription) -> None:
    mids = [media.rtp.muxId for media in parsed.media]
    if any(not _MID.fullmatch(mid or "") for mid in mids) or len(set(mids)) != len(mids):
        raise refused("its sections are not told apart by a=mid")
    bundles = [group.items for group in parsed.group if group.semantic == "BUNDLE"]
    if len(mids) > 1 and [set(bundle) for bundle in bundles] != [set(mids)]:
        raise refused("its sections are not bundled into one transport")


def _only(sections: Sequence[sdp.MediaDescription], kind: str) -> sdp.MediaDescription | None:
    found = [media for media in sections if media.kind == kind]
    if len(found) > 1:
        raise refused(f"it has {len(found)} {kind} sections, and one can be served")
    return found[0] if found else None


def _section(media: sdp.MediaDescription) -> sdp.MediaDescription:
    """One media section, rebuilt from the fields that matter."""
    if media.kind in _CODECS:
        written = _rtp_section(media)
    elif media.kind == "application":
        written = _data_section(media)
    else:
        raise refused(f"it has a section of kind '{media.kind[:32]}'")
    written.rtp.muxId = media.rtp.muxId
    written.ice = media.ice
    if media.ice is None or not (media.ice.usernameFragment and media.ice.password):
        raise refused("it has no ICE credentials")
    written.dtls = media.dtls
    if media.dtls is None or not any(
        print_.algorithm.lower() in _DIGESTS for print_ in media.dtls.fingerprints
    ):
        raise refused("it has no DTLS fingerprint (SHA-256 or longer)")
    written.ice_candidates = [
        candidate
        for candidate in media.ice_candidates
        if candidate.protocol.lower() == "udp" and may_be_asked(candidate.ip)
    ][:MAX_CANDIDATES]
    return written


def _ufrag(media: sdp.MediaDescription) -> str:
    """Of a section that was vetted."""
    assert media.ice is not None
    return media.ice.usernameFragment or ""


def _rtp_section(media: sdp.MediaDescription) -> sdp.MediaDescription:
    if not media.rtcp_mux:
        raise refused("it does not multiplex RTCP (a=rtcp-mux)")
    if media.kind == "video" and (media.direction or "sendrecv") not in _RECEIVES:
        raise refused("its video section does not ask to receive")
    codecs = [
        codec
        for codec in media.rtp.codecs
        if codec.name.lower() in _CODECS[media.kind]
        and codec.payloadType in _TYPES.get(codec.name.lower(), _DYNAMIC)
    ]
    if not codecs:
        raise refused(f"its {media.kind} section has no codec that can be served")
    written = sdp.MediaDescription(
        media.kind, 9, "UDP/TLS/RTP/SAVPF", [codec.payloadType for codec in codecs]
    )
    written.direction = media.direction or "sendrecv"
    written.rtcp_mux, written.rtcp_port = True, 9
    written.rtp.codecs = codecs
    written.rtp.headerExtensions = [
        extension
        for extension in media.rtp.headerExtensions
        if extension.uri in _EXTENSIONS and extension.id in _ONE_BYTE
    ]
    return written


def _type_of(name: str, codecs: Sequence[RTCRtpCodecParameters]) -> int | None:
    return next((codec.payloadType for codec in codecs if codec.name.lower() == name), None)


def _reports_arrivals(video: sdp.MediaDescription) -> bool:
    """Whether it has the header extension, and says of every codec that it gives the feedback."""
    has_number = any(extension.uri == TRANSPORT_CC for extension in video.rtp.headerExtensions)
    pictures = [codec for codec in video.rtp.codecs if codec.name.lower() in ("h264", "vp8")]
    return has_number and all(
        any(feedback.type == "transport-cc" for feedback in codec.rtcpFeedback)
        for codec in pictures
    )


def _data_section(media: sdp.MediaDescription) -> sdp.MediaDescription:
    if media.profile != "UDP/DTLS/SCTP" or media.fmt != ["webrtc-datachannel"]:
        raise refused("its data section is not WebRTC data channels over UDP/DTLS/SCTP")
    if media.sctp_port is None or not 0 < media.sctp_port < 65536:
        raise refused("its data section has no a=sctp-port")
    written = sdp.MediaDescription("application", 9, "UDP/DTLS/SCTP", ["webrtc-datachannel"])
    written.sctp_port = media.sctp_port
    written.sctpCapabilities = media.sctpCapabilities
    return written
