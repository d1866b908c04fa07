"""Parity is tested against a decoder of its own, written from the draft."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.fec import (
    HALF_LIFE_US,
    MAX_GROUP,
    NEAR_US,
    WAIT_SHARE,
    ParityPolicy,
    Protection,
    header_length,
    parity_payloads,
    wait_probability,
)

MEDIA, PARITY = 102, 49
SSRC, PARITY_SSRC = 0x1234_5678, 0x9ABC_DEF0
SEND_TIME, DELAY = 3, 6  # ids of header extensions


def rtp_packet(number, payload, *, timestamp=1000, marker=False, kind=MEDIA, send_time=b"\0\0\0"):
    """With a one-byte-form extension block: the send time and the playout delay."""
    block = bytes((SEND_TIME << 4 | 2,)) + send_time + bytes((DELAY << 4 | 2,)) + b"\0\0\0"
    head = struct.pack("!BBHLL", 0x90, marker << 7 | kind, number, timestamp, SSRC)
    return head + b"\xbe\xde" + struct.pack("!H", len(block) // 4) + block + payload


def recover(parity: bytes, received: dict[int, bytes]) -> bytes | None:
    """The one packet that `parity` covers and `received` lacks, if there is exactly one."""
    length, stamp, streams, ssrc, base = struct.unpack("!HLLLH", parity[2:18])
    assert (parity[0] >> 6, streams, ssrc) == (0, 1 << 24, SSRC)
    bits = f"{int.from_bytes(parity[18:20]):016b}"
    mask, body = bits[1:], bytearray(parity[20:])
    if bits[0] == "0":
        bits = f"{int.from_bytes(parity[20:24]):032b}"
        assert bits[0] == "1"
        mask, body = mask + bits[1:], bytearray(parity[24:])
    covered = [(base + i) % 65536 for i, bit in enumerate(mask) if bit == "1"]
    missing = [number for number in covered if number not in received]
    if len(missing) != 1:
        return None
    first, second = parity[0], parity[1]
    for number in covered:
        if number in received:
            packet = received[number]
            first ^= packet[0] & 0x3F
            second ^= packet[1]
            stamp ^= int.from_bytes(packet[4:8])
            length ^= len(packet) - 12
            for i, byte in enumerate(packet[12:]):
                body[i] ^= byte
    head = struct.pack("!BBHLL", 0x80 | first, second, missing[0], stamp, SSRC)
    return head + bytes(body[:length])


def recover_all(parities: list[bytes], received: dict[int, bytes]) -> dict[int, bytes]:
    """Everything that can be got back, as a viewer would."""
    got = dict(received)
    progress = True
    while progress:
        progress = False
        for parity in parities:
            packet = recover(parity, got)
            if packet is not None:
                got[int.from_bytes(packet[2:4])] = packet
                progress = True
    return got


payloads = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=MAX_GROUP)


def group(contents, first=65530):
    last = len(contents) - 1
    return [
        rtp_packet((first + i) % 65536, content, marker=i == last)
        for i, content in enumerate(contents)
    ]


@given(payloads, st.integers(1, 16), st.data())
def test_a_burst_shorter_than_the_parity_packets_are_many_is_recovered(contents, count, data):
    packets = group(contents)
    parities = parity_payloads(packets, count, frozenset())
    longest = count if count < 4 else count - 1
    length = data.draw(st.integers(1, min(longest, len(packets))))
    start = data.draw(st.integers(0, len(packets) - length))
    sent = {int.from_bytes(packet[2:4]): packet for packet in packets}
    lost = {int.from_bytes(packet[2:4]) for packet in packets[start : start + length]}
    received = {number: packet for number, packet in sent.items() if number not in lost}
    assert recover_all(parities, received) == sent


@given(payloads, st.integers(1, 16), st.data())
def test_whatever_is_recovered_is_right(contents, count, data):
    packets = group(contents)
    parities = parity_payloads(packets, count, frozenset())
    kept = data.draw(st.lists(st.booleans(), min_size=len(packets), max_size=len(packets)))
    sent = {int.from_bytes(packet[2:4]): packet for packet in packets}
    received = {number: sent[number] for number, keep in zip(sent, kept, strict=True) if keep}
    assert recover_all(parities, received).items() <= sent.items()


@given(payloads, st.integers(4, 16), st.data())
def test_a_packet_and_one_of_its_parity_packets_may_both_be_lost(contents, count, data):
    packets = group(contents)
    parities = parity_payloads(packets, count, frozenset())
    sent = {int.from_bytes(packet[2:4]): packet for packet in packets}
    received = dict(sent)
    del received[data.draw(st.sampled_from(sorted(sent)))]
    del parities[data.draw(st.integers(0, len(parities) - 1))]
    assert recover_all(parities, received) == sent


@pytest.mark.parametrize("loss", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("packets", [3, 8, 14, MAX_GROUP])
def test_parity_is_about_what_it_takes(packets, loss):
    """Simulated: the share of groups left incomplete is near what was reckoned with."""
    policy = ParityPolicy()
    policy.lost(loss, 0)
    count = policy.count(packets)
    rng = np.random.default_rng(3)
    sent = group([b"x"] * packets, first=0)
    parities = parity_payloads(sent, count, frozenset())
    incomplete, groups = 0, 2000
    for kept in rng.random((groups, packets + count)) >= loss:
        received = {i: sent[i] for i in range(packets) if kept[i]}
        if len(received) < packets:
            there = [p for p, keep in zip(parities, kept[packets:], strict=True) if keep]
            incomplete += len(recover_all(there, received)) < packets
    assert incomplete / groups <= 2 * max(WAIT_SHARE, wait_probability(packets, count, loss))


def test_values_that_change_on_the_way_out_count_as_zero():
    packets = [rtp_packet(i, bytes((i,)), send_time=bytes((i, 2, 3))) for i in range(5)]
    plain = [rtp_packet(i, bytes((i,))) for i in range(5)]
    assert parity_payloads(packets, 2, {SEND_TIME}) == parity_payloads(plain, 2, frozenset())
    assert parity_payloads(packets, 2, {DELAY}) != parity_payloads(plain, 2, frozenset())


def test_the_short_mask_holds_fifteen_packets():
    sizes = [len(parity_payloads(group([b"x"] * n), 1, frozenset())[0]) for n in (15, 16)]
    assert sizes[1] - sizes[0] == 4


def test_there_is_no_parity_without_loss_nor_where_a_repeat_is_here_at_once():
    policy = ParityPolicy()
    assert policy.count(8) == 0
    policy.lost(0.0, 0)
    assert policy.count(8) == 0
    policy.lost(0.05, 1_000_000)
    assert policy.count(8) > 0
    policy.round_trip(NEAR_US - 1)
    assert policy.count(8) == 0
    policy.round_trip(NEAR_US)
    assert policy.count(8) > 0


def test_parity_fades_out_when_losses_end():
    policy = ParityPolicy()
    policy.lost(0.05, 0)
    at_first = policy.count(30)
    policy.lost(0.0, HALF_LIFE_US)
    assert 0 < policy.count(30) <= at_first
    policy.lost(0.0, 7 * HALF_LIFE_US)
    assert policy.count(30) == 0


@given(st.integers(1, MAX_GROUP), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_more_loss_never_gets_less_parity(packets, one, other):
    counts = []
    for share in sorted((one, other)):
        policy = ParityPolicy()
        policy.lost(share, 0)
        counts.append(policy.count(packets))
    assert counts[0] <= counts[1]


@given(st.integers(1, MAX_GROUP), st.floats(0.001, 0.3))
def test_parity_is_the_least_that_keeps_waiting_rare(packets, share):
    policy = ParityPolicy()
    policy.lost(share, 0)
    count, most = policy.count(packets), math.ceil(packets / 2)
    assert 0 <= count <= most
    if count:
        assert wait_probability(packets, count - 1, share) > WAIT_SHARE
    if count < most:
        assert wait_probability(packets, count, share) <= WAIT_SHARE


def picture(first, count, timestamp):
    return [
        rtp_packet(first + i, bytes((i,)) * 9, timestamp=timestamp, marker=i == count - 1)
        for i in range(count)
    ]


@pytest.fixture
def policy():
    return ParityPolicy()


@pytest.fixture
def protection(policy):
    return Protection(policy, payload_type=PARITY, ssrc=PARITY_SSRC, mutable={SEND_TIME})


def test_nothing_follows_a_picture_without_loss(protection):
    assert [protection.after(packet) for packet in picture(7, 5, 1000)] == [[]] * 5


def test_with_loss_parity_follows_the_picture(protection, policy):
    policy.lost(0.1, 0)
    packets = picture(7, 6, 1000)
    after = [protection.after(packet) for packet in packets]
    assert after[:5] == [[]] * 5
    assert len(after[5]) == protection.sent == policy.count(6) == 3
    for number, packet in enumerate(after[5], 1):
        head = struct.unpack("!BBHLL", packet[:12])
        assert head == (0x90, PARITY, number, 1000, PARITY_SSRC)  # no marker: the picture ended
        assert packet[12 : header_length(packet)] == packets[5][12 : header_length(packets[5])]
    payloads = [packet[header_length(packet) :] for packet in after[5]]
    received = {9 + i: packet for i, packet in enumerate(packets[2:])}
    assert recover_all(payloads, received) == dict(enumerate(packets, 7))


def test_each_picture_has_parity_of_its_own(protection, policy):
    policy.lost(0.1, 0)
    both = picture(0, 3, 1000) + picture(3, 3, 2000)
    *_, parities = [protection.after(packet) for packet in both]
    payloads = [packet[header_length(packet) :] for packet in parities]
    received = {number: both[number] for number in (3, 5)}
    assert recover_all(payloads, received) == {number: both[number] for number in (3, 4, 5)}


def test_a_large_picture_gets_parity_in_groups(protection, policy):
    policy.lost(0.02, 0)
    counts = [len(protection.after(packet)) for packet in picture(0, 2 * MAX_GROUP + 1, 1000)]
    per_group, last = policy.count(MAX_GROUP), policy.count(1)
    assert per_group > 0
    assert {i: n for i, n in enumerate(counts) if n} == {
        MAX_GROUP - 1: per_group,
        2 * MAX_GROUP - 1: per_group,
        2 * MAX_GROUP: last,
    }
