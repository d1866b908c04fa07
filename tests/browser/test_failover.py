"""A worker dies or hangs under a real stream: what the viewer may notice, and what not."""

from __future__ import annotations

import pytest

from bench import failover

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The bench judges the deadline of two periods, on a machine with nothing else to do. Here tiles
# have longer, so that only the failure can cost some, and not the load of whatever else runs.
DEADLINE_MS = 400
MOST_FILLED = 3  # frames; the victim is away for some 45


@pytest.mark.parametrize("how", failover.WAYS)
async def test_the_stream_goes_on_and_the_worker_comes_back_into_it(how):
    seen = await failover.run(how, DEADLINE_MS)  # returns once the victim makes tiles again
    assert seen.connections == 1
    assert seen.repeated == seen.backwards == 0
    assert seen.filled_frames <= MOST_FILLED, seen
