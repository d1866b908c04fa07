"""Simulated workers: real device queues and cost models around invented run times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sin, tau
from random import Random
from typing import NamedTuple, TypeAlias

from mesh.schedule.batching import BatchCosts, share_us
from mesh.schedule.cost import CostModel
from mesh.schedule.ids import CANCELLED, DeviceKey, PieceKey
from mesh.schedule.queue import DeviceQueue, Refuse, Start, Waiting
from mesh.sim.world import World


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """How fast a device is.

    noise: standard deviation of the logarithm of the run time. stall: chance that a run takes
    `stall_factor` times as long. warm_up_us: added to the first run of each kind of piece.
    start_us: lost with each start, between runs. drift: by how much of its speed it slows down
    and recovers as it warms and cools, once in each `drift_period_us`. call_us: part of each run
    for a model, however many pieces are in it. batches: whether pieces of one model run together
    (mesh.schedule.batching). abandon_us: a run that nobody wants any more ends at the next multiple
    of so much (mesh.core.workload.Abandonable); 0: it runs to its end.
    """

    us_per_unit: float = 8_000.0
    noise: float = 0.05
    stall: float = 0.0
    stall_factor: float = 10.0
    warm_up_us: int = 0
    start_us: int = 0
    call_us: float = 0.0
    batches: bool = True
    drift: float = 0.0
    drift_period_us: int = 20_000_000
    abandon_us: int = 0


class Order(NamedTuple):
    """A piece as it reaches a worker.

    model: which it may share a run for; "" to run alone. quantum_us: bounds such a run, 0 does not.
    """

    key: PieceKey
    kind: str
    units: float
    out_bytes: int
    in_bytes: int
    model: str = ""
    quantum_us: int = 0


class Done(NamedTuple):
    """A result, with what the worker says about it."""

    key: PieceKey
    device: DeviceKey
    queue_us: int
    run_us: int
    held_us: int
    backlog_us: int
    out_bytes: int


class Refused(NamedTuple):
    """A refusal."""

    key: PieceKey
    device: DeviceKey
    reason: str
    backlog_us: int
    run_us: int = 0


Reply: TypeAlias = Callable[[Done | Refused], None]


@dataclass(slots=True)
class _Job:
    order: Order
    reply: Reply
    received_us: int
    cancelled: bool = False
    straggles: bool = False  # wanted only if it cannot be stopped
    answer: bool = False  # also if cancelled


@dataclass(slots=True)
class _Run:
    """What a device is at. stopping: it has noticed that nobody wants it."""

    started: Sequence[Waiting]
    jobs: Sequence[_Job]
    began_us: int
    run_us: int
    stopping: bool = False


class SimDevice:
    """One device: its queue, its speed, and what it runs."""

    def __init__(
        self,
        key: DeviceKey,
        model: DeviceModel,
        world: World,
        *,
        costs: CostModel,
        gate: Callable[[Callable[[], None]], None],
        policy: str,
    ) -> None:
        """gate: called with what the node should do as soon as it is awake."""
        self.key = key
        self._gate = gate
        self.slow_down = 1.0
        self.busy_us = 0
        self._model = model
        self._costs = costs
        self._batching = BatchCosts(costs, key)
        self._world = world
        self._policy = policy
        self._random: Random = world.random(f"device {key.node} {key.device}")
        self.boot()

    def boot(self) -> None:
        """Begin with nothing: no queue, nothing warm, and nothing of before comes back."""
        self.queue = DeviceQueue(self._policy, batching=self._batching)
        self._jobs: dict[tuple[str, PieceKey], _Job] = {}
        self._run: _Run | None = None
        self._warm: set[str] = set()
        self._costs.forget(self.key)

    def submit(self, gateway: str, order: Order, deadline_us: int, reply: Reply) -> None:
        """Take in a piece, or refuse it. deadline_us: when its result must have left."""
        job = _Job(order, reply, self._world.now_us)
        predicted_us = self._costs.predict_us(self.key, order.kind, order.units)
        together = self._together(order)
        waiting = Waiting(
            order.key,
            f"{gateway}/{order.key.session}",
            gateway,
            deadline_us,
            predicted_us,
            batch=f"{order.model}/{order.kind}" if together else "",
            kind=order.kind,
            units=order.units,
            quantum_us=order.quantum_us,
            shared_us=self._batching.shared_us(order.kind, order.units) if together else 0,
        )
        refused = self.queue.submit(waiting)
        if refused is not None:
            self._refuse(job, refused.reason)
            return
        self._jobs[gateway, order.key] = job
        self._world.note("queue", *self.key, *order.key, deadline_us)
        self.serve()

    def cancel(
        self, gateway: str, key: PieceKey, answer: bool = False, *, straggler: bool = False
    ) -> None:
        """Drop a piece; one that runs ends early where the device can. answer: say when.

        straggler: only if it runs, and can end early.
        """
        if straggler:
            if self._run is not None and (job := self._jobs.get((gateway, key))) in self._run.jobs:
                assert job is not None
                job.straggles = job.answer = True
                self._stop_if_unwanted()
            return
        session = f"{gateway}/{key.session}"
        for waiting in self.queue.cancel(session, key.epoch, key.frame, key.piece):
            job = self._jobs.pop((waiting.node, waiting.key))
            self._world.note("drop", *self.key, *waiting.key)
            if answer:
                self._refuse(job, CANCELLED)
        if (gateway, key) in self._jobs:
            job = self._jobs[gateway, key]
            job.cancelled, job.answer = True, answer
            self._stop_if_unwanted()

    def gateway_gone(self, gateway: str) -> None:
        """Forget what a gateway wanted."""
        for name, job in list(self._jobs.items()):
            if name[0] == gateway:
                job.cancelled = True
                self.cancel(gateway, name[1])

    def serve(self) -> None:
        """Start what can be started now."""
        now_us = self._world.now_us
        for decision in self.queue.poll(now_us):
            waiting = decision.waiting
            match decision:
                case Refuse():
                    job = self._jobs.pop((waiting.node, waiting.key))
                    self._world.note("late", *self.key, *waiting.key)
                    self._refuse(job, decision.reason)
                case Start():
                    self._start([waiting, *decision.others])

    def _together(self, order: Order) -> bool:
        return self._model.batches and bool(order.model)

    def _start(self, started: Sequence[Waiting]) -> None:
        jobs = [self._jobs[waiting.node, waiting.key] for waiting in started]
        for waiting in started:
            self._world.note("start", *self.key, *waiting.key)
        run_us = self._draw_us([job.order for job in jobs])
        run = self._run = _Run(started, jobs, self._world.now_us, run_us)
        self._world.after(self._model.start_us + run_us, lambda: self._gate(lambda: self._end(run)))

    def _stop_if_unwanted(self) -> None:
        run, step_us = self._run, self._model.abandon_us
        if not step_us or run is None or run.stopping:
            return
        if not all(job.cancelled or job.straggles for job in run.jobs):
            return
        run.stopping = True
        steps = -(-(self._world.now_us - run.began_us) // step_us)
        self._world.at(
            run.began_us + steps * step_us, lambda: self._gate(lambda: self._abandon(run))
        )

    def _draw_us(self, orders: Sequence[Order]) -> int:
        model = self._model
        run_us = sum(order.units for order in orders) * model.us_per_unit
        run_us += model.call_us if orders[0].model else 0.0
        run_us *= self.slow_down
        run_us *= self._random.lognormvariate(0.0, model.noise)
        if model.drift:
            run_us *= 1.0 + model.drift * sin(tau * self._world.now_us / model.drift_period_us) ** 2
        if self._random.random() < model.stall:
            run_us *= model.stall_factor
        if orders[0].kind not in self._warm:
            self._warm.add(orders[0].kind)
            run_us += model.warm_up_us
        return max(1, round(run_us))

    def _end(self, run: _Run) -> None:
        if run is not self._run:
            return  # abandoned, or the process that ran it is dead
        self._finished(run, "end")
        self.busy_us += run.run_us
        self._learn([job.order for job in run.jobs], run.run_us)
        for job in run.jobs:
            if not job.cancelled:
                self._answer(job, run)
            elif job.answer:
                self._refuse(job, CANCELLED, run.run_us)
        self.serve()

    def _abandon(self, run: _Run) -> None:
        if run is not self._run:
            return  # it had ended by then
        self._finished(run, "abandon")
        run_us = max(0, self._world.now_us - run.began_us - self._model.start_us)
        self.busy_us += run_us
        for job in run.jobs:
            self._costs.observe_at_least(self.key, job.order.kind, job.order.units, run_us)
            if job.answer:
                self._refuse(job, CANCELLED, run_us)
        self.serve()

    def _finished(self, run: _Run, how: str) -> None:
        self._run = None
        self.queue.finished(self._world.now_us)
        for waiting in run.started:
            del self._jobs[waiting.node, waiting.key]
            self._world.note(how, *self.key, *waiting.key)

    def _learn(self, orders: Sequence[Order], run_us: int) -> None:
        kind, units = orders[0].kind, [order.units for order in orders]
        if self._together(orders[0]):
            self._batching.observe(kind, units, run_us)
        else:
            self._costs.observe(self.key, kind, units[0], run_us)

    def _answer(self, job: _Job, run: _Run) -> None:
        order, units = job.order, sum(each.order.units for each in run.jobs)
        mine_us = share_us(run.run_us, order.units, units)
        job.reply(
            Done(
                order.key,
                self.key,
                run.began_us - job.received_us,
                mine_us,
                run.run_us - mine_us,
                self.queue.backlog_us(self._world.now_us),
                order.out_bytes,
            )
        )

    def _refuse(self, job: _Job, reason: str, run_us: int = 0) -> None:
        backlog_us = self.queue.backlog_us(self._world.now_us)
        job.reply(Refused(job.order.key, self.key, reason, backlog_us, run_us))
