"""A connection dies without a word, and the page goes on with the same session."""

import pytest

from mesh.core.errors import NotAuthorized

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def cut(session) -> None:
    """Let nothing through any more: the sockets go, as when an interface does."""
    [peer] = session.stream._viewers
    for transport in peer._connection._RTCPeerConnection__iceTransports:
        for protocol in transport._connection._protocols:
            protocol.datagram_received = lambda *_: None
            protocol.transport.close()


async def test_the_page_goes_on_with_a_session_whose_path_has_died(open_page, gateway):
    page = await open_page()
    await page.until("framemesh.look().counts.matched > 30")
    await page.drag([(400, 300), (300, 300)])
    pose = await page.evaluate("framemesh.look().pose")
    [session] = gateway.sessions
    cut(session)
    await page.until("framemesh.look().counts.connections === 2")
    before = session.frame_id
    await page.until(f"framemesh.take().facts.some(([, frame]) => frame > {before + 10})")
    assert await page.evaluate("framemesh.look().state") == "live"
    assert await page.evaluate("framemesh.look().pose") == pose
    assert gateway.sessions == [session]
    assert session.stream.viewers == 1
    assert page.errors == []


async def test_a_session_that_cannot_be_gone_on_with_is_opened_again(open_page, gateway):
    page = await open_page()
    await page.until("framemesh.look().counts.matched > 30")
    [session] = gateway.sessions

    async def refuse(*_) -> None:
        raise NotAuthorized(what="not resumed", why="it is another's by now", fix="Open one.")

    session.stream.take_over = refuse
    cut(session)
    await page.until("framemesh.look().counts.connections === 3")
    await page.until("framemesh.look().state === 'live'")
    assert len(gateway.sessions) == 2


@pytest.mark.parametrize(
    ("period_ms", "quiet_ms", "broken"),
    [(16, 190, False), (16, 210, True), (100, 450, False), (100, 510, True)],
)
async def test_silence_is_what_is_long_for_the_stream(run_js, period_ms, quiet_ms, broken):
    body = """
        const [periodMs, quietMs] = given;
        const ear = new silence.Silence();
        for (let n = 0; n < 50; n++) ear.heard(n * periodMs);
        return ear.broken(49 * periodMs + quietMs);
    """
    assert await run_js("silence", body, period_ms, quiet_ms) == broken


async def test_nothing_is_missed_before_anything_came_regularly(run_js):
    body = """
        const ear = new silence.Silence();
        for (let n = 0; n < 9; n++) ear.heard(n);
        const early = ear.broken(1e6);
        ear.heard(9);
        const later = ear.broken(1e6);
        ear.forget();
        return [early, later, ear.broken(2e6)];
    """
    assert await run_js("silence", body) == [False, True, False]
