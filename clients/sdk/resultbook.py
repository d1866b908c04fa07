"""Brings a frame's result together with its facts. Pure.

On a data channel a result comes in parts (mesh.stream.parts) and its frame's facts come after it:
over the same lossy channel, or over a link. Either may be first in the end, and facts may never
come; a result does not wait for them any longer than until those of a later frame are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clients.sdk.session import Result
from mesh.core.workload import Buffer
from mesh.stream.parts import Joiner

_KEPT_FACTS = 64
_MOST_WAITING = 8  # whole results without facts


class ResultBook:
    """The results and facts of one session."""

    def __init__(self) -> None:
        self._joiner = Joiner()
        self._facts: dict[int, Mapping[str, Any]] = {}
        self._waiting: dict[int, memoryview] = {}

    def add_part(self, message: Buffer) -> list[Result]:
        """A binary message; returns what is complete now. Raises ProtocolViolation."""
        joined = self._joiner.add(message)
        if joined is None:
            return []
        frame, data = joined
        self._waiting[frame] = data
        return self._complete()

    def add_facts(self, facts: Mapping[str, Any]) -> list[Result]:
        """A frame's facts; returns what is complete now. Facts without a frame are ignored."""
        frame = facts.get("frame")
        if type(frame) is not int:
            return []
        self._facts[frame] = facts
        if len(self._facts) > _KEPT_FACTS:
            del self._facts[min(self._facts)]
        return self._complete()

    def _complete(self) -> list[Result]:
        """In the order of their frames."""
        newest = max(self._facts, default=-1)
        too_many = len(self._waiting) - _MOST_WAITING
        return [
            self._hand_out(frame)
            for place, frame in enumerate(sorted(self._waiting))
            if frame <= newest or place < too_many
        ]

    def _hand_out(self, frame: int) -> Result:
        facts = self._facts.get(frame, {})
        number = facts.get("input", -1)
        return Result(frame, number, facts, self._waiting.pop(frame))
