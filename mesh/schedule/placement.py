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
from math import ceil, hypot, inf
from typing import Final, NamedTuple

from mesh.core.workload import Lane
from mesh.schedule.admission import Admission, Pool, frame_of
from mesh.schedule.choice import Choice, Round, earliest
from mesh.schedule.cost import CostModel
from mesh.schedule.dues import Stake
from mesh.schedule.hedging import HedgeBudget
from mesh.schedule.ids import DeviceKey, FrameKey, PieceKey
from mesh.schedule.promises import NEVER_US, Attempt, DeviceAccount, Want
from mesh.schedule.quantum import Quanta

DOUBT: Final = 1.4  # an answer is in doubt when so many times as late as nine in ten never are
GRACE_US: Final = 2_000  # an answer is overdue so long after it came into doubt
STRAGGLES: Final = 0.5  # of its run time late: a device drops what another makes as well
COLD_GRACE_US: Final = 250_000  # the first run of a kind may compile shaders or kernels
PROBE_COLD_US: Final = 100_000  # shortest time between probes of a cold device
PROBE_IDLE_US: Final = 2_000_000  # a device that got nothing for so long is measured again
RETRY_US: Final = 2_000  # between attempts to find room for what has none
MAX_OUTSTANDING: Final = 128  # pieces one device may owe
# A frame whose pieces would wait longer than this waits at the gateway instead, where what comes
# later can still pass it, and a device that dies or slows down takes less with it. Long enough
# that a device is not idle while word of its end and the next piece are on their way.
HORIZON_US: Final = 10_000


class Place(NamedTuple):
    """Send the piece to `device`.

    deadline_us: when the result must have left the device. expected_us: when the answer should
    be here. doubt_us: from when a copy is worth while if it is not. overdue_us: from when that is
    held against the device. probe: sent to measure
    the device; nobody counts on the answer.
    """

    key: PieceKey
    device: DeviceKey
    deadline_us: int
    expected_us: int
    doubt_us: int
    overdue_us: int
    probe: bool = False


class Hopeless(NamedTuple):
    """No device can answer in time: `late_by_us` at best, or None if there is no device to ask."""

    key: PieceKey
    late_by_us: int | None


class Placer:
    """The devices a gateway knows, and the work it has promised each. Shared by its sessions."""

    def __init__(self, costs: CostModel) -> None:
        self.costs = costs
        self.admission = Admission(costs)
        self.quanta = Quanta()
        self._budget = HedgeBudget()
        # Sessions with attempts whose answer was put off past its deadline, to look into that.
        self.turned_late: dict[str, None] = {}
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

    # --- frames ----------------------------------------------------------------------------

    def enter(
        self,
        frame: FrameKey,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        *,
        ready: Iterable[DeviceKey],
        pool: Pool,
        stake: Stake,
    ) -> bool:
        """Whether a frame is promised; see `Admission.enter`. pool: `ready`, for comparison."""
        devices = self._working(ready, now_us)
        return self.admission.enter(
            frame, wants, deadline_us, now_us, devices=devices, pool=pool, stake=stake
        )

    def enter_if_free(self, frame: FrameKey, now_us: int, *, ready: Iterable[DeviceKey]) -> bool:
        """Whether a frame that was not promised is now; see `Admission.enter_if_free`."""
        return self.admission.enter_if_free(frame, now_us, self._working(ready, now_us))

    def fits(
        self,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        ready: Iterable[DeviceKey],
        pool: Pool,
    ) -> bool:
        """Whether a frame would be promised with nobody giving way."""
        devices = self._working(ready, now_us)
        return self.admission.fits(wants, deadline_us, now_us, devices, pool)

    def start(
        self,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        ready: Iterable[DeviceKey],
    ) -> tuple[list[Place], float | None]:
        """Place all pieces of one frame, or none: then the second value says when to try again.

        Either way there may be probes.
        """
        state = Round(self._able(ready), self.costs, wants, deadline_us, now_us)
        room_us = self._room_us(state)
        if room_us > now_us:
            return [], room_us
        chosen, hopeless = self._plan(wants, state)
        if hopeless:
            probes = self._probes(wants, [want for want, _ in hopeless], state)
            return probes, now_us + RETRY_US
        if wants:
            self.admission.sent(frame_of(wants[0].key))
        placed = [self._commit(*plan, state) for plan in chosen]
        return placed + self._probes(wants, [], state), None

    def _room_us(self, state: Round) -> float:
        """From when a device has so little to do that it should get more."""
        return min(
            (
                free_us - HORIZON_US - self.costs.link(device.key.node).rtt_us
                for free_us, device in zip(state.free_us, state.devices, strict=True)
            ),
            default=0.0,
        )

    def probe(
        self,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        ready: Iterable[DeviceKey],
    ) -> list[Place]:
        """For a frame that is refused: a prediction that forbids everything must not be final."""
        state = Round(self._able(ready), self.costs, wants, deadline_us, now_us)
        return self._probes(wants, wants, state)

    def soonest_us(self, want: Want, ready: Iterable[DeviceKey], now_us: int) -> float:
        """When an idle device would have answered, at best."""
        idle = Round(self._able(ready), self.costs, [want], now_us, now_us)
        idle.free_us = [float(now_us)] * len(idle.free_us)
        trusted, cold, suspect = idle.options(want.kind)
        choice = earliest(want, [*trusted, *cold, *suspect], idle)
        return choice.expected_us if choice is not None else inf

    def _working(self, ready: Iterable[DeviceKey], now_us: int) -> list[DeviceAccount]:
        return [
            device
            for key in ready
            if (device := self._devices.get(key)) is not None
            and not device.suspended
            and not device.suspect(now_us)
        ]

    # --- pieces ----------------------------------------------------------------------------

    def place(
        self,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        ready: Iterable[DeviceKey],
        *,
        probe: bool = True,
    ) -> list[Place | Hopeless]:
        """Place pieces whose answers must be here by `deadline_us`.

        ready: devices that hold the session; iterated in order, so give an ordered collection.
        probe: whether cold devices may get copies.
        Returns one Place or Hopeless per piece, and further Places with `probe` set.
        """
        state = Round(self._able(ready), self.costs, wants, deadline_us, now_us)
        chosen, hopeless = self._plan(wants, state)
        placed: list[Place | Hopeless] = [self._commit(*plan, state) for plan in chosen]
        placed += [Hopeless(want.key, late_by_us) for want, late_by_us in hopeless]
        if probe:
            placed += self._probes(wants, [want for want, _ in hopeless], state)
        return placed

    def hedge(
        self,
        want: Want,
        deadline_us: int,
        now_us: int,
        ready: Iterable[DeviceKey],
    ) -> Place | None:
        """Ask one more device for a piece in doubt, where it surely comes in time, if that may
        be paid for.

        Not a device that is late itself, nor, if there are others, one whose answer should be here
        by now: they are not as free as was believed.
        """
        able = self._able(ready)
        devices = [device for device in able if not device.due(now_us)]
        devices = devices or [device for device in able if not device.late(now_us)]
        state = Round(devices, self.costs, [want], deadline_us, now_us)
        chosen, _ = self._plan([want], state, certain=True)
        for _, choice in chosen:
            costs_us = want.units * choice.option.level
            if self._budget.take(costs_us):
                return self._commit(want, choice, state, paid_us=costs_us)
        return None

    def move(
        self,
        want: Want,
        holder: DeviceKey,
        to: Iterable[DeviceKey],
        deadline_us: int,
        now_us: int,
    ) -> Place | None:
        """Take a piece that waits behind others on `holder` to the one of `to` where it surely
        comes sooner, in time, and at the cost of nobody's deadline. None: it stays. Otherwise
        `holder` is to be told; as it has not begun, nothing is lost.
        """
        known = self._devices.get(holder)
        attempt = known.attempts.get(want.key) if known is not None else None
        if known is None or attempt is None or attempt.probe or want.key == known.running:
            return None
        state = Round(self._able(to), self.costs, [want], deadline_us, now_us)
        trusted, _, _ = state.options(want.kind)
        bearing = [o for o in trusted if o.device.bears(want.units * o.level, deadline_us)]
        choice = earliest(want, bearing, state)
        if choice is None or choice.expected_us > deadline_us:
            return None
        if choice.finish_us >= attempt.expected_us:
            return None
        known.give_up(want.key)
        return self._commit(want, choice, state)

    def _able(self, ready: Iterable[DeviceKey]) -> list[DeviceAccount]:
        return [
            device
            for key in ready
            if (device := self._devices.get(key)) is not None
            and not device.suspended
            and len(device.attempts) < MAX_OUTSTANDING
        ]

    def _plan(
        self, wants: Sequence[Want], state: Round, *, certain: bool = False
    ) -> tuple[list[tuple[Want, Choice]], list[tuple[Want, int | None]]]:
        """What would go where, longest first; and what nobody can make, with how late it would be.

        Commits nobody yet, but counts each piece as placed for those that follow.
        """
        if len(wants) > 1:
            means = {kind: state.mean_us(kind) for kind in {want.kind for want in wants}}
            wants = sorted(wants, key=lambda want: -want.units * means[want.kind])
        chosen: list[tuple[Want, Choice]] = []
        hopeless: list[tuple[Want, int | None]] = []
        for want in wants:
            choice = self._choose(want, state, certain)
            if choice is None:
                hopeless.append((want, None))
            elif (late_by_us := self._late_by_us(choice, state, certain)) > 0:
                hopeless.append((want, late_by_us))
            else:
                state.reserve(want, choice)
                chosen.append((want, choice))
        return chosen, hopeless

    @staticmethod
    def _late_by_us(choice: Choice, state: Round, certain: bool) -> int:
        """How much later than its deadline the answer would come; surely, or probably."""
        comes_us = choice.finish_us if certain else choice.expected_us
        return ceil(comes_us - state.deadline_us)

    def _choose(self, want: Want, state: Round, certain: bool) -> Choice | None:
        deadline_us = state.deadline_us
        trusted, cold, suspect = state.options(want.kind)
        choice = earliest(want, trusted, state)
        if certain or (choice is not None and choice.expected_us <= deadline_us):
            return choice
        # With trusted devices about, cold and suspect ones are no substitute but a last resort:
        # a cold one for a piece the others refused or cannot make, one at a time.
        usable = [
            o for o in cold if not trusted or not (o.device.attempts or o.slot in state.taken)
        ]
        other = earliest(want, usable, state)
        if other is None and not trusted and not cold:
            other = earliest(want, suspect, state)
        if choice is None or (other is not None and other.expected_us < choice.expected_us):
            return other
        return choice

    def _commit(
        self,
        want: Want,
        choice: Choice,
        state: Round,
        *,
        probe: bool = False,
        paid_us: float = 0.0,
    ) -> Place:
        option, device = choice.option, choice.option.device
        deadline_us, now_us = state.deadline_us, state.now_us
        run_us = want.units * option.level
        self._budget.given(run_us)
        if option.cold:
            doubt_us = overdue_us = max(deadline_us, now_us) + COLD_GRACE_US
        else:
            # Errors of the run and of the link are independent: they add up by their squares.
            late_us = hypot(want.units * (option.late - option.level), option.margin_us)
            doubt_us = round(choice.expected_us + DOUBT * late_us)
            overdue_us = doubt_us + GRACE_US
        expected_us = round(choice.expected_us)
        device.owe(
            Attempt(
                want, deadline_us, run_us, now_us, expected_us, doubt_us, overdue_us, probe, paid_us
            ),
            arrives_us=now_us + round(option.one_way_us),
            free_us=choice.free_us,
        )
        leave_us = deadline_us - round(option.one_way_us + option.us_per_byte * want.out_bytes)
        return Place(want.key, device.key, leave_us, expected_us, doubt_us, overdue_us, probe)

    def _probes(
        self,
        wants: Sequence[Want],
        hopeless: Sequence[Want],
        state: Round,
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
                choice = want and earliest(want, [option], state)
                if want is None or choice is None:
                    continue
                # Worth measuring soon: nothing is known, or only the promise stands in the way.
                unsure = choice.expected_us <= state.deadline_us < choice.finish_us
                soon = not is_suspect and (option.cold or unsure or bool(hopeless))
                if soon or idle_us >= PROBE_IDLE_US:
                    state.reserve(want, choice)
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
        for session in known.heard(now_us, max(0, backlog_us), rtt_us):
            self.turned_late[session] = None
        return attempt

    def withdraw(self, key: PieceKey, device: DeviceKey, now_us: int) -> bool:
        """The result is no longer wanted. True if the device should be told.

        Probes run on: their results are how a device becomes trusted. What a device that is
        suspect, or that makes a copy, probably runs stays owed (see `owes`): its word that it has
        dropped it is a sign of life, and says what the copy has cost.
        """
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        if known is None or attempt is None or attempt.probe or attempt.told:
            return False
        if key == known.running and (attempt.paid_us or known.suspect(now_us)):
            attempt.told = True
            return True
        self._budget.give_back(attempt.paid_us)
        known.give_up(key)
        return True

    def dropped(self, attempt: Attempt, device: DeviceKey, run_us: int) -> None:
        """`device` has dropped what it was told to, `run_us` after it had begun with it."""
        want = attempt.want
        self.costs.observe_at_least(device, want.kind, want.units, run_us)
        self._budget.give_back(max(0.0, attempt.paid_us - run_us))

    def owes(self, key: PieceKey, device: DeviceKey) -> bool:
        """Whether word of the piece is awaited from `device`."""
        known = self._devices.get(device)
        return known is not None and key in known.attempts

    def drop_session(self, session: str) -> None:
        """A session ended; devices forget it and will not answer for it."""
        self.admission.drop_session(session)
        self.quanta.drop(session)
        self.turned_late.pop(session, None)
        for device in self._devices.values():
            for key in [key for key in device.attempts if key.session == session]:
                del device.attempts[key]

    def doubt_us(self, key: PieceKey, device: DeviceKey, now_us: int) -> int:
        """From when the answer is unlikely to come in time: then ask another device as well."""
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        if known is None or attempt is None:
            return now_us
        if attempt.late or attempt.probe or known.suspect(now_us):
            return min(attempt.doubt_us, now_us)
        return attempt.doubt_us

    def late(self, key: PieceKey, device: DeviceKey) -> bool:
        """Whether by the device's own word the answer will come after its deadline."""
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        return attempt is not None and attempt.late

    def straggles_us(self, key: PieceKey, device: DeviceKey) -> int:
        """From when `device` should drop a piece that another one makes as well.

        Only what it probably runs: what waits there makes way for others, and is no straggler.
        """
        known = self._devices.get(device)
        attempt = known.attempts.get(key) if known is not None else None
        if known is None or attempt is None or attempt.probe or attempt.told:
            return NEVER_US
        if key != known.running:
            return NEVER_US
        return max(attempt.overdue_us, attempt.expected_us + round(STRAGGLES * attempt.run_us))


def _cheapest(wants: Sequence[Want], kind: str, device: DeviceAccount) -> Want | None:
    """The piece that costs least to copy to `device`."""
    free = [
        want
        for want in wants
        if want.kind == kind and device.key not in want.exclude and want.key not in device.attempts
    ]
    return min(free, key=lambda want: want.units, default=None)
