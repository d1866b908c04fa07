"""One viewer's pictures on their way out: cut into packets, numbered, protected, repaired.

Pictures leave at once, in the call that brings them: each hop through the event loop would cost
more than a packet does. Only what a picture has beyond BURST_PACKETS waits for the loop's next
turns, so that a keyframe of megabytes does not hold up everybody else.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mesh.core.loop import monotonic_us
from mesh.stream.congestion import PathControl
from mesh.stream.fec import Protection
from mesh.stream.packets import PacketWriter, retransmission
from mesh.stream.repair import RetransmitGate
from mesh.stream.transportcc import numbered

BURST_PACKETS = 64  # under a millisecond of the event loop
MAX_WAITING_PACKETS = 4096
# Beside an RTP packet on the wire: IPv4 and UDP headers, and the longest SRTP tag.
WIRE_BYTES = 28 + 16
_CLOCK_BITS = 18  # of a second's fraction in abs-send-time, which has 24 bits in all


@dataclass(frozen=True, slots=True)
class Extensions:
    """Ids of the header extensions whose values change; None: not agreed on."""

    send_time: int | None = None  # abs-send-time
    number: int | None = None  # transport-wide sequence number


@dataclass(frozen=True, slots=True)
class Resending:
    """The stream that packets are sent again in (RFC 4588)."""

    payload_type: int
    ssrc: int


class PictureSender:
    """Sends in the order it is told.

    send: takes RTP packets, which leave in their order.
    path: numbers what leaves, where the viewer reports arrivals. protection: adds parity.
    """

    def __init__(
        self,
        writer: PacketWriter,
        send: Callable[[Sequence[bytes]], None],
        retransmits: RetransmitGate,
        *,
        extensions: Extensions = Extensions(),
        path: PathControl | None = None,
        protection: Protection | None = None,
        resending: Resending | None = None,
    ) -> None:
        self.packets = self.octets = self.timestamp = 0  # sent so far, and the last picture's
        self._writer = writer
        self._send = send
        self._retransmits = retransmits
        self._extensions = extensions
        self._path = path
        self._protection = protection
        self._resending = resending
        self._origin = random.getrandbits(32)  # of RTP time (RFC 3550, section 5.1)
        self._resent = random.getrandbits(16)
        self._waiting: deque[tuple[bytes, int, bool]] = deque()  # payload, time, ends its picture

    def picture(self, payloads: Sequence[bytes], pts: int) -> bool:
        """Send one picture; False if too much waits already (all of that is then dropped).

        pts: in units of the stream's RTP clock.
        """
        if len(self._waiting) + len(payloads) > MAX_WAITING_PACKETS:
            self._waiting.clear()
            return False
        begins = not self._waiting
        timestamp = (self._origin + pts) & 0xFFFF_FFFF
        last = len(payloads) - 1
        self._waiting += [(payload, timestamp, i == last) for i, payload in enumerate(payloads)]
        if begins:
            self._pump()
        return True

    def again(self, number: int) -> None:
        """Send the packet of that sequence number again, if it is still at hand."""
        packet = self._writer.again(number)
        if packet is None:
            return
        if self._resending is not None:
            of = self._resending
            packet = retransmission(packet, of.payload_type, of.ssrc, self._resent)
            self._resent = (self._resent + 1) & 0xFFFF
        self._send([self._stamped(packet)])

    def _pump(self) -> None:
        now_us = monotonic_us()
        packets: list[bytes] = []
        for _ in range(min(BURST_PACKETS, len(self._waiting))):
            payload, self.timestamp, last = self._waiting.popleft()
            packet = self._written(payload, self.timestamp, last, now_us)
            packets.append(packet)
            if self._protection is not None:
                packets += map(self._stamped, self._protection.after(packet))
        if packets:
            self._send(packets)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._pump)

    def _written(self, payload: bytes, timestamp: int, last: bool, now_us: int) -> bytes:
        size = self._writer.header_bytes + len(payload)
        changing = self._changing(size, len(payload), now_us)
        number, packet = self._writer.write(payload, timestamp, last, changing)
        self._retransmits.sent(number, now_us)
        self.packets += 1
        self.octets += len(payload)
        return packet

    def _stamped(self, packet: bytes) -> bytes:
        """A packet that is not a picture's first appearance, with the present in its header."""
        for extension, value in self._changing(len(packet), 0, monotonic_us()):
            packet = numbered(packet, extension, int.from_bytes(value))
        return packet

    def _changing(self, nbytes: int, media: int, now_us: int) -> list[tuple[int, bytes]]:
        changing: list[tuple[int, bytes]] = []
        if self._extensions.send_time is not None:
            clock = (now_us << _CLOCK_BITS) // 1_000_000 & 0xFF_FFFF
            changing.append((self._extensions.send_time, clock.to_bytes(3)))
        if self._path is not None and self._extensions.number is not None:
            number = self._path.sent(nbytes + WIRE_BYTES, now_us, media)
            changing.append((self._extensions.number, number.to_bytes(2)))
        return changing
