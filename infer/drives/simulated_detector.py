"""A camera's detector that is simulated from truth, for statistics over many frames.

No picture is looked at. What is found depends on how much of a thing shows and how high it is in
the picture; boxes are around what shows, off by a few percent of their sides; some labels are
another class's, and some boxes are of nothing. How good it is was set by hand: half of what is 30
pixels high is found, nine in ten of what is 90, which a small one-stage detector may reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.drives.camera import Seen
from infer.drives.rig import PICTURE
from infer.drives.solids import Floats

# COCO's names, as real detectors have them, and what each is taken for when it is mistaken.
LABELS = {
    "car": ("car", "truck"), "van": ("car", "truck"), "truck": ("truck", "bus"),
    "pedestrian": ("person", "bicycle"), "cyclist": ("bicycle", "person"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Skill:
    """half_px: height of what is found every other time when all of it shows. steepness: of the
    logistic over the logarithm of height. most: of the largest, what share is found. jitter: of a
    side, a standard deviation, by the box's size. mistaken: share of labels. false: boxes of
    nothing per picture, on average. least_visible: what shows less of is not found.
    """

    half_px: float = 30.0
    steepness: float = 2.2
    most: float = 0.97
    jitter: float = 0.03
    mistaken: float = 0.04
    false: float = 0.2
    least_visible: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedDetections:
    """boxes: float32 (k, 4), left, top, right, bottom, pixels. scores: float32 (k,). labels: k of
    COCO's names. owners: int64 (k,), the actor of each, -1 for none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]
    owners: NDArray[np.int64]


def simulated(
    seen: Seen, classes: NDArray[np.str_], rng: np.random.Generator, skill: Skill | None = None
) -> SimulatedDetections:
    """What such a detector would find of actors of these classes (n,)."""
    skill = skill or Skill()
    height = (seen.boxes[:, 3] - seen.boxes[:, 1]) * np.sqrt(seen.visible)
    chance = skill.most / (1 + (skill.half_px / np.maximum(height, 1)) ** skill.steepness)
    chance[seen.visible < skill.least_visible] = 0.0
    found = np.flatnonzero(rng.random(len(chance)) < chance)
    boxes = _jittered(seen.boxes[found], skill.jitter, rng)
    scores = np.clip(chance[found] + rng.normal(0, 0.1, len(found)), 0.3, 0.99)
    wrong = (rng.random(len(found)) < skill.mistaken).astype(int)
    labels = [LABELS[str(classes[i])][k] for i, k in zip(found, wrong, strict=True)]
    nothing = _nothing(int(rng.poisson(skill.false)), rng)
    labels += [str(rng.choice(("car", "person", "truck"))) for _ in nothing]
    return SimulatedDetections(
        np.concatenate((boxes, nothing)).astype(np.float32),
        np.concatenate((scores, rng.uniform(0.3, 0.6, len(nothing)))).astype(np.float32),
        tuple(labels),
        np.concatenate((found, np.full(len(nothing), -1))),
    )


def _jittered(boxes: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Each side moved by about a share of the box's width or height; within the picture."""
    sizes = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + rng.standard_normal(boxes.shape) * share * sizes
    clipped: Floats = np.clip(moved, 0, np.array(PICTURE * 2) - 1)
    return clipped


def _nothing(count: int, rng: np.random.Generator) -> Floats:
    """Boxes of nothing, about the horizon."""
    width, height = PICTURE
    middles = rng.uniform((0, 0.35 * height), (width, 0.7 * height), (count, 2))
    halves = rng.uniform(10, 45, (count, 1)) * rng.uniform(0.6, 1.4, (count, 2))
    boxes = np.concatenate((middles - halves, middles + halves), axis=1)
    clipped: Floats = np.clip(boxes, 0, np.array(PICTURE * 2) - 1)
    return clipped
