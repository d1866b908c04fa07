"""A code read from one machine and typed on another admits that one, once, and no guesser."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.cli.main import main
from discovery.pairing.exchange import Code, Exchange, Request, new_code, read_code
from discovery.pairing.talk import MAX_MESSAGE, TRIES, Host, ask
from mesh.core.errors import ContentRefused, LinkLost, MeshError, Misuse, NotAuthorized
from mesh.core.home import NodeHome
from mesh.core.identity import NodeIdentity

CODE = Code("42", "731905")
GUEST = Request(NodeIdentity.generate().public_key, "desk")
DIGITS = st.from_regex(r"\A[0-9]{6}\Z")

# --- the exchange -------------------------------------------------------------------------------


def test_codes_are_typed_as_they_are_shown_or_with_any_gaps():
    code = new_code()
    assert read_code(str(code)) == code
    assert read_code("42 731 905") == read_code("42731905") == CODE
    assert str(CODE) == "42-731-905"


@pytest.mark.parametrize("text", ["", "42-731-90", "42-731-9055", "4a-731-905", "４２-731-905"])
def test_what_is_no_code_is_said_before_anybody_is_asked(text):
    with pytest.raises(Misuse, match="8 digits"):
        read_code(text)


@given(DIGITS, DIGITS, st.binary(max_size=200))
def test_only_the_same_code_leads_to_the_same_key(ours, theirs, plain):
    guest, host = Exchange(Code("00", ours), "guest"), Exchange(Code("00", theirs), "host")
    guest.agree(host.message)
    host.agree(guest.message)
    sealed = guest.seal("guest", plain)
    assert ours.encode() not in guest.message + host.message
    if ours == theirs:
        assert host.unseal("guest", sealed) == plain
        assert guest.words() == host.words()
        with pytest.raises(NotAuthorized):
            guest.unseal("host", sealed)  # its own words, sent back to it
    else:
        with pytest.raises(NotAuthorized, match="code is wrong"):
            host.unseal("guest", sealed)


@given(st.binary(max_size=64) | st.binary(min_size=32, max_size=32).map(lambda point: b"A" + point))
def test_nonsense_is_no_half_of_an_exchange(nonsense):
    """One in sixteen points is in the group: with it there is a key, and nobody who knows it."""
    exchange = Exchange(CODE, "host")
    try:
        exchange.agree(nonsense)
    except ContentRefused:
        return
    with pytest.raises(NotAuthorized):
        exchange.unseal("guest", bytes(64))


# --- over TCP -----------------------------------------------------------------------------------


@asynccontextmanager
async def host_with(code=CODE):
    host = Host(code, lambda request: b"welcome " + request.name.encode())
    async with await asyncio.start_server(host.serve, "127.0.0.1", 0) as server:
        yield host, server.sockets[0].getsockname()[1]


async def test_the_guest_that_knows_the_code_is_admitted_and_no_second_one():
    async with host_with() as (host, port):
        blob, words = await ask("127.0.0.1", port, CODE, GUEST)
        assert blob == b"welcome desk"
        assert await host.paired == (GUEST, words)
        with pytest.raises(NotAuthorized):
            await ask("127.0.0.1", port, CODE, GUEST)


async def test_after_three_wrong_codes_the_right_one_is_worth_nothing():
    async with host_with() as (host, port):
        for number in range(TRIES):
            assert not host.paired.done()
            with pytest.raises(NotAuthorized):
                await ask("127.0.0.1", port, Code("42", f"{number:06d}"), GUEST)
        with pytest.raises(NotAuthorized):
            await ask("127.0.0.1", port, CODE, GUEST)
        with pytest.raises(NotAuthorized):
            await host.paired


async def test_guesses_at_the_same_time_are_counted_as_well():
    async with host_with() as (host, port):
        codes = [Code("42", f"{number:06d}") for number in range(40)]
        answers = await asyncio.gather(
            *(ask("127.0.0.1", port, code, GUEST) for code in codes), return_exceptions=True
        )
        assert all(isinstance(answer, MeshError) for answer in answers)
        with pytest.raises(NotAuthorized):
            await host.paired


@pytest.mark.parametrize(
    "said",
    [b"", b"\0", b"\0\x05hello", (MAX_MESSAGE + 1).to_bytes(2) + b"x", b"\0\x21" + b"A" * 33],
)
async def test_garbage_costs_no_try(said):
    async with host_with() as (host, port):
        for _ in range(2 * TRIES):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            writer.write_eof()
            await reader.read()
            writer.close()
        assert (await ask("127.0.0.1", port, CODE, GUEST))[0] == b"welcome desk"
        assert host.paired.done()


async def test_where_nobody_listens_it_is_said_which_address_was_tried():
    async with host_with() as (_, port):
        pass
    with pytest.raises(LinkLost, match=f"127.0.0.1:{port}"):
        await ask("127.0.0.1", port, CODE, GUEST)


# --- two machines -------------------------------------------------------------------------------


@pytest.mark.net
async def test_a_fresh_machine_becomes_a_member_by_eight_digits(two_namespaces, tmp_path):
    one, two = two_namespaces
    owner, desk = tmp_path / "owner", tmp_path / "desk"
    create = ["realm", "create", "--state", str(owner)]
    assert await asyncio.to_thread(main, create) == 0
    async with command(one, "pair", "--role", "worker", "--state", owner) as pair:
        code = (await said(pair, "code")).split()[1]
        async with command(two, "join", code, "--name", "desk", "--state", desk) as join:
            done = await said(join, "joined realm")
            admitted = await said(pair, "admitted desk")
            assert done.rpartition(": ")[2] == admitted.rpartition(": ")[2], "the same words"
            assert await join.wait() == 0
        assert await pair.wait() == 0
    home = NodeHome(desk)
    trust = home.trust(2_000_000_000)
    assert trust.secret == NodeHome(owner).trust(2_000_000_000).secret is not None
    assert home.identity().node_id in NodeHome(owner).issued()


@asynccontextmanager
async def command(namespace, *words):
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, "-m", "clients.cli"),
        *map(str, words),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process, start) -> str:
    """The first line that begins so."""
    heard = []
    async with asyncio.timeout(30):
        while line := (await process.stdout.readline()).decode():
            heard.append(line)
            if line.strip().startswith(start):
                return line.strip()
    raise AssertionError(f"it ended before it said '{start}': {heard}")
