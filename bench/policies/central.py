"""Central queues over workers that each run one thing at a time: FIFO, EDF, and the ways of
Clockwork and Shepherd.

All of them are given what the product has to earn: a network that takes no time, the true mean
run time of every job on every worker, and news of each end in the same instant.

"Clockwork-like" is the policy of Gujarati et al., "Serving DNNs like Clockwork: performance
predictability from the bottom up" (OSDI 2020), without batches, which frames of different sessions
cannot form: one controller predicts when each request would end, takes on what would end in time,
rejects the rest at once, starts one at a time on each worker, and drops what it has taken on when
its latest start has passed. The paper serves by latest start; by deadline it misses less here, and
both are tried. Predictions are a high quantile, as the paper's are.

"Shepherd-like" is Flex, the online half of Zhang et al., "SHEPHERD: Serving DNNs in the wild" (NSDI
2023): whenever a worker is free or a request comes, the most worthy of what can still end in time
is the candidate; a running one that is worth less than 1/3.03 of it is thrown away for it, and
begins again from nothing if there is time. There worth is the number of requests in a batch. Of
frames that form no batches each would be worth 1 and none ever thrown away, so worth is frames per
device time here: what a batch is large for. Left out are batches, and with them the choice of
their size, and the offline half, which parts streams among groups of workers: all workers are one
group, so what one stream leaves another one can use. Throwing away costs no time but the new start.
The paper throws away at once; waiting while the next free worker would still do misses less here,
and both are tried.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import ceil, exp, inf
from random import Random
from typing import Any, TypeAlias

from mesh.sim.arrivals import Job

HIGH_Z = 1.645  # of a normal distribution: its 95th percentile


@dataclass(frozen=True, slots=True)
class Costs:
    """What everybody pays.

    start_us: a worker's time lost with each start. noise: standard deviation of the logarithm of
    a run. quantum_us: longest piece, 0 for whole frames.
    """

    start_us: int
    noise: float
    quantum_us: int = 0

    def pieces(self, job: Job) -> int:
        """How many starts a frame takes."""
        return ceil(job.job_class.work_us / self.quantum_us) if self.quantum_us else 1


@dataclass(eq=False, slots=True)
class _Frame:
    """A frame on the queue or at work; times in us."""

    job: Job
    rank: Any
    due_us: int
    run_us: float  # of one piece on a worker of speed 1, without its start
    left: int  # pieces not started
    running: int = 0

    @property
    def worth(self) -> float:
        """Frames per device time."""
        return 1.0 / self.job.job_class.work_us


# A device's time lost with each start, when the next piece is at hand there by the end of the one
# before: what `python -m bench.dispatch` measures as `between_us`.
START_US = 22
NOISE = 0.05
QUANTUM_US = 4_000
WHOLE, PIECES = Costs(START_US, NOISE), Costs(START_US, NOISE, QUANTUM_US)


Rank: TypeAlias = Callable[[Job], Any]  # of one policy, comparable


def by_arrival(job: Job) -> float:
    """First come, first served."""
    return job.at_us


def by_deadline(job: Job) -> float:
    """Earliest deadline first."""
    return job.at_us + job.job_class.deadline_us


def by_latest_start(job: Job) -> float:
    """Least room until it has to start first."""
    return job.at_us + job.job_class.deadline_us - job.job_class.work_us


def by_worth(job: Job) -> tuple[float, float]:
    """The shortest first; of equals, the earliest deadline."""
    return job.job_class.work_us, by_deadline(job)


@dataclass(frozen=True, slots=True)
class Policy:
    """rank: order of service, lower first. drops: "never", "expired" (its deadline has passed) or
    "hopeless" (its latest start has). admits: whether what would end late is rejected on arrival.
    preempts: how many times as worthy a frame must be to have a running one thrown away; 0: never.
    patient: not as long as it can wait for a worker to be done.
    """

    name: str
    rank: Rank
    drops: str = "never"
    admits: bool = False
    preempts: float = 0.0
    patient: bool = False


FLEX = 3.03  # the paper's threshold, of the best competitive ratio

POLICIES = (
    Policy("FIFO", by_arrival),
    Policy("EDF", by_deadline),
    Policy("EDF+drop", by_deadline, drops="expired"),
    Policy("Clockwork-like", by_deadline, drops="hopeless", admits=True),
    Policy("Clockwork-like, by latest start", by_latest_start, drops="hopeless", admits=True),
    Policy("Shepherd-like", by_worth, drops="hopeless", preempts=FLEX),
    Policy("Shepherd-like, patient", by_worth, drops="hopeless", preempts=FLEX, patient=True),
)


@dataclass(slots=True)
class _Worker:
    speed: float
    until_us: float = 0.0  # predicted end of what it runs
    frame: _Frame | None = None
    run: int = 0  # which of all starts that was

    @property
    def worth(self) -> float:
        """Of what it runs; nothing is worth more than an idle worker."""
        return self.frame.worth if self.frame is not None else inf


class Central:
    """One run of one policy."""

    def __init__(self, policy: Policy, costs: Costs, speeds: Sequence[float], seed: int) -> None:
        self.policy = policy
        self.costs = costs
        # Fastest first: an idle fast worker is taken before an idle slow one.
        self._workers = [_Worker(speed) for speed in sorted(speeds, reverse=True)]
        self._random = Random(f"{seed}/central")
        self._queue: list[_Frame] = []
        self._ends: list[tuple[float, int, _Worker]] = []
        self._started = 0
        self.missed: set[int] = set()

    def run(self, jobs: Sequence[Job]) -> set[int]:
        """Serve all jobs, which are in order of arrival; the numbers of those not on time."""
        for job in jobs:
            self._until(job.at_us)
            self._arrive(job)
        self._until(inf)
        return self.missed

    # --- events ----------------------------------------------------------------------------

    def _until(self, instant_us: float) -> None:
        while self._ends and self._ends[0][0] <= instant_us:
            now_us, run, worker = heappop(self._ends)
            if run != worker.run:
                continue  # thrown away meanwhile
            frame, worker.frame = worker.frame, None
            assert frame is not None
            frame.running -= 1
            if now_us > frame.due_us:
                self._lose(frame)
            self._serve(now_us)

    def _arrive(self, job: Job) -> None:
        pieces = self.costs.pieces(job)
        frame = _Frame(
            job,
            self.policy.rank(job),
            job.at_us + job.job_class.deadline_us,
            job.job_class.work_us / pieces,
            pieces,
        )
        if self.policy.admits and self._would_end_us(frame, job.at_us) > frame.due_us:
            self.missed.add(job.number)
            return
        self._enqueue(frame)
        self._serve(job.at_us)
        if self.policy.preempts:
            self._preempt(job.at_us)

    def _enqueue(self, frame: _Frame) -> None:
        insort(self._queue, frame, key=lambda queued: queued.rank)

    def _serve(self, now_us: float) -> None:
        """Start what can be started, on the fastest idle workers first."""
        for worker in self._workers:
            frame = self._next(worker, now_us) if worker.frame is None else None
            if frame is not None:
                self._start(frame, worker, now_us)

    def _start(self, frame: _Frame, worker: _Worker, now_us: float) -> None:
        """Run a piece of the frame."""
        frame.left -= 1
        frame.running += 1
        if not frame.left:
            self._queue.remove(frame)
        self._started += 1
        worker.frame, worker.run = frame, self._started
        run_us = frame.run_us / worker.speed
        worker.until_us = now_us + run_us + self.costs.start_us
        took_us = run_us * self._random.lognormvariate(0.0, self.costs.noise)
        heappush(self._ends, (now_us + took_us + self.costs.start_us, self._started, worker))

    def _preempt(self, now_us: float) -> None:
        """Throw away what is running, the last begun of equals, for what is worth so many times as
        much and in time.
        """
        for frame in self._candidates(now_us):
            at_most = frame.worth / self.policy.preempts
            for worker in sorted(self._workers, key=lambda each: (each.worth, -each.run)):
                running = worker.frame
                if running is None or worker.worth > at_most:
                    break
                if now_us + self._alone_us(frame, worker) <= frame.due_us:
                    running.left += 1
                    running.running -= 1
                    self._enqueue(running)
                    self._start(frame, worker, now_us)
                    break

    def _candidates(self, now_us: float) -> list[_Frame]:
        """What wants a worker that is not free, the most worthy first."""
        ranked = sorted(self._queue, key=lambda frame: by_worth(frame.job))
        if not self.policy.patient:
            return ranked
        free_us = max(now_us, min(worker.until_us for worker in self._workers))
        fastest = self._workers[0]
        return [
            frame for frame in ranked if free_us + self._alone_us(frame, fastest) > frame.due_us
        ]

    def _next(self, worker: _Worker, now_us: float) -> _Frame | None:
        drops = self.policy.drops
        for frame in list(self._queue):
            if drops == "expired" and now_us >= frame.due_us:
                self._lose(frame)
            elif drops != "hopeless" or now_us + self._alone_us(frame, worker) <= frame.due_us:
                return frame
            elif now_us + self._alone_us(frame, self._workers[0]) > frame.due_us:
                self._lose(frame)  # not even the fastest could
        return None

    def _lose(self, frame: _Frame) -> None:
        """A frame is late or dropped; of the rest of it nothing is started under any policy that
        drops at all.
        """
        self.missed.add(frame.job.number)
        if self.policy.drops != "never" and frame in self._queue:
            self._queue.remove(frame)

    # --- predictions -----------------------------------------------------------------------

    def _alone_us(self, frame: _Frame, worker: _Worker) -> float:
        """From a start on that worker to the frame's end; surely, with the others' help."""
        speed = sum(each.speed for each in self._workers) if frame.left > 1 else worker.speed
        piece_us = frame.run_us / worker.speed * exp(HIGH_Z * self.costs.noise)
        rest_us = (frame.left - 1) * (frame.run_us + self.costs.start_us) / speed
        return max(piece_us + self.costs.start_us, rest_us)

    def _would_end_us(self, newcomer: _Frame, now_us: float) -> float:
        """Its predicted end if all that is before it in the queue is served."""
        ahead = [frame for frame in self._queue if frame.rank <= newcomer.rank]
        free = [(max(worker.until_us, now_us) if worker.frame else now_us, index)
                for index, worker in enumerate(self._workers)]  # fmt: skip
        heapify(free)
        end_us = now_us
        for frame in (*ahead, newcomer):
            for _ in range(frame.left):
                free_us, index = free[0]
                run_us = frame.run_us / self._workers[index].speed
                if frame is newcomer:
                    run_us *= exp(HIGH_Z * self.costs.noise)
                end_us = free_us + run_us + self.costs.start_us
                heapreplace(free, (end_us, index))
        return end_us
