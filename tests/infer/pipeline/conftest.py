"""A made-up drive: a street of parked cars, a truck behind that keeps up, boxes by the workload."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infer import feed
from infer.codec import Boxes, decode_result
from infer.pipeline.perceived import Perceived
from infer.pipeline.pipeline import Pipeline
from infer.pipeline.sighting import Preparation, Sighting
from infer.workload import create
from mesh.core.workload import Recording

SWEEPS = 8
Drive = Sequence[tuple[Sighting, Boxes]]


@pytest.fixture(scope="session")
def street_drive() -> Drive:
    """Sightings with their boxes, 0.1 s and 0.5 m apart."""
    preparation = Preparation()
    local = create({})._local_boxes(Recording())
    seen = []
    for _, frame in zip(range(SWEEPS), feed.read_frames(Recording()), strict=False):
        sighting = preparation.prepare(frame)
        assert sighting is not None
        message = local.find(sighting.scan.points, sighting.stamp_us)
        seen.append((sighting, decode_result(message).boxes))
    return seen


@pytest.fixture(scope="session")
def perceived_drive(street_drive: Drive) -> Sequence[Perceived]:
    """What the pipeline makes of it."""
    pipeline = Pipeline()
    return [pipeline.perceive(s, s.stamp_us, boxes) for s, boxes in street_drive]
