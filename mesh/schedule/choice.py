"""Where one piece would be answered first: usable devices compared by speed, queue and link."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from mesh.schedule.cost import CostModel, RunCost
from mesh.schedule.promises import DeviceAccount, Want

TIE_US: Final = 500  # finishes closer than this, or than
TIE_SHARE: Final = 10  # one such part of the wait, are equally good


class Option(NamedTuple):
    """A device as one placement sees it, for one kind of piece. Costs in us per unit."""

    slot: int  # into the round's lists
    device: DeviceAccount
    level: float
    high: float
    late: float
    one_way_us: float
    us_per_byte: float
    margin_us: float
    cold: bool


class Choice(NamedTuple):
    """What placing a piece on a device would mean."""

    option: Option
    free_us: float  # when the device is done with what it has
    start_us: float
    finish_us: float  # answer here, at a high quantile
    expected_us: float


class Round:
    """One placement: when each usable device will be free, and what each kind costs there."""

    def __init__(
        self,
        devices: Sequence[DeviceAccount],
        costs: CostModel,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
    ) -> None:
        self._costs = costs
        # The prior is for a piece, whatever its units: what nobody ran is guessed from the largest.
        self._most_units: dict[str, float] = {}
        for want in wants:
            self._most_units[want.kind] = max(want.units, self._most_units.get(want.kind, 1e-9))
        self.devices = devices
        self.deadline_us = deadline_us
        self.now_us = now_us
        self.free_us = [now_us + d.backlog_us(deadline_us, now_us) for d in devices]
        self.served_us = [d.served_us for d in devices]
        self.taken: set[int] = set()  # slots chosen in this round
        self.suspects = {d.key for d in devices if d.suspect(now_us)}
        self._options: dict[str, tuple[list[Option], list[Option], list[Option]]] = {}

    def options(self, kind: str) -> tuple[list[Option], list[Option], list[Option]]:
        """(trusted, cold, suspect) devices for the kind."""
        found = self._options.get(kind)
        if found is None:
            found = self._options[kind] = self._sorted_by_trust(kind)
        return found

    def reserve(self, want: Want, choice: Choice) -> None:
        """Count the piece as placed, for those that follow in this round."""
        slot, run_us = choice.option.slot, want.units * choice.option.level
        self.free_us[slot] = choice.start_us + run_us
        self.served_us[slot] += run_us
        self.taken.add(slot)

    def mean_us(self, kind: str) -> float:
        """Mean level over the devices, to compare pieces of different kinds."""
        options = [option for group in self.options(kind) for option in group]
        return sum(option.level for option in options) / len(options) if options else 1.0

    def _sorted_by_trust(self, kind: str) -> tuple[list[Option], list[Option], list[Option]]:
        runs = [self._costs.run_cost(device.key, kind) for device in self.devices]
        known = [run.level for run in runs if run is not None]
        guess = min(known) if known else self._costs.prior_run_us / self._most_units[kind]
        trusted: list[Option] = []
        cold: list[Option] = []
        suspect: list[Option] = []
        for index, (device, run) in enumerate(zip(self.devices, runs, strict=True)):
            option = self._option(index, device, run, guess)
            if device.key in self.suspects:
                suspect.append(option)
            elif option.cold:
                cold.append(option)
            else:
                trusted.append(option)
        return trusted, cold, suspect

    def _option(
        self, index: int, device: DeviceAccount, run: RunCost | None, guess: float
    ) -> Option:
        link = self._costs.link(device.key.node)
        margin_us = link.margin_us
        if run is not None:
            level, high, late = run.level, run.high, run.late
            margin_us += run.held_us
        else:
            level = high = late = guess
        return Option(
            index,
            device,
            level,
            high,
            late,
            link.rtt_us / 2,
            link.us_per_byte,
            margin_us,
            cold=run is None or not device.proven,
        )


def earliest(want: Want, options: Sequence[Option], state: Round) -> Choice | None:
    """The option that answers first, of those surely in time if there are any.

    Among equally good ones it is the least served so far.

    The hot loop of every decision: plain locals, nothing allocated for an option passed over.
    """
    _, _, units, in_bytes, out_bytes, _, exclude = want
    if exclude:
        options = [option for option in options if option.device.key not in exclude]
    free_us, deadline_us, now_us = state.free_us, state.deadline_us, state.now_us
    best: Option | None = None
    best_us = soonest_us = inf
    in_time: list[tuple[float, Option]] = []
    for option in options:
        slot, _, level, high, _, one_way_us, us_per_byte, margin_us, _ = option
        start_us = now_us + one_way_us + us_per_byte * in_bytes
        if start_us < free_us[slot]:  # noqa: PLR1730  max() costs a call per option
            start_us = free_us[slot]
        back_us = start_us + one_way_us + us_per_byte * out_bytes
        expected_us = back_us + units * level
        if expected_us < best_us:
            best, best_us = option, expected_us
        if back_us + units * high + margin_us <= deadline_us:
            in_time.append((expected_us, option))
            if expected_us < soonest_us:  # noqa: PLR1730
                soonest_us = expected_us
    if in_time:
        limit_us = soonest_us + max(TIE_US, (soonest_us - now_us) / TIE_SHARE)
        least_us, served_us = inf, state.served_us
        for expected_us, option in in_time:
            if expected_us <= limit_us and served_us[option.slot] < least_us:
                best, least_us = option, served_us[option.slot]
    return _choice(want, best, state) if best is not None else None


def _choice(want: Want, option: Option, state: Round) -> Choice:
    """What placing the piece there would mean."""
    free_us = state.free_us[option.slot]
    arrives_us = state.now_us + option.one_way_us + option.us_per_byte * want.in_bytes
    start_us = max(arrives_us, free_us)
    back_us = option.one_way_us + option.us_per_byte * want.out_bytes
    finish_us = start_us + want.units * option.high + back_us + option.margin_us
    expected_us = start_us + want.units * option.level + back_us
    return Choice(option, free_us, start_us, finish_us, expected_us)
