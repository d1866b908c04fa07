"""What gateway and worker speak through: a link to another node, or the node's own two halves.

A node that is both gateway and worker serves itself through a `LocalChannel`, so that neither
half knows whether its counterpart is near: one road, tested once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from mesh.core.wire import Message
from mesh.core.workload import Buffer, NodeId
from mesh.link.transport import Link


class Channel(Protocol):
    """One direction-agnostic pipe of wire messages to a node whose membership was checked."""

    @property
    def node(self) -> NodeId:
        """Who is at the other end."""
        ...

    def to_local_us(self, remote_us: int) -> int:
        """An instant of the other end's clock on ours, by the link's measured offset."""
        ...

    @property
    def error_us(self) -> int:
        """Half-width of the offset's uncertainty."""
        ...

    @property
    def may_break(self) -> bool:
        """Whether it may be lost while a message is under way."""
        ...

    def send(
        self,
        message: Message,
        body: Buffer = b"",
        *,
        due_us: int = 0,
        sent: Callable[[], None] | None = None,
    ) -> None:
        """Queue a message; never blocks. `sent` is called once `body` may be recycled."""
        ...


class Endpoint(Protocol):
    """What receives from a channel: a gateway's or a worker's half."""

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview | None:
        """Where a body should be received; None to discard it."""
        ...

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        """One complete message. `body` is valid only during the call unless it is the buffer
        that `body_buffer` returned.
        """
        ...


class LinkChannel:
    """A channel over an authenticated link."""

    may_break = True

    def __init__(self, link: Link) -> None:
        self.link = link
        self.node: NodeId = link.peer.node_id

    def to_local_us(self, remote_us: int) -> int:
        """See Channel."""
        return self.link.clock.to_local_us(remote_us)

    @property
    def error_us(self) -> int:
        """See Channel."""
        return self.link.clock.error_us

    def send(
        self,
        message: Message,
        body: Buffer = b"",
        *,
        due_us: int = 0,
        sent: Callable[[], None] | None = None,
    ) -> None:
        """See Channel."""
        self.link.send(message, body, due_us=due_us, sent=sent)


class LocalChannel:
    """One end of a node's channel to itself; `pair` makes both."""

    error_us = 0
    may_break = False

    def __init__(self, node: NodeId) -> None:
        self.node = node
        self._other: LocalChannel | None = None
        self._endpoint: Endpoint | None = None

    @classmethod
    def pair(
        cls, node: NodeId, first: Endpoint, second: Endpoint
    ) -> tuple[LocalChannel, LocalChannel]:
        """(the end `first` sends on, the end `second` sends on)."""
        one, two = cls(node), cls(node)
        one._other, two._other = two, one
        one._endpoint, two._endpoint = first, second
        return one, two

    def to_local_us(self, remote_us: int) -> int:
        """See Channel: one node, one clock."""
        return remote_us

    def send(
        self,
        message: Message,
        body: Buffer = b"",
        *,
        due_us: int = 0,
        sent: Callable[[], None] | None = None,
    ) -> None:
        """See Channel. Delivered in the loop's next turn, never from inside the sender."""
        asyncio.get_running_loop().call_soon(self._deliver, message, body, sent)

    def _deliver(self, message: Message, body: Buffer, sent: Callable[[], None] | None) -> None:
        assert self._other is not None and self._other._endpoint is not None
        self._other._endpoint.received(self._other, message, memoryview(body))
        if sent is not None:
            sent()
