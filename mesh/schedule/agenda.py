"""Which open frames can still be made, and which give way when not all can. Pure.

The devices that sessions hold in common are taken together as one server. Served by deadline, the
open frames end in time if, at each one's deadline, the work of all those up to it is done; a frame
is admitted if that holds with it. If it does not, the frames that count least give way before they
cost anything more, down to the newcomer itself. So what is refused has started nothing, what is
admitted is not starved by what comes later, and goodput stays flat past capacity (robust earliest
deadline: Buttazzo and Stankovic, "RED: Robust Earliest Deadline scheduling", 3rd Int. Workshop on
Responsive Computing Systems, 1993).

What counts least, in this order:

1. the lower criticality;
2. a session that is served its due (`mesh.schedule.dues`), before one that is not;
3. the lower value for the work still to be done (value density: Locke, "Best-effort decision
   making for real-time scheduling", CMU, 1986). So a frame that is nearly made stays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mesh.schedule.dues import Dues, Stake
from mesh.schedule.ids import FrameKey


@dataclass(slots=True, eq=False)
class Task:
    """An open frame.

    ends_by_us: when the work of all frames up to it must be done, so that its last piece is here
    by its deadline. latest_us: when idle devices would have to begin. level_us: cost per unit on
    an average device, by kind of piece. work_us, left_us: in all, and still to be done, on an
    average device. waiting: nothing has been sent.
    """

    key: FrameKey
    stake: Stake
    ends_by_us: float
    latest_us: float
    level_us: Mapping[str, float]
    work_us: float
    left_us: float = field(init=False)
    waiting: bool = True

    def __post_init__(self) -> None:
        self.left_us = self.work_us

    @property
    def density(self) -> float:
        """Value per second of work that is left."""
        return 1e6 * self.stake.value / max(self.left_us, 1.0)


class Agenda:
    """The open frames of the sessions that hold the same devices, by deadline."""

    def __init__(self, dues: Dues) -> None:
        self._dues = dues
        self._order: list[Task] = []

    def __len__(self) -> int:
        return len(self._order)

    def enter(self, task: Task, start_us: float, devices: int) -> list[Task]:
        """A frame was opened. Returns those that give way to it, or it alone if it is refused.

        start_us: when work that has not begun can begin, on an average device.
        """
        self._insert(task)
        gone: list[Task] = []
        while (late := self._first_late(start_us, devices)) is not None:
            least = self._by_rank(self._order[: late + 1])[0]
            self._order.remove(least)
            if least is task:
                for spared in gone:
                    self._insert(spared)
                return [task]
            gone.append(least)
        return self._spare(gone, start_us, devices) if len(gone) > 1 else gone

    def fits(self, task: Task, start_us: float, devices: int) -> bool:
        """Whether the frame would be admitted with nobody giving way."""
        self._insert(task)
        late = self._first_late(start_us, devices)
        self._order.remove(task)
        return late is None

    def leave(self, task: Task) -> None:
        """A frame is closed; it may have given way before."""
        if task in self._order:
            self._order.remove(task)

    def first_waiting(self) -> Task | None:
        """The most urgent frame of which nothing has been sent."""
        return next((task for task in self._order if task.waiting), None)

    def _insert(self, task: Task) -> None:
        at = bisect_right(self._order, task.ends_by_us, key=lambda other: other.ends_by_us)
        self._order.insert(at, task)

    def _first_late(self, start_us: float, devices: int) -> int | None:
        """The place of the first frame that ends late if all are served by deadline."""
        done_us = 0.0
        for at, task in enumerate(self._order):
            done_us += task.left_us
            if start_us + done_us / devices > task.ends_by_us:
                return at
        return None

    def _by_rank(self, tasks: Iterable[Task]) -> list[Task]:
        """What counts least first; of equals, what is due last."""
        owed: dict[str, bool] = {}

        def rank(task: Task) -> tuple[int, bool, float, float]:
            session, stake = task.key.session, task.stake
            if session not in owed:
                owed[session] = self._dues.owed(session, stake)
            return stake.criticality, owed[session], task.density, -task.ends_by_us

        return sorted(tasks, key=rank)

    def _spare(self, gone: list[Task], start_us: float, devices: int) -> list[Task]:
        """Take back who need not have gone, those that count most first."""
        out: list[Task] = []
        for task in reversed(self._by_rank(gone)):
            self._insert(task)
            if self._first_late(start_us, devices) is not None:
                self._order.remove(task)
                out.append(task)
        return out
