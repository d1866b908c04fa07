"""Results split and joined again, whatever the channel does between."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse, ProtocolViolation
from mesh.stream.parts import (
    HEADER,
    MAX_PARTS,
    MAX_RESULT,
    MAX_UNDER_WAY,
    PART_BYTES,
    Joiner,
    count_parts,
    split,
)

SIZES = st.one_of(
    st.integers(0, 3 * PART_BYTES),
    st.sampled_from([PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, MAX_RESULT - 1, MAX_RESULT]),
)


def result_of(frame: int, size: int) -> bytes:
    return random.Random(frame).randbytes(size)


@given(SIZES, st.randoms(use_true_random=False))
def test_what_is_split_is_joined_whatever_the_order(size, chance):
    messages = split(7, result_of(7, size))
    assert len(messages) == count_parts(size) <= MAX_PARTS
    assert max(map(len, messages)) <= HEADER.size + PART_BYTES
    chance.shuffle(messages)
    joiner = Joiner()
    joined = [joiner.add(message) for message in messages]
    assert joined[:-1] == [None] * (len(messages) - 1)
    assert joined[-1] == (7, result_of(7, size))


@given(st.data())
def test_no_result_comes_twice_or_wrong_however_parts_are_lost_doubled_and_mixed(data):
    sizes = data.draw(st.lists(SIZES.filter(lambda size: size < MAX_RESULT // 4), max_size=12))
    sent = [m for frame, size in enumerate(sizes) for m in split(frame, result_of(frame, size))]
    came = data.draw(st.lists(st.sampled_from(sent), max_size=60)) if sent else []
    joiner, seen = Joiner(), []
    for message in came:
        joined = joiner.add(message)
        if joined is not None:
            frame, result = joined
            assert result == result_of(frame, sizes[frame])
            seen.append(frame)
        assert len(joiner._under_way) <= MAX_UNDER_WAY
    assert len(seen) == len(set(seen))


def test_a_result_that_never_completes_makes_room_for_newer_ones():
    joiner = Joiner()
    two_parts = PART_BYTES + 1
    for frame in range(10, 11 + MAX_UNDER_WAY):
        assert joiner.add(split(frame, bytes(two_parts))[0]) is None
    assert joiner.given_up == 1
    assert joiner.add(split(9, bytes(two_parts))[0]) is None  # older than all under way
    assert joiner.add(split(10, bytes(two_parts))[1]) is None  # given up: its first part is gone
    assert joiner.given_up == 1
    assert joiner.add(split(11, bytes(two_parts))[1]) == (11, bytes(two_parts))


def test_one_byte_more_than_fits_is_refused_before_it_is_sent():
    assert count_parts(MAX_RESULT) == MAX_PARTS
    assert count_parts(MAX_RESULT + 1) == 0
    with pytest.raises(Misuse, match="1048577 bytes"):
        split(1, bytes(MAX_RESULT + 1))


def part(frame=1, index=0, parts=1, nbytes=4, body=b"four") -> bytes:
    return HEADER.pack(frame, index, parts, nbytes) + body


@pytest.mark.parametrize(
    "message",
    [
        b"",
        part()[: HEADER.size - 1],
        part(frame=2**53),
        part(index=1),
        part(parts=0),
        part(parts=2),
        part(nbytes=5),
        part(body=b"fives"),
        part(nbytes=MAX_RESULT + 1, parts=65),
        part(nbytes=2**32 - 1, parts=2**16 - 1),
        part(nbytes=PART_BYTES + 4, parts=2, index=1, body=b"fives"),
    ],
)
def test_what_is_no_part_is_a_violation_and_allocates_nothing(message):
    joiner = Joiner()
    with pytest.raises(ProtocolViolation, match="a part of a result cannot be read"):
        joiner.add(message)
    assert not joiner._under_way


def test_parts_of_one_frame_that_contradict_each_other_are_a_violation():
    joiner = Joiner()
    joiner.add(split(3, bytes(PART_BYTES + 1))[0])
    with pytest.raises(ProtocolViolation, match="frame 3 has 16385 bytes, and 16386"):
        joiner.add(split(3, bytes(PART_BYTES + 2))[1])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_part_or_a_violation(message):
    with contextlib.suppress(ProtocolViolation):
        Joiner().add(message)
