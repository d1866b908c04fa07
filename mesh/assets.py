"""Assets a worker holds for its sessions: content-addressed, pinned while used, bounded.

Pure bookkeeping: fetching is the worker's, hashing is done by whoever calls `store`.
"""

from __future__ import annotations

from collections import OrderedDict

from mesh.core.errors import ContentRefused
from mesh.core.workload import AssetId, Buffer


class AssetCache:
    """Bytes by digest under a quota; least recently used goes first, pinned never goes."""

    def __init__(self, quota_bytes: int) -> None:
        self.quota_bytes = quota_bytes
        self.held_bytes = 0
        self._data: OrderedDict[AssetId, Buffer] = OrderedDict()
        self._pins: dict[AssetId, int] = {}

    def __contains__(self, digest: AssetId) -> bool:
        return digest in self._data

    def get(self, digest: AssetId) -> Buffer:
        """The bytes of a held asset. Raises KeyError."""
        self._data.move_to_end(digest)
        return self._data[digest]

    def pin(self, digest: AssetId) -> None:
        """Keep `digest` (held or still to come) until as many `unpin` calls."""
        self._pins[digest] = self._pins.get(digest, 0) + 1

    def unpin(self, digest: AssetId) -> None:
        """Undo one `pin`."""
        left = self._pins[digest] - 1
        if left:
            self._pins[digest] = left
        else:
            del self._pins[digest]

    def make_room(self, size: int) -> None:
        """Evict what nobody pins until `size` more bytes fit. Raises ContentRefused if they cannot.

        Called before a body is received, so that the quota also bounds what is in flight.
        """
        for digest in [d for d in self._data if d not in self._pins]:
            if self.held_bytes + size <= self.quota_bytes:
                return
            self.held_bytes -= len(self._data.pop(digest))
        if self.held_bytes + size > self.quota_bytes:
            raise ContentRefused(
                what="the asset does not fit",
                why=f"{size} bytes asked, {self.quota_bytes - self.held_bytes} of "
                f"{self.quota_bytes} left beside what open sessions use",
                fix="Close a session, use a smaller scene or model, or raise the asset quota.",
            )

    def store(self, digest: AssetId, data: Buffer) -> None:
        """Hold verified bytes."""
        if digest not in self._data:
            self.make_room(len(data))
            self._data[digest] = data
            self.held_bytes += len(data)
