"""RTP packets of one stream of pictures (RFC 3550), written from a template. Pure.

A packet is twelve bytes, header extensions that differ in two places at most, and a payload: so
it takes a microsecond, not a tour through objects. Extensions are in the one-byte form (RFC 8285).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from mesh.stream.fec import header_length

HISTORY = 1024  # packets kept to be sent again: one keyframe of a big picture
_VERSION, _EXTENDED, _MARKER = 0x80, 0x10, 0x80
_ONE_BYTE_FORM = 0xBEDE


class PacketWriter:
    """Numbers the packets of one stream, and keeps the last HISTORY of them.

    payload_type, ssrc: the stream's. first: its first sequence number, 16 bits.
    extensions: of every packet, by id: the value, or the zeros that stand for a changing one.
    """

    def __init__(
        self, payload_type: int, ssrc: int, extensions: Mapping[int, bytes], first: int
    ) -> None:
        self._payload_type = payload_type
        self._next = first
        block, self._at = _block(extensions)
        self._template = bytearray(
            struct.pack("!BBHII", _VERSION | (_EXTENDED if block else 0), 0, 0, 0, ssrc) + block
        )
        self._kept: list[tuple[int, bytes]] = [(-1, b"")] * HISTORY

    @property
    def header_bytes(self) -> int:
        """Before each payload."""
        return len(self._template)

    def write(
        self, payload: bytes, timestamp: int, last: bool, changing: Sequence[tuple[int, bytes]] = ()
    ) -> tuple[int, bytes]:
        """The next packet: its sequence number, and itself.

        timestamp: 32 bits. last: of its picture. changing: header extensions by id.
        """
        number = self._next
        self._next = (number + 1) & 0xFFFF
        marked = self._payload_type | (_MARKER if last else 0)
        struct.pack_into("!BHI", self._template, 1, marked, number, timestamp)
        for extension, value in changing:
            at = self._at[extension]
            self._template[at : at + len(value)] = value
        packet = bytes(self._template) + payload
        self._kept[number % HISTORY] = (number, packet)
        return number, packet

    def again(self, number: int) -> bytes | None:
        """The packet of that sequence number, if it is still kept."""
        kept, packet = self._kept[number % HISTORY]
        return packet if kept == number else None


def retransmission(packet: bytes, payload_type: int, ssrc: int, number: int) -> bytes:
    """A packet, sent again in a stream of its own (RFC 4588)."""
    start = header_length(packet)
    head = bytearray(packet[:start])
    struct.pack_into("!BH", head, 1, head[1] & _MARKER | payload_type, number)
    struct.pack_into("!I", head, 8, ssrc)
    return bytes(head) + packet[2:4] + packet[start:]


def _block(extensions: Mapping[int, bytes]) -> tuple[bytes, dict[int, int]]:
    """The extensions as they are written, and where in a packet each one's value is."""
    if not extensions:
        return b"", {}
    written = bytearray()
    at: dict[int, int] = {}
    for number, value in extensions.items():
        written.append(number << 4 | len(value) - 1)
        at[number] = 12 + 4 + len(written)
        written += value
    written += bytes(-len(written) % 4)
    return struct.pack("!HH", _ONE_BYTE_FORM, len(written) // 4) + bytes(written), at
