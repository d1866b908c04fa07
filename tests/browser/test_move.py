"""A gateway ends, with a word or without, and the page goes on at another one of the realm."""

import asyncio
import contextlib

import pytest
import pytest_asyncio

from mesh.stream.session import LEAVING

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LIVE = "framemesh.look().state === 'live'"


@pytest_asyncio.fixture(loop_scope="session")
async def second(served_at, gateway):
    """Another gateway of the realm, and its address."""
    other = type(gateway)()
    async with served_at(other) as url:
        yield other, url


@contextlib.asynccontextmanager
async def watched(chromium, url, token):
    """A page that has steered its camera; and the pose."""
    page = await chromium.open_page(f"{url}/?barcode=1#token={token}")
    await page.until("globalThis.framemesh?.look().counts.matched > 30")
    await page.drag([(400, 300), (300, 300)])
    yield page, await page.evaluate("framemesh.look().pose")
    await page.close()


async def goes_on_at(page, other, pose, connections) -> None:
    await page.until(f"framemesh.look().counts.connections === {connections} && {LIVE}")
    assert await page.evaluate("framemesh.look().pose") == pose
    [session] = other.sessions
    await session.inputs_until(lambda inputs: len(inputs) > 0)
    assert session.inputs[-1]["camera"]["yaw"] == pytest.approx(pose["yaw"], abs=1e-3)


async def test_viewers_of_a_gateway_that_leaves_go_on_at_another(
    gateway, second, served_at, chromium, token
):
    other, there = second
    async with served_at(gateway, others=[there]) as here, watched(chromium, here, token) as seen:
        page, pose = seen
        gateway.sessions[0].stream.publish(LEAVING)
        assert await gateway.deleted.get() == 0
        await goes_on_at(page, other, pose, connections=2)
        assert page.errors == []


async def test_viewers_of_a_gateway_that_has_died_go_on_at_another(
    gateway, second, served_at, chromium, token
):
    other, there = second
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(served_at(gateway, others=[there]))
        page, pose = await stack.enter_async_context(watched(chromium, here, token))
        [session] = gateway.sessions

        async def hang(*_):
            await asyncio.Event().wait()

        gateway.resume_session = hang  # the connection is taken, and nothing is answered
        [viewer] = session.stream._viewers
        for transport in viewer._connection._RTCPeerConnection__iceTransports:
            for protocol in transport._connection._protocols:
                protocol.transport.close()
        await goes_on_at(page, other, pose, connections=3)  # the second was not answered


async def test_who_looks_on_at_anothers_session_stays(gateway, second, served_at, chromium, token):
    _, there = second
    async with served_at(gateway, others=[there]) as here, watched(chromium, here, token):
        page = await chromium.open_page(f"{here}/?barcode=1&session=s0#token={token}")
        await page.until("globalThis.framemesh?.look().counts.matched > 30")
        seen = await page.evaluate("framemesh.look().counts.matched")
        [_, looker] = gateway.sessions[0].stream._viewers
        assert looker.say(LEAVING)
        await page.until(f"framemesh.look().counts.matched > {seen + 30}")
        assert await page.evaluate("framemesh.look().counts.connections") == 1
        await page.close()


@pytest.mark.parametrize(("network_ms", "patience_ms"), [(0, 200), (50, 600)])
async def test_a_far_gateway_is_waited_for_longer(run_js, network_ms, patience_ms):
    body = "return stream.patienceMs(given[0]);"
    assert await run_js("stream", body, network_ms) == patience_ms


async def test_a_gateway_that_is_alone_keeps_its_viewers(gateway, served_at, chromium, token):
    async with served_at(gateway) as here, watched(chromium, here, token) as (page, _):
        session = gateway.sessions[0]
        session.stream.publish(LEAVING)
        await page.until("framemesh.look().counts.matched > 60")
        assert await page.evaluate("framemesh.look().counts.connections") == 1
        assert gateway.sessions == [session]
        assert page.errors == []
