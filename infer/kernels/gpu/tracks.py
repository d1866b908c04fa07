"""Tracked objects on CUDA, in float32; see `infer.track`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.rotated_iou import CORNERS
from infer.kernels.cuda import bodies, cuda, launch
from infer.track.assignment import scratch_for
from infer.track.overlap import YAW, laid_out
from infer.track.tracks import Beliefs, Floats, Tracks, wrapped
from infer.track.turning import TurningTracks, noises_of, turns_of

_advance_track = bodies.advance_track
_correct_track = bodies.correct_track
_advance_turning_track = bodies.advance_turning_track
_correct_turning_track = bodies.correct_turning_track
_tell_turning = bodies.tell_turning
_upright_iou = bodies.upright_iou
_assign_rows = bodies.assign_rows

_T = TypeVar("_T", bound=Tracks)


@cuda.jit
def each_advanced(
    seconds: Any, noises: Any, boxes: Any, velocity: Any, motion: Any, spreads: Any
) -> None:
    """`advance_track` of each item."""
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        _advance_track(i, seconds, noises, boxes, velocity, motion, spreads)


@cuda.jit
def each_corrected(
    seen: Any, variances: Any, boxes: Any, velocity: Any, motion: Any, spreads: Any
) -> None:
    """`correct_track` of each item."""
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        _correct_track(i, seen, variances, boxes, velocity, motion, spreads)


@cuda.jit
def each_turning_advanced(
    seconds: Any,
    noises: Any,
    turns: Any,
    boxes: Any,
    velocity: Any,
    motion: Any,
    spreads: Any,
    course: Any,
    joint: Any,
) -> None:
    """`advance_turning_track` of each item."""
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        _advance_turning_track(
            i, seconds, noises, turns, boxes, velocity, motion, spreads, course, joint
        )


@cuda.jit
def each_turning_corrected(
    seen: Any,
    variances: Any,
    boxes: Any,
    velocity: Any,
    motion: Any,
    spreads: Any,
    course: Any,
    joint: Any,
) -> None:
    """`correct_turning_track` of each item."""
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        _correct_turning_track(i, seen, variances, boxes, velocity, motion, spreads, course, joint)


@cuda.jit
def each_turning_told(
    turns: Any, velocity: Any, motion: Any, spreads: Any, course: Any, joint: Any
) -> None:
    """`tell_turning` of each item."""
    for i in range(cuda.grid(1), velocity.shape[0], cuda.gridsize(1)):
        _tell_turning(i, turns, velocity, motion, spreads, course, joint)


@cuda.jit
def each_upright_rated(
    others_from: Any,
    generalised: Any,
    boxes: Any,
    turns: Any,
    heights: Any,
    scratch: Any,
    ious: Any,
) -> None:
    """`upright_iou` of each pair; scratch: a row per thread."""
    thread, rest = cuda.grid(1), boxes.shape[0] - others_from
    for pair in range(thread, others_from * rest, cuda.gridsize(1)):
        i, j = pair // rest, pair % rest
        ious[i, j] = _upright_iou(
            i, others_from + j, generalised, boxes, turns, heights, scratch, thread
        )


@cuda.jit
def each_assigned(
    costs: Any, prices: Any, least: Any, row_of: Any, path: Any, done: Any, columns_of: Any
) -> None:
    """`assign_rows` of each item: a thread for each problem."""
    for b in range(cuda.grid(1), costs.shape[0], cuda.gridsize(1)):
        _assign_rows(b, costs, prices, least, row_of, path, done, columns_of)


def advanced(tracks: _T, time_s: float, beliefs: Beliefs) -> _T:
    """`Tracks.at`, of n > 0 tracks."""
    there, per_track = _sent(tracks), launch(len(tracks))
    seconds = np.float32(time_s - tracks.time_s)
    if isinstance(tracks, TurningTracks):
        noises, turns = _there(noises_of(beliefs)), _there(turns_of(tracks.boxes))
        each_turning_advanced[per_track](seconds, noises, turns, *there.values())
    else:
        each_advanced[per_track](seconds, _there(beliefs.noises()), *there.values())
    return replace(tracks, time_s=time_s, **_told(there))


def corrected(tracks: _T, seen: Floats, scores: Floats, beliefs: Beliefs) -> _T:
    """`Tracks.corrected`, of n > 0 tracks."""
    there, per_track = _sent(tracks), launch(len(tracks))
    faced, variances = _there(tracks.faced(seen)), _there(beliefs.measured())
    if isinstance(tracks, TurningTracks):
        each_turning_corrected[per_track](faced, variances, *there.values())
    else:
        each_corrected[per_track](faced, variances, *there.values())
    return replace(tracks, scores=scores.copy(), **_told(there))


def overlaps(boxes: Floats, others: Floats, generalised: bool) -> Floats:
    """`infer.track.overlap.overlaps`, of at least one box each."""
    ious = cuda.device_array((len(boxes), len(others)), np.float32)
    blocks, threads = launch(ious.size)
    scratch = cuda.device_array((blocks * threads, 2, CORNERS, 2), np.float32)
    arrays = (_there(array) for array in laid_out(np.concatenate((boxes, others))))
    each_upright_rated[blocks, threads](len(boxes), int(generalised), *arrays, scratch, ious)
    found: Floats = ious.copy_to_host().astype(np.float64)
    return found


def assigned(costs: Floats) -> NDArray[np.int64]:
    """The columns of the rows of many problems at once: (b, n) of (b, n, m), 0 < n <= m.

    See `infer.track.assignment.assigned`.
    """
    prices, least, *whole = scratch_for(len(costs), costs.shape[2])
    columns_of = cuda.device_array(costs.shape[:2], np.int64)
    each_assigned[launch(len(costs))](
        _there(costs), _there(prices), _there(least), *map(cuda.to_device, whole), columns_of
    )
    found: NDArray[np.int64] = columns_of.copy_to_host()
    return found


def _there(array: NDArray[Any]) -> Any:
    return cuda.to_device(array.astype(np.float32))


def _sent(tracks: Tracks) -> dict[str, Any]:
    return {name: _there(array) for name, array in tracks.state().items()}


def _told(there: dict[str, Any]) -> dict[str, Any]:
    """What is on the GPU, brought back, as `Tracks` has it."""
    boxes = there["boxes"].copy_to_host().astype(np.float64)
    boxes[:, YAW] = wrapped(boxes[:, YAW])
    if "course" in there:
        rest = [array for name, array in there.items() if name != "boxes"]
        each_turning_told[launch(len(boxes))](_there(turns_of(boxes)), *rest)
    found = {name: array.copy_to_host().astype(np.float64) for name, array in there.items()}
    return found | {"boxes": boxes}
