"""Finds which frame a picture shows. Pure.

Pictures come over RTP, the facts of their frames over a lossy data channel, either first. A
picture's RTP timestamp counts the same instants as its frame's `opened_us`, at 90 kHz, from a
random start (RFC 3550, 5.1). That start is found by voting: of all differences between pictures
and facts seen, the one that keeps coming back, among pairs that arrived close together, is it.
(With frames at regular instants each neighbour's difference comes back as well, hence the
closeness.) clients/web/framebook.js does the same for the page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

_MAX_OPENED_US = 2**53
_RTP_MODULUS = 2**32
_TOLERANCE_TICKS = 3  # the gateway rounds twice
_FEWEST_VOTES = 4
_MOST_CANDIDATES = 96
_CLOSE_US = 15_000  # arrivals this far apart count half
_KEPT_FACTS, _KEPT_PICTURES = 64, 32


class FrameBook:
    """The pictures and facts of one session."""

    def __init__(self) -> None:
        self._facts: deque[tuple[int, int, Mapping[str, Any]]] = deque(maxlen=_KEPT_FACTS)
        self._pictures: deque[tuple[int, int]] = deque(maxlen=_KEPT_PICTURES)
        self._start = _RtpStart()

    def add_picture(self, rtp: int, at_us: int) -> None:
        """A picture's RTP timestamp, from any start, and when it was complete here."""
        for ticks, facts_us, _ in self._facts:
            self._start.vote(rtp - ticks, abs(at_us - facts_us))
        self._pictures.append((rtp, at_us))

    def add_facts(self, facts: Mapping[str, Any], at_us: int) -> None:
        """A frame's facts, and when they came. Facts that do not say when are ignored."""
        opened_us = facts.get("opened_us")
        if type(opened_us) is not int or not 0 <= opened_us < _MAX_OPENED_US:
            return
        ticks = opened_us * 9 // 100
        for rtp, picture_us in self._pictures:
            self._start.vote(rtp - ticks, abs(at_us - picture_us))
        self._facts.append((ticks, at_us, facts))

    def facts_of(self, rtp: int) -> Mapping[str, Any] | None:
        """The facts of the frame that a picture shows, once both are known."""
        facts: Mapping[str, Any]
        for ticks, _, facts in reversed(self._facts):
            if self._start.fits(rtp - ticks):
                return facts
        return None


class _RtpStart:
    """The RTP timestamp of the instant 0 on the gateway's clock, as far as is known."""

    def __init__(self) -> None:
        self._candidates: list[_Candidate] = []  # the likeliest first

    def vote(self, difference: int, apart_us: int) -> None:
        start = difference % _RTP_MODULUS
        for candidate in self._candidates:
            if _near(candidate.start, start):
                break
        else:
            candidate = _Candidate(start)
            self._candidates.append(candidate)
        candidate.votes += 1
        candidate.score += 1 / (1 + apart_us / _CLOSE_US)
        self._candidates.sort(key=_Candidate.rank)
        del self._candidates[_MOST_CANDIDATES:]

    def fits(self, difference: int) -> bool:
        best = self._candidates[0] if self._candidates else None
        return best is not None and best.votes >= _FEWEST_VOTES and _near(best.start, difference)


class _Candidate:
    """One possible start and what speaks for it."""

    __slots__ = ("score", "start", "votes")

    def __init__(self, start: int) -> None:
        self.start, self.votes, self.score = start, 0, 0.0

    def rank(self) -> float:
        return -self.score


def _near(a: int, b: int) -> bool:
    apart = (a - b) % _RTP_MODULUS
    return min(apart, _RTP_MODULUS - apart) <= _TOLERANCE_TICKS
