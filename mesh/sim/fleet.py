"""A mesh of any size: gateways whose sessions hold few devices each, as mesh.schedule.pool says.

A gateway knows every node, and has a way to one only from when it first asked it something: what
it keeps grows with the devices its sessions hold, not with the nodes there are. Each session's
statistics are kept, not its history.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from mesh.schedule.directory import Directory
from mesh.schedule.driver import Compose
from mesh.schedule.ids import DeviceKey
from mesh.schedule.ledger import ClosedFrame
from mesh.schedule.pool import MOST, REVIEW_US, SessionPool
from mesh.sim.gateway import SessionModel, SimGateway, SimSession, _Peer
from mesh.sim.link import SimLink
from mesh.sim.mesh import SimulatedMesh
from mesh.sim.node import NodeModel, SimNode
from mesh.sim.world import World

WORKLOAD = "simulated"
_ASK_BYTES = 200
_ASK_US = 50_000  # longest wait for what candidates say of themselves


@dataclass(slots=True)
class Tally:
    """What became of a session's frames; of those opened from `since_us` until `until_us`."""

    since_us: int
    until_us: int
    opened: int = 0
    whole: int = 0
    pieces: int = 0  # made, of all frames whenever they were opened
    latency_us: array[int] = field(default_factory=lambda: array("l"))  # of the whole ones

    def composed(self, frame: ClosedFrame) -> None:
        """A frame was composed."""
        self.pieces += len(frame.pieces) - len(frame.missing)
        if self.since_us <= frame.opened_us < self.until_us:
            self.opened += 1
            if not frame.missing:
                self.whole += 1
                self.latency_us.append(frame.closed_us - frame.opened_us)

    def due(self, period_us: int) -> int:
        """Frames that the contract promised: those never opened count as well."""
        return max(self.opened, (self.until_us - self.since_us) // period_us)


class PooledGateway(SimGateway):
    """A gateway that opens sessions on the devices of their pools alone."""

    def __init__(
        self,
        name: str,
        world: World,
        *,
        tenants: Counter[DeviceKey],
        most: int,
        counted_us: tuple[int, int],
        silent_us: int = 400_000,
        lag_us: int = 300,
    ) -> None:
        """tenants: sessions held by each device, known to the device and said when it is asked.

        most: devices of one session. counted_us: frames opened between the two are counted.
        """
        super().__init__(name, world, silent_us=silent_us, lag_us=lag_us)
        self.pools: dict[str, SessionPool] = {}
        self.tallies: dict[str, Tally] = {}
        self.asked = 0  # candidates
        self._most = most
        self._counted_us = counted_us
        self._tenants = tenants
        self._directory = Directory(self.costs)
        self._nodes: dict[str, SimNode] = {}
        self._draws = world.random(f"draws {name}")
        self._wires = world.random(f"wires {name}")

    # --- nodes -----------------------------------------------------------------------------

    def hello(self, node: SimNode) -> None:
        """A node is linked: it may be drawn from now on."""
        self._nodes[node.name] = node
        peer = self._peers.get(node.name)
        if peer is not None:
            peer.generation += 1
            peer.up = True
        for device in node.devices:
            self._directory.add(device, [WORKLOAD])
        self._fill_all()

    def lost(self, node: SimNode) -> None:
        """The link to a node ended."""
        if self._nodes.pop(node.name, None) is None:
            return
        for device in node.devices:
            self._directory.remove(device)
            for pool in self.pools.values():
                if device in pool:
                    self._tenants[device] -= 1
                    pool.lost(device)
        super().lost(node)
        self._fill_all()

    def is_up(self, node: SimNode) -> bool:
        """Whether the node is linked now."""
        return node.name in self._nodes

    def node_stopped(self, node: SimNode) -> None:
        """A node froze: unless it wakes, its silence ends the link."""
        self._way(node)
        super().node_stopped(node)

    def _way(self, node: SimNode) -> _Peer:
        """The wires to a node, laid when they are first needed."""
        peer = self._peers.get(node.name)
        if peer is None:
            out, back = (SimLink(self._world, node.model.link, self._wires) for _ in range(2))
            peer = self._peers[node.name] = _Peer(node, out, back, 1, self.is_up(node))
        return peer

    # --- sessions --------------------------------------------------------------------------

    def open_session(self, name: str, model: SessionModel) -> SimSession:
        """Start a session on a few devices."""
        random = Random(self._draws.getrandbits(64))  # noqa: S311  seeded, and no secret
        pool = SessionPool(self._directory, WORKLOAD, model.contract, random, most=self._most)
        self.pools[name] = pool
        self.tallies[name] = Tally(*self._counted_us)
        session = super().open_session(name, model)
        self._fill(session)
        self._review_later(session)
        return session

    def _open_on(self, session: SimSession, peer: _Peer, device: DeviceKey) -> None:
        """A pool says where, not the links there are."""
        if device in self.pools[session.name]:
            super()._open_on(session, peer, device)

    def close_session(self, name: str) -> None:
        """End a session."""
        pool = self.pools.pop(name)
        for device in pool.held:
            self._tenants[device] -= 1
        pool.close()
        super().close_session(name)

    def _fill_all(self) -> None:
        for session in self.sessions.values():
            self._fill(session)

    def _fill(self, session: SimSession) -> None:
        """Ask candidates for what a session misses; take the best when all have answered."""
        pool = self.pools[session.name]
        candidates = [d for d in pool.draw() if d.node in self._nodes]
        if pool.holds_all:
            self._take(session, candidates)
            return
        waiting = set(candidates)

        def heard(device: DeviceKey, sessions: int) -> None:
            self._directory.said(device, sessions)
            waiting.discard(device)
            if not waiting:
                self._take(session, candidates)

        def give_up() -> None:
            if waiting:
                answered = [device for device in candidates if device not in waiting]
                waiting.clear()
                self._take(session, answered)

        for device in candidates:
            self._ask(device, heard)
        if candidates:
            self._world.after(_ASK_US, give_up)

    def _ask(self, device: DeviceKey, heard: Callable[[DeviceKey, int], None]) -> None:
        peer = self._way(self._nodes[device.node])
        self.asked += 1

        def answer() -> None:
            sessions = self._tenants[device]
            self._via(peer, peer.back, _ASK_BYTES, lambda: heard(device, sessions))

        self._via(peer, peer.out, _ASK_BYTES, lambda: peer.node.gate(answer))

    def _take(self, session: SimSession, candidates: Sequence[DeviceKey]) -> None:
        if session.closed:
            return
        for device in self.pools[session.name].take(candidates, self._world.now_us):
            if device not in self.placer:
                self.placer.add(device, self._world.now_us)
            self._tenants[device] += 1
            self._open_on(session, self._way(self._nodes[device.node]), device)

    def _review_later(self, session: SimSession) -> None:
        def review() -> None:
            if session.closed:
                return
            now_us = self._world.now_us
            for release in self.pools[session.name].review(now_us):
                self._world.note("release", session.name, *release.device, release.why)
                self._tenants[release.device] -= 1
                self._do(session, session.driver.device_lost(release.device, now_us))
            self._fill(session)
            self._world.after(REVIEW_US, review)

        self._world.after(REVIEW_US, review)

    # --- frames ----------------------------------------------------------------------------

    def _show(self, session: SimSession, action: Compose) -> None:
        super()._show(session, action)
        closed = action.closed
        self.pools[session.name].composed(closed)
        self.tallies[session.name].composed(closed)
        session.shown.clear()
        session.refused.clear()
        session.rungs.clear()
        for piece in closed.pieces:
            session.merged.pop(piece.key, None)


class Fleet(SimulatedMesh):
    """Many nodes and sessions; every gateway knows every node, every session holds a few."""

    def __init__(
        self,
        nodes: Sequence[NodeModel],
        *,
        gateways: int,
        seed: int = 0,
        counted_us: tuple[int, int] = (0, 2**62),
        most: int = MOST,
        keep_trace: bool = False,
    ) -> None:
        """most: devices of one session. counted_us: frames opened between the two are counted."""
        super().__init__(nodes, seed=seed, gateways=0, keep_trace=keep_trace)
        self.tenants: Counter[DeviceKey] = Counter()
        self.pooled = [
            PooledGateway(
                f"gateway-{i}",
                self.world,
                tenants=self.tenants,
                most=most,
                counted_us=counted_us,
            )
            for i in range(1, gateways + 1)
        ]
        self.gateways.extend(self.pooled)
        for node in self.nodes.values():
            self._greet(node)
