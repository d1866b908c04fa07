import asyncio
import re

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.core.errors import SessionRefused
from mesh.stream.offer import MAX_CANDIDATES, PLAYOUT_DELAY, TRANSPORT_CC, read_offer

FINGERPRINT = ":".join(["AB"] * 32)
# As Chromium writes it, shortened to what differs in kind.
CHROMIUM = "\r\n".join(
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS",
        "m=video 54321 UDP/TLS/RTP/SAVPF 96 97 103 104 109 114 35 49",
        "c=IN IP4 192.0.2.7",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=candidate:1 1 udp 2113937151 3a1f0c9e-8a1e-4f43-9c55-0c8e4b3a2d10.local 54321 typ host",
        "a=candidate:2 1 udp 2113937151 192.0.2.7 54321 typ host generation 0 network-cost 999",
        "a=candidate:3 1 tcp 1518214911 192.0.2.7 9 typ host tcptype active",
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
        "a=setup:actpass",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:toffset",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        f"a=extmap:5 {PLAYOUT_DELAY}",
        "a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 goog-remb",
        "a=rtcp-fb:96 transport-cc",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:103 H264/90000",
        "a=rtcp-fb:103 nack pli",
        "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        "a=rtpmap:104 rtx/90000",
        "a=fmtp:104 apt=103",
        "a=rtpmap:109 H264/90000",
        "a=rtcp-fb:109 nack pli",
        "a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=rtpmap:114 red/90000",
        "a=rtpmap:35 AV1/90000",
        "a=rtpmap:49 flexfec-03/90000",
        "a=fmtp:49 repair-window=10000000",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
        "a=setup:actpass",
        "a=mid:1",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "",
    ]
)
AUDIO = CHROMIUM[CHROMIUM.index("m=video") : CHROMIUM.index("m=application")]
AUDIO = re.sub(r"m=video .*", "m=audio 9 UDP/TLS/RTP/SAVPF 111", AUDIO).replace(
    "a=mid:0", "a=mid:2"
)
AUDIO = re.sub(r"a=(rtpmap|fmtp|rtcp-fb).*\r\n", "", AUDIO) + "a=rtpmap:111 opus/48000/2\r\n"


def test_transport_wide_feedback_needs_the_extension_and_every_codec_that_may_be_sent():
    assert not read_offer(CHROMIUM).transport_cc
    extended = CHROMIUM.replace("a=extmap:5 ", f"a=extmap:4 {TRANSPORT_CC}\r\na=extmap:5 ")
    assert not read_offer(extended).transport_cc
    for codec in (103, 109):
        told = f"a=rtcp-fb:{codec} nack pli"
        extended = extended.replace(told, f"{told}\r\na=rtcp-fb:{codec} transport-cc")
    offer = read_offer(extended)
    assert offer.transport_cc
    assert offer.extensions[TRANSPORT_CC] == 4


def test_parity_is_sent_as_the_payload_type_offered_for_it():
    assert read_offer(CHROMIUM).flexfec == 49
    not_free = CHROMIUM.replace(":49 ", ":34 ").replace(" 35 49", " 35 34")  # H.263's
    assert read_offer(not_free).flexfec is None
    assert read_offer(CHROMIUM.replace("49 flexfec-03", "49 flexfec")).flexfec is None


def test_a_browsers_offer_is_written_anew_with_what_is_needed():
    offer = read_offer(CHROMIUM)
    assert offer.has_video
    assert offer.has_data
    assert offer.extensions[PLAYOUT_DELAY] == 5
    assert re.findall(r"a=rtpmap:(\d+)", offer.sdp) == ["96", "97", "103", "104", "109", "49"]
    assert re.findall(r"a=candidate:.* ([\d.]+) (\d+) typ", offer.sdp) == [("192.0.2.7", "54321")]
    assert "transport-cc" in offer.sdp  # feedback is aiortc's to negotiate
    for dropped in ("AV1", "red", "toffset", ".local", "tcptype", "end-of-candidates"):
        assert dropped not in offer.sdp


def test_a_mid_without_a_value_is_none():
    with pytest.raises(SessionRefused, match="told apart"):
        read_offer(CHROMIUM.replace("a=mid:1", "a=mid"))


def test_the_written_offer_reads_the_same_again():
    once = read_offer(CHROMIUM)
    assert read_offer(once.sdp) == once


def test_candidates_are_bounded():
    line = "a=candidate:2 1 udp 2113937151 192.0.2.7 54321 typ host generation 0 network-cost 999"
    many = "\r\n".join(line.replace("54321", str(port)) for port in range(1000, 1100))
    assert read_offer(CHROMIUM.replace(line, many)).sdp.count("a=candidate") == MAX_CANDIDATES


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("v=0", "v=1", "v=0"),
        (CHROMIUM, "", "v=0"),
        (CHROMIUM, "v=0\r\n" + "a=x\r\n" * 20_000, "over 65536 bytes"),
        (CHROMIUM, "v=0\r\n" + "a=x\r\n" * 2000, "more than 1500 lines"),
        (CHROMIUM, "v=0\r\n" + "a=rtpmap:96 VP8/90000\r\n" * 300, "more than 256 codecs"),
        (CHROMIUM[CHROMIUM.index("m=") :], "", "no media"),
        ("BUNDLE 0 1", "BUNDLE 0", "not bundled"),
        ("a=group:BUNDLE 0 1\r\n", "", "not bundled"),
        ("a=mid:1", "a=mid:0", "a=mid"),
        ("a=mid:0", "a=mid:0 0", "a=mid"),
        ("a=recvonly", "a=sendonly", "does not ask to receive"),
        ("a=recvonly", "a=inactive", "does not ask to receive"),
        ("a=rtcp-mux", "a=x", "RTCP"),
        ("a=ice-ufrag:EsAw", "a=x", "ICE credentials"),
        ("a=fingerprint:sha-256", "a=fingerprint:sha-1", "fingerprint"),
        ("a=setup:actpass", "a=x", "fingerprint"),
        ("a=setup:actpass", "a=setup:nonsense", "can be read"),
        ("a=sctp-port:5000", "a=x", "sctp-port"),
        ("a=sctp-port:5000", "a=sctp-port:70000", "sctp-port"),
        ("UDP/DTLS/SCTP webrtc-datachannel", "UDP/DTLS/SCTP other", "data channels"),
        ("m=application", "m=text", "kind 'text'"),
        ("96 97 103 104 109 114 35", "96 97 103 104 109 114 73", "can be read"),
        ("a=rtpmap:96 VP8/90000", "a=rtpmap:nonsense", "can be read"),
        ("m=video", "m=video video", "can be read"),
    ],
)
def test_what_cannot_be_used_is_refused_saying_why(old, new, why):
    assert old in CHROMIUM
    with pytest.raises(SessionRefused, match=re.escape(why)):
        read_offer(CHROMIUM.replace(old, new))


def test_two_videos_are_refused():
    second = AUDIO.replace("m=audio", "m=video").replace("opus/48000/2", "VP8/90000")
    both = CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + second.replace("111", "101")
    with pytest.raises(SessionRefused, match="2 video sections"):
        read_offer(both)


def test_an_audio_section_is_kept_to_be_answered_inactive():
    offer = read_offer(CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + AUDIO)
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 111" in offer.sdp


async def accepted_by_aiortc(text: str) -> None:
    """What passes our reading must not surprise the library either."""
    connection = RTCPeerConnection()
    try:
        await connection.setRemoteDescription(RTCSessionDescription(text, "offer"))
    finally:
        await connection.close()


LINES = CHROMIUM.splitlines()


@st.composite
def mutilated(draw) -> str:
    """The offer with lines lost, doubled, swapped, cut or overwritten."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 6))):
        i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.integers(0, 5)):
            case 0:
                lines.pop(i)
            case 1:
                lines.insert(i, lines[j])
            case 2:
                lines[i], lines[j] = lines[j], lines[i]
            case 3:
                lines[i] = lines[i][: draw(st.integers(0, len(lines[i])))]
            case 4:
                lines[i] = draw(st.text(max_size=40))
            case 5:
                lines[i] += draw(st.text(max_size=20))
        if len(lines) < 2:
            break
    return "\r\n".join(lines)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutilated() | st.text(max_size=200) | st.text(max_size=200).map("v=0\r\nm=video ".__add__))
def test_any_text_is_read_or_refused(text):
    try:
        offer = read_offer(text)
    except SessionRefused as refusal:
        assert refusal.why
    else:
        assert read_offer(offer.sdp).has_video == offer.has_video


async def test_the_written_offer_is_one_that_aiortc_accepts():
    async with asyncio.timeout(10):
        await accepted_by_aiortc(read_offer(CHROMIUM).sdp)
