"""Nodes of a realm meet in a distributed hash table, and nobody else learns of it."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from discovery.dht.finder import create
from discovery.dht.rendezvous import (
    COPIES,
    MAX_ADDRESSES,
    MAX_VALUE,
    SLOTS,
    Rendezvous,
    seal,
    unseal,
)
from mesh.core.errors import ConfigError, ContentRefused, Misuse
from mesh.peers.advert import MAX_ADVERT

SECRET = bytes(range(32))
OTHER = bytes(reversed(range(32)))
NUMBERS = st.sampled_from(SLOTS)

# --- where nodes meet -------------------------------------------------------------------------


def test_secret_role_and_region_say_where():
    places = [
        Rendezvous(SECRET, "worker"),
        Rendezvous(SECRET, "gateway"),
        Rendezvous(SECRET, "worker", "north"),
        Rendezvous(OTHER, "worker"),
    ]
    targets = {target for place in places for target in place.targets}
    publics = {place.slot(5000).public for place in places}
    assert (len(targets), len(publics)) == (4 * COPIES, 4)
    assert targets.issuperset(Rendezvous(SECRET, "worker").targets)


def test_a_secret_has_its_length():
    with pytest.raises(Misuse, match="31 bytes"):
        Rendezvous(SECRET[1:], "worker")


@given(NUMBERS)
def test_a_slots_private_key_is_that_of_its_public_key(number):
    """RFC 8032, 5.1.5: the scalar times the base point is the public key. Checked by a signature
    that is made with the expanded key alone (5.1.6) and verified by another implementation.
    """
    slot = Rendezvous(SECRET, "worker").slot(number)
    scalar = int.from_bytes(slot.private[:32], "little")
    assert scalar % 8 == 0
    assert scalar >> 254 == 1
    public = Ed25519PrivateKey.from_private_bytes(
        Rendezvous(SECRET, "worker")._derived(f"item {number}")
    ).public_key()
    assert public.public_bytes_raw() == slot.public
    assert (
        slot.private[32:]
        == hashlib.sha512(Rendezvous(SECRET, "worker")._derived(f"item {number}")).digest()[32:]
    )


@given(
    NUMBERS,
    st.binary(max_size=MAX_ADVERT),
    st.lists(st.from_regex(r"[0-9a-f:.\[\]]{1,56}", fullmatch=True), max_size=20),
)
def test_an_entry_comes_back_as_it_was_with_the_addresses_that_fit(number, advert, addresses):
    slot = Rendezvous(SECRET, "worker").slot(number)
    value = seal(slot, advert, addresses)
    assert len(value) <= MAX_VALUE - 4
    entry = unseal(slot, value)
    assert entry.advert == advert
    assert list(entry.addresses) == addresses[: len(entry.addresses)]
    assert len(entry.addresses) == min(len(addresses), MAX_ADDRESSES)


@given(st.binary(max_size=2000))
def test_what_others_write_is_refused(value):
    with pytest.raises(ContentRefused):
        unseal(Rendezvous(SECRET, "worker").slot(5000), value)


def test_an_entry_is_of_its_slot_and_secret_and_of_no_other():
    here = Rendezvous(SECRET, "worker")
    value = seal(here.slot(5000), b"advert", ["192.0.2.1:7000"])
    for elsewhere in (here.slot(5001), Rendezvous(OTHER, "worker").slot(5000)):
        with pytest.raises(ContentRefused):
            unseal(elsewhere, value)
    assert b"192.0.2.1" not in value


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"secret": "ab"}, "secret"),
        ({"secret": SECRET.hex(), "port": 1}, "port"),
        ({"secret": SECRET.hex(), "bootstrap": ["somewhere"]}, "bootstrap"),
        (
            {"secret": SECRET.hex(), "bootstrap": ["router.bittorrent.com:6881"]},
            "private table is given a node of BitTorrent's",
        ),
    ],
)
def test_settings_that_mean_nothing_or_too_much_are_refused(settings, why):
    with pytest.raises(ConfigError, match=why):
        create(settings)


def test_the_public_table_is_a_choice():
    create({"secret": SECRET.hex(), "bootstrap": ["router.bittorrent.com:6881"], "public": True})


# --- real processes ---------------------------------------------------------------------------


def settings(roles, bootstrap=("10.77.1.2:6881",), secret=SECRET, **more):
    table = {"listen": "0.0.0.0:6881", "bootstrap": list(bootstrap), "secret": secret.hex()}
    return {"finder": "dht.finder", "roles": roles, "look_ms": 1000} | table | more


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.net
async def test_nodes_of_networks_without_multicast_between_them_meet(three_networks, start_node):
    one, two, three = three_networks
    await start_node(one, "hub", **settings(["relay"], bootstrap=()))
    await start_node(two, "ada", port=7001, **settings(["worker"]))
    bob = await start_node(three, "bob", port=7002, **settings(["gateway"]))
    seen = await bob.until(name="ada")
    assert (seen["port"], seen["at"]) == (7001, ["10.77.2.2:7001"])
    assert not any("refused" in facts for facts in bob.heard)


@pytest.mark.net
async def test_a_node_that_starts_before_its_bootstrap_node_joins_later(three_networks, start_node):
    one, two, three = three_networks
    ada = await start_node(two, "ada", port=7001, **settings(["worker"]))
    bob = await start_node(three, "bob", port=7002, **settings(["gateway"]))
    await ada.until(running=True)
    await bob.until(running=True)
    await start_node(one, "hub", **settings(["relay"], bootstrap=()))
    await bob.until(name="ada")


@pytest.mark.net
async def test_a_changed_advert_is_found(three_networks, start_node):
    one, two, three = three_networks
    await start_node(one, "hub", **settings(["relay"], bootstrap=()))
    ada = await start_node(two, "ada", **settings(["worker"]))
    bob = await start_node(three, "bob", **settings(["gateway"]))
    await bob.until(name="ada", sequence=1)
    ada.tell("update 2")
    await bob.until(name="ada", sequence=2)


@pytest.mark.net
async def test_whoever_lacks_the_secret_finds_nobody(three_networks, start_node):
    one, two, three = three_networks
    lab = {"restricted": False}  # two nodes have one address here
    await start_node(one, "hub", **settings(["relay"], bootstrap=(), **lab))
    await start_node(two, "ada", **settings(["worker"], **lab))
    bob = await start_node(one, "bob", **settings(["gateway"], listen="0.0.0.0:6882", **lab))
    await bob.until(name="ada")
    eve = await start_node(three, "eve", **settings(["gateway"], secret=OTHER, **lab))
    other = settings(["worker"], secret=OTHER, listen="0.0.0.0:6882", **lab)
    await start_node(two, "mal", **other)
    await eve.until(name="mal")
    assert not any(facts.get("name") == "ada" for facts in eve.heard)


@pytest.mark.net
async def test_a_table_process_that_dies_is_replaced(three_networks, start_node):
    one, two, three = three_networks
    await start_node(one, "hub", **settings(["relay"], bootstrap=()))
    await start_node(two, "ada", **settings(["worker"]))
    bob = await start_node(three, "bob", **settings(["gateway"]))
    await bob.until(name="ada")
    [table] = children(bob.process.pid)
    os.kill(table, signal.SIGKILL)
    await start_node(two, "cora", **settings(["worker"], listen="0.0.0.0:6882"))
    await bob.until(name="cora")


@pytest.mark.net
async def test_a_node_that_looks_often_goes_on_being_answered(three_networks, start_node):
    """libtorrent hears nobody for five minutes who sends more than five packets in a second."""
    one, two, three = three_networks
    await start_node(one, "hub", **settings(["relay"], bootstrap=()))
    await start_node(two, "ada", port=7001, **settings(["worker"]))
    bob = await start_node(three, "bob", port=7002, **settings(["gateway"], look_ms=100))
    for _ in range(25):
        await bob.until(name="ada")
