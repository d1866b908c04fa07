"""The books of one session's open frames: who was asked, who answered, what is still missing.

Every piece is credited to at most one device; a frame is composed once, in order, complete or at
its cut-off, and nothing is accepted for it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import msgspec

from mesh.core.errors import Misuse
from mesh.schedule.ids import DeviceKey, PieceKey


class Verdict(Enum):
    """What became of an answer."""

    ACCEPTED = "accepted"  # the first for its piece: merged and credited
    DUPLICATE = "duplicate"  # another device was first
    TOO_LATE = "too_late"  # its frame is closed, or given up
    UNKNOWN = "unknown"  # another session or epoch, no such piece, or that device was not asked


class Answer(NamedTuple):
    """A verdict, and the other devices that still work on the piece for nothing."""

    verdict: Verdict
    others: tuple[DeviceKey, ...] = ()


class PieceAccount(msgspec.Struct):
    """One piece of an open or closed frame; instants on the gateway's clock."""

    key: PieceKey
    maker: DeviceKey | None = None  # None: never answered, the workload filled it
    sent_us: int = 0  # to its maker
    answered_us: int = 0
    queue_us: int = 0  # waited on its maker
    run_us: int = 0  # inside its maker's executor
    attempts: int = 0
    asked: dict[DeviceKey, int] = msgspec.field(default_factory=dict)  # still out, and when sent
    tried: frozenset[DeviceKey] = frozenset()  # ever asked


class ClosedFrame(NamedTuple):
    """A frame to compose now. `pieces[i]` is the account of piece i.

    given_up: closed before its cut-off, because it could not be whole.
    """

    frame: int
    missing: tuple[int, ...]
    opened_us: int
    closed_us: int
    cutoff_us: int
    pieces: tuple[PieceAccount, ...]
    given_up: bool = False

    @property
    def outstanding(self) -> Iterator[tuple[int, DeviceKey]]:
        """(piece index, device) of what is still being worked on for nothing."""
        return ((i, dev) for i, piece in enumerate(self.pieces) for dev in piece.asked)


@dataclass(slots=True)
class _OpenFrame:
    opened_us: int
    cutoff_us: int
    pieces: list[PieceAccount]
    unanswered: int
    given_up: bool = False


class FrameLedger:
    """The open frames of one session under one epoch."""

    def __init__(self, session: str, epoch: int) -> None:
        self._session = session
        self._epoch = epoch
        self._open: dict[int, _OpenFrame] = {}  # ascending frame ids
        self._newest = -1

    def open(self, frame: int, pieces: int, cutoff_us: int, now_us: int) -> list[PieceKey]:
        """Start a frame's books; returns its pieces' names.

        Frames open in ascending order. Raises Misuse.
        """
        if frame <= self._newest:
            raise Misuse(
                what=f"frame {frame} of session {self._session} cannot be opened",
                why=f"frame {self._newest} was opened before it",
                fix="Open frames in ascending order, each once.",
            )
        self._newest = frame
        session, epoch = self._session, self._epoch
        accounts = [PieceAccount(PieceKey(session, epoch, frame, i)) for i in range(pieces)]
        self._open[frame] = _OpenFrame(now_us, cutoff_us, accounts, pieces)
        return [piece.key for piece in accounts]

    def asked(self, key: PieceKey, device: DeviceKey, now_us: int) -> None:
        """`device` was sent the piece. Raises Misuse if the piece is not open."""
        piece = self._account(key)
        if piece is None:
            raise Misuse(
                what=f"{key} was sent to {device}",
                why="its frame is not open, or has no such piece",
                fix="Place pieces only between `open` and the frame's closing.",
            )
        piece.attempts += 1
        piece.asked[device] = now_us
        piece.tried |= {device}

    def verdict(self, key: PieceKey, device: DeviceKey) -> Verdict:  # noqa: PLR0911  one per case
        """What `result` would say now; changes nothing."""
        if key.session != self._session or key.epoch != self._epoch:
            return Verdict.UNKNOWN
        opened = self._open.get(key.frame)
        if opened is None:
            return Verdict.TOO_LATE if 0 <= key.frame <= self._newest else Verdict.UNKNOWN
        if not 0 <= key.piece < len(opened.pieces):
            return Verdict.UNKNOWN
        piece = opened.pieces[key.piece]
        if device not in piece.tried:
            return Verdict.UNKNOWN
        if piece.maker is not None:
            return Verdict.DUPLICATE
        if device in piece.asked:
            return Verdict.ACCEPTED
        return Verdict.TOO_LATE if opened.given_up else Verdict.UNKNOWN

    def result(
        self, key: PieceKey, device: DeviceKey, now_us: int, queue_us: int = 0, run_us: int = 0
    ) -> Answer:
        """A result arrived. The first answer of a device that was asked wins."""
        verdict = self.verdict(key, device)
        if verdict is Verdict.UNKNOWN or verdict is Verdict.TOO_LATE:
            return Answer(verdict)
        opened = self._open[key.frame]
        piece = opened.pieces[key.piece]
        if verdict is Verdict.DUPLICATE:
            piece.asked.pop(device, None)
            return Answer(verdict)
        piece.maker, piece.sent_us, piece.answered_us = device, piece.asked.pop(device), now_us
        piece.queue_us, piece.run_us = queue_us, run_us
        opened.unanswered -= 1
        others = tuple(piece.asked)
        piece.asked.clear()
        return Answer(verdict, others)

    def failed(self, key: PieceKey, device: DeviceKey) -> bool:
        """`device` will not answer. True if the piece now waits on nobody and is wanted."""
        piece = self._account(key)
        if piece is None or piece.asked.pop(device, None) is None:
            return False
        return piece.maker is None and not piece.asked

    def device_lost(self, device: DeviceKey) -> list[PieceKey]:
        """Nothing more will come from `device`: the pieces that now wait on nobody."""
        orphans: list[PieceKey] = []
        for opened in self._open.values():
            for piece in opened.pieces:
                if device in piece.asked and self.failed(piece.key, device):
                    orphans.append(piece.key)
        return orphans

    def tried(self, key: PieceKey) -> frozenset[DeviceKey]:
        """Devices ever asked for the piece."""
        piece = self._account(key)
        return piece.tried if piece is not None else frozenset()

    def unanswered(self, frame: int) -> list[PieceKey]:
        """Pieces of an open frame that nobody has made."""
        opened = self._open.get(frame)
        pieces = opened.pieces if opened is not None else ()
        return [piece.key for piece in pieces if piece.maker is None]

    def cutoff_us(self, frame: int) -> int | None:
        """The cut-off of an open frame."""
        opened = self._open.get(frame)
        return opened.cutoff_us if opened is not None else None

    def give_up(self, frame: int) -> list[tuple[PieceKey, DeviceKey]]:
        """The frame will not be whole: nothing more is accepted, and it is closed in its turn.

        Returns who works on what for nothing.
        """
        opened = self._open.get(frame)
        if opened is None:
            return []
        opened.given_up = True
        vain: list[tuple[PieceKey, DeviceKey]] = []
        for piece in opened.pieces:
            vain += [(piece.key, device) for device in piece.asked]
            piece.asked.clear()
        return vain

    @property
    def next_cutoff_us(self) -> int | None:
        """When `poll` closes the oldest frame at the latest."""
        for opened in self._open.values():
            return opened.cutoff_us
        return None

    def waiting(self) -> Iterator[tuple[PieceKey, tuple[DeviceKey, ...]]]:
        """Unanswered pieces of open frames, oldest first, and the devices that were asked."""
        for opened in self._open.values():
            if opened.unanswered:
                for piece in opened.pieces:
                    if piece.asked:
                        yield piece.key, tuple(piece.asked)

    def poll(self, now_us: int) -> list[ClosedFrame]:
        """Frames to compose now, oldest first: complete ones, any given up or past its cut-off.

        A complete frame waits for an older unfinished one, at most until that one's cut-off.
        """
        closed: list[ClosedFrame] = []
        for frame, opened in list(self._open.items()):
            if opened.unanswered and now_us < opened.cutoff_us and not opened.given_up:
                break
            closed.append(self._close(frame, now_us))
        return closed

    def close_all(self, now_us: int) -> list[ClosedFrame]:
        """End the session's books; what is returned is not to be composed, only cancelled."""
        return [self._close(frame, now_us) for frame in list(self._open)]

    def _close(self, frame: int, now_us: int) -> ClosedFrame:
        opened = self._open.pop(frame)
        missing = tuple(i for i, piece in enumerate(opened.pieces) if piece.maker is None)
        return ClosedFrame(
            frame,
            missing,
            opened.opened_us,
            now_us,
            opened.cutoff_us,
            tuple(opened.pieces),
            opened.given_up,
        )

    def _account(self, key: PieceKey) -> PieceAccount | None:
        opened = self._open.get(key.frame)
        if (
            opened is None
            or key.session != self._session
            or key.epoch != self._epoch
            or not 0 <= key.piece < len(opened.pieces)
        ):
            return None
        return opened.pieces[key.piece]
