"""The SDK against a real node: a session that is fed over a link."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

import framemesh
from mesh.core.errors import (
    ConfigError,
    ContentRefused,
    LinkLost,
    MeshError,
    Misuse,
    NotAuthorized,
)
from mesh.core.token import Scope
from mesh.stream.parts import MAX_RESULT


def test_connecting_loads_webrtc_and_codecs_only_where_they_are_needed(tmp_path):
    heavy = ("vulkan", "numba", "aiortc", "av", "render", "infer")
    code = f"""import framemesh, sys; framemesh.connect, framemesh.SessionEnded
print(*[m for m in {heavy} if m in sys.modules])"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ""


async def test_what_is_sent_comes_back_in_order_with_its_number_and_facts(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        assert session.description["workload"] == "mirror"
        for data in (b"abc", b"defg"):
            number = await session.send(data)
            result = await anext(session.results)
            assert (result.number, bytes(result.data)) == (number, data[::-1])
            facts = await anext(session.facts)
            assert facts == result.facts
            assert (facts["frame"], facts["input"], facts["filled"]) == (result.frame, number, 0)
        assert [s["session"] for s in host.sessions] == [session.id]


async def test_an_array_is_asked_about_and_answered(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        sweep = np.arange(500_000, dtype=np.float32).reshape(-1, 4)
        result = await session.ask(sweep, stamp_us=7)
        np.testing.assert_array_equal(
            np.frombuffer(result.data, np.uint8)[::-1], sweep.reshape(-1).view(np.uint8)
        )


async def test_a_refused_input_is_told_to_whoever_asked_and_listed_otherwise(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        with pytest.raises(ContentRefused, match="it is empty"):
            await session.ask(b"")
        number = await session.send(b"")
        refusal = await anext(session.refusals)
        assert refusal.number == number
        assert isinstance(refusal.problem, ContentRefused)
        session.steer(nonsense=1)
        refusal = await anext(session.refusals)
        assert (refusal.number, refusal.problem.why) == (0, "it is nonsense")
        assert bytes((await session.ask(b"ab")).data) == b"ba"


async def test_options_come_from_the_address_and_from_the_caller_who_wins(host):
    url = host.url(query="workload=mirror&a=1&b=two&c=2.5&d=old&overlay=0")
    async with framemesh.connect(url, d="new", e=True) as session:
        options = {"a": 1, "b": "two", "c": 2.5, "d": "new", "e": 1}
        assert session.description["options"] == options


async def test_an_addresss_options_are_for_its_own_workload(host):
    url = host.url(query="scene=courtyard&width=640")
    async with framemesh.connect(url, "mirror", d=1) as session:
        assert session.description["options"] == {"d": 1}


async def test_a_slow_reader_gets_the_newest_and_the_count_of_the_others(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        sent = 40
        for i in range(sent):
            number = await session.send(bytes([1, i]))
            while (await anext(session.facts))["input"] != number:
                pass
        first = await anext(session.results)
        assert session.results.dropped == first.data[0] > 0
        last = first
        while last.data[0] != sent - 1:
            last = await anext(session.results)


async def test_leaving_ends_the_session_and_its_iterators(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        reader = asyncio.create_task(_all(session.results))
        await session.ask(b"x")
    assert await reader == []
    with pytest.raises(Misuse, match="over"):
        await session.send(b"x")
    async with asyncio.timeout(10):
        while host.sessions:  # noqa: ASYNC110  the far end's news to hear
            await asyncio.sleep(0.01)


async def _all(feed):
    return [item async for item in feed]


async def test_a_session_that_the_gateway_ends_says_why_wherever_it_is_waited_for(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        with pytest.raises(framemesh.SessionEnded, match="the gateway failed at it"):
            await session.ask(b"bug")
        for feed in (session.results, session.facts, session.refusals, session.frames):
            with pytest.raises(framemesh.SessionEnded, match="the gateway failed at it"):
                await anext(feed)
        with pytest.raises(framemesh.SessionEnded):
            await session.send(b"x")
        with pytest.raises(framemesh.SessionEnded):
            session.steer(x=1)


@pytest.mark.parametrize(
    ("scopes", "workload", "problem", "why"),
    [
        ([Scope.INFER], "mirror", NotAuthorized, "scope 'view'"),
        ([Scope.VIEW], "mirror", NotAuthorized, "scope 'infer'"),
        ([Scope.VIEW, Scope.CONTROL], "mirror", NotAuthorized, "scope 'infer'"),
        ([Scope.VIEW, Scope.INFER], "other", framemesh.SessionRefused, "no workload 'other'"),
        ([Scope.VIEW, Scope.INFER], "mirror", framemesh.SessionRefused, "codec"),
    ],
)
async def test_what_the_gateway_refuses_is_raised(host, scopes, workload, problem, why):
    options = {"codec": "x"} if why == "codec" else {}
    with pytest.raises(problem, match=why):
        async with framemesh.connect(host.url(*scopes), workload, **options):
            pass


async def test_what_cannot_travel_is_refused_here(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        with pytest.raises(Misuse, match="contiguous"):
            await session.send(np.zeros((4, 4), np.float32)[:, ::2])
        with pytest.raises(Misuse, match="16777217 bytes"):
            await session.send(bytes((16 << 20) + 1))
        for stamp in (1_700_000_000_000_000_000, -(1 << 63), 0.5):
            with pytest.raises(Misuse, match=f"its stamp {stamp} cannot travel"):
                await session.ask(b"ab", stamp_us=stamp)
        await session.ask(b"ab", stamp_us=np.int64(1_700_000_000_000_000))
        with pytest.raises(Misuse, match="4096"):
            session.steer(text="x" * 5000)
        with pytest.raises(Misuse, match="JSON"):
            session.steer(what=object())
        assert bytes((await session.ask(b"ab")).data) == b"ba"


@pytest.mark.parametrize(
    ("url", "problem", "why"),
    [
        ("ftp://host/#token=x", ConfigError, "http://HOST"),
        ("http://host:99999/#token=x", ConfigError, "address"),
        ("http://127.0.0.1:9/", ConfigError, "no token"),
        ("http://127.0.0.1:9/#token=nonsense", NotAuthorized, "fm1"),
    ],
)
async def test_an_address_that_cannot_be_used_is_refused_before_anything_is_asked(
    url, problem, why
):
    with pytest.raises(problem, match=why) as raised:
        async with framemesh.connect(url):
            pass
    assert "token=x" not in str(raised.value)


async def test_nobody_at_the_address_is_said_clearly(host):
    _, fragment = host.url().split("#")
    with pytest.raises(LinkLost, match="no answer from http"):
        async with framemesh.connect(f"http://127.0.0.1:9/#{fragment}", "mirror"):
            pass


async def test_an_expired_token_is_noticed_here(host):
    with pytest.raises(NotAuthorized, match="expired"):
        async with framemesh.connect(host.url(lifetime_s=-60), "mirror"):
            pass


async def test_results_may_come_over_a_data_channel_and_facts_still_over_the_link(host):
    async with framemesh.connect(host.url(), "mirror", results="webrtc") as session:
        for data in (b"abc", bytes(200_000) + b"end"):
            number = await session.send(data)
            result = await anext(session.results)
            assert (result.number, bytes(result.data)) == (number, data[::-1])
            facts = await anext(session.facts)
            assert facts == result.facts
            assert (facts["frame"], facts["input"]) == (result.frame, number)
            assert facts["result_bytes"] == len(data)
        assert facts["result_parts"] == 13
        await session.send(bytes(MAX_RESULT + 1))
        facts = await anext(session.facts)
        assert (facts["result_bytes"], facts["result_parts"]) == (MAX_RESULT + 1, 0)
        assert host.sessions[0]["results"] == {"sent": 2, "dropped": 0, "too_long": 1}
        with pytest.raises(Misuse, match="data channel"):
            await session.ask(b"abc")
        with pytest.raises(framemesh.SessionEnded, match="the gateway failed at it"):
            await session.send(b"bug")  # raises itself if the gateway was quicker than its return
            await anext(session.results)


async def test_a_running_session_is_looked_on_at_and_goes_on_after(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        there = host.url(Scope.VIEW, query=f"session={session.id}")
        async with framemesh.connect(there) as guest:
            assert (guest.id, guest.fed) == (session.id, False)
            assert guest.description == session.description
            number = await session.send(b"abc")
            result = await anext(guest.results)
            assert (result.number, bytes(result.data)) == (number, b"cba")
            assert result.facts == await anext(guest.facts) == await anext(session.facts)
            assert result.frame == result.facts["frame"]
            with pytest.raises(Misuse, match="steered by who opened it"):
                guest.steer(x=1)
            with pytest.raises(Misuse, match="takes no bulk inputs"):
                await guest.send(b"x")
            with pytest.raises(Misuse, match="makes no pictures"):
                async with guest.recording(Path("never.mp4")):
                    pass
            assert host.sessions[0]["viewers"] == 1
        assert host.sessions[0]["viewers"] == 0
        assert bytes((await session.ask(b"ab")).data) == b"ba"


async def test_whoever_looks_on_hears_of_the_sessions_end(host):
    async with AsyncExitStack() as stack:
        async with framemesh.connect(host.url(), "mirror") as session:
            joining = framemesh.connect(host.url(query=f"session={session.id}"))
            guest = await stack.enter_async_context(joining)
        with pytest.raises(framemesh.SessionEnded, match="its client is gone"):
            await anext(guest.results)


async def test_a_session_that_is_none_cannot_be_joined(host):
    with pytest.raises(MeshError, match="no session nowhere"):
        async with framemesh.connect(host.url(query="session=nowhere")):
            pass


async def test_a_lost_link_is_raised_wherever_the_session_is_waited_for(host):
    async with framemesh.connect(host.url(), "mirror") as session:
        await session.ask(b"x")
        waiting = [asyncio.create_task(_all(session.results)), asyncio.create_task(_steps(session))]
        await host.node.close_links()
        for told in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(told, LinkLost)
        with pytest.raises(LinkLost):
            session.steer(x=1)


async def _steps(session):
    while True:
        await session.ask(b"x")
