"""Who is refused, and that both sides learn why."""

import asyncio
import socket
import time

import pytest

from mesh.core.errors import ConfigError, LinkLost, NotAuthorized, PeerRefused, ProtocolViolation
from mesh.core.identity import NodeIdentity
from mesh.core.wire import AssetData
from mesh.link.endpoint import listen
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming
from mesh.link.transport import Link


def credentials(realm, membership_of):
    identity = NodeIdentity.generate()
    return Credentials(identity, realm.key.public_key, membership_of(identity))


def tampered(realm, identity):
    return realm.blob(identity).replace(b"worker", b"admins")


EVERYWHERE = ["127.0.0.1", "0.0.0.0", "", *(["::"] if socket.has_dualstack_ipv6() else [])]

REFUSED = {
    "no membership": (lambda realm, node: b"", "presented no membership"),
    "expired": (lambda realm, node: realm.blob(node, end_s=-5), r"expired \d+ s ago"),
    "not yet valid": (lambda realm, node: realm.blob(node, begin_s=600), "not valid for another"),
    "tampered": (tampered, "tampered with"),
    "another node's": (lambda realm, node: realm.blob(NodeIdentity.generate()), "another node's"),
    "garbage": (lambda realm, node: b"garbage", "cannot be read"),
}


@pytest.mark.parametrize(("blob", "why"), REFUSED.values(), ids=REFUSED)
async def test_a_dialler_without_a_right_to_the_realm_is_refused_on_both_sides(
    realm, end, blob, why
):
    server = end(realm.member())
    client = end(credentials(realm, lambda node: blob(realm, node)))
    async with server.listening() as listener:
        with pytest.raises(PeerRefused, match=why) as refused:
            await client.dial(listener.port)
        assert "refused the link" in refused.value.what
        assert refused.value.fix
        reason = await server.refusals.get()
        assert isinstance(reason, NotAuthorized)
        assert reason.why in refused.value.why
    assert server.handler.links.empty() and client.handler.links.empty()


@pytest.mark.parametrize(("blob", "why"), REFUSED.values(), ids=REFUSED)
async def test_a_listener_without_a_right_to_the_realm_is_refused_on_both_sides(
    realm, end, blob, why
):
    server = end(credentials(realm, lambda node: blob(realm, node)))
    client = end(realm.member())
    async with server.listening() as listener:
        with pytest.raises(PeerRefused, match=why) as refused:
            await client.dial(listener.port)
        assert "this node refused" in refused.value.what
        reason = await server.refusals.get()
        assert isinstance(reason, PeerRefused)
        assert refused.value.why in reason.why
    assert server.handler.links.empty() and client.handler.links.empty()


async def test_nodes_of_two_realms_refuse_each_other(realm, foreign_realm, end):
    server, client = end(realm.member()), end(foreign_realm.member())
    async with server.listening() as listener:
        with pytest.raises(PeerRefused, match="of another realm") as refused:
            await client.dial(listener.port)
        assert realm.key.realm_id in refused.value.why
        reason = await server.refusals.get()
        assert foreign_realm.key.realm_id in reason.why


async def test_a_node_that_dials_itself_is_told_so(realm, end):
    node = end(realm.member())
    async with node.listening() as listener:
        with pytest.raises(PeerRefused, match="this node itself"):
            await node.dial(listener.port)
        assert "this node itself" in (await node.refusals.get()).why


async def test_a_dialler_that_expects_another_node_hangs_up_with_the_reason(realm, end):
    server, client = end(realm.member()), end(realm.member())
    wanted = realm.member().identity.node_id
    async with server.listening() as listener:
        with pytest.raises(PeerRefused, match=f"{wanted} was expected"):
            await client.dial(listener.port, expect=wanted)
        assert "was expected" in (await server.refusals.get()).why
        link = await client.dial(listener.port, expect=server.credentials.identity.node_id)
        assert link.peer.node_id == server.credentials.identity.node_id


async def test_a_membership_that_ends_while_the_link_is_open_ends_the_link(realm, end):
    server, client = end(realm.member()), end(realm.member(end_s=2))
    async with server.listening() as listener:
        await client.dial(listener.port)
        why = await server.handler.ends.get()
        assert isinstance(why, NotAuthorized) and "expired" in why.why
        told = await client.handler.ends.get()
        assert isinstance(told, PeerRefused) and "expired" in told.why
        assert time.time() >= (await server.handler.links.get()).peer.membership.not_after


@pytest.mark.parametrize("place", ["received", "body_buffer"])
async def test_a_handler_may_close_the_link_with_a_reason(linked, place):
    problem = ProtocolViolation("no such session", "it was never opened", "Open it first.")

    def refuse(*args):
        raise problem

    async with linked() as pair:
        setattr(pair.theirs, place, refuse)
        pair.here.send(AssetData("0" * 64), bytes(200_000))
        assert await pair.theirs.ends.get() is problem
        told = await pair.ours.ends.get()
        assert isinstance(told, PeerRefused)
        assert told.why == "no such session: it was never opened"
        assert told.fix == "Open it first."
        await pair.here.gone


async def test_a_handler_that_crashes_ends_the_link_and_is_reported(linked):
    reported = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.set_result(context["exception"])
    )

    def crash(*args):
        raise ZeroDivisionError("a bug of ours")

    async with linked() as pair:
        pair.theirs.received = crash
        pair.here.send(AssetData("0" * 64), b"x")
        assert isinstance(await reported, ZeroDivisionError)
        assert isinstance(await pair.theirs.ends.get(), LinkLost)
        assert isinstance(await pair.ours.ends.get(), LinkLost)


async def test_a_close_with_a_reason_reaches_a_peer_that_is_sending_all_the_while(linked):
    async with linked() as pair:
        for number in range(20):
            pair.here.send(AssetData(f"{number:064x}"), bytes(1_000_000))
        await pair.theirs.messages.get()
        await pair.there.close(NotAuthorized("the link ends", "a test wants it", "Nothing."))
        told = await pair.ours.ends.get()
        assert isinstance(told, PeerRefused) and "a test wants it" in told.why


async def test_a_close_without_a_reason_is_a_loss_to_the_peer_only(linked):
    async with linked() as pair:
        await pair.here.close()
        assert await pair.ours.ends.get() is None
        why = await pair.theirs.ends.get()
        assert isinstance(why, LinkLost) and "hung up" in why.why
        assert not pair.here.is_open and not pair.there.is_open


async def test_a_listener_that_ends_closes_its_links(realm, end):
    server, client = end(realm.member()), end(realm.member())
    async with server.listening() as listener:
        await client.dial(listener.port)
    assert await server.handler.ends.get() is None
    assert isinstance(await client.handler.ends.get(), LinkLost)


async def test_an_error_inside_listens_context_leaves_it_as_it_was_raised(realm, end):
    problem = NotAuthorized("what", "why", "fix")
    with pytest.raises(NotAuthorized) as raised:
        async with end(realm.member()).listening():
            raise problem
    assert raised.value is problem


@pytest.mark.parametrize("host", EVERYWHERE)
async def test_any_form_of_local_address_can_be_listened_on(realm, end, host):
    server, client = end(realm.member()), end(realm.member())
    async with listen(host, 0, server.credentials, server.handler, tuple) as listener:
        link = await client.dial(listener.port)
        assert link.peer.node_id == server.credentials.identity.node_id
        assert link.address == f"127.0.0.1:{listener.port}"


async def test_an_address_in_use_is_reported_with_the_remedy(realm, end):
    async with end(realm.member()).listening() as listener:
        with pytest.raises(ConfigError, match="in use") as problem:
            async with listen(
                "127.0.0.1", listener.port, realm.member(), end(realm.member()).handler, tuple
            ):
                pass
        assert "[link]" in problem.value.fix


async def test_nobody_at_the_address_is_a_lost_link(realm, end, unused_tcp_port):
    with pytest.raises(LinkLost, match="refused"):
        await end(realm.member()).dial(unused_tcp_port)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"])
async def test_another_service_at_the_address_is_a_lost_link(realm, end, greeting):
    async def serve(reader, writer):
        writer.write(greeting)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as service:
        with pytest.raises(LinkLost):
            await end(realm.member()).dial(service.sockets[0].getsockname()[1])


async def test_an_address_that_never_answers_is_given_up(realm, end):
    hasty = LinkTiming(handshake_us=200_000)

    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as service:
        with pytest.raises(LinkLost, match="no answer within 200 ms"):
            await end(realm.member()).dial(service.sockets[0].getsockname()[1], hasty)


async def test_a_dial_that_is_cancelled_leaves_no_link(realm, end):
    server, client = end(realm.member()), end(realm.member())
    opened = client.handler.opened

    def cancel_and_open(link: Link) -> None:
        dialling.cancel()
        opened(link)

    client.handler.opened = cancel_and_open
    async with server.listening() as listener:
        dialling = asyncio.ensure_future(client.dial(listener.port))
        with pytest.raises(asyncio.CancelledError):
            await dialling
        assert await client.handler.ends.get() is None
        assert isinstance(await server.handler.ends.get(), LinkLost)
