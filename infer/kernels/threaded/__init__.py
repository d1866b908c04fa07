"""The bodies on the CPU's threads: each loop over parts runs in parallel, a part in one thread.

What several points change is kept once per part and summed up after, so no thread waits for
another and the result does not depend on how they ran. `infer.kernels.threads` compiles them.
"""

from __future__ import annotations

from infer.kernels.threaded import (
    components,
    motion,
    nms,
    occupancy,
    painting,
    plane,
    radar,
    range_image,
    rectangles,
    tracks,
    voxels,
)

MODULES = (
    motion,
    voxels,
    plane,
    components,
    range_image,
    occupancy,
    painting,
    nms,
    radar,
    tracks,
    rectangles,
)
