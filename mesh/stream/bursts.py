"""Datagrams that leave together: one system call for many (Linux's UDP segmentation offload).

The kernel cuts one large send into datagrams of one size (UDP_SEGMENT, udp(7)), the last of which
may be shorter. A picture's packets are nearly all of one size.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

MAX_SEGMENTS = 64  # the kernel's UDP_MAX_SEGMENTS of old; newer ones take 128
MAX_BYTES = 65_000  # of one send, headers aside
_UDP_SEGMENT = 103  # linux/udp.h


def runs(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The datagrams in their order, cut where one send cannot hold them."""
    begin = 0
    while begin < len(datagrams):
        size = len(datagrams[begin])
        most = min(MAX_SEGMENTS, max(1, MAX_BYTES // max(size, 1)))
        end = begin + 1
        while end < len(datagrams) and end - begin < most and len(datagrams[end]) <= size:
            end += 1
            if len(datagrams[end - 1]) < size:
                break
        yield datagrams[begin:end]
        begin = end


class BurstSocket:
    """A second handle of an open UDP socket. Never blocks."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._segments = True  # until the kernel, or a device on the way, refuses

    def send(self, datagrams: Sequence[bytes], address: Any) -> int:
        """Send as many as go now; how many, from the first. The others are the caller's."""
        sent = 0
        for run in runs(datagrams):
            if not self._send_run(run, address):
                break
            sent += len(run)
        return sent

    def close(self) -> None:
        """Close this handle; the socket stays open for its owner."""
        self._socket.close()

    def _send_run(self, run: Sequence[bytes], address: Any) -> bool:
        together = len(run) > 1
        if together and not self._segments:
            return False
        options = [_cut_to(len(run[0]))] if together else []
        try:
            self._socket.sendmsg([b"".join(run)], options, socket.MSG_DONTWAIT, address)
        except BlockingIOError:
            return False
        except OSError:
            self._segments = self._segments and not together
            return False
        return True


def _cut_to(size: int) -> tuple[int, int, bytes]:
    return socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", size)
