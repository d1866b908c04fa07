"""A simulated worker node: devices, and the ways a node can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mesh.schedule.cost import CostModel
from mesh.schedule.ids import DeviceKey
from mesh.sim.link import LinkModel
from mesh.sim.worker import DeviceModel, SimDevice
from mesh.sim.world import World


@dataclass(frozen=True, slots=True)
class NodeModel:
    """A node and the way to it.

    boot_us: from start to the first hello. prepare_us: from a session's opening until a device
    is ready for it. redial_us: from waking, or losing a link, to the next hello.
    """

    devices: tuple[DeviceModel, ...] = (DeviceModel(),)
    link: LinkModel = field(default_factory=LinkModel)
    boot_us: int = 800_000
    prepare_us: int = 100_000
    redial_us: int = 200_000


class SimNode:
    """Alive, asleep (SIGSTOP: silent, and nothing is lost) or dead (kill -9: all is lost)."""

    def __init__(self, name: str, model: NodeModel, world: World, policy: str) -> None:
        self.name = name
        self.model = model
        self.alive = True
        self.asleep = False
        self._held: list[Callable[[], None]] = []
        self._world = world
        costs = CostModel()
        self.devices = {
            key: SimDevice(key, device, world, costs=costs, gate=self.gate, policy=policy)
            for index, device in enumerate(model.devices)
            for key in [DeviceKey(name, str(index))]
        }

    def gate(self, does: Callable[[], None]) -> None:
        """Do something when awake: now, or on waking, in order; never once dead."""
        if not self.alive:
            return
        if self.asleep:
            self._held.append(does)
        else:
            does()

    def kill(self) -> None:
        """End the process, with everything in it."""
        self._world.note("kill", self.name)
        self.alive = self.asleep = False
        self._held.clear()
        for device in self.devices.values():
            device.boot()

    def start(self) -> None:
        """The process is back (its gateways hear of it by its next hello)."""
        self._world.note("start node", self.name)
        self.alive = True

    def stop(self) -> None:
        """Freeze the process."""
        self._world.note("stop", self.name)
        self.asleep = self.alive

    def resume(self) -> None:
        """Let it go on where it was."""
        self._world.note("resume", self.name)
        self.asleep = False
        held, self._held = self._held, []
        for does in held:
            self.gate(does)

    def slow(self, factor: float) -> None:
        """Every device takes `factor` times as long from its next piece on."""
        self._world.note("slow", self.name, factor)
        for device in self.devices.values():
            device.slow_down = factor
