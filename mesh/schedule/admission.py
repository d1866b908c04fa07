"""Which frames are taken on: what they will cost, against what is promised already. Pure.

One per gateway, shared by its sessions. Sessions that hold the same devices share an agenda; those
that share only some of their devices do not know of each other here, and meet in the devices'
queues. So a decision costs the same in a mesh of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from mesh.schedule.agenda import Agenda, Devices, Task
from mesh.schedule.cost import CostModel
from mesh.schedule.dues import Dues, Stake
from mesh.schedule.ids import DeviceKey, FrameKey, PieceKey
from mesh.schedule.promises import DeviceAccount, Want

TRY_AGAIN_US: Final = 1_000  # between attempts to place the frame that is first in line

Pool = frozenset[DeviceKey]  # what a session holds


@dataclass(slots=True)
class _Lot:
    """The pieces of one kind in a frame: their units, squares of units, and the largest."""

    units: float = 0.0
    squares: float = 0.0
    most: float = 0.0


class Admission:
    """The agendas of a gateway's sessions."""

    def __init__(self, costs: CostModel) -> None:
        self._costs = costs
        self._dues = Dues()
        self._agendas: dict[Pool, Agenda] = {}
        self._open: dict[FrameKey, tuple[Task, Pool]] = {}
        self._dropped: dict[str, list[FrameKey]] = {}  # by session, to be told

    # --- frames ----------------------------------------------------------------------------

    def enter(
        self,
        frame: FrameKey,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        *,
        devices: Sequence[DeviceAccount],
        pool: Pool,
        stake: Stake,
    ) -> bool:
        """A frame was cut. Others may have to give way to it: see `to_tell`.

        devices: those of `pool` that can take work. Returns whether the frame is promised. If not,
        `enter_if_free` asks again; either way it is open until it leaves.
        """
        task = self._task(frame, wants, deadline_us, devices, stake)
        agenda = self._agendas.get(pool, Agenda(self._dues))
        gone = agenda.enter(task, _server(devices, now_us))
        self._open[frame] = task, pool
        if gone == [task]:
            return False
        self._agendas[pool] = agenda
        for loser in gone:
            self._dropped.setdefault(loser.key.session, []).append(loser.key)
        return True

    def enter_if_free(self, frame: FrameKey, now_us: int, devices: Sequence[DeviceAccount]) -> bool:
        """Whether a frame that was refused, or gave way, is promised now: nobody gives way to it.

        devices: as for `enter`.
        """
        task, pool = self._open[frame]
        agenda = self._agendas.get(pool, Agenda(self._dues))
        if not agenda.enter_if_free(task, _server(devices, now_us)):
            return False
        self._agendas[pool] = agenda
        return True

    def fits(
        self,
        wants: Sequence[Want],
        deadline_us: int,
        now_us: int,
        devices: Sequence[DeviceAccount],
        pool: Pool,
    ) -> bool:
        """Whether such a frame would be taken on with nobody giving way."""
        task = self._task(FrameKey("", 0, 0), wants, deadline_us, devices, Stake())
        agenda = self._agendas.get(pool, Agenda(self._dues))
        return agenda.fits(task, _server(devices, now_us))

    def latest_us(self, frame: FrameKey) -> float:
        """From when an open frame could not be made even by idle devices."""
        known = self._open.get(frame)
        return known[0].latest_us if known is not None else -1.0

    def sent(self, frame: FrameKey) -> None:
        """A frame's pieces are on their way."""
        if frame in self._open:
            self._open[frame][0].waiting = False

    def done(self, want: Want) -> None:
        """A piece was made."""
        known = self._open.get(frame_of(want.key))
        if known is not None:
            task = known[0]
            task.left_us = max(0.0, task.left_us - want.units * task.level_us[want.kind])

    def leave(self, frame: FrameKey, now_us: int, *, whole: bool) -> None:
        """A frame is closed: delivered whole, or not."""
        task = self._forget(frame)
        if task is not None:
            self._dues.account(frame.session, task.stake, task.work_us, now_us, whole=whole)

    # --- who must hear of it ---------------------------------------------------------------

    def to_tell(self) -> list[str]:
        """Sessions with frames that had to give way and that they have not asked for yet."""
        return list(self._dropped)

    def take_dropped(self, session: str) -> list[FrameKey]:
        """The session's frames that had to give way since it was last asked."""
        return self._dropped.pop(session, [])

    def next_in_line(self, pool: Pool, now_us: int) -> FrameKey | None:
        """The most urgent frame that waits for room on these devices."""
        agenda = self._agendas.get(pool)
        task = agenda.next_to_send(now_us) if agenda is not None else None
        if task is None:
            return None
        task.again_us = now_us + TRY_AGAIN_US
        return task.key

    def waits(self, pool: Pool) -> bool:
        """Whether any frame waits for room on these devices."""
        agenda = self._agendas.get(pool)
        return agenda is not None and agenda.waits

    def drop_session(self, session: str) -> None:
        """A session ended."""
        for frame in [frame for frame in self._open if frame.session == session]:
            self._forget(frame)
        self._dropped.pop(session, None)
        self._dues.forget(session)

    # --- inside ----------------------------------------------------------------------------

    def _forget(self, frame: FrameKey) -> Task | None:
        known = self._open.pop(frame, None)
        if known is None:
            return None
        task, pool = known
        agenda = self._agendas.get(pool)
        if agenda is not None:
            agenda.leave(task)
            if not agenda:
                del self._agendas[pool]
        return task

    def _task(
        self,
        frame: FrameKey,
        wants: Sequence[Want],
        deadline_us: int,
        devices: Sequence[DeviceAccount],
        stake: Stake,
    ) -> Task:
        lots: dict[str, _Lot] = {}
        most_bytes = 0
        for want in wants:
            lot = lots.get(want.kind)
            if lot is None:
                lot = lots[want.kind] = _Lot()
            lot.units += want.units
            lot.squares += want.units * want.units
            if want.units > lot.most:  # noqa: PLR1730  max() costs a call per piece
                lot.most = want.units
            if want.in_bytes + want.out_bytes > most_bytes:  # noqa: PLR1730
                most_bytes = want.in_bytes + want.out_bytes
        costs = {kind: self._cost(kind, lot.most, devices) for kind, lot in lots.items()}
        levels = {kind: level for kind, (level, _) in costs.items()}
        work_us = sum(lot.units * levels[kind] for kind, lot in lots.items())
        longest_us = max((lot.most * levels[kind] for kind, lot in lots.items()), default=0.0)
        # Errors of pieces made one after another on a device add up by their squares.
        errors = sum(lot.squares * costs[kind][1] ** 2 for kind, lot in lots.items())
        links = [self._costs.link(node) for node in {device.key.node for device in devices}]
        way_us = min((link.rtt_us + link.us_per_byte * most_bytes for link in links), default=0.0)
        # Its last piece may have to wait until the others' pieces on its device are done.
        count = max(1, len(devices))
        surely_us = deadline_us - way_us - sqrt(errors / count)
        ends_by_us = surely_us - longest_us * (1 - 1 / count)
        latest_us = min(ends_by_us - work_us / count, deadline_us - way_us - longest_us)
        return Task(frame, stake, ends_by_us, latest_us, levels, work_us)

    def _cost(
        self, kind: str, most: float, devices: Iterable[DeviceAccount]
    ) -> tuple[float, float]:
        """us per unit on an average device, and by how much a high quantile exceeds it.

        The average is by throughput: the harmonic mean of the levels.
        """
        known, rate, over = 0, 0.0, 0.0
        for device in devices:
            run = self._costs.run_cost(device.key, kind)
            if run is not None and run.level > 0:
                known += 1
                rate += 1.0 / run.level
                over += run.high / run.level - 1.0
        if not known:
            return self._costs.prior_run_us / max(most, 1e-9), 0.0
        return known / rate, over / rate


def frame_of(key: PieceKey) -> FrameKey:
    """The frame that a piece belongs to."""
    return FrameKey(key.session, key.epoch, key.frame)


def _server(devices: Sequence[DeviceAccount], now_us: int) -> Devices:
    """The devices together, with what they run now.

    What others want of them is ahead of what is open; the part of a running piece that is done
    counts as time won.
    """
    ahead_us, begun_us = 0.0, dict[FrameKey, float]()
    for device in devices:
        ahead_us += device.begun_us(now_us)
        attempt = device.current
        if attempt is not None:
            frame = frame_of(attempt.want.key)
            begun_us[frame] = begun_us.get(frame, 0.0) + attempt.run_us
    count = max(1, len(devices))
    return Devices(now_us + ahead_us / count, count, begun_us)
