"""Datagrams in one system call, over loopback."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.bursts import MAX_BYTES, MAX_SEGMENTS, BurstSocket, runs

DATAGRAMS = st.lists(st.integers(1, 1300).map(bytes), max_size=200)


@given(DATAGRAMS)
def test_a_run_is_of_one_size_but_for_a_shorter_end(datagrams):
    found = list(runs(datagrams))
    assert [datagram for run in found for datagram in run] == datagrams
    for run in found:
        *others, last = [len(datagram) for datagram in run]
        assert len(set(others)) <= 1
        assert not others or last <= others[0]
        assert len(run) <= MAX_SEGMENTS
        assert len(run) == 1 or sum(map(len, run)) <= MAX_BYTES


@pytest.fixture
def sockets():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        far.bind(("127.0.0.1", 0))
        far.settimeout(10)
        burst = BurstSocket(near.fileno())
        yield burst, far
        burst.close()


def test_datagrams_arrive_whole_and_in_their_order(sockets):
    burst, far = sockets
    sizes = [1200, 1200, 1200, 300, 1200, 7, 7, 7, 1, 900]
    sent = [bytes([n]) * size for n, size in enumerate(sizes)]
    assert burst.send(sent, far.getsockname()) == len(sent)
    assert [far.recv(2000) for _ in sent] == sent


def test_what_the_kernel_refuses_is_left_to_the_caller(sockets):
    burst, far = sockets
    assert burst.send([b"one", bytes(70_000), b"two"], far.getsockname()) == 1
    assert burst.send([b"two"], far.getsockname()) == 1
    assert [far.recv(2000) for _ in range(2)] == [b"one", b"two"]
