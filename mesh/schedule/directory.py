"""The devices that one gateway knows, by workload: to draw from by chance, and to compare.

A gateway may know ten thousand devices. Nothing here ever looks at all of them: adding, removing,
drawing and comparing one take constant time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from mesh.core.workload import NodeId
from mesh.schedule.cost import CostModel
from mesh.schedule.ids import DeviceKey

# Of a held device's time, what one session counts on: others hold it too, and the pieces of a
# frame come together.
SHARE_PER_SESSION: Final = 0.15
COLD: Final = 0.1  # of a device's time: what loading a workload anew is worth avoiding
_SMOOTH: Final = 0.1  # weight of the newest frame in a device's measured load
_TRIES: Final = 4  # draws per device wanted before a crowd of unfit ones is given up


@dataclass(slots=True)
class _Known:
    """What is known of a device's load. Most devices were never asked, and have no such entry."""

    ours: int = 0  # sessions of this gateway that hold it
    others: int = 0  # and of other gateways, as the device said
    busy: float = 0.0  # chance to find it at work, as frames found it
    warm: frozenset[str] = frozenset()  # workloads it has held for this gateway


class _Bag:
    """A set to draw from: a list, and where each member stands in it."""

    __slots__ = ("_at", "_members")

    def __init__(self) -> None:
        self._members: list[DeviceKey] = []
        self._at: dict[DeviceKey, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, device: DeviceKey) -> bool:
        return device in self._at

    def add(self, device: DeviceKey) -> None:
        if device not in self._at:
            self._at[device] = len(self._members)
            self._members.append(device)

    def discard(self, device: DeviceKey) -> None:
        at = self._at.pop(device, None)
        if at is None:
            return
        last = self._members.pop()
        if last != device:
            self._members[at] = last
            self._at[last] = at

    def members(self) -> list[DeviceKey]:
        return list(self._members)

    def draw(self, chance: Random) -> DeviceKey:
        return self._members[int(chance.random() * len(self._members))]


class Directory:
    """Devices by workload, and what is known of their load. One per gateway."""

    def __init__(self, costs: CostModel) -> None:
        """costs: says how far away a device's node is."""
        self._costs = costs
        self._bags: dict[str, _Bag] = {}
        self._known: dict[DeviceKey, _Known] = {}

    # --- who there is ------------------------------------------------------------------------

    def add(self, device: DeviceKey, workloads: Iterable[str]) -> None:
        """A device came, or changed what it serves."""
        serves = set(workloads)
        for workload in serves - self._bags.keys():
            self._bags[workload] = _Bag()
        for workload, bag in self._bags.items():
            if workload in serves:
                bag.add(device)
            else:
                bag.discard(device)

    def remove(self, device: DeviceKey) -> None:
        """A device is gone; so is what was known of its load."""
        for bag in self._bags.values():
            bag.discard(device)
        self._known.pop(device, None)

    def serves(self, device: DeviceKey, workload: str) -> bool:
        """Whether the device is known to serve the workload."""
        bag = self._bags.get(workload)
        return bag is not None and device in bag

    def count(self, workload: str) -> int:
        """How many devices serve the workload."""
        bag = self._bags.get(workload)
        return len(bag) if bag is not None else 0

    def all(self, workload: str) -> list[DeviceKey]:
        """Every device that serves the workload: for a mesh known to be small."""
        bag = self._bags.get(workload)
        return bag.members() if bag is not None else []

    def draw(
        self, workload: str, count: int, chance: Random, exclude: Iterable[DeviceKey] = ()
    ) -> list[DeviceKey]:
        """Up to `count` different devices, each as likely as any, none of `exclude`.

        Takes a number of steps in proportion to `count`, however many devices there are; fewer
        come where most of them are excluded.
        """
        bag = self._bags.get(workload)
        if not bag:
            return []
        unfit, drawn = set(exclude), []
        for _ in range(_TRIES * count):
            device = bag.draw(chance)
            if device not in unfit:
                unfit.add(device)
                drawn.append(device)
                if len(drawn) == count:
                    break
        return drawn

    # --- how busy they are -------------------------------------------------------------------

    def held(self, device: DeviceKey, workload: str) -> None:
        """A session of this gateway holds the device now."""
        known = self._known.setdefault(device, _Known())
        known.ours += 1
        known.warm |= {workload}

    def released(self, device: DeviceKey) -> None:
        """A session of this gateway has let go of the device."""
        known = self._known.get(device)
        if known is not None:
            known.ours = max(0, known.ours - 1)

    def said(self, device: DeviceKey, sessions: int) -> None:
        """The device said how many sessions it holds, of all gateways."""
        known = self._known.setdefault(device, _Known())
        known.others = max(0, sessions - known.ours)

    def found(self, device: DeviceKey, *, busy: bool) -> None:
        """A frame's first piece on the device had to wait there, or had not.

        How often it does estimates the device's utilisation (R. W. Wolff, "Poisson arrivals see
        time averages", Operations Research 30(2), 1982), as far as frames come at odd times.
        """
        known = self._known.get(device)
        if known is not None:
            known.busy += _SMOOTH * (busy - known.busy)

    def load(self, device: DeviceKey) -> float:
        """Share of the device's time that is taken: as promised to sessions, or found taken."""
        known = self._known.get(device)
        if known is None:
            return 0.0
        return max(SHARE_PER_SESSION * (known.ours + known.others), known.busy)

    def rtt_us(self, node: NodeId) -> float:
        """There and back to a node, as measured."""
        return self._costs.link(node).rtt_us

    def price(self, device: DeviceKey, workload: str, budget_us: int) -> float:
        """What speaks against the device: its load, its distance, that it is cold; lower is better.

        budget_us: a frame's; what the way there and back takes of it cannot be worked in.
        """
        known = self._known.get(device)
        cold = known is None or workload not in known.warm
        return self.load(device) + self.rtt_us(device.node) / budget_us + COLD * cold
