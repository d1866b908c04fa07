"""A simulated gateway: real session drivers, carried out over simulated links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from mesh.core.workload import Contract, CutHint, Piece
from mesh.schedule.cost import CostModel
from mesh.schedule.cut import MAX_PIECES
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
from mesh.schedule.placement import Placer
from mesh.sim.link import SimLink
from mesh.sim.node import SimNode
from mesh.sim.worker import Done, Order, Refused
from mesh.sim.world import World

_SMALL_BYTES = 200  # a message without a body


@dataclass(frozen=True, slots=True)
class SessionModel:
    """A session and its frames.

    pieces: per frame. units: work per piece. spread: pieces differ by up to this share of it.
    in_bytes, out_bytes: per piece. ends_us: from then on no frame is opened. A frame that is cut
    at a lower rung of the contract's ladder has as many pieces with less work. splits: each piece
    is cut further where it would be longer than the quantum (`CutHint.quantum_us`). model: pieces
    of sessions of one model may run together on a device; "" to run alone. latest_start: see
    SessionDriver.
    """

    contract: Contract = field(default_factory=lambda: Contract(66_667, 100_000))
    kind: str = "tile"
    pieces: int = 4
    units: float = 1.0
    spread: float = 0.0
    in_bytes: int = 200
    out_bytes: int = 100_000
    max_in_flight: int = 2
    ends_us: int = 2**62
    splits: bool = False
    model: str = ""
    latest_start: bool = False

    def parts(self, hint: CutHint) -> int:
        """How many parts each piece is to be cut into."""
        us_per_unit = hint.us_per_unit.get(self.kind, 0.0)
        if not (self.splits and hint.quantum_us):
            return 1
        piece_us = self.units * self.contract.ladder[hint.rung].cost * us_per_unit
        return min(max(1, ceil(piece_us / hint.quantum_us)), max(1, MAX_PIECES // self.pieces))


@dataclass(slots=True)
class SimSession:
    """One session: its driver and the record of what it showed."""

    name: str
    model: SessionModel
    driver: SessionDriver
    shown: list[ClosedFrame] = field(default_factory=list)
    refused: list[ClosedFrame] = field(default_factory=list)  # not shown: nothing of it was sent
    rungs: dict[int, int] = field(default_factory=dict)  # of frames not at full quality
    merged: dict[PieceKey, tuple[DeviceKey, int]] = field(default_factory=dict)  # maker, when
    orders: dict[PieceKey, Order] = field(default_factory=dict)
    abandoned: int = 0  # frames opened after the model's end
    wake_us: int | None = None
    closed: bool = False


@dataclass(slots=True)
class _Peer:
    """The way to a node and back; `generation` counts the links there were."""

    node: SimNode
    out: SimLink
    back: SimLink
    generation: int = 0
    up: bool = False


class SimGateway:
    """Executes drivers' actions, hears of nodes by their links, as the real gateway does."""

    def __init__(self, name: str, world: World, *, silent_us: int, lag_us: int) -> None:
        """silent_us: a link silent for so long is given up. lag_us: worst lateness of a timer."""
        self.name = name
        self.costs = CostModel(name)
        self.placer = Placer(self.costs)
        self.sessions: dict[str, SimSession] = {}
        self._world = world
        self._silent_us = silent_us
        self._lag_us = lag_us
        self._random = world.random(f"gateway {name}")
        self._peers: dict[str, _Peer] = {}

    # --- nodes -----------------------------------------------------------------------------

    def hello(self, node: SimNode) -> None:
        """A node's hello was accepted: open every session on each of its devices."""
        peer = self._peers.get(node.name)
        if peer is None:
            peer = self._peers[node.name] = _Peer(
                node, self._link(node, "to"), self._link(node, "from")
            )
        peer.generation += 1
        peer.up = True
        self._world.note("hello", self.name, node.name)
        for device in node.devices:
            self.placer.add(device, self._world.now_us)
            for session in self.sessions.values():
                self._open_on(session, peer, device)

    def _link(self, node: SimNode, way: str) -> SimLink:
        random = self._world.random(f"{self.name} {way} {node.name}")
        return SimLink(self._world, node.model.link, random)

    def lost(self, node: SimNode) -> None:
        """The link to a node ended."""
        peer = self._peers.get(node.name)
        if peer is None or not peer.up:
            return
        peer.up = False
        self._world.note("lost", self.name, node.name)
        for device in node.devices:
            self.placer.remove(device)
        for session in self.sessions.values():
            for device in node.devices:
                self._do(session, session.driver.device_lost(device, self._world.now_us))

    def is_up(self, node: SimNode) -> bool:
        """Whether there is a link to the node now."""
        peer = self._peers.get(node.name)
        return peer is not None and peer.up

    def node_stopped(self, node: SimNode) -> None:
        """A node froze: unless it wakes, its silence ends the link."""
        generation = self._peers[node.name].generation

        def check() -> None:
            peer = self._peers[node.name]
            if node.asleep and peer.generation == generation:
                self.lost(node)

        self._world.after(self._silent_us, check)

    # --- sessions --------------------------------------------------------------------------

    def open_session(self, name: str, model: SessionModel) -> SimSession:
        """Start a session; its clock starts now, its frames when a device is ready."""
        now_us = self._world.now_us
        driver = SessionDriver(
            name,
            0,
            model.contract,
            self.placer,
            start_us=now_us,
            max_in_flight=model.max_in_flight,
            latest_start=model.latest_start,
        )
        session = self.sessions[name] = SimSession(name, model, driver)
        for peer in self._peers.values():
            if peer.up:
                for device in peer.node.devices:
                    self._open_on(session, peer, device)
        self._arm(session)
        return session

    def demand(self, session: SimSession) -> int | str:
        """An input comes for a session that opens a frame for each: the frame, or why none."""
        opening = session.driver.demand(self._world.now_us)
        if isinstance(opening, str):
            return opening
        self._do(session, [opening])
        return opening.frame

    def close_session(self, name: str) -> None:
        """End a session."""
        session = self.sessions.pop(name)
        session.closed = True
        session.driver.close(self._world.now_us)
        for peer in self._peers.values():
            for sim_device in peer.node.devices.values():
                for key in session.orders:
                    sim_device.cancel(self.name, key)

    def _open_on(self, session: SimSession, peer: _Peer, device: DeviceKey) -> None:
        def ready() -> None:
            if not session.closed:
                self._do(session, session.driver.device_ready(device, self._world.now_us))

        node, generation = peer.node, peer.generation

        def answer() -> None:
            if peer.generation == generation:
                self._via(peer, peer.back, _SMALL_BYTES, ready)

        self._via(
            peer,
            peer.out,
            _SMALL_BYTES,
            lambda: self._world.after(node.model.prepare_us, lambda: node.gate(answer)),
        )

    def _via(self, peer: _Peer, link: SimLink, nbytes: int, arrives: Callable[[], None]) -> None:
        """Send over a link; it arrives if that very link still lives."""
        generation = peer.generation

        def if_up() -> None:
            if peer.up and peer.generation == generation:
                arrives()

        link.send(nbytes, if_up)

    # --- actions ---------------------------------------------------------------------------

    def _do(self, session: SimSession, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case OpenFrame():
                    self._cut(session, action)
                case Send():
                    self._send(session, action)
                case CancelPiece():
                    self._cancel(action)
                case Compose():
                    self._show(session, action)
                case Nudge():
                    self._nudge(action)
        self._arm(session)

    def _nudge(self, action: Nudge) -> None:
        """Let another session's driver see to its frames, after what is being done now."""

        def look() -> None:
            session = self.sessions.get(action.session)
            if session is not None:
                self._do(session, session.driver.nudged(action.frame, self._world.now_us))

        self._world.after(0, look)

    def _cut(self, session: SimSession, action: OpenFrame) -> None:
        model = session.model
        if self._world.now_us >= model.ends_us:
            session.abandoned += 1
            session.driver.abandon(action.frame)
            return
        parts = model.parts(action.hint)
        units = model.units * model.contract.ladder[action.hint.rung].cost / parts
        inputs = bytes(model.in_bytes // parts)
        pieces = [
            Piece(
                index,
                model.kind,
                units * (1.0 + model.spread * self._random.uniform(-1.0, 1.0)),
                b"",
                model.out_bytes // parts,
                inputs=inputs,
            )
            for index in range(model.pieces * parts)
        ]
        now_us = self._world.now_us
        for piece in pieces:
            key = PieceKey(session.name, 0, action.frame, piece.index)
            session.orders[key] = Order(
                key,
                piece.kind,
                piece.units,
                piece.output_bytes,
                len(piece.inputs),
                model.model,
                action.hint.quantum_us,
            )
        self._do(session, session.driver.pieces(action.frame, pieces, now_us))

    def _send(self, session: SimSession, action: Send) -> None:
        peer = self._peers[action.device.node]
        order, deadline_us = session.orders[action.key], action.deadline_us
        device = peer.node.devices[action.device]
        self._world.note("send", *action.device, *action.key, action.probe)

        def reply(answer: Done | Refused) -> None:
            nbytes = answer.out_bytes if isinstance(answer, Done) else 0
            self._via(peer, peer.back, _SMALL_BYTES + nbytes, lambda: self._answer(session, answer))

        self._via(
            peer,
            peer.out,
            _SMALL_BYTES + order.in_bytes,
            lambda: peer.node.gate(lambda: device.submit(self.name, order, deadline_us, reply)),
        )

    def _cancel(self, action: CancelPiece) -> None:
        peer = self._peers[action.device.node]
        device = peer.node.devices[action.device]
        self._world.note("cancel", *action.device, *action.key)
        self._via(
            peer,
            peer.out,
            _SMALL_BYTES,
            lambda: peer.node.gate(
                lambda: device.cancel(
                    self.name, action.key, action.answer, straggler=action.straggler
                )
            ),
        )

    def _show(self, session: SimSession, action: Compose) -> None:
        what = "refuse" if action.refused else "show"
        self._world.note(what, session.name, action.frame, action.missing)
        (session.refused if action.refused else session.shown).append(action.closed)
        if action.rung:
            session.rungs[action.frame] = action.rung
        for piece in action.closed.pieces:
            del session.orders[piece.key]

    def _answer(self, session: SimSession, answer: Done | Refused) -> None:
        if session.closed:
            return
        now_us, driver = self._world.now_us, session.driver
        if isinstance(answer, Refused):
            self._world.note("refused", *answer.device, *answer.key, answer.reason)
            actions = driver.refused(
                answer.key,
                answer.device,
                now_us,
                reason=answer.reason,
                backlog_us=answer.backlog_us,
                run_us=answer.run_us,
            )
        else:
            verdict = driver.verdict(answer.key, answer.device)
            self._world.note("result", *answer.device, *answer.key, verdict.value)
            if verdict is Verdict.ACCEPTED:
                assert answer.key not in session.merged, "a piece was accepted twice"
                session.merged[answer.key] = (answer.device, now_us)
            actions = driver.result(
                answer.key,
                answer.device,
                now_us,
                queue_us=answer.queue_us,
                run_us=answer.run_us,
                held_us=answer.held_us,
                backlog_us=answer.backlog_us,
                nbytes=answer.out_bytes,
            )
        self._do(session, actions)

    def _arm(self, session: SimSession) -> None:
        """Make sure that `tick` is called at the driver's wake time, give or take the lag."""
        wake_us = session.driver.wake_us(self._world.now_us)
        if session.closed or (session.wake_us is not None and session.wake_us <= wake_us):
            return
        session.wake_us = wake_us

        def tick() -> None:
            if session.wake_us != wake_us or session.closed:
                return
            session.wake_us = None
            self._do(session, session.driver.tick(self._world.now_us))

        self._world.at(wake_us + self._random.randint(0, self._lag_us), tick)
