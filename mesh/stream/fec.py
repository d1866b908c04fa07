"""Parity for a stream's packets: FlexFEC as Chromium takes it. Pure.

A parity packet covers a set of a group's packets, and gives back the one of them that is missing
where only one is; that may leave only one missing in another set, and so on. Each packet is in two
sets, and no two packets in the same two where that can be helped: so few losses leave a viewer
waiting a round trip.

The format is draft-ietf-payload-flexible-fec-scheme-03 ("flexfec-03" in SDP), which libwebrtc
speaks; RFC 8627 differs. ULPFEC is not used: its packets take numbers from the pictures' own
stream, and a viewer of H.264 waits for each that is lost. Packets are RTP (RFC 3550), before SRTP.
"""

from __future__ import annotations

import functools
import itertools
import math
import struct
from collections import Counter
from collections.abc import Sequence, Set

MAX_GROUP = 32  # media packets; libwebrtc's decoder remembers 48, and some come late
MAX_SHARE = 1 / 2  # parity packets per media packet, rounded up
WAIT_SHARE = 0.005  # pictures that may be left to retransmission: half of what a p99 sees
NEAR_US = 5_000  # a retransmission is here as soon as the next picture
HALF_LIFE_US = 4_000_000
NO_LOSS = 0.001

_HEADER = 12  # bytes of an RTP header without lists and extensions
_ONE_BYTE_FORM = b"\xbe\xde"  # RFC 8285


class ParityPolicy:
    """How many parity packets a viewer's pictures get: none without loss, else as few as keep
    waiting for a retransmission rare.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._heard_us = 0
        self._round_trip_us: int | None = None

    def lost(self, share: float, now_us: int) -> None:
        """The viewer missed that share, 0 to 1, of the packets since its last report.

        More is believed at once; less, by halves every HALF_LIFE_US.
        """
        aged = self._share * 0.5 ** ((now_us - self._heard_us) / HALF_LIFE_US)
        self._share, self._heard_us = max(share, aged), now_us

    def round_trip(self, us: int) -> None:
        """How long a packet and its answer take."""
        self._round_trip_us = us

    def count(self, packets: int) -> int:
        """Parity packets for a group of 1 to MAX_GROUP media packets."""
        near = self._round_trip_us is not None and self._round_trip_us < NEAR_US
        if self._share < NO_LOSS or near:
            return 0
        most = math.ceil(packets * MAX_SHARE)
        for count in range(most):
            if wait_probability(packets, count, self._share) <= WAIT_SHARE:
                return count
        return most


def wait_probability(packets: int, parity: int, loss: float) -> float:
    """About how likely independent losses leave a group of `packets` with `parity` incomplete.

    Half as many losses as there is parity, rounded up, count as recovered and more as not. A
    simulation in tests/mesh/stream/test_fec.py holds this against what is recovered.
    """
    sent = packets + parity
    recovered = (parity + 1) // 2
    kept = (math.comb(sent, n) * loss**n * (1 - loss) ** (sent - n) for n in range(recovered + 1))
    return max(0.0, 1 - math.fsum(kept))


@functools.cache
def sets(count: int) -> tuple[tuple[int, ...], ...]:
    """For each packet of a group, which of `count` parity packets, at least 1, cover it.

    See a packet as an edge between its two sets. Missing ones are recovered if they form no cycle.
    So each packet takes the least used pair of sets that those just before it left unconnected:
    then any burst shorter than `count` is recovered. Fewer than four sets make too few pairs; for
    them there is one more end, without parity, and bursts of `count` are recovered.
    """
    ends = count + (count < 4)
    pairs = list(itertools.combinations(range(ends), 2))
    used, degree = Counter[tuple[int, int]](), Counter[int]()
    chosen: list[tuple[int, int]] = []
    for i in range(MAX_GROUP):
        part = _parts(ends, chosen[max(0, i - ends + 2) :])
        pair = min(
            (pair for pair in pairs if part[pair[0]] != part[pair[1]]),
            key=lambda pair: (used[pair], count in pair, degree[pair[0]] + degree[pair[1]]),
        )
        used[pair] += 1
        degree.update(pair)
        chosen.append(pair)
    return tuple(tuple(end for end in pair if end < count) for pair in chosen)


def _parts(ends: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """For each end, the name of the connected part that it is in."""
    part = list(range(ends))
    for one, other in edges:
        old, new = part[one], part[other]
        part = [new if name == old else name for name in part]
    return part


def parity_payloads(packets: Sequence[bytes], count: int, mutable: Set[int]) -> list[bytes]:
    """The payloads of up to `count` FlexFEC packets for 1 to MAX_GROUP RTP packets of a
    stream whose sequence numbers follow each other.

    mutable: ids of header extensions whose values change on the way out; they count as zero, as
        in libwebrtc's decoder.
    """
    plain = [_without_mutable(packet, mutable) for packet in packets]
    covered = sets(count)[: len(plain)]
    chosen = ([i for i, of in enumerate(covered) if j in of] for j in range(count))
    return [_parity(plain, members) for members in chosen if members]


def _parity(packets: Sequence[bytes], covered: Sequence[int]) -> bytes:
    """One repair packet's payload (section 4.2.2): header with flexible mask, then the parity."""
    fixed = body = lengths = longest = mask = 0
    for i in covered:
        packet = packets[i]
        size = len(packet) - _HEADER
        fixed ^= int.from_bytes(packet[:8])
        body ^= int.from_bytes(packet[_HEADER:], "little")  # shorter ones count as zero-padded
        lengths ^= size
        longest = max(longest, size)
        mask |= 1 << (45 - i)
    recovery = bytearray(fixed.to_bytes(8))
    recovery[0] &= 0x3F  # retransmission and fixed-mask bits
    recovery[2:4] = lengths.to_bytes(2)
    one_stream = b"\x01\0\0\0"
    return b"".join(
        (
            recovery,
            one_stream,
            packets[0][8:12],  # its SSRC
            packets[0][2:4],  # the number that the mask starts at
            _mask(mask, len(packets)),
            body.to_bytes(longest, "little"),
        )
    )


def _mask(mask: int, packets: int) -> bytes:
    """46 bits, first packet first, as 15 and if need be 31 of them, each after a bit that says
    whether that was all.
    """
    first, second = mask >> 31, mask & 0x7FFF_FFFF
    if packets <= 15:
        return (first | 0x8000).to_bytes(2)
    return first.to_bytes(2) + (second | 0x8000_0000).to_bytes(4)


def header_length(packet: bytes) -> int:
    """Bytes before an RTP packet's payload."""
    length = _HEADER + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        length += 4 + 4 * int.from_bytes(packet[length + 2 : length + 4])
    return length


def _without_mutable(packet: bytes, mutable: Set[int]) -> bytes:
    start = _HEADER + 4 * (packet[0] & 0x0F)
    if not (packet[0] & 0x10 and packet[start : start + 2] == _ONE_BYTE_FORM):
        return packet
    plain = bytearray(packet)
    at, end = start + 4, header_length(packet)
    while at < end:
        number, size = plain[at] >> 4, (plain[at] & 0x0F) + 1
        if not plain[at]:  # padding
            at += 1
            continue
        if number in mutable:
            plain[at + 1 : at + 1 + size] = bytes(size)
        at += 1 + size
    return bytes(plain)


class Protection:
    """One viewer's parity packets, on a stream (SSRC) of their own beside the pictures'.

    policy: asked at the end of each group how many.
    payload_type, ssrc: the parity stream's.
    mutable: see parity_payloads.
    """

    def __init__(
        self, policy: ParityPolicy, *, payload_type: int, ssrc: int, mutable: Set[int] = frozenset()
    ) -> None:
        self.ssrc = ssrc
        self.sent = 0
        self._policy = policy
        self._payload_type = payload_type
        self._mutable = mutable
        self._group: list[bytes] = []

    def after(self, packet: bytes) -> list[bytes]:
        """The parity packets that follow a picture's packet, mostly none; `packet`: RTP, in order.

        They carry its header extensions, mutable ones unset.
        """
        self._group.append(packet)
        ends_picture = bool(packet[1] & 0x80)
        if not ends_picture and len(self._group) < MAX_GROUP:
            return []
        group, self._group = self._group, []
        count = self._policy.count(len(group))
        if not count:
            return []
        head = _without_mutable(packet[: header_length(packet)], self._mutable)
        return [self._parity_packet(head, p) for p in parity_payloads(group, count, self._mutable)]

    def _parity_packet(self, head: bytes, payload: bytes) -> bytes:
        self.sent += 1
        changed = struct.pack("!BH", self._payload_type, self.sent & 0xFFFF)
        return head[:1] + changed + head[4:8] + self.ssrc.to_bytes(4) + head[12:] + payload
