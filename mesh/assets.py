"""Assets a worker holds for its sessions: content-addressed, pinned while used, bounded.

Pure bookkeeping: fetching is the worker's, hashing is done by whoever calls `store`.
"""

from __future__ import annotations

from collections import OrderedDict

from mesh.core.errors import ContentRefused, ProtocolViolation
from mesh.core.workload import AssetId, Buffer, NodeId

_MOST_PARTIALS = 64  # kept when their senders are lost, whatever their size
_MOST_RANGES = 1024  # of one asset


class Partial:
    """An asset on its way in ranges: what came stays when the link breaks, and is not sent again.

    No byte is received twice, so that nothing can change what has been checked.
    """

    def __init__(self, nbytes: int) -> None:
        self.data = bytearray(nbytes)
        self._begun: dict[int, int] = {}  # ranges by their offset: where they end
        self._came: set[int] = set()

    def begin(self, offset: int, nbytes: int) -> memoryview:
        """Where to receive a range. Raises ProtocolViolation if part of it is there already."""
        end = offset + nbytes
        overlaps = any(
            offset < other_end and other < end for other, other_end in self._begun.items()
        )
        if overlaps or end > len(self.data) or len(self._begun) >= _MOST_RANGES:
            raise ProtocolViolation(
                what=f"bytes {offset} to {end} of an asset came",
                why=f"they are not among those of its {len(self.data)} that are to come, or come "
                f"in more than {_MOST_RANGES} ranges",
                fix="Send what AssetWanted asks for, each byte once; this link is closed.",
            )
        self._begun[offset] = end
        return memoryview(self.data)[offset:end]

    def end(self, offset: int) -> None:
        """The range that began there has come."""
        self._came.add(offset)

    @property
    def prefix(self) -> int:
        """How many bytes have come without a gap."""
        end = 0
        while end in self._came and self._begun[end] > end:
            end = self._begun[end]
        return end

    def broken(self) -> None:
        """The link is lost: what comes next begins at `prefix`."""
        prefix = self.prefix
        self._begun, self._came = ({0: prefix}, {0}) if prefix else ({}, set())


class AssetCache:
    """Bytes by digest under a quota; least recently used goes first, pinned never goes.

    Partials count from their first byte. They are by sender too: none may spoil another's.
    """

    def __init__(self, quota_bytes: int) -> None:
        self.quota_bytes = quota_bytes
        self.held_bytes = 0
        self._data: OrderedDict[AssetId, Buffer] = OrderedDict()
        self._partials: OrderedDict[tuple[NodeId, AssetId], Partial] = OrderedDict()
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
        """Evict what nobody pins until `size` more bytes fit, what is incomplete first.

        Raises ContentRefused if they cannot.
        """
        for sender, digest in [key for key in self._partials if key[1] not in self._pins]:
            if self.held_bytes + size <= self.quota_bytes:
                return
            self.drop_partial(sender, digest)
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

    # --- on their way ----------------------------------------------------------------------

    def partial(self, sender: NodeId, digest: AssetId) -> Partial | None:
        """What has come of an asset from that node; None if nothing has."""
        return self._partials.get((sender, digest))

    def begin_partial(self, sender: NodeId, digest: AssetId, size: int) -> Partial:
        """What has come, or an empty one. Raises ContentRefused if there is no room for it."""
        known = self._partials.get((sender, digest))
        if known is not None and len(known.data) == size:
            return known
        self.drop_partial(sender, digest)
        self.make_room(size)  # before a byte is received
        made = self._partials[sender, digest] = Partial(size)
        self.held_bytes += size
        return made

    def drop_partial(self, sender: NodeId, digest: AssetId) -> None:
        """It is complete, or worth nothing; unknown ones are ignored."""
        dropped = self._partials.pop((sender, digest), None)
        if dropped is not None:
            self.held_bytes -= len(dropped.data)

    def sender_lost(self, sender: NodeId) -> None:
        """Its link broke: keep what has come, the newest few of all that nobody waits for."""
        for (node, _), partial in self._partials.items():
            if node == sender:
                partial.broken()
        unpinned = [key for key in self._partials if key[1] not in self._pins]
        for key in unpinned[: max(0, len(unpinned) - _MOST_PARTIALS)]:
            self.drop_partial(*key)
