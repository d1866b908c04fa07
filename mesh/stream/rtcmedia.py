"""What mesh.stream.rtc puts beside aiortc: a track that is silent, and a way out for packets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiortc import MediaStreamTrack, RTCDtlsTransport
from aiortc.mediastreams import MediaStreamError

from mesh.stream.bursts import BurstSocket

_COMPONENT = 1  # of ICE: RTP and RTCP share it


class SilentTrack(MediaStreamTrack):
    """A track for aiortc to negotiate. Pictures go past it (mesh.stream.sending)."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def recv(self) -> Any:
        """Nothing. Raises MediaStreamError when the track has ended."""
        await self._ended
        raise MediaStreamError

    def stop(self) -> None:
        """End the track."""
        super().stop()
        if not self._ended.done():
            self._ended.set_result(None)


class Outlet:
    """A connection's way out for RTP packets: encrypted, many in one system call.

    aiortc's own takes three coroutines and a system call for each packet.
    """

    def __init__(self, transport: RTCDtlsTransport) -> None:
        self._transport = transport
        self._socket: tuple[Any, BurstSocket | None] = (None, None)  # whose, and its handle

    def send(self, packets: Sequence[bytes]) -> None:
        """Send in this order. What the connection cannot take now is lost, as any packet may be."""
        pair = self._transport.transport._connection._nominated.get(_COMPONENT)
        if pair is None or self._transport.state != "connected":
            return
        protect = self._transport._tx_srtp.protect
        owner, address = pair.protocol.transport, pair.remote_addr
        socket = self._burst_socket(owner)
        datagrams = [protect(packet) for packet in packets]
        sent = socket.send(datagrams, address) if socket is not None else 0
        for datagram in datagrams[sent:]:
            owner.sendto(datagram, address)

    def close(self) -> None:
        """Let go of the socket. Idempotent."""
        _, socket = self._socket
        if socket is not None:
            socket.close()
        self._socket = (None, None)

    def _burst_socket(self, owner: Any) -> BurstSocket | None:
        """A handle of the pair's socket; None where a TURN server is between."""
        if self._socket[0] is not owner:
            self.close()
            inner = owner.get_extra_info("socket")
            self._socket = (owner, BurstSocket(inner.fileno()) if inner is not None else None)
        return self._socket[1]
