"""RTP packets as aiortc reads them."""

from aiortc import rtp
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.packets import HISTORY, PacketWriter, retransmission

EXTENSIONS = st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=5)


def read(packet: bytes) -> tuple[rtp.RtpPacket, dict[int, bytes]]:
    parsed = rtp.RtpPacket.parse(packet)
    if not packet[0] & 0x10:
        return parsed, {}
    length = int.from_bytes(packet[14:16]) * 4
    profile = int.from_bytes(packet[12:14])
    return parsed, dict(rtp.unpack_header_extensions(profile, packet[16 : 16 + length]))


@given(
    extensions=EXTENSIONS,
    payload=st.binary(max_size=50),
    first=st.integers(0, 65535),
    timestamp=st.integers(0, 2**32 - 1),
    last=st.booleans(),
    data=st.data(),
)
def test_a_packet_says_what_it_was_told(extensions, payload, first, timestamp, last, data):
    writer = PacketWriter(96, 0xCAFE, extensions, first)
    values = {
        number: data.draw(st.binary(min_size=len(value), max_size=len(value)))
        for number, value in extensions.items()
    }
    number, packet = writer.write(payload, timestamp, last, list(values.items()))
    parsed, found = read(packet)
    assert number == parsed.sequence_number == first
    assert (parsed.payload_type, parsed.ssrc, parsed.timestamp) == (96, 0xCAFE, timestamp)
    assert (bool(parsed.marker), parsed.payload, found) == (last, payload, values)
    assert len(packet) == writer.header_bytes + len(payload)


def test_numbers_follow_each_other_and_wrap():
    writer = PacketWriter(96, 1, {}, 65535)
    assert [writer.write(b"", 0, False)[0] for _ in range(3)] == [65535, 0, 1]


def test_the_last_packets_are_kept_and_no_others():
    writer = PacketWriter(96, 1, {3: b"x"}, 65000)
    packets = dict(writer.write(b"%d" % n, n, False) for n in range(HISTORY + 10))
    numbers = list(packets)
    assert all(writer.again(n) is None for n in numbers[:10])
    assert all(writer.again(n) == packets[n] for n in numbers[10:])
    assert writer.again(40000) is None


@given(extensions=EXTENSIONS, payload=st.binary(min_size=1, max_size=50), last=st.booleans())
def test_a_retransmission_is_the_packet_in_another_stream(extensions, payload, last):
    number, packet = PacketWriter(96, 1, extensions, 77).write(payload, 5, last)
    parsed, found = read(retransmission(packet, 97, 2, 9))
    lost = rtp.unwrap_rtx(parsed, 96, 1)
    assert (parsed.payload_type, parsed.ssrc, parsed.sequence_number) == (97, 2, 9)
    assert (lost.sequence_number, lost.payload, bool(lost.marker)) == (number, payload, last)
    assert (lost.timestamp, found) == (5, extensions)
