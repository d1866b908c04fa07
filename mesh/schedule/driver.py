"""One session's schedule: events in, actions out.

`SessionDriver` joins the frame clock, the placer and the ledger. Its caller (the gateway, or the
simulator's) carries the actions out in the order given and reports what happened; it decides
nothing itself. The caller's duties:

* call `tick` at `wake_us`, or earlier, or late: being late costs frames, never correctness;
* on `OpenFrame`, have the workload cut the frame and hand the pieces to `pieces`;
* on an answer ask `verdict` first; merge the result only if it is ACCEPTED, then call `result`
  (or `refused`, if the workload would not have it). Do not await in between;
* on `Compose`, fill what is missing, finish and show the frame, whatever else happens; one that
  was refused need not be shown;
* on `Nudge`, call `nudged` of the named session's driver soon;
* several sessions share one `Placer`: `Placer.add` a device before any session's `device_ready`,
  `Placer.remove` it before every session's `device_lost`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple, TypeAlias

import msgspec

from mesh.core.errors import Misuse
from mesh.core.workload import Contract, CutHint, Piece, Rung, Surprise
from mesh.schedule.admission import Pool, frame_of
from mesh.schedule.dues import Stake
from mesh.schedule.frameclock import Crowding, DemandClock, FrameClock
from mesh.schedule.ids import CANCELLED, DeviceKey, FrameKey, PieceKey
from mesh.schedule.ledger import ClosedFrame, FrameLedger, Verdict
from mesh.schedule.phase import LatestStartClock
from mesh.schedule.placement import RETRY_US, Place, Placer
from mesh.schedule.promises import Want

LEAST_WAIT_US: Final = 500  # before a frame that found no room is tried again by time alone

# A frame that is not promised is held for so much of the time until idle devices would have to
# begin it, and tried so often meanwhile: who was promised may need less than was set aside. Not for
# all of that time, since its client could do something else with it.
HELD: Final = 0.5
HELD_TRIES: Final = 8

_NEVER_US: Final = 2**62

# Refusals after which the device takes nothing of this session until it is ready again.
NOT_READY: Final = frozenset({"unknown_session", "device_lost", "overran"})


class OpenFrame(msgspec.Struct, frozen=True):
    """Sample the input and cut this frame now; answer with `SessionDriver.pieces`."""

    frame: int
    opened_us: int
    cutoff_us: int
    hint: CutHint


class Send(msgspec.Struct, frozen=True):
    """Send the piece to the device; `deadline_us` is when its result must have left there."""

    key: PieceKey
    device: DeviceKey
    deadline_us: int
    probe: bool  # a copy that measures the device; the frame does not depend on it


class CancelPiece(msgspec.Struct, frozen=True):
    """Tell the device that nobody wants the piece any more; answer: and to say when it is free.

    straggler: to stop it if it runs and can be stopped; if not, its result is still of use.
    """

    key: PieceKey
    device: DeviceKey
    answer: bool = False
    straggler: bool = False


class Compose(msgspec.Struct, frozen=True):
    """Fill `missing`, finish and show the frame. `closed` says who made what, and when.

    rung: of the contract's ladder, at which the frame was cut. refused: nothing was ever sent,
    because not all of it could have come in time.
    """

    frame: int
    missing: tuple[int, ...]
    closed: ClosedFrame
    rung: int = 0
    refused: bool = False


class Nudge(msgspec.Struct, frozen=True):
    """Another session's driver should look: `frame` may have room now, or, at -1, one of its
    frames had to give way.
    """

    session: str
    frame: int = -1


Action: TypeAlias = OpenFrame | Send | CancelPiece | Compose | Nudge


@dataclass(slots=True)
class DriverCounts:
    """What a session did so far."""

    composed: int = 0
    filled_frames: int = 0  # composed with something missing
    filled_pieces: int = 0
    refused: int = 0  # frames of which nothing was sent
    displaced: int = 0  # frames that had to give way to others
    sent: int = 0  # pieces sent, copies included
    probes: int = 0
    hedges: int = 0
    refusals: int = 0
    duplicates: int = 0
    too_late: int = 0


@dataclass(slots=True)
class _OpenFrame:
    """A frame between its cut and its composition. Lists by piece index."""

    wants: list[Want]
    regions: list[tuple[int, ...]]
    rung: int
    started: bool = False  # its pieces were sent
    displaced: bool = False  # had to give way


class _Hold(NamedTuple):
    """Until when a frame that is not promised is held, and how often it is tried."""

    until_us: int
    every_us: int


class SessionDriver:
    """The schedule of one session under one epoch."""

    def __init__(
        self,
        session: str,
        epoch: int,
        contract: Contract,
        placer: Placer,
        *,
        start_us: int,
        max_in_flight: int = 2,
        reserve_us: int = 0,
        latest_start: bool = False,
    ) -> None:
        """reserve_us: kept back from the contract's deadline for composing and encoding.

        latest_start: whether a frame clock may move and slow down for fresher input.
        """
        self._session = session
        self._epoch = epoch
        self._contract = contract
        self._stake = Stake(contract.criticality, contract.share, contract.value)
        self._budget_us = max(1, contract.deadline_us - reserve_us)
        self._placer = placer
        self._max_in_flight = max_in_flight
        self._crowding = Crowding()
        self._clock: FrameClock | DemandClock
        if contract.trigger == "input":
            self._clock = DemandClock(contract.period_us, max_in_flight=max_in_flight)
        else:
            clock = LatestStartClock if latest_start else FrameClock
            self._clock = clock(contract.period_us, start_us, max_in_flight=max_in_flight)
        self._ledger = FrameLedger(session, epoch)
        self._ready: dict[DeviceKey, None] = {}  # ordered, so that a seed replays
        self._pool: Pool = frozenset()  # the same
        self._cutting: dict[int, tuple[int, int]] = {}  # pieces not yet given -> cut-off, rung
        self._open: dict[int, _OpenFrame] = {}
        self._full: Sequence[Want] = ()  # the last frame's, as if at full quality
        self._waiting: dict[int, int] = {}  # frames of which nothing is sent -> next try
        self._held: dict[int, _Hold] = {}  # those of them that are not promised (yet)
        self._surprises: list[Surprise] = []  # for the next frame to be cut
        self._unplaced: dict[PieceKey, Want] = {}
        self._retry_us: dict[PieceKey, int] = {}
        self._doubt_us = _NEVER_US  # no answer comes into doubt before
        self.counts = DriverCounts()

    # --- time ------------------------------------------------------------------------------

    def wake_us(self, now_us: int) -> int:
        """When to call `tick` next, if nothing else happens."""
        wake_us = min(self._clock.next_open_us, self._doubt_us)
        cutoff_us = self._ledger.next_cutoff_us
        if cutoff_us is not None:
            wake_us = min(wake_us, cutoff_us)
        for retries in (self._retry_us, self._waiting):
            if retries:
                wake_us = min(wake_us, max(min(retries.values()), now_us + 1))
        return wake_us

    def tick(self, now_us: int) -> list[Action]:
        """Hedge what is in doubt, close what is due, open the next frame."""
        actions: list[Action] = []
        self._after_news(now_us, actions)
        time = not self._clock.due(now_us) or self._has_time(now_us)
        frame = self._clock.poll(now_us, may_open=bool(self._ready), time=time)
        if frame is not None:
            actions.append(self._opening(frame, now_us))
        return actions

    def nudged(self, frame: int, now_us: int) -> list[Action]:
        """Another session's driver said so: see `Nudge`."""
        actions: list[Action] = []
        if frame in self._waiting:
            self._start(frame, now_us, actions)
        self._after_news(now_us, actions)
        return actions

    def demand(self, now_us: int) -> OpenFrame | str:
        """An input has come to a session that opens a frame for each; a text says why not now.

        Raises Misuse in a session whose contract says otherwise.
        """
        if not isinstance(self._clock, DemandClock):
            raise Misuse(
                what=f"session {self._session} opens no frame for an input",
                why="its contract's trigger is the clock",
                fix="Give the contract trigger='input'.",
            )
        if not self._ready:
            return "no device is ready for the session"
        frame = self._clock.demand(now_us)
        return frame if isinstance(frame, str) else self._opening(frame, now_us)

    def input_came(self, now_us: int) -> None:
        """The client's small state changed; the next frame will sample it."""
        if isinstance(self._clock, LatestStartClock):
            self._clock.input_came(now_us)

    def _opening(self, frame: int, now_us: int) -> OpenFrame:
        usable = self._placer.usable(self._ready, now_us)
        cutoff_us = now_us + self._budget_us
        rung = self._best_rung(cutoff_us, now_us)
        self._cutting[frame] = cutoff_us, rung
        hint = CutHint(
            devices=max(1, len(usable)),
            quantum_us=self._placer.quanta.quantum_us(self._session, self._budget_us),
            us_per_unit=self._placer.costs.slowest(usable),
            lanes=self._placer.lanes(usable, cutoff_us, now_us),
            surprises=tuple(self._surprises),
            rung=rung,
        )
        self._surprises.clear()
        return OpenFrame(frame, now_us, cutoff_us, hint)

    def _has_time(self, now_us: int) -> bool:
        """Whether a frame like the last one would be promised, at the least quality if need be."""
        wants = self._at(self._contract.ladder[-1])
        cutoff_us = now_us + self._budget_us
        return self._placer.fits(wants, cutoff_us, now_us, self._ready, self._pool)

    def _best_rung(self, cutoff_us: int, now_us: int) -> int:
        """The best quality at which a frame like the last one would be taken on, or the least."""
        ladder = self._contract.ladder
        if not self._full:
            return 0
        for number, rung in enumerate(ladder[:-1]):
            if self._placer.fits(self._at(rung), cutoff_us, now_us, self._ready, self._pool):
                return number
        return len(ladder) - 1

    def _at(self, rung: Rung) -> Sequence[Want]:
        """The last frame's pieces as they would be at a rung."""
        if rung.cost == 1.0:
            return self._full
        return [want._replace(units=want.units * rung.cost) for want in self._full]

    # --- frames ----------------------------------------------------------------------------

    def pieces(self, frame: int, pieces: Sequence[Piece], now_us: int) -> list[Action]:
        """The cut of a frame that was opened; call in the order of the `OpenFrame`s."""
        cutoff_us, rung = self._cutting.pop(frame)
        keys = self._ledger.open(frame, len(pieces), cutoff_us, now_us)
        answer_bytes = self._placer.costs.answer_bytes
        wants = [
            Want(
                key,
                piece.kind,
                piece.units,
                len(piece.inputs) + len(piece.spec),
                answer_bytes(piece.kind, piece.output_bytes),
                piece.output_bytes,
            )
            for key, piece in zip(keys, pieces, strict=True)
        ]
        self._open[frame] = _OpenFrame(wants, [piece.region for piece in pieces], rung)
        cost = max(self._contract.ladder[rung].cost, 1e-9)
        self._full = [want._replace(units=want.units / cost) for want in wants] if rung else wants
        actions: list[Action] = []
        if wants:
            self._admit(frame, wants, cutoff_us, now_us, actions)
        self._close(now_us, actions)
        return actions

    def _admit(
        self, frame: int, wants: Sequence[Want], cutoff_us: int, now_us: int, actions: list[Action]
    ) -> None:
        """Begin a frame, telling whom it displaces; or hold it, or refuse it, at no cost."""
        key, placer = frame_of(wants[0].key), self._placer
        if not placer.enter(
            key, wants, cutoff_us, now_us, ready=self._ready, pool=self._pool, stake=self._stake
        ):
            self._hold_back(frame, now_us, actions)
            return
        self._waiting[frame] = now_us
        self._drop_displaced(now_us, actions)
        actions.extend(map(Nudge, placer.admission.to_tell()))
        self._start(frame, now_us, actions)

    def _hold_back(self, frame: int, now_us: int, actions: list[Action]) -> None:
        """Keep a frame that is not promised for a while: others may need less than they might."""
        until_us = now_us + int((self._latest_us(frame) - now_us) * HELD)
        every_us = max((until_us - now_us) // HELD_TRIES, LEAST_WAIT_US)
        self._held[frame] = _Hold(until_us, every_us)
        self._hold_on(frame, now_us, actions)

    def _hold_on(self, frame: int, now_us: int, actions: list[Action]) -> None:
        until_us, every_us = self._held[frame]
        if now_us < until_us:
            self._waiting[frame] = min(now_us + every_us, until_us)
        else:
            self._refuse(frame, now_us, actions)

    def _refuse(self, frame: int, now_us: int, actions: list[Action]) -> None:
        """Give up a frame that is not promised; what forbids it is put to the test."""
        wants, cutoff_us = self._open[frame].wants, self._ledger.cutoff_us(frame)
        assert cutoff_us is not None, "only open frames are held"
        self._give_up(frame, now_us, actions)
        for probe in self._placer.probe(wants, cutoff_us, now_us, self._ready):
            self._send(probe, now_us, actions)

    def _start(self, frame: int, now_us: int, actions: list[Action]) -> None:
        """Send a frame that waits, if there is room for all of it; refuse it when it is late."""
        if frame in self._held:
            key = self._frame_key(frame)
            if not self._placer.enter_if_free(key, now_us, ready=self._ready):
                self._hold_on(frame, now_us, actions)
                return
            del self._held[frame]
            self._open[frame].displaced = False
        again_us = self._send_all(frame, now_us, actions)
        if again_us is None:
            self._open[frame].started = True
            del self._waiting[frame]
            return
        latest_us = self._latest_us(frame)
        if now_us >= latest_us:
            self._give_up(frame, now_us, actions)
        else:
            self._waiting[frame] = min(max(ceil(again_us), now_us + LEAST_WAIT_US), latest_us)

    def _send_all(self, frame: int, now_us: int, actions: list[Action]) -> float | None:
        """Send all of a frame, if there is room for all of it; else says when to try again."""
        cutoff_us = self._ledger.cutoff_us(frame)
        assert cutoff_us is not None, "only open frames wait"
        wants = [self._want(key) for key in self._ledger.unanswered(frame)]  # but for probes, all
        places, again_us = self._placer.start(wants, cutoff_us, now_us, self._ready)
        for place in places:
            self._send(place, now_us, actions)
        return again_us

    def _latest_us(self, frame: int) -> int:
        """Until when a frame may wait for room. One by the clock only until the next is due."""
        latest_us = int(self._placer.admission.latest_us(self._frame_key(frame)))
        return min(latest_us, self._clock.next_open_us)

    def _give_up(self, frame: int, now_us: int, actions: list[Action]) -> None:
        """Free the devices of a frame that will not be whole."""
        self._waiting.pop(frame, None)
        self._held.pop(frame, None)
        for want in self._open[frame].wants:
            self._unplaced.pop(want.key, None)
            self._retry_us.pop(want.key, None)
        self._cancel(self._ledger.give_up(frame), now_us, actions)

    def _drop_displaced(self, now_us: int, actions: list[Action]) -> None:
        """Give up the frames that had to give way to others; hold those not begun."""
        for key in self._placer.admission.take_dropped(self._session):
            if key.epoch != self._epoch:
                continue
            opened = self._open[key.frame]
            opened.displaced = True
            if opened.started:
                self._give_up(key.frame, now_us, actions)
            else:
                self._hold_back(key.frame, now_us, actions)

    def _frame_key(self, frame: int) -> FrameKey:
        return FrameKey(self._session, self._epoch, frame)

    def abandon(self, frame: int) -> None:
        """A frame that was opened will get no pieces."""
        if self._cutting.pop(frame, None) is not None:
            self._clock.closed(frame)

    # --- answers ---------------------------------------------------------------------------

    def verdict(self, key: PieceKey, device: DeviceKey) -> Verdict:
        """Whether a result that has just arrived is wanted; changes nothing."""
        return self._ledger.verdict(key, device)

    def result(
        self,
        key: PieceKey,
        device: DeviceKey,
        now_us: int,
        *,
        queue_us: int,
        run_us: int,
        backlog_us: int,
        nbytes: int,
        held_us: int = 0,
    ) -> list[Action]:
        """A result of `nbytes` arrived (and was merged, if `verdict` said ACCEPTED).

        queue_us, run_us, backlog_us, held_us: as the device reports them (mesh.core.wire).
        """
        attempt = self._placer.answered(key, device, now_us, backlog_us, result=True)
        answer = self._ledger.result(key, device, now_us, queue_us, run_us + held_us)
        if attempt is not None:
            want, costs = attempt.want, self._placer.costs
            if answer.verdict is Verdict.ACCEPTED:
                self._placer.admission.done(want)
                self._compare(want, device, run_us)  # with what was believed until now
                costs.observe_answer(want.kind, nbytes, want.most_bytes)
            else:
                nbytes = want.out_bytes  # its body may have been discarded on arrival
            costs.observe(device, want.kind, want.units, run_us, held_us)
            way_us = now_us - attempt.sent_us - queue_us - run_us - held_us
            costs.observe_transfer(device.node, want.in_bytes + nbytes, way_us)
        if answer.verdict is Verdict.DUPLICATE:
            self.counts.duplicates += 1
        elif answer.verdict is Verdict.TOO_LATE:
            self.counts.too_late += 1
        actions: list[Action] = []
        if answer.others:
            self._cancel([(key, other) for other in answer.others], now_us, actions)
        self._retry_us.pop(key, None)
        self._unplaced.pop(key, None)
        self._after_news(now_us, actions)
        self._call_next(now_us, actions)
        return actions

    def refused(
        self,
        key: PieceKey,
        device: DeviceKey,
        now_us: int,
        *,
        reason: str,
        backlog_us: int = 0,
        run_us: int = 0,
    ) -> list[Action]:
        """The device answered that it will not, or could not, make the piece.

        run_us: how long it had been at it when it was told to drop it.
        """
        self.counts.refusals += reason != CANCELLED
        if reason in NOT_READY:
            self._hold(device, ready=False)
        attempt = self._placer.answered(key, device, now_us, backlog_us, result=False)
        if attempt is not None and reason == CANCELLED:
            self._placer.dropped(attempt, device, run_us)
        actions: list[Action] = []
        if self._ledger.failed(key, device):
            self._replace([key], now_us, actions)
        if reason == CANCELLED and device in self._ready:
            self._move_to(device, now_us, actions)
        self._after_news(now_us, actions)
        self._call_next(now_us, actions)
        return actions

    def _move_to(self, idle: DeviceKey, now_us: int, actions: list[Action]) -> None:
        """A device is free of what it was late with: let it have what waits behind others.

        From the last, so that what is further ahead in a queue moves up instead.
        """
        for key, devices in reversed(list(self._ledger.waiting())):
            self._move(key, devices, [idle], now_us, actions)

    def _move(
        self,
        key: PieceKey,
        holders: Sequence[DeviceKey],
        to: Iterable[DeviceKey],
        now_us: int,
        actions: list[Action],
    ) -> bool:
        """Let another device make a piece that has not begun, if that is sooner and in time."""
        cutoff_us = self._ledger.cutoff_us(key.frame)
        if cutoff_us is None or len(holders) > 1:
            return False
        (holder,) = holders
        place = self._placer.move(self._want(key), holder, to, cutoff_us, now_us)
        if place is None:
            return False
        self._ledger.failed(key, holder)
        actions.append(CancelPiece(key, holder))
        self._send(place, now_us, actions)
        return True

    # --- devices ---------------------------------------------------------------------------

    def device_ready(self, device: DeviceKey, now_us: int) -> list[Action]:
        """The device (known to the placer) holds the session; pieces may go there."""
        self._hold(device, ready=True)
        actions: list[Action] = []
        self._after_news(now_us, actions)
        return actions

    def device_lost(self, device: DeviceKey, now_us: int) -> list[Action]:
        """The device, or the way to it, is gone; its pieces are placed again."""
        self._hold(device, ready=False)
        actions: list[Action] = []
        self._replace(self._ledger.device_lost(device), now_us, actions)
        self._after_news(now_us, actions)
        return actions

    def device_leaving(self, device: DeviceKey, now_us: int) -> list[Action]:
        """The device takes no more pieces; what it was given it still answers."""
        self._hold(device, ready=False)
        actions: list[Action] = []
        self._after_news(now_us, actions)
        return actions

    def _hold(self, device: DeviceKey, *, ready: bool) -> None:
        if ready:
            self._ready[device] = None
        else:
            self._ready.pop(device, None)
        self._pool = frozenset(self._ready)
        self._placer.quanta.hold(self._session, self._budget_us, self._ready)

    @property
    def ready(self) -> tuple[DeviceKey, ...]:
        """Devices that hold the session."""
        return tuple(self._ready)

    @property
    def clock(self) -> FrameClock | DemandClock:
        """The session's frame clock (frames opened, instants skipped)."""
        return self._clock

    def close(self, now_us: int) -> None:
        """The session ends. Tell every device to forget it: nothing is cancelled by piece."""
        self._ledger.close_all(now_us)
        self._placer.drop_session(self._session)
        self._open.clear()
        self._unplaced.clear()
        self._retry_us.clear()
        self._waiting.clear()
        self._held.clear()
        self._ready.clear()

    # --- inside ----------------------------------------------------------------------------

    def _after_news(self, now_us: int, actions: list[Action]) -> None:
        self._drop_displaced(now_us, actions)
        for frame, retry_us in list(self._waiting.items()):
            if retry_us <= now_us:
                self._start(frame, now_us, actions)
        self._close(now_us, actions)
        turned_late = self._placer.turned_late
        news = self._session in turned_late or now_us >= self._doubt_us
        if news or self._unplaced or self._retry_us:
            turned_late.pop(self._session, None)
            self._place_again(now_us, actions)
            self._hedge(now_us, actions)

    def _call_next(self, now_us: int, actions: list[Action]) -> None:
        """A device has room again: let the most urgent frame that waits try, whosever it is."""
        actions.extend(map(Nudge, self._placer.turned_late))
        key = self._placer.admission.next_in_line(self._pool, now_us)
        if key is None:
            return
        if key.session != self._session:
            actions.append(Nudge(key.session, key.frame))
        elif key.frame in self._waiting:
            self._start(key.frame, now_us, actions)
            self._close(now_us, actions)

    def _place(
        self, wants: Sequence[Want], cutoff_us: int, now_us: int, actions: list[Action]
    ) -> None:
        by_key = {want.key: want for want in wants}
        for decided in self._placer.place(wants, cutoff_us, now_us, self._ready, probe=False):
            if isinstance(decided, Place):
                self._send(decided, now_us, actions)
                continue
            want = by_key[decided.key]
            if not self._contract.holes and cutoff_us < self._placer.soonest_us(
                want, self._ready, now_us
            ):
                self._give_up(want.key.frame, now_us, actions)
                return
            self._unplaced[decided.key] = want
            self._retry_us[decided.key] = now_us + RETRY_US

    def _send(self, place: Place, now_us: int, actions: list[Action]) -> None:
        self._ledger.asked(place.key, place.device, now_us)
        self._unplaced.pop(place.key, None)
        self._retry_us.pop(place.key, None)
        self._doubt_us = min(self._doubt_us, place.doubt_us)
        self.counts.sent += 1
        self.counts.probes += place.probe
        actions.append(Send(place.key, place.device, place.deadline_us, place.probe))

    def _replace(self, keys: Sequence[PieceKey], now_us: int, actions: list[Action]) -> None:
        """Find other devices for pieces that wait on nobody."""
        by_frame: dict[int, list[Want]] = {}
        for key in keys:
            by_frame.setdefault(key.frame, []).append(self._want(key))
        for frame, wants in by_frame.items():
            cutoff_us = self._ledger.cutoff_us(frame)
            if cutoff_us is not None:
                self._place(wants, cutoff_us, now_us, actions)

    def _place_again(self, now_us: int, actions: list[Action]) -> None:
        """Try what had no room before."""
        due = [key for key in self._unplaced if self._retry_us.get(key, 0) <= now_us]
        if due:
            self._replace(due, now_us, actions)

    def _hedge(self, now_us: int, actions: list[Action]) -> None:
        """Have one more device, or another, make each piece whose every device is in doubt."""
        self._doubt_us = _NEVER_US
        for key, devices in list(self._ledger.waiting()):
            if not self._open[key.frame].started:
                continue  # a probe of a frame that waits: nothing is lost with it
            doubts_us = [self._placer.doubt_us(key, device, now_us) for device in devices]
            coming_us = [doubt_us for doubt_us in doubts_us if doubt_us > now_us]
            if coming_us:
                self._doubt_us = min(self._doubt_us, *coming_us)
                if len(coming_us) < len(devices):
                    self._drop_stragglers(key, devices, now_us, actions)
            elif self._retry_us.get(key, 0) <= now_us:
                self._hedge_piece(key, devices, now_us, actions)

    def _hedge_piece(
        self, key: PieceKey, devices: Sequence[DeviceKey], now_us: int, actions: list[Action]
    ) -> None:
        late = all(self._placer.late(key, device) for device in devices)
        if late and self._move(key, devices, self._ready, now_us, actions):
            return
        cutoff_us = self._ledger.cutoff_us(key.frame)
        assert cutoff_us is not None, "only pieces of open frames wait"
        place = None
        if not self._placer.admission.waits(self._pool):  # they would pay for the copy
            place = self._placer.hedge(self._want(key), cutoff_us, now_us, self._ready)
        if place is None:
            self._retry_us[key] = now_us + RETRY_US
            return
        self._send(place, now_us, actions)
        self.counts.hedges += 1
        self._drop_stragglers(key, devices, now_us, actions)

    def _drop_stragglers(
        self, key: PieceKey, devices: Sequence[DeviceKey], now_us: int, actions: list[Action]
    ) -> None:
        """Free devices that are far too late with a piece, while another one makes it as well.

        Otherwise the next frame has a device less, and what is late in that one another less.
        """
        for device in devices:
            straggles_us = self._placer.straggles_us(key, device)
            if straggles_us > now_us:
                self._doubt_us = min(self._doubt_us, straggles_us)
            else:
                self._cancel([(key, device)], now_us, actions, straggler=True)

    def _want(self, key: PieceKey) -> Want:
        want, tried = self._open[key.frame].wants[key.piece], self._ledger.tried(key)
        return want._replace(exclude=tried) if tried else want

    def _compare(self, want: Want, device: DeviceKey, run_us: int) -> None:
        """Keep for the next cut how far a piece was from what was believed of its device."""
        run = self._placer.costs.run_cost(device, want.kind)
        region = self._open[want.key.frame].regions[want.key.piece]
        expected_us = run.level * want.units if run is not None else 0.0
        if region and expected_us > 0:
            self._surprises.append(Surprise(region, run_us / expected_us))

    def _cancel(
        self,
        attempts: Sequence[tuple[PieceKey, DeviceKey]],
        now_us: int,
        actions: list[Action],
        *,
        straggler: bool = False,
    ) -> None:
        actions.extend(
            CancelPiece(key, device, self._placer.owes(key, device), straggler)
            for key, device in attempts
            if self._placer.withdraw(key, device, now_us)
        )

    def _close(self, now_us: int, actions: list[Action]) -> None:
        for closed in self._ledger.poll(now_us):
            frame = closed.frame
            opened = self._open.pop(frame)
            keys = [want.key for want in opened.wants]
            self._waiting.pop(frame, None)
            self._held.pop(frame, None)
            actions.append(self._composed(closed, opened))
            self._cancel(
                [(keys[index], device) for index, device in closed.outstanding], now_us, actions
            )
            for key in keys:
                self._unplaced.pop(key, None)
                self._retry_us.pop(key, None)
            self._placer.admission.leave(self._frame_key(frame), now_us, whole=not closed.missing)
            self._clock.closed(frame)
            if isinstance(self._clock, LatestStartClock):
                self._clock.composed(closed)
            self._clock.limit(
                max(1, self._max_in_flight // 2)
                if self._crowding.one_at_a_time
                else self._max_in_flight
            )

    def _composed(self, closed: ClosedFrame, opened: _OpenFrame) -> Compose:
        """Count a closed frame."""
        counts, missing = self.counts, closed.missing
        refused = bool(missing) and not opened.started
        if not refused and not opened.displaced:
            self._crowding.closed(whole=not missing)
        counts.displaced += opened.displaced
        if refused:
            counts.refused += 1
        else:
            counts.composed += 1
            counts.filled_frames += bool(missing)
            counts.filled_pieces += len(missing)
        return Compose(closed.frame, missing, closed, opened.rung, refused)
