"""Which frames are taken on: what they will cost, against what is promised already. Pure.

One per gateway, shared by its sessions. Sessions that hold the same devices share an agenda; those
that share only some of their devices do not know of each other here, and meet in the devices'
queues. So a decision costs the same in a mesh of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.schedule.agenda import Agenda, Task
from mesh.schedule.cost import CostModel
from mesh.schedule.dues import Dues, Stake
from mesh.schedule.ids import DeviceKey, FrameKey, PieceKey
from mesh.schedule.promises import DeviceAccount, Want

TRY_AGAIN_US: Final = 1_000  # between attempts to place the frame that is first in line

Pool = frozenset[DeviceKey]  # what a session holds


@dataclass(slots=True)
class _Lot:
    """The pieces of one kind in a frame."""

    units: float = 0.0
    most: float = 0.0


class Admission:
    """The agendas of a gateway's sessions."""

    def __init__(self, costs: CostModel) -> None:
        self._costs = costs
        self._dues = Dues()
        self._agendas: dict[Pool, Agenda] = {}
        self._open: dict[FrameKey, tuple[Task, Pool]] = {}
        self._dropped: dict[str, list[FrameKey]] = {}  # by session, to be told
        self._again_us: dict[Pool, int] = {}  # when the first in line is worth trying again

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
        """A frame was cut: whether it is taken on. Others may have to give way: see `to_tell`.

        devices: those of `pool` that can take work.
        """
        task = self._task(frame, wants, deadline_us, devices, stake)
        agenda = self._agendas.get(pool, Agenda(self._dues))
        gone = agenda.enter(task, _start_us(devices, now_us), max(1, len(devices)))
        if gone == [task]:
            self._dues.account(frame.session, stake, task.work_us, now_us, whole=False)
            return False
        self._agendas[pool] = agenda
        self._open[frame] = task, pool
        for loser in gone:
            self._dropped.setdefault(loser.key.session, []).append(loser.key)
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
        return agenda.fits(task, _start_us(devices, now_us), max(1, len(devices)))

    def latest_us(self, frame: FrameKey) -> float:
        """From when a frame that was taken on could not be made even by idle devices."""
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

    def density(self, frame: FrameKey) -> float:
        """Value per second of the work that the frame still needs."""
        known = self._open.get(frame)
        return known[0].density if known is not None else 0.0

    # --- who must hear of it ---------------------------------------------------------------

    def to_tell(self) -> list[str]:
        """Sessions with frames that had to give way and that they have not asked for yet."""
        return list(self._dropped)

    def take_dropped(self, session: str) -> list[FrameKey]:
        """The session's frames that had to give way since it was last asked."""
        return self._dropped.pop(session, [])

    def next_in_line(self, pool: Pool, now_us: int) -> str | None:
        """The session of the most urgent frame that waits for room on these devices."""
        agenda = self._agendas.get(pool)
        if agenda is None or self._again_us.get(pool, now_us) > now_us:
            return None
        task = agenda.first_waiting()
        if task is None:
            return None
        self._again_us[pool] = now_us + TRY_AGAIN_US
        return task.key.session

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
                self._again_us.pop(pool, None)
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
            lot = lots.setdefault(want.kind, _Lot())
            lot.units += want.units
            lot.most = max(lot.most, want.units)
            most_bytes = max(most_bytes, want.in_bytes + want.out_bytes)
        levels = {kind: self._level_us(kind, lot.most, devices) for kind, lot in lots.items()}
        work_us = sum(lot.units * levels[kind] for kind, lot in lots.items())
        longest_us = max((lot.most * levels[kind] for kind, lot in lots.items()), default=0.0)
        links = [self._costs.link(node) for node in {device.key.node for device in devices}]
        way_us = min((link.rtt_us + link.us_per_byte * most_bytes for link in links), default=0.0)
        # Its last piece may have to wait until the others' pieces on its device are done.
        count = max(1, len(devices))
        ends_by_us = deadline_us - way_us - longest_us * (1 - 1 / count)
        latest_us = min(ends_by_us - work_us / count, deadline_us - way_us - longest_us)
        return Task(frame, stake, ends_by_us, latest_us, levels, work_us)

    def _level_us(self, kind: str, most: float, devices: Iterable[DeviceAccount]) -> float:
        """us per unit on an average device, by throughput: the harmonic mean of the levels."""
        known, rate = 0, 0.0
        for device in devices:
            run = self._costs.run_cost(device.key, kind)
            if run is not None and run.level > 0:
                known += 1
                rate += 1.0 / run.level
        return known / rate if known else self._costs.prior_run_us / max(most, 1e-9)


def frame_of(key: PieceKey) -> FrameKey:
    """The frame that a piece belongs to."""
    return FrameKey(key.session, key.epoch, key.frame)


def _start_us(devices: Sequence[DeviceAccount], now_us: int) -> float:
    """When an average device has done what others want of it, or began what is in the agenda.

    The part of a running piece that is done is counted as time won.
    """
    ahead_us = sum(device.begun_us(now_us) for device in devices)
    return now_us + ahead_us / max(1, len(devices))
