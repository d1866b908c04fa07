"""Ray and Ray Serve beside us, within bounds: two CPUs, a small object store, no dashboard.

Optional (`pip install 'framemesh[peers]'`): a bench that needs it says why it goes without.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OBJECT_STORE_BYTES = 100 << 20
CPUS = 2


def why_not() -> str:
    """Why Ray cannot be measured here; "" if it can."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: F401, PLC0415  seconds, and not everybody's
        from ray import serve  # noqa: F401, PLC0415
    except ImportError as problem:
        return f"ray[serve] is not installed ({problem}): pip install 'framemesh[peers]'"
    return ""


@contextmanager
def ray_running() -> Iterator[Any]:
    """The module `ray`, started on this machine; stopped by its own shutdown."""
    import ray  # noqa: PLC0415

    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        num_cpus=CPUS,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def serve_running() -> Iterator[Any]:
    """The module `ray.serve` in a running Ray, without its HTTP proxies."""
    from ray import serve  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(http_options={"location": "NoServer"})
    try:
        yield serve
    finally:
        serve.shutdown()
