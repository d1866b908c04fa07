"""Malformed datagrams are the same for a seed, of every kind, and fit in a path's MTU."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench.streaming.garbage import MOST_BYTES, datagrams, spoilt
from bench.streaming.hostile import on_loopback

MANY = 2000


@given(st.integers(0, 2**32))
def test_a_seed_says_which(seed: int) -> None:
    first, second = (list(islice(datagrams(seed, b"ours:theirs"), 20)) for _ in range(2))
    assert first == second
    assert all(len(each) <= MOST_BYTES for each in first)


def test_all_that_a_demultiplexer_lets_through_is_among_them() -> None:
    sent = list(islice(datagrams(1, b"ours:theirs"), MANY))
    first_bytes = {each[0] for each in sent if each}
    assert first_bytes & set(range(4)), "STUN"
    assert first_bytes & set(range(20, 64)), "DTLS"
    assert first_bytes & set(range(128, 192)), "RTP and RTCP"
    assert b"" in sent
    assert any(b"ours:theirs" in each for each in sent)


def test_most_are_spoilt() -> None:
    chance = random.Random(1)
    whole = bytes(range(100))
    assert sum(spoilt(chance, whole) != whole for _ in range(MANY)) > MANY / 2


def test_an_answer_keeps_only_the_candidates_on_loopback() -> None:
    rest = "v=0\r\na=ice-ufrag:x\r\n"
    near = "a=candidate:1 1 udp 1 127.0.0.1 4000 typ host\r\n"
    far = "a=candidate:2 1 udp 1 192.0.2.1 4000 typ host\r\n"
    assert on_loopback(rest + near + far) == rest + near
