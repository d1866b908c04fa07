"""Which device runs which piece: predicted finish, counted from what is already promised.

A frame is late when its last piece is, so pieces go longest first onto the device that would
answer earliest (Graham's LPT rule, "Bounds on multiprocessing timing anomalies", SIAM J. Appl.
Math. 17(2), 1969; generalised to unequal devices by using each one's own predicted finish).

Three kinds of device are kept apart:

* *trusted*: answers as predicted; takes the frames;
* *cold*: new, restarted, or never measured on this kind of piece. It is tried with a copy of a
  piece that a trusted device also has (a *probe*), so that no frame is bet on it;
* *suspect*: an answer is overdue. It gets nothing until it gives a sign of life, which is how a
  stopped process is noticed inside a frame, long before its link falls silent.

When there is no trusted device the cold ones take the frames, then the suspect ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, NamedTuple

from mesh.core.workload import Lane
from mesh.schedule.cost import CostModel, RunCost
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.promises import Attempt, DeviceAccount, Want

GRACE_US: Final = 2_000  # an answer is overdue this long, and half its run, after its prediction
COLD_GRACE_US: Final = 250_000  # the first run of a kind may compile shaders or kernels
PROBE_COLD_US: Final = 100_000  # shortest time between probes of a cold device
PROBE_IDLE_US: Final = 2_000_000  # a device that got nothing for so long is measured again
TIE_US: Final = 500  # finishes closer than this, or than
TIE_SHARE: Final = 10  # one such part of the wait, are equally good
MAX_OUTSTANDING: Final = 128  # pieces one device may owe


class Place(NamedTuple):
    """Send the piece to `device`.

    deadline_us: when the result must have left the device. expected_us: when the answer should
    be here. overdue_us: from when its absence is held against the device. probe: sent to measure
    the device; nobody counts on the answer.
    """

    key: PieceKey
    device: DeviceKey
    deadline_us: int
    expected_us: int
    overdue_us: int
    probe: bool = False


class Hopeless(NamedTuple):
    """No device can answer in time: `late_by_us` at best, or None if there is no device to ask."""

    key: PieceKey
    late_by_us: int | None


class _Option(NamedTuple):
    """A device as one placement sees it, for one kind of piece. Costs in us per unit."""

    slot: int  # into the placement's list of when each device is free
    device: DeviceAccount
    level: float
    high: float
    one_way_us: float
    us_per_byte: float
    margin_us: float
    cold: bool


class _Choice(NamedTuple):
    option: _Option
    start_us: float
    finish_us: float  # a high quantile
    expected_us: float


class _Round:
    """One call of `place`: when each usable device will be free, and what each kind costs there."""

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
        self.suspects = {d.key for d in devices if d.suspect(now_us)}
        self._options: dict[str, tuple[list[_Option], list[_Option], list[_Option]]] = {}

    def options(self, kind: str) -> tuple[list[_Option], list[_Option], list[_Option]]:
        """(trusted, cold, suspect) devices for the kind."""
        found = self._options.get(kind)
        if found is None:
            found = self._options[kind] = self._sorted_by_trust(kind)
        return found

    def mean_us(self, kind: str) -> float:
        """Mean level over the devices, to compare pieces of different kinds."""
        options = [option for group in self.options(kind) for option in group]
        return sum(option.level for option in options) / len(options) if options else 1.0

    def _sorted_by_trust(self, kind: str) -> tuple[list[_Option], list[_Option], list[_Option]]:
        runs = [self._costs.run_cost(device.key, kind) for device in self.devices]
        known = [run.level for run in runs if run is not None]
        guess = min(known) if known else self._costs.prior_run_us / self._most_units[kind]
        trusted: list[_Option] = []
        cold: list[_Option] = []
        suspect: list[_Option] = []
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
    ) -> _Option:
        link = self._costs.link(device.key.node)
        if run is not None:
            level, high = run.level, run.high
        else:
            level = high = guess
        return _Option(
            index,
            device,
            level,
            high,
            link.rtt_us / 2,
            link.us_per_byte,
            link.margin_us,
            cold=run is None or not device.proven,
        )


class Placer:
    """The devices a gateway knows, and the work it has promised each. Shared by its sessions."""

    def __init__(self, costs: CostModel) -> None:
        self.costs = costs
        self.turned_late = 0  # counts attempts whose answer was put off past its deadline
        self._devices: dict[DeviceKey, DeviceAccount] = {}

    # --- devices ---------------------------------------------------------------------------

    def add(self, device: DeviceKey, now_us: int) -> None:
        """A device came, or came back: it starts cold, with the same claim as its fellows."""
        self.costs.restarted(device)
        served = [known.served_us for known in self._devices.values()]
        self._devices[device] = DeviceAccount(
            device, since_us=now_us, served_us=max(served, default=0.0)
        )

    def remove(self, device: DeviceKey) -> None:
        """A device is gone, and with it what it owed."""
        self._devices.pop(device, None)

    def suspend(self, device: DeviceKey) -> None:
        """Give it nothing new; what it has may still be answered."""
        if device in self._devices:
            self._devices[device].suspended = True

    def resume(self, device: DeviceKey) -> None:
        """Undo `suspend`."""
        if device in self._devices:
            self._devices[device].suspended = False

    def __contains__(self, device: object) -> bool:
        return device in self._devices

    def usable(self, ready: Iterable[DeviceKey], now_us: int) -> list[DeviceKey]:
        """Those of `ready` that may get work now."""
        return [
            key
            for key in ready
            if (device := self._devices.get(key)) is not None
            and not device.suspended
            and not device.suspect(now_us)
        ]

    def lanes(self, ready: Iterable[DeviceKey], deadline_us: int, now_us: int) -> list[Lane]:
        """Those of `ready` that take frames now, and what they cost; for a cut."""
        lanes: list[Lane] = []
        for key in self.usable(ready, now_us):
            device, link = self._devices[key], self.costs.link(key.node)
            if device.proven:
                wait_us = link.rtt_us + device.backlog_us(deadline_us, now_us)
                lanes.append(Lane(wait_us, self.costs.levels(key), link.us_per_byte))
        return lanes

    def outstanding(self, device: DeviceKey) -> int:
        """Pieces the device owes."""
        known = self._devices.get(device)
        return len(known.attempts) if known is not None else 0

    # --- placing ---------------------------------------------------------------------------

    def place(
        self,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        ready: Iterable[DeviceKey],
        *,
        probe: bool = True,
        certain: bool = False,
    ) -> list[Place | Hopeless]:
        """Place pieces whose answers must be here by `deadline_us`.

        ready: devices that hold the session; iterated in order, so give an ordered collection.
        probe: whether cold devices may get copies. certain: place only what finishes in time at
        the high quantile, and only on trusted devices (for hedging).
        Returns one Place or Hopeless per piece, and further Places with `probe` set.
        """
        devices = [
            device
            for key in ready
            if (device := self._devices.get(key)) is not None
            and not device.suspended
            and len(device.attempts) < MAX_OUTSTANDING
        ]
        state = _Round(devices, self.costs, wants, deadline_us, now_us)
        if len(wants) > 1:
            means = {kind: state.mean_us(kind) for kind in {want.kind for want in wants}}
            wants = sorted(wants, key=lambda want: -want.units * means[want.kind])
        placed: list[Place | Hopeless] = []
        hopeless: list[Want] = []
        for want in wants:
            choice = self._choose(want, state, certain)
            if choice is None:
                placed.append(Hopeless(want.key, None))
                hopeless.append(want)
            elif choice.expected_us > deadline_us or (certain and choice.finish_us > deadline_us):
                placed.append(Hopeless(want.key, round(choice.expected_us) - deadline_us))
                hopeless.append(want)
            else:
                placed.append(self._commit(want, choice, state))
        if probe:
            placed += self._probes(wants, hopeless, state)
        return placed

    def _choose(self, want: Want, state: _Round, certain: bool) -> _Choice | None:
        deadline_us = state.deadline_us
        trusted, cold, suspect = state.options(want.kind)
        choice = _earliest(want, trusted, state)
        if certain or (choice is not None and choice.expected_us <= deadline_us):
            return choice
        # With trusted devices about, cold and suspect ones are no substitute but a last resort:
        # a cold one for a piece the others refused or cannot make, one at a time.
        usable = [o for o in cold if not trusted or not o.device.attempts]
        other = _earliest(want, usable, state)
        if other is None and not trusted and not cold:
            other = _earliest(want, suspect, state)
        if choice is None or (other is not None and other.expected_us < choice.expected_us):
            return other
        return choice

    def _commit(
        self,
        want: Want,
        choice: _Choice,
        state: _Round,
        probe: bool = False,
    ) -> Place:
        option, device = choice.option, choice.option.device
        deadline_us, now_us = state.deadline_us, state.now_us
        run_us = want.units * option.level
        if option.cold:
            overdue_us = max(deadline_us, now_us) + COLD_GRACE_US
        else:
            overdue_us = round(choice.finish_us + want.units * option.high / 2) + GRACE_US
        expected_us = round(choice.expected_us)
        device.owe(
            Attempt(want, deadline_us, run_us, now_us, expected_us, overdue_us, probe),
            arrives_us=now_us + round(option.one_way_us),
            free_us=state.free_us[option.slot],
        )
        state.free_us[option.slot] = choice.start_us + run_us
        leave_us = deadline_us - round(option.one_way_us + option.us_per_byte * want.out_bytes)
        return Place(want.key, device.key, leave_us, expected_us, overdue_us, probe)

    def _probes(
        self,
        wants: Sequence[Want],
        hopeless: Sequence[Want],
        state: _Round,
    ) -> list[Place]:
        """Copies for cold, suspect and long idle devices, so that nobody is written off for ever.

        Each by kind of piece: one that is busy with tiles may never have been asked for a sector.
        Hopeless pieces come first: a prediction that forbids everything must not be final.
        """
        placed: list[Place] = []
        for kind in dict.fromkeys(want.kind for want in wants):
            trusted, cold, suspect = state.options(kind)
            for option in (*cold, *suspect, *trusted):
                idle_us = option.device.idle_us(kind, state.now_us)
                if idle_us < PROBE_COLD_US:
                    continue
                is_suspect = option.device.key in state.suspects
                if option.device.owes(kind) and not is_suspect:
                    continue
                want = _cheapest(hopeless or wants, kind, option.device)
                choice = want and _earliest(want, [option], state)
                if want is None or choice is None:
                    continue
                # Worth measuring soon: nothing is known, or only the promise stands in the way.
                unsure = choice.expected_us <= state.deadline_us < choice.finish_us
                soon = not is_suspect and (option.cold or unsure or bool(hopeless))
                if soon or idle_us >= PROBE_IDLE_US:
                    placed.append(self._commit(want, choice, state, probe=True))
        return placed

    # --- answers ---------------------------------------------------------------------------

    def answered(
        self, key: PieceKey, device: DeviceKey, now_us: int, backlog_us: int, *, result: bool
    ) -> Attempt | None:
        """`device` answered, with a result or a refusal: a sign of life either way.

        backlog_us: the work the device says it still has. Returns the attempt it settles, or
        None if that device did not owe that piece.
        """
        known = self._devices.get(device)
        attempt = known.attempts.pop(key, None) if known is not None else None
        if known is None or attempt is None:
            return None
        known.proven |= result
        rtt_us = self.costs.link(device.node).rtt_us
        self.turned_late += known.heard(now_us, max(0, backlog_us), rtt_us)
        return attempt

    def withdraw(self, key: PieceKey, device: DeviceKey, now_us: int) -> bool:
        """The answer is no longer wanted. True if the device should be told.

        Probes, and whatever a suspect device owes, stay out: their answers are how it becomes
        trusted (again).
        """
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        if known is None or attempt is None:
            return False
        if attempt.probe or known.suspect(now_us):
            return False
        known.give_up(key)
        return True

    def drop_session(self, session: str) -> None:
        """A session ended; devices forget it and will not answer for it."""
        for device in self._devices.values():
            for key in [key for key in device.attempts if key.session == session]:
                del device.attempts[key]

    def in_doubt(self, key: PieceKey, device: DeviceKey, now_us: int) -> bool:
        """Whether the answer is unlikely to come in time: ask another device as well."""
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        if known is None or attempt is None:
            return True
        late = attempt.expected_us > attempt.deadline_us
        return attempt.probe or late or known.suspect(now_us)

    def overdue_us(self, key: PieceKey, device: DeviceKey) -> int | None:
        """When the answer becomes overdue."""
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        return attempt.overdue_us if attempt is not None else None


def _earliest(want: Want, options: Sequence[_Option], state: _Round) -> _Choice | None:
    """The option that answers first, of those surely in time if there are any.

    Among equally good ones it is the least served so far.

    The hot loop of every decision: plain locals, nothing allocated for an option passed over.
    """
    key, _, units, in_bytes, out_bytes, _, exclude = want
    free_us, deadline_us, now_us = state.free_us, state.deadline_us, state.now_us
    best: _Option | None = None
    best_us = soonest_us = inf
    in_time: list[tuple[float, _Option]] = []
    for option in options:
        slot, device, level, high, one_way_us, us_per_byte, margin_us, _ = option
        if key in device.attempts or (exclude and device.key in exclude):
            continue
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
        least_us = inf
        for expected_us, option in in_time:
            if expected_us <= limit_us and option.device.served_us < least_us:
                best, least_us = option, option.device.served_us
    return _choice(want, best, state) if best is not None else None


def _choice(want: Want, option: _Option, state: _Round) -> _Choice:
    """What placing the piece there would mean."""
    arrives_us = state.now_us + option.one_way_us + option.us_per_byte * want.in_bytes
    start_us = max(arrives_us, state.free_us[option.slot])
    back_us = option.one_way_us + option.us_per_byte * want.out_bytes
    finish_us = start_us + want.units * option.high + back_us + option.margin_us
    return _Choice(option, start_us, finish_us, start_us + want.units * option.level + back_us)


def _cheapest(wants: Sequence[Want], kind: str, device: DeviceAccount) -> Want | None:
    """The piece that costs least to copy to `device`."""
    free = [
        want
        for want in wants
        if want.kind == kind and device.key not in want.exclude and want.key not in device.attempts
    ]
    return min(free, key=lambda want: want.units, default=None)
