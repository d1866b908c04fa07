"""What moves in a scene: nodes, skins, keyframes; and their state at a time. Pure.

Every node of the mesh must pose a scene alike to the last bit, because tiles of one frame are made
on several. So only arithmetic that IEEE 754 rounds correctly is used here, one operation at a time
(+, -, *, /, sqrt): no matrix products (BLAS sums in an order of its own), no sines.

Affine maps are float64 (..., 3, 4): the upper rows of 4x4 matrices that multiply column vectors.
Quaternions are x, y, z, w.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_FARTHEST = 1e9  # metres: what keyframes throw farther is held there, finite
_SLERP_TERMS = 14  # error < 1e-11 for the angles up to a quarter turn that are left to it


class Interpolation(IntEnum):
    """Between two keyframes (glTF 3.11, appendix C)."""

    STEP = 0
    LINEAR = 1  # spherical for rotations
    CUBICSPLINE = 2  # Hermite; each keyframe has an in-tangent, a value, an out-tangent


class Property(IntEnum):
    """What of a node keyframes change."""

    TRANSLATION = 0
    ROTATION = 1
    SCALE = 2
    WEIGHTS = 3  # of morph targets


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Keyframes of one property of several targets that share their times.

    targets: int64 (m,): indices of nodes; for WEIGHTS, into the flat vector of all morph weights.
    times: float64 (k,), seconds, strictly rising, >= 0.
    values: float64 (k, m, c), c = 3, 4 or, for weights, 1; with CUBICSPLINE (k, 3, m, c).
    """

    change: Property
    interpolation: Interpolation
    targets: Ints
    times: Floats
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Animation:
    """Tracks played together. duration: seconds, of the longest one."""

    name: str
    duration: float
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """The nodes that move or are joints, and what moves them.

    base: float64 (n, 3, 4): for a node whose parent is not listed, the parent's fixed place in
        the world; else the identity.
    translation (n, 3), rotation (n, 4), scale (n, 3): at rest, float64.
    fixed: int64 (f,): nodes given as matrices; matrices: float64 (f, 3, 4).
    levels: node indices, parents' level first; parents: int64 (n,), -1 where not listed.
    joints: int64 (j,): the joints of all skins in a row; inverse_bind: float64 (j, 3, 4).
    weights: float64 (w,): all morph weights at rest.
    """

    parents: Ints
    base: Floats
    translation: Floats
    rotation: Floats
    scale: Floats
    fixed: Ints
    matrices: Floats
    levels: tuple[Ints, ...]
    joints: Ints
    inverse_bind: Floats
    weights: Floats
    animations: tuple[Animation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stance:
    """A motion's state at one time.

    world_from_node: float64 (n, 3, 4). palette: float64 (j, 3, 4), from a skin's bind pose to the
    world, for each of `Motion.joints`. weights: float64 (w,), of morph targets.
    """

    world_from_node: Floats
    palette: Floats
    weights: Floats


def stance(motion: Motion, animation: int, time: float) -> Stance:
    """Where everything is, `time` seconds into an animation; at rest where that does not exist.

    Outside its keyframes a track holds the nearest one (glTF 3.11).
    """
    translation, rotation = motion.translation.copy(), motion.rotation.copy()
    scale, weights = motion.scale.copy(), motion.weights.copy()
    changed = {
        Property.TRANSLATION: translation,
        Property.ROTATION: rotation,
        Property.SCALE: scale,
        Property.WEIGHTS: weights[:, None],
    }
    if 0 <= animation < len(motion.animations):
        for track in motion.animations[animation].tracks:
            changed[track.change][track.targets] = sample(track, time)
    local = placed(translation, rotation, scale)
    local[motion.fixed] = motion.matrices
    with np.errstate(over="ignore", invalid="ignore"):
        world = product(motion.base, local)  # right for the roots; the others follow by level
        for level in motion.levels[1:]:
            world[level] = product(world[motion.parents[level]], local[level])
        palette = product(world[motion.joints], motion.inverse_bind)
    return Stance(_held(world), _held(palette), weights)


def sample(track: Track, time: float) -> Floats:
    """The targets' values at a time, float64 (m, c); rotations have unit length."""
    times, values = track.times, track.values
    cubic = track.interpolation is Interpolation.CUBICSPLINE
    after = int(np.searchsorted(times, time, side="right"))
    if after == 0 or after == len(times):
        nearest = values[min(after, len(times) - 1)]
        return _upright(track, nearest[1] if cubic else nearest)
    before = after - 1
    if track.interpolation is Interpolation.STEP:
        return _upright(track, values[before])
    span = float(times[after] - times[before])
    t = (time - float(times[before])) / span
    if cubic:
        return _upright(track, _hermite(values[before], values[after], t, span))
    if track.change is Property.ROTATION:
        return slerp(_unit(values[before]), _unit(values[after]), t)
    start: Floats = values[before]
    linear: Floats = start + (values[after] - start) * t
    return linear


def slerp(start: Floats, end: Floats, t: float) -> Floats:
    """Spherical interpolation of unit quaternions (m, 4) by the shorter way, 0 <= t <= 1.

    After D. Eberly, "A Fast and Accurate Algorithm for Computing SLERP", Journal of Graphics, GPU
    and Game Tools 15(3), 2011: a power series, here on one half of the arc, where it converges
    fast.
    """
    end = np.where(_dot(start, end) < 0.0, -end, end)
    middle = _unit(start + end)
    if t < 0.5:
        low, high, share = start, middle, 2.0 * t
    else:
        low, high, share = middle, end, 2.0 * t - 1.0
    short_of_one = _dot(low, high) - 1.0  # the cosine of the half arc, minus one
    return low * _sine_ratio(1.0 - share, short_of_one) + high * _sine_ratio(share, short_of_one)


def placed(translation: Floats, rotation: Floats, scale: Floats) -> Floats:
    """Affine maps (n, 3, 4) that scale, then rotate (by unit quaternions), then translate."""
    x, y, z, w = rotation.T
    made = np.empty((len(translation), 3, 4))
    made[:, 0, 0], made[:, 0, 1] = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w)
    made[:, 0, 2], made[:, 1, 0] = 2.0 * (x * z + y * w), 2.0 * (x * y + z * w)
    made[:, 1, 1], made[:, 1, 2] = 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)
    made[:, 2, 0], made[:, 2, 1] = 2.0 * (x * z - y * w), 2.0 * (y * z + x * w)
    made[:, 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    made[:, :, :3] *= scale[:, None, :]
    made[:, :, 3] = translation
    return made


def product(first: Floats, second: Floats) -> Floats:
    """Affine maps (n, 3, 4): `second`, then `first`."""
    made: Floats = (
        first[:, :, 0:1] * second[:, 0:1, :]
        + first[:, :, 1:2] * second[:, 1:2, :]
        + first[:, :, 2:3] * second[:, 2:3, :]
    )
    made[:, :, 3] += first[:, :, 3]
    return made


def _held(maps: Floats) -> Floats:
    held: Floats = np.nan_to_num(maps.clip(-_FARTHEST, _FARTHEST), copy=False)
    return held


def _hermite(before: Floats, after: Floats, t: float, span: float) -> Floats:
    """Appendix C.5: keyframes (3, m, c) of in-tangent, value, out-tangent."""
    t2 = t * t
    t3 = t2 * t
    made: Floats = (
        before[1] * (2.0 * t3 - 3.0 * t2 + 1.0)
        + before[2] * (span * (t3 - 2.0 * t2 + t))
        + after[1] * (3.0 * t2 - 2.0 * t3)
        + after[0] * (span * (t3 - t2))
    )
    return made


def _upright(track: Track, values: Floats) -> Floats:
    return _unit(values) if track.change is Property.ROTATION else values


def _unit(quaternions: Floats) -> Floats:
    """Scaled to unit length; one without length becomes no rotation."""
    length = np.sqrt(_dot(quaternions, quaternions))
    gone = length < 1e-9
    made: Floats = np.where(gone, (0.0, 0.0, 0.0, 1.0), quaternions / np.where(gone, 1.0, length))
    return made


def _dot(a: Floats, b: Floats) -> Floats:
    """Of each row, (m, 1); summed from left to right."""
    products = a * b
    total: Floats = reduce(np.add, (products[:, k : k + 1] for k in range(products.shape[1])))
    return total


def _sine_ratio(t: float, short_of_one: Floats) -> Floats:
    """sin(t angle) / sin(angle) for angles of cosine `1 + short_of_one`, (m, 1)."""
    series = np.ones_like(short_of_one)
    for i in range(_SLERP_TERMS, 0, -1):
        odd = 2 * i + 1
        series = 1.0 + (t * t / (i * odd) - i / odd) * short_of_one * series
    return t * series
