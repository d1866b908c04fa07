"""Which open frames can still be made, and which give way when not all can. Pure.

The devices that sessions hold in common are taken together as one server. Served by deadline, the
open frames end in time if, at each one's deadline, the work of all those up to it is done; a frame
is promised if that holds with it. If it does not, the frames that count least give way, down to
the newcomer itself. So what is refused has started nothing, what is promised is not starved by
what comes later, and goodput stays flat past capacity (robust earliest deadline: Buttazzo and
Stankovic, "RED: Robust Earliest Deadline scheduling", 3rd Int. Workshop on Responsive Computing
Systems, 1993).

What counts least is what has the lower criticality; among equals, the lower value for the work
still to be done (value density: Locke, "Best-effort decision making for real-time scheduling",
CMU, 1986). Two things raise it: a session that is served less than its due
(`mesh.schedule.dues`), and a beginning, since what was done for a frame that gives way is lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from mesh.schedule.dues import Dues, Stake
from mesh.schedule.ids import FrameKey

# By how much a frame is raised if its session is owed. Of the mix of bench.schedule, a sweep then
# passes a game's frame, and a long job passes neither.
OWED: Final = 3.0
BEGUN: Final = 12.0  # by how much, if some of it is made: so much that it hardly ever gives way

Rank: TypeAlias = tuple[int, float, float]


@dataclass(slots=True, eq=False)
class Task:
    """An open frame.

    ends_by_us: when the work of all frames up to it must be done, so that its last piece is here
    by its deadline. latest_us: when idle devices would have to begin. level_us: cost per unit on
    an average device, by kind of piece. work_us, left_us: in all, and still to be done, on an
    average device. waiting: nothing has been sent. again_us: when that is worth trying again.
    """

    key: FrameKey
    stake: Stake
    ends_by_us: float
    latest_us: float
    level_us: Mapping[str, float]
    work_us: float
    left_us: float = field(init=False)
    waiting: bool = True
    again_us: int = 0

    def __post_init__(self) -> None:
        self.left_us = self.work_us


class Devices(NamedTuple):
    """The devices as one server.

    start_us: when they began with what is open, on the average. number: > 0. begun_us: what runs
    of each frame, and runs to its end whatever becomes of the frame.
    """

    start_us: float
    number: int
    begun_us: Mapping[FrameKey, float]


class Agenda:
    """The open frames of the sessions that hold the same devices, by deadline."""

    def __init__(self, dues: Dues) -> None:
        self._dues = dues
        self._promised: list[Task] = []

    def __len__(self) -> int:
        return len(self._promised)

    def enter(self, task: Task, devices: Devices) -> list[Task]:
        """A frame was opened. Returns who gives way so that it is promised, or it alone."""
        self._insert(task)
        rank, gone = self._rank(devices.begun_us), list[Task]()
        while (late := self._made_late(task, devices)) is not None:
            least = min(self._promised[: late + 1], key=rank)
            self._promised.remove(least)
            if least is task:
                for spared in gone:
                    self._insert(spared)
                return [task]
            devices = _without(devices, least)
            gone.append(least)
        for loser in gone[-2::-1]:  # may have gone in vain, because it took another one as well
            self._insert(loser)
            if self._made_late(task, devices) is None:
                gone.remove(loser)
            else:
                self._promised.remove(loser)
        return gone

    def fits(self, task: Task, devices: Devices) -> bool:
        """Whether the frame would be promised with nobody giving way."""
        self._insert(task)
        late = self._made_late(task, devices)
        self._promised.remove(task)
        return late is None

    def enter_if_free(self, task: Task, devices: Devices) -> bool:
        """Promise a frame that was refused or gave way after all, if nobody gives way to it."""
        free = self.fits(task, devices)
        if free:
            self._insert(task)
        return free

    def leave(self, task: Task) -> None:
        """A frame is closed; it may have been refused, or have given way, before."""
        if task in self._promised:
            self._promised.remove(task)

    def next_to_send(self, now_us: int) -> Task | None:
        """The most urgent frame of which nothing is sent, if it was not tried just before."""
        waiting = (task for task in self._promised if task.waiting and task.again_us <= now_us)
        return next(waiting, None)

    # --- inside ----------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether any frame waits for room on the devices."""
        return any(task.waiting for task in self._promised)

    def _insert(self, task: Task) -> None:
        at = bisect_right(self._promised, task.ends_by_us, key=lambda other: other.ends_by_us)
        self._promised.insert(at, task)

    def _made_late(self, newcomer: Task, devices: Devices) -> int | None:
        """The place of the first frame that ends late because of the newcomer, if any does.

        What would be late without it may be lucky yet; it is no reason to refuse anybody.
        """
        start_us, number, _ = devices
        done_us = new_us = 0.0
        for at, task in enumerate(self._promised):
            done_us += task.left_us
            if task is newcomer:
                new_us = task.left_us
            elif not new_us:
                continue
            room_us = (task.ends_by_us - start_us) * number
            if done_us > room_us and (task is newcomer or done_us - new_us <= room_us):
                return at
        return None

    def _rank(self, begun_us: Mapping[FrameKey, float]) -> Callable[[Task], Rank]:
        """What counts least has the lowest rank; of equals, what is due last."""
        owed: dict[str, bool] = {}

        def rank(task: Task) -> Rank:
            session, stake = task.key.session, task.stake
            if session not in owed:
                owed[session] = self._dues.owed(session, stake)
            runs_us = begun_us.get(task.key, 0.0)
            worth = stake.value / max(task.left_us - runs_us, 1.0)
            if runs_us or task.left_us < task.work_us:
                worth *= BEGUN
            if owed[session]:
                worth *= OWED
            return stake.criticality, worth, -task.ends_by_us

        return rank


def _without(devices: Devices, task: Task) -> Devices:
    """What of the task runs must be waited for, though it is on no list any more."""
    begun_us = devices.begun_us.get(task.key, 0.0)
    return devices._replace(start_us=devices.start_us + begun_us / devices.number)
