from __future__ import annotations

import asyncio
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.mdns import announced, create, from_txt, in_order, to_txt
from mesh.core.errors import ConfigError
from mesh.core.plugins import create_finder
from mesh.peers.advert import MAX_ADVERT


def interfaces(*texts):
    return [ip_interface(text) for text in texts]


# --- records and addresses --------------------------------------------------------------------


@given(st.binary(max_size=MAX_ADVERT))
def test_an_advert_survives_being_cut_over_txt_strings(advert):
    strings = to_txt(advert)
    assert all(len(f"{key}=") + len(value) <= 255 for key, value in strings.items())
    assert from_txt({key.encode(): value for key, value in strings.items()}) == advert


@given(
    st.dictionaries(
        st.sampled_from([b"a0", b"a1", b"a2", b"x"]), st.none() | st.binary(max_size=600)
    )
)
def test_whatever_a_record_holds_the_bytes_handed_on_are_few(properties):
    assert len(from_txt(properties)) <= 504


def test_loopback_is_announced_only_where_there_is_nothing_else():
    both = interfaces("127.0.0.1/8", "10.0.0.5/24", "fe80::5/64")
    assert announced(both) == ["10.0.0.5"]
    assert announced(interfaces("127.0.0.1/8", "fe80::5/64")) == ["fe80::5"]
    assert announced(interfaces("127.0.0.1/8")) == ["127.0.0.1"]


def test_addresses_on_a_network_of_ours_are_tried_first():
    local = interfaces("127.0.0.1/8", "10.0.0.5/24")
    assert in_order(["172.17.0.1", "10.0.0.9", "2001:db8::1"], local) == [
        "10.0.0.9",
        "172.17.0.1",
        "2001:db8::1",
    ]


# --- settings ---------------------------------------------------------------------------------


def test_the_finder_is_found_by_its_name():
    assert create_finder("mdns", {}).name == "mdns"


@pytest.mark.parametrize("settings", [{"interface": "lo"}, {"ip": "v5"}, {"rescan_ms": 1}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ConfigError):
        create(settings)


async def test_an_interface_that_does_not_exist_is_named(tmp_path):
    finder = create({"interfaces": ["nosuch0"]})
    with pytest.raises(ConfigError, match="nosuch0"):
        async with finder.open(b"", 1, lambda *_: None):
            pass


# --- real processes ---------------------------------------------------------------------------


@pytest.mark.net
async def test_nodes_on_a_machine_with_only_loopback_find_each_other(namespace, start_node):
    ada = await start_node(namespace, "ada", port=7001)
    bob = await start_node(namespace, "bob", port=7002)
    seen, heard = await asyncio.gather(ada.until(name="bob"), bob.until(name="ada"))
    assert seen["at"] == ["127.0.0.1:7002"]
    assert heard["at"] == ["127.0.0.1:7001"]


@pytest.mark.net
async def test_nodes_on_one_network_find_each_other(two_namespaces, start_node):
    one, two = two_namespaces
    ada = await start_node(one, "ada", port=7001)
    bob = await start_node(two, "bob", port=7002)
    seen, heard = await asyncio.gather(ada.until(name="bob"), bob.until(name="ada"))
    assert seen["at"] == ["10.77.0.2:7002"]
    assert heard["at"] == ["10.77.0.1:7001"]


@pytest.mark.net
async def test_a_changed_advert_reaches_the_others(namespace, start_node):
    ada = await start_node(namespace, "ada")
    bob = await start_node(namespace, "bob", port=7002)
    await ada.until(name="bob", sequence=1)
    bob.tell("update 2")
    await ada.until(name="bob", sequence=2)


@pytest.mark.net
async def test_a_killed_node_that_comes_back_elsewhere_is_seen_there(namespace, start_node):
    ada = await start_node(namespace, "ada")
    bob = await start_node(namespace, "bob", port=7002)
    await ada.until(name="bob")
    bob.process.kill()
    await bob.process.wait()
    await start_node(namespace, "bob", port=7003, sequence=2)
    seen = await ada.until(name="bob", sequence=2)
    assert (seen["port"], seen["at"]) == (7003, ["127.0.0.1:7003"])


@pytest.mark.net
async def test_a_node_that_ends_says_goodbye_and_leaves_nothing_running(namespace, start_node):
    ada = await start_node(namespace, "ada")
    bob = await start_node(namespace, "bob", port=7002)
    await ada.until(name="bob")
    assert await bob.finish() == 0
    assert (await bob.process.stdout.read()).endswith(b"}\n")
    eve = await start_node(namespace, "eve", port=7003)
    await eve.until(name="ada")
    assert not any(facts.get("name") == "bob" for facts in eve.heard)


@pytest.mark.net
async def test_a_network_that_comes_later_is_used(two_namespaces, start_node, ip):
    one, two = two_namespaces
    ip("-n", two, "address", "delete", "10.77.0.2/24", "dev", "eth0")
    ada = await start_node(one, "ada", port=7001, rescan_ms=100)
    bob = await start_node(two, "bob", port=7002, rescan_ms=100)
    await bob.until(running=True)
    ip("-n", two, "address", "add", "10.77.0.3/24", "dev", "eth0")
    seen, heard = await asyncio.gather(ada.until(name="bob"), bob.until(name="ada"))
    assert seen["at"] == ["10.77.0.3:7002"]
    assert heard["at"] == ["10.77.0.1:7001"]
