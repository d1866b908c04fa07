"""Of several addresses the first that answers is taken, and one link comes of it."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ConfigError, LinkLost, PeerRefused
from mesh.link.endpoint import dial_any, listen
from mesh.link.racing import connect_first, interleaved


def address(port):
    return f"127.0.0.1:{port}"


@pytest.fixture
def silent():
    """An address whose listener takes nobody: its queue is full, so that a SYN is not answered."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=0)))
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield address(port)


@pytest.fixture
def closed():
    """An address at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    return address(port)


async def test_the_address_that_answers_wins_whatever_the_others_do(realm, end, silent, closed):
    server, client = end(realm.member()), end(realm.member())
    async with server.listening() as listener:
        link = await dial_any(
            [closed, silent, address(listener.port)], client.credentials, client.handler, tuple
        )
        assert link.peer.node_id == server.credentials.identity.node_id
        assert (link.dialled, (await server.handler.links.get()).dialled) == (True, False)
        await link.close()
    assert client.handler.links.qsize() == 1 and server.handler.links.empty()


async def test_an_address_at_which_another_node_answers_is_left_out(realm, end, foreign_realm):
    wrong, stranger, right = end(realm.member()), end(foreign_realm.member()), end(realm.member())
    client = end(realm.member())
    async with (
        wrong.listening() as first, stranger.listening() as second, right.listening() as third
    ):  # fmt: skip
        found = [address(listener.port) for listener in (first, second, third)]
        wanted = right.credentials.identity.node_id
        link = await dial_any(found, client.credentials, client.handler, tuple, expect=wanted)
        assert link.peer.node_id == wanted
        await link.close()
        with pytest.raises(PeerRefused):
            await dial_any(found[:2], client.credentials, client.handler, tuple, expect=wanted)


async def test_where_nobody_answers_all_addresses_are_named(realm, end, closed):
    client = end(realm.member())
    with pytest.raises(LinkLost, match=closed):
        await dial_any([closed], client.credentials, client.handler, tuple)
    with pytest.raises(LinkLost):
        await dial_any([], client.credentials, client.handler, tuple)


async def test_a_node_connects_from_the_port_it_listens_on_and_nobody_else_listens_there(
    realm, end
):
    server, client = end(realm.member()), end(realm.member())
    async with client.listening() as mine, server.listening() as listener:
        connection, _ = await connect_first([address(listener.port)], local_port=mine.port)
        with closing(connection):
            assert connection.getsockname() == ("127.0.0.1", mine.port)
        with pytest.raises(ConfigError, match="in use"):
            async with listen("127.0.0.1", mine.port, server.credentials, None, tuple):
                pass


@given(st.lists(st.sampled_from(["192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1", "[::2]:1"])))
def test_families_take_turns_and_no_address_is_lost(addresses):
    mixed = interleaved(addresses)
    assert sorted(mixed) == sorted(set(addresses))
    assert mixed[:1] == addresses[:1]
    of_six = [a.startswith("[") for a in mixed]
    fewer = min(sum(of_six), len(mixed) - sum(of_six))
    assert all(of_six[i] != of_six[i + 1] for i in range(2 * fewer - 1))
