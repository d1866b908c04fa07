"""How long a piece may be, so that it does not block those with less time. Pure.

A device never interrupts a piece. A frame that comes while a device runs a piece of a later
deadline therefore waits for the rest of it, however urgent it is: priority inversion, once on each
device, of at most the longest such piece. Only a session with a longer deadline can do that to it
(Jeffay, Stanat and Martel, "On non-preemptive scheduling of periodic and sporadic tasks", RTSS
1991, theorem 4.1): what runs for one with a shorter deadline was ahead of it by right. So

* the pieces of a session are bounded by the tightest deadline among those it shares a device with,
  if that is tighter than its own: to a third of it, which leaves the blocked frame two thirds;
* a session that is alone, or has the tightest deadline itself, is cut into as few pieces as its
  devices want: each one more costs something (`PIECE_US` in mesh.schedule.cut).

Known are the sessions of one gateway. Those of others meet in the devices' queues uncut.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mesh.schedule.ids import DeviceKey

SHARE: Final = 3  # of the tightest deadline, one such part may pass with waiting for one piece
LEAST_US: Final = 2_000  # a shorter piece costs as much to send and merge as to make


def longest_us(deadline_us: int, tightest_us: int) -> int:
    """Longest piece of a session with `deadline_us`, beside one that has `tightest_us`; 0: any."""
    if tightest_us >= deadline_us:
        return 0
    return max(tightest_us // SHARE, LEAST_US)


class Quanta:
    """The deadlines of a gateway's sessions, by device."""

    def __init__(self) -> None:
        self._pools: dict[str, tuple[DeviceKey, ...]] = {}
        self._deadlines_us: dict[DeviceKey, dict[str, int]] = {}  # by session
        self._tightest_us: dict[DeviceKey, int] = {}

    def hold(self, session: str, deadline_us: int, devices: Collection[DeviceKey]) -> None:
        """A session holds exactly these devices from now on.

        deadline_us: from a frame's opening until its last piece must be there.
        """
        self.drop(session)
        self._pools[session] = tuple(devices)
        for device in devices:
            self._deadlines_us.setdefault(device, {})[session] = deadline_us
            self._tightest_us[device] = min(self._deadlines_us[device].values())

    def drop(self, session: str) -> None:
        """A session ended, or lets go of all its devices; unknown ones are ignored."""
        for device in self._pools.pop(session, ()):
            deadlines_us = self._deadlines_us[device]
            del deadlines_us[session]
            if deadlines_us:
                self._tightest_us[device] = min(deadlines_us.values())
            else:
                del self._deadlines_us[device], self._tightest_us[device]

    def quantum_us(self, session: str, deadline_us: int) -> int:
        """The longest piece that the session should cut now; 0 for no bound."""
        devices = self._pools.get(session, ())
        tightest_us = min((self._tightest_us[device] for device in devices), default=deadline_us)
        return longest_us(deadline_us, tightest_us)
