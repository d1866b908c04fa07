"""Peers that hold a key but not the protocol, driven by hand over real TLS."""

import asyncio
import random
from contextlib import asynccontextmanager

import msgspec
import pytest

from mesh.core.errors import LinkLost, PeerRefused, ProtocolViolation
from mesh.core.wire import (
    MAX_BODY,
    MAX_HEADER,
    PROTOCOL_VERSION,
    AssetData,
    AssetWanted,
    Hello,
    Observed,
    Ping,
    Pong,
    Refuse,
    encode_message,
)
from mesh.link.endpoint import _origin
from mesh.link.framing import CHUNK, FrameReader, more_prefix, open_prefix
from mesh.link.handshake import make_hello
from mesh.link.liveness import LinkTiming

NEXT = PROTOCOL_VERSION + 1


def framed(message, body=b""):
    header = encode_message(message)
    return open_prefix(0, len(body), len(header), len(body)) + header + body


class Raw:
    """A TLS connection that says whatever a test likes."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self._frames = FrameReader(lambda message, size: memoryview(bytearray(size)))
        self._arrived = []

    def say(self, *pieces):
        self._writer.write(b"".join(pieces))

    async def hear(self):
        """The next message, None at the end of the stream."""
        while not self._arrived:
            async with asyncio.timeout(30):
                data = await self._reader.read(1000)
            if not data:
                return None
            while data:
                buffer = self._frames.buffer()
                count = min(len(buffer), len(data))
                buffer[:count], data = data[:count], data[count:]
                self._arrived += [message for message, _ in self._frames.advance(count)]
        return self._arrived.pop(0)

    async def hear_the_end(self):
        """Everything until the stream ends; the last message is the reason."""
        heard = []
        while (message := await self.hear()) is not None:
            heard.append(message)
            if isinstance(message, Refuse):
                self._writer.close()
                return message.problem
        raise AssertionError(f"it ended without a reason, after {heard}")

    async def agree(self, credentials):
        """Play the whole handshake; the other end's link is then open."""
        self.say(framed(make_hello(credentials, ())))
        assert isinstance(await self.hear(), Hello)
        ping = await self.hear()
        assert isinstance(ping, Ping)
        self.say(framed(Ping(1)), framed(Pong(ping.t0_us, 5, 5)))
        assert isinstance(await self.hear(), Pong)

    def close(self):
        self._writer.transport.abort()


@asynccontextmanager
async def raw_dial(credentials, port, **options):
    context = None if credentials is None else credentials.tls.client
    named = {} if context is None else {"ssl": context, "server_hostname": ""}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **named, **options)
    raw = Raw(reader, writer)
    try:
        yield raw
    finally:
        raw.close()


GREETED = {
    "garbage": [b"\x16\x03" + bytes(14)],
    "an oversize header": [open_prefix(0, 0, MAX_HEADER + 1, 0)],
    "an oversize body": [open_prefix(0, 1, 60, MAX_BODY + 1)],
    "a body before it is trusted": [framed(AssetData("0" * 64), b"body")],
    "a message before it is trusted": [framed(AssetWanted("0" * 64))],
    "a ping before its hello": [framed(Ping(1))],
    "a pong nobody asked for": [framed(Pong(1, 2, 3))],
    "a chunk of nothing": [more_prefix(3, 10)],
}


@pytest.mark.parametrize("said", GREETED.values(), ids=GREETED)
async def test_a_member_that_breaks_the_protocol_at_once_is_told_and_refused(realm, end, said):
    server, member, asked = end(realm.member()), realm.member(), []
    server.handler.body_buffer = lambda *args: asked.append(args)
    async with server.listening() as listener, raw_dial(member, listener.port) as raw:
        raw.say(*said)
        problem = await raw.hear_the_end()
        assert (problem.code, bool(problem.why), bool(problem.fix)) == ("protocol", True, True)
        assert isinstance(await server.refusals.get(), ProtocolViolation)
    assert asked == []  # no memory for who is not trusted yet


OPENED = {
    "a second hello": lambda member: framed(make_hello(member, ())),
    "a body where none may be": lambda member: framed(AssetWanted("0" * 64), b"body"),
    "a field over its bound": lambda member: framed(AssetWanted("0" * 63)),
    "noise": lambda member: random.Random(1).randbytes(4000),
}


@pytest.mark.parametrize("said", OPENED.values(), ids=OPENED)
async def test_an_open_link_whose_peer_breaks_the_protocol_ends_and_the_listener_goes_on(
    realm, end, said
):
    server, member = end(realm.member()), realm.member()
    async with server.listening() as listener:
        async with raw_dial(member, listener.port) as raw:
            await raw.agree(member)
            link = await server.handler.links.get()
            raw.say(said(member))
            assert (await raw.hear_the_end()).code == "protocol"
            assert isinstance(await server.handler.ends.get(), ProtocolViolation)
            await link.gone
        assert (await end(realm.member()).dial(listener.port)).is_open


async def test_a_dialler_of_another_version_is_refused_with_both_ranges(realm, end):
    server, member = end(realm.member()), realm.member()
    async with server.listening() as listener, raw_dial(member, listener.port) as raw:
        raw.say(framed(Hello(NEXT + 3, NEXT, member.membership)))
        problem = await raw.hear_the_end()
        assert f"speaks {NEXT} to {NEXT + 3}" in problem.why
        assert problem.why == (await server.refusals.get()).why


async def test_a_listener_of_another_version_is_refused_with_both_ranges(realm, end):
    member, told = realm.member(), asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        raw = Raw(reader, writer)
        raw.say(framed(Hello(NEXT, NEXT, member.membership)))
        told.set_result(await raw.hear_the_end())

    service = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=member.tls.server)
    async with service:
        with pytest.raises(PeerRefused, match=f"speaks {NEXT}") as refused:
            await end(realm.member()).dial(service.sockets[0].getsockname()[1])
        assert (await told).why in refused.value.why


async def test_a_peer_that_never_says_hello_is_hung_up_on(realm, end):
    server, hasty = end(realm.member()), LinkTiming(handshake_us=300_000)
    async with server.listening(hasty) as listener:
        async with raw_dial(realm.member(), listener.port) as raw:
            assert await raw.hear() is None
        async with raw_dial(None, listener.port) as raw:  # nor even begins TLS
            assert await raw.hear() is None
    assert server.handler.links.empty()


async def test_an_answerer_of_impossible_times_never_gets_a_link(realm, end):
    server, hasty = end(realm.member()), LinkTiming(handshake_us=300_000)
    member = realm.member()
    async with server.listening(hasty) as listener, raw_dial(member, listener.port) as raw:
        raw.say(framed(make_hello(member, ())))
        assert isinstance(await raw.hear(), Hello)
        ping = await raw.hear()
        raw.say(framed(Pong(ping.t0_us, 2**50, 0)))  # answered before it was asked
        assert await raw.hear() is None
    assert server.handler.links.empty()


async def test_a_flood_of_pings_from_a_peer_that_does_not_read_costs_no_memory(realm, end):
    server, member = end(realm.member()), realm.member()
    async with server.listening() as listener, raw_dial(member, listener.port) as raw:
        await raw.agree(member)
        link = await server.handler.links.get()
        for number in range(20):
            raw.say(framed(Ping(number)) * 20_000)
            await raw._writer.drain()
            assert link._transport.get_write_buffer_size() <= 512 * 1024
            assert len(link._pongs) <= 8


async def test_a_host_that_hoards_unproved_connections_shuts_out_only_itself(realm, end):
    server, unhurried = end(realm.member()), LinkTiming(handshake_us=600_000_000)
    async with server.listening(unhurried) as listener:
        hoard = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(40)]
        async with raw_dial(None, listener.port) as raw:
            assert await raw.hear() is None  # hung up on at once
        member = realm.member()
        async with raw_dial(member, listener.port, local_addr=("127.0.0.2", 0)) as raw:
            raw.say(framed(make_hello(member, ())))
            assert isinstance(await raw.hear(), Hello)
        for _, writer in hoard:
            writer.transport.abort()
        while True:
            try:
                await end(realm.member()).dial(listener.port)
            except LinkLost:  # the listener has not noticed yet that they are gone
                continue
            break


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_hoarding_is_counted_by_what_one_attacker_surely_has(host, origin):
    assert _origin(host) == origin


# --- peers of other versions ----------------------------------------------------------------------


async def test_a_peer_of_the_version_before_is_met_at_it_and_told_nothing_newer(realm, end):
    """Version 1 knew neither the hello's `lineage` nor what members tell each other since."""
    server, member = end(realm.member()), realm.member()
    async with server.listening() as listener, raw_dial(member, listener.port) as raw:
        said = msgspec.msgpack.decode(encode_message(make_hello(member, ())))
        said["version"] = 1
        del said["lineage"]
        header = msgspec.msgpack.encode(said)
        raw.say(open_prefix(0, 0, len(header), 0) + header)
        assert isinstance(await raw.hear(), Hello)
        ping = await raw.hear()
        raw.say(framed(Ping(1)), framed(Pong(ping.t0_us, 5, 5)))
        link = await server.handler.links.get()
        assert link.peer.version == 1
        done = asyncio.Event()
        link.send(Observed("192.0.2.1:7000"), sent=done.set)
        link.send(AssetWanted("0" * 64))
        await done.wait()  # whoever waits for it to be sent goes on
        heard = [await raw.hear()]
        while not isinstance(heard[-1], AssetWanted):
            heard.append(await raw.hear())
        assert {type(message) for message in heard} <= {Ping, Pong, AssetWanted}


@pytest.mark.parametrize("body", [b"", b"x" * 200_000])
async def test_a_message_of_a_later_version_is_passed_over(realm, end, body):
    server, member = end(realm.member()), realm.member()
    async with server.listening() as listener, raw_dial(member, listener.port) as raw:
        await raw.agree(member)
        await server.handler.links.get()
        header = msgspec.msgpack.encode({"type": "teleport", "where": [1, 2, {"deep": True}]})
        first, rest = body[:CHUNK], body[CHUNK:]
        raw.say(open_prefix(0, len(first), len(header), len(body)) + header + first)
        while rest:
            raw.say(more_prefix(0, len(rest[:CHUNK])) + rest[:CHUNK])
            rest = rest[CHUNK:]
        raw.say(framed(AssetWanted("1" * 64)))
        message, _ = await server.handler.messages.get()
        assert message == AssetWanted("1" * 64)
