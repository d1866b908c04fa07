"""The impaired network: its decisions through invented time, then real packets through it."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.impair import Line, LineModel, Link, impaired, joined_namespaces, without_candidates
from bench.impair.relay import TUN, ImpairFailed, _announce, _server_of

ANSWER = (
    "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 10.0.0.4\r\n"
    "a=candidate:1 1 udp 2130706431 10.0.0.4 5000 typ host\r\n"
    "a=candidate:2 1 udp 2130706431 fd00::1 5001 typ host\r\n"
    "a=candidate:3 1 udp 2130706431 127.0.0.1 5002 typ host\r\na=mid:0\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    "a=candidate:3 1 udp 2130706431 127.0.0.1 5002 typ host\r\na=mid:1\r\n"
)


def arrivals(model, packets):
    """packets: (bytes, at microsecond) each."""
    return [model.arrival_us(nbytes, at_us) for nbytes, at_us in packets]


def test_a_line_that_does_nothing_passes_all_at_once():
    assert arrivals(LineModel(Line(), "1"), [(1200, 0), (50, 7)]) == [0, 7]


def test_a_bottleneck_serves_one_after_the_other_and_overflows():
    model = LineModel(Line(rate_bps=((0, 8e6),), queue_ms=2, delay_ms=10), "1")
    # 1000 bytes take 1 ms each at 8 Mb/s: the fourth would wait 3 ms.
    assert arrivals(model, [(1000, 0)] * 4) == [11_000, 12_000, 13_000, None]
    assert model.counts.overflowed == 1
    assert model.counts.queue_us_max == 2_000
    assert model.arrival_us(1000, 50_000) == 61_000


def test_a_packet_across_a_rate_step_is_served_at_both_rates():
    model = LineModel(Line(rate_bps=((0, 8e6), (1, 4e6), (2, 8e6))), "1")
    model.start(5_000_000)
    assert model.arrival_us(1000, 5_999_500) == 6_000_000 + 1_000
    assert model.arrival_us(1000, 6_500_000) == 6_502_000
    assert model.arrival_us(1000, 7_500_000) == 7_501_000


def test_bursts_take_packets_in_a_row():
    model = LineModel(Line(burst=0.01, burst_packets=8), "3")
    gone = [at is None for at in arrivals(model, [(100, n) for n in range(5_000)])]
    runs = "".join("x" if lost else "." for lost in gone).split(".")
    lengths = [len(run) for run in runs if run]
    assert lengths
    assert all(length % 8 == 0 for length in lengths)


def test_held_back_packets_are_overtaken_and_no_others():
    model = LineModel(Line(delay_ms=1, reorder=0.1, reorder_ms=5), "2")
    times = arrivals(model, [(100, n * 1000) for n in range(200)])
    held = [n for n, at in enumerate(times) if at == n * 1000 + 6_000]
    assert 5 < len(held) < 50
    others = [at for n, at in enumerate(times) if n not in held]
    assert others == sorted(others)


lines = st.builds(
    Line,
    delay_ms=st.floats(0, 50),
    jitter_ms=st.floats(0, 20),
    loss=st.floats(0, 0.5),
    burst=st.floats(0, 0.05),
    rate_bps=st.sampled_from([(), ((0.0, 8e6),), ((0.0, 8e6), (0.05, 1e6), (0.1, 8e6))]),
    queue_ms=st.floats(1, 100),
)
packet_times = st.lists(
    st.tuples(st.integers(20, 1500), st.integers(0, 5_000)), min_size=1, max_size=100
)


@given(lines, packet_times, st.integers(0, 9))
def test_order_holds_and_nothing_arrives_before_its_delay(line, gaps, seed):
    model, now_us, last_us = LineModel(line, str(seed)), 0, 0
    for nbytes, gap_us in gaps:
        now_us += gap_us
        at_us = model.arrival_us(nbytes, now_us)
        if at_us is None:
            continue
        assert at_us >= now_us + int(line.delay_ms * 1e3)
        assert at_us >= last_us
        last_us = at_us
    assert model.counts.packets == len(gaps)


@given(lines, packet_times, packet_times, st.integers(0, 9))
def test_luck_depends_on_seed_and_number_only(line, some, others, seed):
    def lost(gaps):
        unlimited = Line(loss=line.loss, burst=line.burst)
        model = LineModel(unlimited, str(seed))
        return [model.arrival_us(nbytes, gap) is None for nbytes, gap in gaps]

    count = min(len(some), len(others))
    assert lost(some[:count]) == lost(others[:count])


def test_a_link_survives_json():
    link = Link(Line(delay_ms=3, rate_bps=((0, 8e6), (5, 4e6))), Line(loss=0.01), seed=9)
    assert Link.from_json(link.as_json()) == link


def test_the_answer_announces_the_relay_once_for_each_section():
    assert _server_of(ANSWER) == ("127.0.0.1", 5002)
    lines = _announce(ANSWER, 6000).splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    assert candidates == ["a=candidate:1 1 udp 2130706431 127.0.0.1 6000 typ host"] * 2
    assert len(lines) == len(ANSWER.splitlines()) - 2
    assert "candidate" not in without_candidates(ANSWER)
    with pytest.raises(ImpairFailed, match="no UDP host candidate"):
        _server_of(without_candidates(ANSWER))


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Client(asyncio.DatagramProtocol):
    """Collects what comes, until `wanted` packets have."""

    def __init__(self, wanted):
        self.got = []
        self.wanted = wanted
        self.done = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.got.append(data)
        if len(self.got) == self.wanted:
            self.done.set_result(None)


async def test_datagrams_go_through_the_relay_as_its_seed_says():
    line = Line(loss=0.2, delay_ms=1)
    packets = [bytes([n]) * 100 for n in range(200)]
    model = LineModel(line, "4 up")
    expected = [data for data in packets if model.arrival_us(len(data), 0) is not None]
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    async with impaired(Link(up=line, seed=4)) as relay:
        port = await relay.open_port(*address)
        client, seen = await loop.create_datagram_endpoint(
            lambda: Client(len(expected)), remote_addr=("127.0.0.1", port)
        )
        for data in packets:
            client.sendto(data)
        async with asyncio.timeout(30):
            await seen.done
        assert seen.got == expected
        down, up = await relay.counts()
        assert (up.packets, up.lost) == (200, 200 - len(expected))
        assert down.packets == len(expected)
        await relay.start()
        assert (await relay.counts())[1].packets == 0
        client.close()
    server.close()


SERVE = """
import socket
with socket.create_server(("", 7000)) as server:
    print("ready", flush=True)
    with server.accept()[0] as client:
        client.sendall(bytes(200_000))
"""
FETCH = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as client:
    print(sum(len(data) for data in iter(lambda: client.recv(65536), b"")))
"""


async def run_in(space, script, *words):
    return await asyncio.create_subprocess_exec(
        *["ip", "netns", "exec", space, sys.executable, "-c", script, *words],
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.net
@pytest.mark.skipif(not TUN.exists(), reason="no TUN devices here")
async def test_tcp_between_namespaces_takes_the_lines():
    async with joined_namespaces(Link(down=Line(delay_ms=1, loss=0.02))) as (relay, spaces):
        server = await run_in(spaces.far, SERVE)
        assert await server.stdout.readline() == b"ready\n"
        client = await run_in(spaces.near, FETCH, spaces.far_address)
        assert await client.communicate() == (b"200000\n", None)
        assert await server.wait() == 0
        down, up = await relay.counts()
    assert down.packets > 200_000 / 1500
    assert up.packets > 10
