"""The pipeline beside a session: what goes up is kept until its result is back, then told on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infer import feed
from infer.codec import decode_result
from infer.pipeline.facts import facts_of
from infer.pipeline.local import LocalBoxes
from infer.pipeline.pipeline import Choices, Pipeline
from infer.pipeline.sighting import Preparation, Sighting
from infer.pipeline.sinks import Sink, open_sinks
from mesh.core.errors import Misuse
from mesh.core.loop import monotonic_us
from mesh.core.workload import Buffer, Recording


@contextmanager
def follow(
    files: Mapping[str, Path], make_local: Callable[[], LocalBoxes] | None, way: str = ""
) -> Iterator[Follower]:
    """See mesh.core.workload.Followable; make_local: how boxes are found without a session."""
    pipeline = Pipeline(Choices(way=way))
    local = None if make_local is None else make_local()
    with ExitStack() as stack:
        follower = Follower(pipeline, stack.enter_context(open_sinks(files)), local)
        try:
            yield follower
        finally:
            follower.close()  # before the files are: a thread may still be writing


class Follower:
    """See mesh.core.workload.Following. Reading and taking may be in two threads."""

    def __init__(
        self, pipeline: Pipeline, sinks: tuple[Sink, ...], local: LocalBoxes | None
    ) -> None:
        self._pipeline, self._sinks, self._local = pipeline, sinks, local
        self._waiting: dict[int, Sighting] = {}
        self._sent = 0
        self._ids: set[int] = set()
        self._facts: Mapping[str, Any] = {}
        self._taking, self._closed = threading.Lock(), False

    def read_inputs(self, recording: Recording) -> Iterator[tuple[int, Buffer]]:
        """See Feedable.read_inputs; sweeps have their skew taken out where it is known."""
        encode, view = feed.encoder_of(recording), feed.view_of(recording)
        preparation = Preparation(view.place, compensated=view.compensated)
        sightings = map(preparation.prepare, feed.read_frames(recording))
        return (self._kept(sighting, encode) for sighting in sightings if sighting is not None)

    def _kept(self, sighting: Sighting, encode: Callable[[Any], bytes]) -> tuple[int, Buffer]:
        self._waiting[self._sent] = sighting
        self._sent += 1
        return sighting.stamp_us, encode(sighting.scan)

    def take(self, index: int, stamp_us: int, result: Buffer | None) -> Mapping[str, Any]:
        """See Following. Raises ContentRefused, Misuse."""
        with self._taking:
            sighting = self._waiting.pop(index, None)
            if sighting is None or self._closed:
                raise Misuse(
                    what=f"there is nothing to follow up for input {index}",
                    why="it was not read here, or was taken already",
                    fix="Take each input once, in order.",
                )
            for refused in [older for older in self._waiting if older < index]:
                del self._waiting[refused]
            return self._take(sighting, stamp_us, result)

    def _take(self, sighting: Sighting, stamp_us: int, message: Buffer | None) -> Mapping[str, Any]:
        finding: dict[str, int] = {}
        if message is None:
            began_us = monotonic_us()
            message = self._find(sighting, stamp_us)
            finding["boxes"] = monotonic_us() - began_us
        result = decode_result(message)
        missing = tuple(s for s in range(result.sectors) if result.missing >> s & 1)
        perceived = self._pipeline.perceive(sighting, stamp_us, result.boxes, missing)
        self._ids.update(perceived.tracks.ids.tolist())
        for sink in self._sinks:
            sink.write(perceived)
        facts = facts_of(perceived)
        facts["times_us"] = finding | facts["times_us"]
        self._facts = facts
        return {"result": feed.explain(message), "perceived": facts}

    def _find(self, sighting: Sighting, stamp_us: int) -> bytes:
        if self._local is None:
            raise Misuse(
                what="a sweep has no boxes",
                why="its result did not come, and none are found here",
                fix="Follow with local=True, or take results.",
            )
        return self._local.find(sighting.scan.points, stamp_us)

    def summary(self) -> Mapping[str, Any]:
        """See Following."""
        if not self._facts:
            return {"summary": "nothing was perceived", "tracks_ever": 0}
        last, occupancy = self._facts, self._facts["occupancy"]
        return {
            "summary": f"{len(self._ids)} tracks in all, {len(last['tracks'])} at the end;"
            f" {occupancy['free_m2']:.0f} m2 known to be free,"
            f" {occupancy['occupied_m2']:.0f} m2 occupied, in the frame '{last['place']}'",
            "tracks_ever": len(self._ids),
            "tracks": len(last["tracks"]),
            "place": last["place"],
            "occupancy": occupancy,
        }

    def close(self) -> None:
        """Take no more; waits for what is being taken."""
        with self._taking:
            self._closed = True
