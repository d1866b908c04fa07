"""A whole mesh in virtual time: real decisions, invented machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mesh.schedule.ids import DeviceKey
from mesh.sim.gateway import SessionModel, SimGateway, SimSession
from mesh.sim.node import NodeModel, SimNode
from mesh.sim.world import World


class SimulatedMesh:
    """Gateways and worker nodes that run the real schedule over fake wires and devices.

    Nodes are "node-1" to "node-n", gateways "gateway-1" and so on; every node serves every
    gateway. A minute of mesh takes about a second, and a seed replays it exactly.
    """

    def __init__(
        self,
        nodes: int | Sequence[NodeModel] = 2,
        *,
        seed: int = 0,
        gateways: int = 1,
        policy: str = "edf",
        silent_us: int = 400_000,
        lag_us: int = 300,
        keep_trace: bool = False,
    ) -> None:
        """nodes: their models, or how many of the default. policy: of the device queues.

        silent_us: a link silent for so long is given up. lag_us: how late gateways' timers fire
        at worst. keep_trace: keep what happened in `world.trace`, not only its hash.
        """
        self.world = World(seed, keep_trace=keep_trace)
        models = [NodeModel()] * nodes if isinstance(nodes, int) else list(nodes)
        self.nodes = {
            name: SimNode(name, model, self.world, policy)
            for name, model in ((f"node-{i}", model) for i, model in enumerate(models, start=1))
        }
        self.gateways = [
            SimGateway(f"gateway-{i}", self.world, silent_us=silent_us, lag_us=lag_us)
            for i in range(1, gateways + 1)
        ]
        self._sessions: list[SimSession] = []
        for node in self.nodes.values():
            self._greet(node)

    # --- sessions --------------------------------------------------------------------------

    def open_session(self, model: SessionModel | None = None, gateway: int = 0) -> SimSession:
        """Open a session at a gateway (counted from 0)."""
        name = f"session-{len(self._sessions) + 1}"
        session = self.gateways[gateway].open_session(name, model or SessionModel())
        self._sessions.append(session)
        return session

    def missed_frames(self) -> int:
        """Frames of all sessions that were refused, or shown with something missing."""
        counts = [session.driver.counts for session in self._sessions]
        return sum(count.filled_frames + count.refused for count in counts)

    def shares(self) -> dict[DeviceKey, float]:
        """Each device's part of all pieces that were merged."""
        makers = [maker for s in self._sessions for maker, _ in s.merged.values()]
        devices = [device for node in self.nodes.values() for device in node.devices]
        return {device: makers.count(device) / max(1, len(makers)) for device in devices}

    # --- time and fate ---------------------------------------------------------------------

    def run(self, until_us: int) -> None:
        """Live until an instant."""
        self.world.run(until_us)

    def at(self, when_us: int, happens: Callable[[], None]) -> None:
        """Plan something: `mesh.at(1_000_000, lambda: mesh.kill("node-2"))`."""
        self.world.at(when_us, happens)

    def kill(self, name: str) -> None:
        """kill -9: the kernel closes the node's sockets, so its gateways hear of it."""
        node = self.nodes[name]
        node.kill()
        self.world.after(node.model.link.delay_us, lambda: self._part(node))

    def restart(self, name: str) -> None:
        """Start a killed node again; it says hello when it has booted."""
        node = self.nodes[name]
        node.start()
        self.world.after(node.model.boot_us, lambda: self._greet(node))

    def stop(self, name: str) -> None:
        """SIGSTOP: the node falls silent; its sockets stay open."""
        node = self.nodes[name]
        node.stop()
        for gateway in self.gateways:
            gateway.node_stopped(node)

    def resume(self, name: str) -> None:
        """SIGCONT: the node goes on; where it was given up meanwhile, it dials again."""
        node = self.nodes[name]
        node.resume()
        for gateway in self.gateways:
            if not gateway.is_up(node):
                for device in node.devices.values():
                    device.gateway_gone(gateway.name)
        self.world.after(node.model.redial_us, lambda: self._greet(node))

    def slow(self, name: str, factor: float) -> None:
        """A node's devices take `factor` times as long from now on."""
        self.nodes[name].slow(factor)

    @property
    def trace_hash(self) -> str:
        """Equal for equal seeds and plans."""
        return self.world.trace_hash

    def _part(self, node: SimNode) -> None:
        for gateway in self.gateways:
            gateway.lost(node)

    def _greet(self, node: SimNode) -> None:
        for gateway in self.gateways:
            if node.alive and not node.asleep and not gateway.is_up(node):
                gateway.hello(node)
