"""What things cost: run times per (device, kind of piece), transfers per node.

A run's cost is modelled as `level x ratio`. The *level* is the running median of the last few
normalised costs (microseconds per unit of work): it follows a throttled device or a changed view
within four pieces and shrugs off a straggler. The *ratio* is what was observed over the level
that was believed just before, so the stored ratios are honest one-step-ahead errors, and their
quantile is the split-conformal one (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
World", 2005; rank ceil(q (n + 1)) of n), which covers a fraction q of what comes as long as the
ratios are exchangeable, whatever their distribution.

Transfers are `delay + bytes / bandwidth`. The bandwidth comes by least squares with exponential
forgetting, drawn towards a prior slope because tiles of one size cannot tell the two apart; the
delay is the median of what it leaves of the last few transfers. A mean would do as well on a link
in use, but one that began badly is not in use: a few probes have to set it right.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from math import ceil, exp
from statistics import NormalDist
from typing import Final, TypeVar

from mesh.core.workload import NodeId
from mesh.schedule.ids import DeviceKey

_K = TypeVar("_K")
_V = TypeVar("_V")

HIGH: Final = 0.95  # what to promise
TYPICAL: Final = 0.5  # what to expect
LATE: Final = 0.9  # to tell what is late: a few stragglers among the last runs do not reach it

_SETTLED: Final = 2  # the first run compiles, uploads and pages in: it says nothing of the next
_RECENT: Final = 7  # odd; levels and delays are the median of so many
_WINDOW: Final = 128  # ratios kept
# What is believed of errors before any was seen: a tenth either way. It outvotes one early stall,
# which would otherwise pass for the 95th percentile of the first 38 runs.
_PRIOR_RATIOS: Final = tuple(exp(0.1 * NormalDist().inv_cdf((i + 0.5) / 40)) for i in range(40))
_JUMP: Final = 1.5  # a level that moves by so much at once has jumped
_MAX_RATIO: Final = 8.0  # a rarer stall is not worth promising around
_MIN_UNITS: Final = 1e-9
_MAX_UNITS: Final = 1e12
_MAX_DEVICES: Final = 4096  # names come from outside: the oldest go when there are more
_MAX_KINDS: Final = 256

_FORGET: Final = 0.95  # weight left to a transfer sample after the next one
_PRIOR_US_PER_BYTE: Final = 0.008  # one gigabit per second
_PRIOR_BYTES: Final = 50_000.0  # spread of sizes (standard deviation) that outweighs the prior
_RIDGE: Final = _PRIOR_BYTES * _PRIOR_BYTES
_RESIDUALS: Final = 32
_ANSWERS: Final = 16  # of a kind, whose sizes are remembered
_MAX_STEP: Final = 3.0  # one sample is believed up to so many times what was expected,
_MIN_STEP_US: Final = 1_000.0  # and this much


class _Quantile:
    """The last `size` values, kept sorted beside their order of arrival."""

    __slots__ = ("_arrived", "_sorted")

    def __init__(self, size: int, prior: Iterable[float] = ()) -> None:
        self._arrived: deque[float] = deque(prior, maxlen=size)
        self._sorted = sorted(self._arrived)

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: float) -> None:
        arrived, ordered = self._arrived, self._sorted
        if len(arrived) == arrived.maxlen:
            del ordered[bisect_left(ordered, arrived[0])]
        arrived.append(value)
        insort(ordered, value)

    def at(self, quantile: float) -> float:
        """The split-conformal quantile; at its end, widened for how few values support it."""
        count = len(self._sorted)
        rank = ceil(quantile * (count + 1))
        if rank <= count:
            return self._sorted[rank - 1 if rank > 0 else 0]
        return self._sorted[-1] * (1.0 + 1.0 / count)

    def restate(self, values: Iterable[float]) -> None:
        """Put `values` in place of as many of the newest."""
        newest = list(values)
        kept = list(self._arrived)[: -len(newest)] if newest else list(self._arrived)
        self._arrived.clear()
        self._arrived.extend([*kept, *newest])
        self._sorted = sorted(self._arrived)


def _ratio(cost: float, level: float) -> float:
    return min(cost / level, _MAX_RATIO) if level > 0 else 1.0


class RunCost:
    """Cost of one kind of piece on one device. Read `level`, `late` and `high`, us per unit, and
    `held_us`.

    held_us: by how much a piece's result may come later, because others run in the same call.
    """

    __slots__ = (
        "_held",
        "_ratios",
        "_recent",
        "_warming_up",
        "held_us",
        "high",
        "late",
        "level",
        "observed",
    )

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._ratios = _Quantile(_WINDOW, _PRIOR_RATIOS)
        self._held: deque[int] = deque(maxlen=_RECENT)
        self._warming_up = False
        self.held_us = 0
        self.level = 0.0
        self.high = 0.0
        self.late = 0.0
        self.observed = 0

    @property
    def settled(self) -> bool:
        """Whether anything but the warm-up has been seen; before that, do not rely on it."""
        return self.observed >= _SETTLED

    def restarted(self) -> None:
        """The device begins anew: its next run may be a warm-up, and is not held against it."""
        self._warming_up = self.settled

    def observe(self, cost: float, held_us: int = 0) -> None:
        """One run, us per unit. The first is taken as warm-up and forgotten at the second."""
        self._held.append(held_us)
        self.held_us = max(self._held)
        warming_up, self._warming_up = self._warming_up, False
        if warming_up and cost > self.high:
            return
        self.observed += 1
        if self.observed == _SETTLED:
            self._recent.clear()
        elif self.observed > _SETTLED:
            self._ratios.add(_ratio(cost, self.level))
        self._recent.append(cost)
        ordered = sorted(self._recent)
        before, self.level = self.level, ordered[(len(ordered) - 1) // 2]
        if self.observed > _SETTLED and not before / _JUMP <= self.level <= before * _JUMP:
            # The newest errors measured the jump, not what to expect after it.
            self._ratios.restate(_ratio(recent, self.level) for recent in self._recent)
        self.high = self.level * self._ratios.at(HIGH)
        self.late = self.level * self._ratios.at(LATE)

    def quantile(self, quantile: float) -> float:
        """us per unit that a fraction `quantile` of the coming runs should not exceed."""
        return self.level * self._ratios.at(quantile)


class LinkCost:
    """Time on the way to one node and back. Read `rtt_us`, `us_per_byte` and `margin_us`."""

    __slots__ = ("_count", "_errors", "_nn", "_nt", "_recent", "_sum_n", "_sum_t", "margin_us",
                 "rtt_us", "us_per_byte")  # fmt: skip

    def __init__(self, prior_us: float) -> None:
        self._count = self._sum_n = self._sum_t = self._nn = self._nt = 0.0
        self._errors = _Quantile(_RESIDUALS)
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)  # bytes, microseconds
        self.rtt_us = prior_us
        self.us_per_byte = _PRIOR_US_PER_BYTE
        self.margin_us = prior_us / 2

    def observe(self, nbytes: int, took_us: float) -> None:
        """`nbytes` went there and back together and spent `took_us` on the way."""
        if self._count:
            expected_us = self.rtt_us + self.us_per_byte * nbytes
            # A peer that slept says nothing of the link; a link that got slow says it again.
            took_us = min(took_us, _MAX_STEP * (expected_us + self.margin_us) + _MIN_STEP_US)
            self._errors.add(max(0.0, took_us - expected_us))
            self.margin_us = self._errors.at(HIGH)
        count = self._count = self._count * _FORGET + 1.0
        sum_n = self._sum_n = self._sum_n * _FORGET + nbytes
        sum_t = self._sum_t = self._sum_t * _FORGET + took_us
        nn = self._nn = self._nn * _FORGET + nbytes * nbytes
        nt = self._nt = self._nt * _FORGET + nbytes * took_us
        mean_n, mean_t = sum_n / count, sum_t / count
        spread = nn / count - mean_n * mean_n
        together = nt / count - mean_n * mean_t
        slope = (together + _RIDGE * _PRIOR_US_PER_BYTE) / (max(spread, 0.0) + _RIDGE)
        us_per_byte = min(max(slope, 0.0), mean_t / mean_n if mean_n else slope)
        self.us_per_byte = us_per_byte
        recent = self._recent
        recent.append((nbytes, took_us))
        delays = sorted([took - us_per_byte * sent for sent, took in recent])
        self.rtt_us = max(0.0, delays[(len(delays) - 1) // 2])


def bounded_units(units: float) -> float:
    """Units as a usable number: they come from outside and may be anything, NaN included."""
    return min(units, _MAX_UNITS) if units > _MIN_UNITS else _MIN_UNITS


def _bounded_add(known: dict[_K, _V], key: _K, value: _V, limit: int) -> _V:
    if len(known) >= limit:
        del known[next(iter(known))]
    known[key] = value
    return value


class CostModel:
    """Everything known about costs on one node. One per gateway, one per worker."""

    def __init__(
        self, local_node: NodeId = "", *, prior_run_us: int = 1_000, prior_link_us: int = 1_000
    ) -> None:
        """local_node: transfers to it are free until measured.

        prior_run_us: a piece of a kind never seen on any device. Optimistic on purpose: an
            unknown piece must be tried, a pessimist would refuse it for ever.
        prior_link_us: there and back to a node never measured.
        """
        self._local_node = local_node
        self.prior_run_us = prior_run_us
        self._prior_link_us = prior_link_us
        self._runs: dict[DeviceKey, dict[str, RunCost]] = {}
        self._links: dict[NodeId, LinkCost] = {}
        self._answers: dict[str, deque[float]] = {}  # shares of the bound, by kind

    def observe(
        self, device: DeviceKey, kind: str, units: float, run_us: int, held_us: int = 0
    ) -> None:
        """A piece of `units` took `run_us` inside the executor, and others with it `held_us`."""
        kinds = self._runs.get(device)
        if kinds is None:
            kinds = _bounded_add(self._runs, device, {}, _MAX_DEVICES)
        run = kinds.get(kind)
        if run is None:
            run = _bounded_add(kinds, kind, RunCost(), _MAX_KINDS)
        run.observe(max(run_us, 0) / bounded_units(units), max(held_us, 0))

    def observe_at_least(self, device: DeviceKey, kind: str, units: float, run_us: int) -> None:
        """A piece was abandoned after `run_us`: of interest if it ought to have been done by then.

        Otherwise a device that has become slow, whose pieces are all given to others in the end,
        would be believed fast for ever.
        """
        run = self.run_cost(device, kind)
        if run is not None and run_us > run.level * bounded_units(units):
            self.observe(device, kind, units, run_us)

    def run_cost(self, device: DeviceKey, kind: str) -> RunCost | None:
        """The live estimate, or None while nothing reliable is known."""
        kinds = self._runs.get(device)
        run = kinds.get(kind) if kinds is not None else None
        return run if run is not None and run.observed >= _SETTLED else None

    def predict_us(
        self, device: DeviceKey, kind: str, units: float, quantile: float = TYPICAL
    ) -> int:
        """Run time that `quantile` of such pieces should not exceed; the prior when unknown.

        A queue that asks whether a piece can still finish wants the typical time: refusing at
        the high one would throw away pieces that mostly succeed. Promises use HIGH.
        """
        run = self.run_cost(device, kind)
        return round(run.quantile(quantile) * bounded_units(units)) if run else self.prior_run_us

    def slowest(self, devices: Iterable[DeviceKey]) -> dict[str, float]:
        """High cost in us per unit by kind, on the slowest of `devices` that ran the kind."""
        slowest: dict[str, float] = {}
        for device in devices:
            for kind, run in self._runs.get(device, {}).items():
                if run.settled:
                    slowest[kind] = max(slowest.get(kind, 0.0), run.high)
        return slowest

    def levels(self, device: DeviceKey) -> dict[str, float]:
        """Typical cost in us per unit on `device`, of the kinds that it has run."""
        return {k: run.level for k, run in self._runs.get(device, {}).items() if run.settled}

    def observe_answer(self, kind: str, nbytes: int, most_bytes: int) -> None:
        """The result of a piece of that kind had `nbytes`, where `most_bytes` were allowed."""
        shares = self._answers.get(kind)
        if shares is None:
            new: deque[float] = deque(maxlen=_ANSWERS)
            shares = _bounded_add(self._answers, kind, new, _MAX_KINDS)
        shares.append(min(nbytes / max(most_bytes, 1), 1.0))

    def answer_bytes(self, kind: str, most_bytes: int) -> int:
        """The size to expect of a result for which `most_bytes` are allowed.

        The largest share of their bound that the last ones took; all of it before the first. A
        bound must hold in the worst case: a sparse result may be hundreds of times smaller.
        """
        return round(max(self._answers.get(kind, (1.0,))) * most_bytes)

    def observe_transfer(self, node: NodeId, nbytes: int, took_us: int) -> None:
        """A piece and its answer, `nbytes` together, spent `took_us` outside queue and device."""
        self.link(node).observe(max(nbytes, 0), max(took_us, 0))

    def transfer_us(self, node: NodeId, nbytes: int) -> int:
        """Expected time there and back for `nbytes` in all."""
        link = self.link(node)
        return round(link.rtt_us + link.us_per_byte * nbytes)

    def link(self, node: NodeId) -> LinkCost:
        """The live estimate for a node."""
        link = self._links.get(node)
        if link is None:
            prior_us = 0 if node == self._local_node else self._prior_link_us
            link = _bounded_add(self._links, node, LinkCost(prior_us), _MAX_DEVICES)
        return link

    def restarted(self, device: DeviceKey) -> None:
        """A device came back: what is known of it holds, but for its first runs."""
        for run in self._runs.get(device, {}).values():
            run.restarted()

    def forget(self, device: DeviceKey) -> None:
        """Drop what is known of a device that will not come back as it was."""
        self._runs.pop(device, None)
