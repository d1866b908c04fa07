"""One client's session on its gateway: carries out what the session's driver decides.

The driver (pure) says when to open, send, cancel and compose; this shell cuts frames with the
workload, sends pieces over channels, merges what comes back into the encoder's canvas, and hands
finished frames to the stream. It decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from mesh.channel import Channel
from mesh.core.errors import ContentRefused, ProtocolViolation, SessionRefused, from_problem
from mesh.core.loop import monotonic_us
from mesh.core.wire import Cancel, PieceDone, PieceRefused, PieceRun
from mesh.core.workload import MAX_PASSES, Frame, NodeId, Passes, SessionWork
from mesh.schedule.driver import (
    Action,
    CancelPiece,
    Compose,
    Nudge,
    OpenFrame,
    Send,
    SessionDriver,
)
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import ClosedFrame, Verdict
from mesh.stream.canvas import Canvas
from mesh.stream.session import SendReport, Stream

log = logging.getLogger(__name__)

_encode_json = msgspec.json.Encoder().encode

# A finished frame for a client over a link: frame, input it was made with, facts (JSON), result.
Deliver: TypeAlias = Callable[[int, int, bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class _Open:
    """A frame between its opening and its composition."""

    frame: Frame
    canvas: Canvas | None
    opened_us: int
    cut_us: int  # when the pieces were known
    input_id: int
    quantum_us: int
    passes_us: dict[str, int] = field(default_factory=dict)  # of all pieces so far, by pass

    def add_passes(self, passes_us: Passes) -> None:
        """A piece's are added; of more names than any one may bring, the first ones stay."""
        for name, us in passes_us.items():
            if name in self.passes_us or len(self.passes_us) < MAX_PASSES:
                self.passes_us[name] = self.passes_us.get(name, 0) + us


@dataclass(frozen=True, slots=True)
class _Composed:
    """A frame that waits for the encoder."""

    open: _Open
    closed: ClosedFrame
    rung: int
    message: bytes
    composed_us: int


class Session:
    """Runs one session: `start`, then events from the gateway, then `stop`."""

    def __init__(
        self,
        *,
        driver: SessionDriver,
        work: SessionWork,
        stream: Stream,
        key: tuple[str, int],
        channel_of: Callable[[NodeId], Channel | None],
        maker_name: Callable[[DeviceKey], str],
        nudge: Callable[[Nudge], None],
        composed: Callable[[ClosedFrame], None] = lambda frame: None,
        deliver: Deliver | None = None,
    ) -> None:
        """key: the session's id and epoch. deliver: also told of each finished frame.

        nudge: have the session of that id look at its frames soon (`tick`). composed: told of each
        frame that is closed, shown or not.
        """
        self.id, self.epoch = key
        self.driver = driver
        self.work = work
        self.stream = stream
        self._channel_of = channel_of
        self._maker_name = maker_name
        self._nudge = nudge
        self._on_composed = composed
        self._deliver = deliver
        self._open: dict[int, _Open] = {}
        self._input_id = -1
        self._timer: asyncio.TimerHandle | None = None  # runs out at `_wake_us`
        self._wake_us = 0
        self._composed: asyncio.Queue[_Composed | Exception] = asyncio.Queue()
        self._stopped = False
        self.pieces_by: dict[DeviceKey, int] = {}
        self.troubles: dict[DeviceKey, str] = {}  # the last piece a device broke off, and why
        self.frames_given_up = 0  # no canvas, viewer or device in time when the frame was due

    # --- life ------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Open frames and send them, until cancelled. Raises what the workload should not have."""
        self._tick()
        try:
            while True:
                composed = await self._composed.get()
                if isinstance(composed, Exception):
                    raise composed
                await self._send_composed(composed)
        finally:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
            self.driver.close(monotonic_us())

    def nudged(self, frame: int) -> None:
        """Another session's frames bear on this one's."""
        self._advance(lambda now_us: self.driver.nudged(frame, now_us))

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._advance(self.driver.tick)

    def _advance(self, decide: Callable[[int], Iterable[Action]]) -> None:
        """Carry out what is decided now. A failure ends the session, not who brought the news."""
        if self._stopped:
            return
        try:
            self._carry_out(decide(monotonic_us()))
        except Exception as problem:
            self._fail(problem)
            return
        self._arm()

    def _fail(self, problem: Exception) -> None:
        """What a plug-in raised is for `serve` to raise: the gateway ends this session alone."""
        self._stopped = True
        self._composed.put_nowait(problem)

    def _arm(self) -> None:
        """Wake when the driver next wants to know the time (uvloop counts milliseconds)."""
        now_us = monotonic_us()
        wake_us = self.driver.wake_us(now_us)
        if self._timer is not None:
            if wake_us == self._wake_us:
                return
            self._timer.cancel()
        self._wake_us = wake_us
        wait_ms = max(0, wake_us - now_us + 999) // 1000
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._tick)

    # --- events ----------------------------------------------------------------------------

    def on_input(self, event: Mapping[str, Any]) -> None:
        """The client's newest state. Raises ContentRefused on nonsense."""
        now_us = monotonic_us()
        self.work.apply_input(event, now_us)
        self.driver.input_came(now_us)
        self._input_id = event["id"]

    def offer_input(self, number: int, stamp_us: int, data: memoryview) -> None:
        """A bulk input, which opens a frame of its own.

        Raises ContentRefused if the workload will not have it, SessionRefused if it comes too soon.
        """
        opening = self.driver.demand(monotonic_us())
        if isinstance(opening, str):
            raise SessionRefused(
                what=f"input {number} is not taken",
                why=opening,
                fix="Send at the rate the session was opened with, and drop what is refused.",
            )
        try:
            self.work.offer_input(stamp_us, data)
        except ContentRefused:
            self.driver.abandon(opening.frame)
            raise
        except Exception as problem:
            self._fail(problem)
            return
        self._input_id = number
        self._advance(lambda _: [opening])

    def device_ready(self, device: DeviceKey) -> None:
        """The device holds the session."""
        self._advance(lambda now_us: self.driver.device_ready(device, now_us))

    def device_lost(self, device: DeviceKey) -> None:
        """The device, or the way to it, is gone."""
        self._advance(lambda now_us: self.driver.device_lost(device, now_us))

    def device_leaving(self, device: DeviceKey) -> None:
        """The device takes no more pieces, and will soon be gone."""
        self._advance(lambda now_us: self.driver.device_leaving(device, now_us))

    def wants(self, channel: Channel, message: PieceDone, size: int) -> bool:
        """Whether a result whose header has come should be received at all."""
        key, device = _names(channel, message)
        if self.driver.verdict(key, device) is not Verdict.ACCEPTED:
            return False
        bound = self._open[message.frame].frame.pieces[message.piece].output_bytes
        if size > bound:
            raise ProtocolViolation(
                what=f"the result of piece {message.piece} is refused",
                why=f"it has {size} bytes, and {bound} were allowed",
                fix="Update the sender; this link is closed.",
            )
        return True

    def piece_done(self, channel: Channel, message: PieceDone, result: memoryview) -> None:
        """A worker's result: merged once, if it is the first and its frame still open."""
        self._advance(lambda now_us: self._merge(channel, message, result, now_us))

    def _merge(
        self, channel: Channel, message: PieceDone, result: memoryview, now_us: int
    ) -> list[Action]:
        key, device = _names(channel, message)
        if self.driver.verdict(key, device) is Verdict.ACCEPTED:
            try:
                self._open[message.frame].frame.accept(message.piece, result)
            except ContentRefused as problem:
                log.warning("result of %s from %s rejected: %s", key, device, problem)
                return self.driver.refused(key, device, now_us, reason="rejected")
            self._open[message.frame].add_passes(message.passes_us)
            self.pieces_by[device] = self.pieces_by.get(device, 0) + 1
        return self.driver.result(
            key,
            device,
            now_us,
            queue_us=message.queue_us,
            run_us=message.run_us,
            held_us=message.held_us,
            backlog_us=message.backlog_us,
            nbytes=len(result),
        )

    def piece_refused(self, channel: Channel, message: PieceRefused) -> None:
        """A worker's refusal."""
        key, device = _names(channel, message)
        if message.problem is not None:
            self.troubles[device] = f"{message.reason}: {from_problem(message.problem)}"
        self._advance(
            lambda now_us: self.driver.refused(
                key,
                device,
                now_us,
                reason=message.reason,
                backlog_us=message.backlog_us,
                run_us=message.run_us,
            )
        )

    # --- actions ---------------------------------------------------------------------------

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case OpenFrame():
                    self._carry_out(self._open_frame(action))
                case Send():
                    self._send_piece(action)
                case CancelPiece():
                    self._cancel(action)
                case Compose():
                    self._compose(action)
                case Nudge():
                    self._nudge(action)

    def _open_frame(self, action: OpenFrame) -> list[Action]:
        canvas = None
        if self.work.picture is not None:
            canvas = self.stream.lease_canvas() if self.stream.watched else None
            if canvas is None:
                self.frames_given_up += 1
                self.driver.abandon(action.frame)
                return []
        view = canvas.view if canvas is not None else memoryview(b"")
        previous = canvas.previous if canvas is not None else memoryview(b"")
        input_id = self._input_id
        frame = self.work.open_frame(action.frame, action.opened_us, action.hint, view, previous)
        cut_us = monotonic_us()
        self._open[action.frame] = _Open(
            frame, canvas, action.opened_us, cut_us, input_id, action.hint.quantum_us
        )
        return self.driver.pieces(action.frame, frame.pieces, cut_us)

    def _send_piece(self, action: Send) -> None:
        channel = self._channel_of(action.device.node)
        if channel is None:
            return  # its loss is being told to the driver in this very turn
        opened = self._open[action.key.frame]
        piece = opened.frame.pieces[action.key.piece]
        channel.send(
            PieceRun(
                self.id,
                self.epoch,
                action.key.frame,
                piece.index,
                action.device.device,
                piece.kind,
                piece.units,
                action.deadline_us,
                piece.output_bytes,
                piece.spec,
                quantum_us=opened.quantum_us,
            ),
            piece.inputs,
            due_us=action.deadline_us,
        )

    def _cancel(self, action: CancelPiece) -> None:
        channel = self._channel_of(action.device.node)
        if channel is not None:
            _, _, frame, piece = action.key
            device = action.device.device
            channel.send(
                Cancel(self.id, self.epoch, frame, piece, device, action.answer, action.straggler)
            )

    def _compose(self, action: Compose) -> None:
        self._on_composed(action.closed)
        opened = self._open.pop(action.frame)
        for index in action.missing:
            opened.frame.fill(index)
        message = opened.frame.finish()
        if action.refused and opened.canvas is not None and not self._stands_in(opened.canvas):
            self.stream.release_canvas(opened.canvas)  # the picture before it stays
            self.frames_given_up += 1
            return
        self._composed.put_nowait(
            _Composed(opened, action.closed, action.rung, message, monotonic_us())
        )

    def _stands_in(self, canvas: Canvas) -> bool:
        """Whether a frame without a piece is shown, if there is a picture to fill it from."""
        return self.work.contract.stand_in and len(canvas.previous) > 0

    # --- sending ---------------------------------------------------------------------------

    async def _send_composed(self, composed: _Composed) -> None:
        report = SendReport()
        opened, closed = composed.open, composed.closed
        sending_us = monotonic_us()
        if opened.canvas is not None:
            report = await self.stream.send(opened.canvas, closed.frame, opened.opened_us)
        result_parts = 0
        if composed.message:
            result_parts = self.stream.publish_result(closed.frame, composed.message)
        stages = {
            "open": opened.cut_us - opened.opened_us,
            "pieces": closed.closed_us - opened.cut_us,
            "compose": composed.composed_us - closed.closed_us,
            "encode": report.encode_us,
            "send": monotonic_us() - sending_us - report.encode_us,
        }
        facts = _encode_json(
            {
                "frame": closed.frame,
                "input": opened.input_id,
                "opened_us": opened.opened_us,
                "stages": stages,
                "result_bytes": len(composed.message),
                "result_parts": result_parts,
                **self._makers(opened, closed),
                "rung": composed.rung,
                "passes": opened.passes_us,
            }
        )
        self.stream.publish(facts.decode())
        if self._deliver is not None:
            self._deliver(closed.frame, opened.input_id, facts, composed.message)

    def _makers(self, opened: _Open, closed: ClosedFrame) -> dict[str, Any]:
        makers: dict[DeviceKey, int] = {}
        pieces = []
        for piece, account in zip(opened.frame.pieces, closed.pieces, strict=True):
            maker = -1
            if account.maker is not None:
                maker = makers.setdefault(account.maker, len(makers))
            pieces.append([*piece.region, maker, account.queue_us, account.run_us])
        return {
            "makers": [self._maker_name(device) for device in makers],
            "pieces": pieces,
            "filled": len(closed.missing),
        }


def _names(channel: Channel, message: PieceDone | PieceRefused) -> tuple[PieceKey, DeviceKey]:
    key = PieceKey(message.session, message.epoch, message.frame, message.piece)
    return key, DeviceKey(channel.node, message.device)
