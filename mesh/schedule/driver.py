"""One session's schedule: events in, actions out.

`SessionDriver` joins the frame clock, the placer and the ledger. Its caller (the gateway, or the
simulator's) carries the actions out in the order given and reports what happened; it decides
nothing itself. The caller's duties:

* call `tick` at `wake_us`, or earlier, or late: being late costs frames, never correctness;
* on `OpenFrame`, have the workload cut the frame and hand the pieces to `pieces`;
* on an answer ask `verdict` first; merge the result only if it is ACCEPTED, then call `result`
  (or `refused`, if the workload would not have it). Do not await in between;
* on `Compose`, fill what is missing, finish and show the frame, whatever else happens;
* several sessions share one `Placer`: `Placer.add` a device before any session's `device_ready`,
  `Placer.remove` it before every session's `device_lost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from mesh.core.errors import Misuse
from mesh.core.workload import Contract, CutHint, Piece, Surprise
from mesh.schedule.frameclock import Crowding, DemandClock, FrameClock
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import ClosedFrame, FrameLedger, Verdict
from mesh.schedule.phase import LatestStartClock
from mesh.schedule.placement import Place, Placer
from mesh.schedule.promises import Want

RETRY_US: Final = 2_000  # between attempts to find room for a piece that has none

_NEVER_US: Final = 2**62

# Refusals after which the device takes nothing of this session until it is ready again.
NOT_READY: Final = frozenset({"unknown_session", "device_lost", "overran"})


@dataclass(frozen=True, slots=True)
class OpenFrame:
    """Sample the input and cut this frame now; answer with `SessionDriver.pieces`."""

    frame: int
    opened_us: int
    cutoff_us: int
    hint: CutHint


@dataclass(frozen=True, slots=True)
class Send:
    """Send the piece to the device; `deadline_us` is when its result must have left there."""

    key: PieceKey
    device: DeviceKey
    deadline_us: int
    probe: bool  # a copy that measures the device; the frame does not depend on it


@dataclass(frozen=True, slots=True)
class CancelPiece:
    """Tell the device that nobody wants the piece any more. No answer is expected."""

    key: PieceKey
    device: DeviceKey


@dataclass(frozen=True, slots=True)
class Compose:
    """Fill `missing`, finish and show the frame. `closed` says who made what, and when."""

    frame: int
    missing: tuple[int, ...]
    closed: ClosedFrame


Action: TypeAlias = OpenFrame | Send | CancelPiece | Compose


@dataclass(slots=True)
class DriverCounts:
    """What a session did so far."""

    composed: int = 0
    filled_frames: int = 0  # composed with something missing
    filled_pieces: int = 0
    sent: int = 0  # pieces sent, copies included
    probes: int = 0
    hedges: int = 0
    refusals: int = 0
    duplicates: int = 0
    too_late: int = 0


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
        quantum_us: int = 0,
        latest_start: bool = False,
    ) -> None:
        """reserve_us: kept back from the contract's deadline for composing and encoding.

        quantum_us: the longest piece the workload should cut; 0 for no wish.
        latest_start: whether a frame clock may move and slow down for fresher input.
        """
        self._session = session
        self._epoch = epoch
        self._budget_us = max(1, contract.deadline_us - reserve_us)
        self._quantum_us = quantum_us
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
        self._cutting: dict[int, int] = {}  # frame opened, pieces not yet given -> cut-off
        self._wants: dict[int, list[Want]] = {}  # of open frames, by piece index
        self._regions: dict[int, list[tuple[int, ...]]] = {}  # likewise
        self._surprises: list[Surprise] = []  # for the next frame to be cut
        self._unplaced: dict[PieceKey, Want] = {}
        self._retry_us: dict[PieceKey, int] = {}
        self._doubt_us = _NEVER_US  # no answer becomes overdue before
        self._late_seen = placer.turned_late
        self.counts = DriverCounts()

    # --- time ------------------------------------------------------------------------------

    def wake_us(self, now_us: int) -> int:
        """When to call `tick` next, if nothing else happens."""
        wake_us = min(self._clock.next_open_us, self._doubt_us)
        cutoff_us = self._ledger.next_cutoff_us
        if cutoff_us is not None:
            wake_us = min(wake_us, cutoff_us)
        if self._retry_us:
            wake_us = min(wake_us, max(min(self._retry_us.values()), now_us + 1))
        return wake_us

    def tick(self, now_us: int) -> list[Action]:
        """Hedge what is in doubt, close what is due, open the next frame."""
        actions: list[Action] = []
        self._after_news(now_us, actions)
        frame = self._clock.poll(now_us, may_open=bool(self._ready))
        if frame is not None:
            actions.append(self._opening(frame, now_us))
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
        self._cutting[frame] = cutoff_us
        hint = CutHint(
            devices=max(1, len(usable)),
            quantum_us=self._quantum_us,
            us_per_unit=self._placer.costs.slowest(usable),
            lanes=self._placer.lanes(usable, cutoff_us, now_us),
            surprises=tuple(self._surprises),
        )
        self._surprises.clear()
        return OpenFrame(frame, now_us, cutoff_us, hint)

    # --- frames ----------------------------------------------------------------------------

    def pieces(self, frame: int, pieces: Sequence[Piece], now_us: int) -> list[Action]:
        """The cut of a frame that was opened; call in the order of the `OpenFrame`s."""
        cutoff_us = self._cutting.pop(frame)
        self._ledger.open(frame, len(pieces), cutoff_us, now_us)
        wants = [
            Want(
                PieceKey(self._session, self._epoch, frame, piece.index),
                piece.kind,
                piece.units,
                len(piece.inputs) + len(piece.spec),
                self._placer.costs.answer_bytes(piece.kind, piece.output_bytes),
                piece.output_bytes,
            )
            for piece in pieces
        ]
        self._wants[frame] = wants
        self._regions[frame] = [piece.region for piece in pieces]
        actions: list[Action] = []
        self._place(wants, cutoff_us, now_us, actions, probe=True)
        self._close(now_us, actions)
        return actions

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
    ) -> list[Action]:
        """A result of `nbytes` arrived (and was merged, if `verdict` said ACCEPTED).

        queue_us, run_us, backlog_us: as the device reports them.
        """
        attempt = self._placer.answered(key, device, now_us, backlog_us, result=True)
        answer = self._ledger.result(key, device, now_us, queue_us, run_us)
        if attempt is not None:
            want, costs = attempt.want, self._placer.costs
            if answer.verdict is Verdict.ACCEPTED:
                self._compare(want, device, run_us)  # with what was believed until now
                costs.observe_answer(want.kind, nbytes, want.most_bytes)
            else:
                nbytes = want.out_bytes  # its body may have been discarded on arrival
            costs.observe(device, want.kind, want.units, run_us)
            way_us = now_us - attempt.sent_us - queue_us - run_us
            costs.observe_transfer(device.node, want.in_bytes + nbytes, way_us)
        if answer.verdict is Verdict.DUPLICATE:
            self.counts.duplicates += 1
        elif answer.verdict is Verdict.TOO_LATE:
            self.counts.too_late += 1
        actions: list[Action] = []
        self._cancel([(key, other) for other in answer.others], now_us, actions)
        self._retry_us.pop(key, None)
        self._unplaced.pop(key, None)
        self._after_news(now_us, actions)
        return actions

    def refused(
        self, key: PieceKey, device: DeviceKey, now_us: int, *, reason: str, backlog_us: int = 0
    ) -> list[Action]:
        """The device answered that it will not, or could not, make the piece."""
        self.counts.refusals += 1
        if reason in NOT_READY:
            self._ready.pop(device, None)
        self._placer.answered(key, device, now_us, backlog_us, result=False)
        actions: list[Action] = []
        if self._ledger.failed(key, device):
            self._replace([key], now_us, actions)
        self._after_news(now_us, actions)
        return actions

    # --- devices ---------------------------------------------------------------------------

    def device_ready(self, device: DeviceKey, now_us: int) -> list[Action]:
        """The device (known to the placer) holds the session; pieces may go there."""
        self._ready[device] = None
        actions: list[Action] = []
        self._after_news(now_us, actions)
        return actions

    def device_lost(self, device: DeviceKey, now_us: int) -> list[Action]:
        """The device, or the way to it, is gone; its pieces are placed again."""
        self._ready.pop(device, None)
        actions: list[Action] = []
        self._replace(self._ledger.device_lost(device), now_us, actions)
        self._after_news(now_us, actions)
        return actions

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
        self._wants.clear()
        self._regions.clear()
        self._unplaced.clear()
        self._retry_us.clear()
        self._ready.clear()

    # --- inside ----------------------------------------------------------------------------

    def _after_news(self, now_us: int, actions: list[Action]) -> None:
        self._close(now_us, actions)
        news = self._late_seen != self._placer.turned_late or now_us >= self._doubt_us
        if news or self._unplaced or self._retry_us:
            self._late_seen = self._placer.turned_late
            self._place_again(now_us, actions)
            self._hedge(now_us, actions)

    def _place(
        self,
        wants: Sequence[Want],
        cutoff_us: int,
        now_us: int,
        actions: list[Action],
        *,
        probe: bool,
    ) -> None:
        by_key = {want.key: want for want in wants}
        for decided in self._placer.place(wants, cutoff_us, now_us, self._ready, probe=probe):
            if isinstance(decided, Place):
                self._send(decided, now_us, actions)
            else:
                self._unplaced[decided.key] = by_key[decided.key]
                self._retry_us[decided.key] = now_us + RETRY_US

    def _send(self, place: Place, now_us: int, actions: list[Action]) -> None:
        self._ledger.asked(place.key, place.device, now_us)
        self._unplaced.pop(place.key, None)
        self._retry_us.pop(place.key, None)
        self._doubt_us = min(self._doubt_us, place.overdue_us)
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
                self._place(wants, cutoff_us, now_us, actions, probe=False)

    def _place_again(self, now_us: int, actions: list[Action]) -> None:
        """Try what had no room before."""
        due = [key for key in self._unplaced if self._retry_us.get(key, 0) <= now_us]
        if due:
            self._replace(due, now_us, actions)

    def _hedge(self, now_us: int, actions: list[Action]) -> None:
        """Ask one more device for each piece whose every device is in doubt."""
        self._doubt_us = _NEVER_US
        for key, devices in list(self._ledger.waiting()):
            if all(self._placer.in_doubt(key, device, now_us) for device in devices):
                if self._retry_us.get(key, 0) <= now_us:
                    self._hedge_piece(key, now_us, actions)
                continue
            for device in devices:
                overdue_us = self._placer.overdue_us(key, device)
                if overdue_us is not None and overdue_us > now_us:
                    self._doubt_us = min(self._doubt_us, overdue_us)

    def _hedge_piece(self, key: PieceKey, now_us: int, actions: list[Action]) -> None:
        cutoff_us = self._ledger.cutoff_us(key.frame)
        assert cutoff_us is not None, "only pieces of open frames wait"
        for decided in self._placer.place(
            [self._want(key)], cutoff_us, now_us, self._ready, probe=False, certain=True
        ):
            if isinstance(decided, Place):
                self._send(decided, now_us, actions)
                self.counts.hedges += 1
            else:
                self._retry_us[key] = now_us + RETRY_US

    def _want(self, key: PieceKey) -> Want:
        return self._wants[key.frame][key.piece]._replace(exclude=self._ledger.tried(key))

    def _compare(self, want: Want, device: DeviceKey, run_us: int) -> None:
        """Keep for the next cut how far a piece was from what was believed of its device."""
        run = self._placer.costs.run_cost(device, want.kind)
        region = self._regions[want.key.frame][want.key.piece]
        expected_us = run.level * want.units if run is not None else 0.0
        if region and expected_us > 0:
            self._surprises.append(Surprise(region, run_us / expected_us))

    def _cancel(
        self, attempts: Sequence[tuple[PieceKey, DeviceKey]], now_us: int, actions: list[Action]
    ) -> None:
        actions.extend(
            CancelPiece(key, device)
            for key, device in attempts
            if self._placer.withdraw(key, device, now_us)
        )

    def _close(self, now_us: int, actions: list[Action]) -> None:
        for closed in self._ledger.poll(now_us):
            frame = closed.frame
            keys = [want.key for want in self._wants.pop(frame)]
            del self._regions[frame]
            actions.append(Compose(frame, closed.missing, closed))
            self._cancel(
                [(keys[index], device) for index, device in closed.outstanding], now_us, actions
            )
            for key in keys:
                self._unplaced.pop(key, None)
                self._retry_us.pop(key, None)
            self._clock.closed(frame)
            if isinstance(self._clock, LatestStartClock):
                self._clock.composed(closed)
            self._crowding.closed(whole=not closed.missing)
            self._clock.limit(1 if self._crowding.one_at_a_time else self._max_in_flight)
            self.counts.composed += 1
            self.counts.filled_frames += bool(closed.missing)
            self.counts.filled_pieces += len(closed.missing)
