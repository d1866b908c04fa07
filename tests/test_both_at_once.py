"""Pictures and sweeps on the same two workers, real processes all, and one of these killed."""

from __future__ import annotations

import asyncio

from bench.death import Acts, kill
from bench.mixed import WORKLOADS, Load, kitti, scans, two_workers

# Deadlines that the load of whatever else runs should not cost. How much the death itself costs is
# measured by bench.both; here, that nothing was wrong and that the worker works again.
LOAD = Load(width=400, height=224, fps=10, picture_deadline_ms=400, sweep_deadline_ms=1000)
ACTS = Acts(steady_s=1.0, alone_s=1.5, shared_s=1.5)


async def test_a_worker_killed_under_both_costs_what_was_open_and_takes_its_share_again():
    inputs = await asyncio.to_thread(scans, kitti(), 3)
    async with two_workers() as mesh:
        death = await kill(mesh, LOAD, inputs, seed=1, acts=ACTS)  # returns once it is back in both
    for workload in WORKLOADS:
        assert not death.wrongs[workload].any, death
        assert death.missed[workload].share > 0, death
