"""The frame clock under a real stream: how late a frame samples its input, and how many are open.

A page steers pictures that take a device 90 ms each, asked for 15 times a second. At even instants
(`steady=1`) two frames are always open, and the second waits for the first with its input already
sampled. By default a frame samples its input when the device is about to be free: the latest safe
start. How much younger the inputs on the page are for that is measured by bench/freshness.py.
"""

from __future__ import annotations

import asyncio
import statistics

import pytest
import pytest_asyncio

from bench.freshness import most_in_flight, seen_by, steered_page, stream_options
from bench.timed.mesh import linked, timed_mesh
from bench.timed.plugin import NAME
from bench.victim import free_port

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FPS, FRAME_MS = 15, 90.0
DEADLINE_MS = 2_000  # whatever else the machine does, frames come whole
WINDOW = 20  # frames, of which the typical one is looked at
PATIENCE_S = 35  # for both clocks: a busy machine disturbs the phase, and it is found again
BOUND = 2  # frames in flight, of any session


@pytest_asyncio.fixture(loop_scope="session")
async def mesh():
    """A gateway, and one worker with a timed device."""
    async with timed_mesh(free_port(), {"only": 1.0}) as running:
        await linked(running, 1)
        yield running


async def watched(chromium, mesh, *, steady, wanted):
    """What a page shows until a window's typical frame is open for as long as wanted."""
    options = stream_options(FRAME_MS, steady=steady, fps=FPS, deadline_ms=DEADLINE_MS)
    frames, open_ms = [], None
    async with steered_page(chromium, mesh.page_url(workload=NAME, **options)) as page:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(frames) < WINDOW or not wanted(open_ms):
                    await asyncio.sleep(0.5)
                    frames += await seen_by(page)
                    window = [frame.open_us / 1e3 for frame in frames[-WINDOW:]]
                    open_ms = statistics.median(window) if window else None
        except TimeoutError:
            pytest.fail(f"after {len(frames)} frames one is open for {open_ms} ms")
        counts = await page.evaluate("framemesh.look().counts")
        assert page.errors == []
    assert counts["repeated"] == counts["backwards"] == 0
    return frames


async def test_by_default_inputs_are_sampled_when_the_device_is_about_to_be_free(chromium, mesh):
    even = await watched(chromium, mesh, steady=True, wanted=lambda ms: ms > 1.5 * FRAME_MS)
    latest = await watched(chromium, mesh, steady=False, wanted=lambda ms: ms < 1.3 * FRAME_MS)

    # The device is slower than the asked rate: the rate gives way, and no frame queues up.
    assert most_in_flight(even) <= BOUND
    assert most_in_flight(latest) <= BOUND
    first, last = latest[-WINDOW], latest[-1]
    assert last.frame - first.frame < 0.9 * FPS * (last.opened_us - first.opened_us) / 1e6
