"""Which datagrams the sockets of a WebRTC connection believe. Pure.

The ports are open to anybody who can send to them. What has not been shown to come from the
viewer must not reach what parses it: a stranger's DTLS record can end a handshake (RFC 8445 has
data go over valid pairs only; libwebrtc drops it too), and whatever arrives would count as a sign
of life. Who knows the ICE password, which travels with the offer, is believed.
"""

from __future__ import annotations

from collections.abc import Hashable

from aioice import stun

MAX_DATAGRAM = 2048  # more than any path's MTU that a browser uses
MAX_PATHS = 32  # with a check from the viewer on each; the longest silent one makes room
_STUN_HEADER = 20
_MAGIC_COOKIE = b"\x21\x12\xa4\x42"
_REQUEST, _RESPONSE, _ERROR = b"\x00\x01", b"\x01\x01", b"\x01\x11"  # of method Binding


class DatagramGate:
    """Lets in what may be the viewer's, by RFC 7983's first byte and by where it comes from.

    ufrag: our ICE user name fragment, with which every check of the viewer begins its USERNAME.
    A path is one of our sockets and a remote address on it.
    """

    def __init__(self, ufrag: str) -> None:
        self._username = f"{ufrag}:".encode()
        self._paths: dict[Hashable, None] = {}  # the last checked at the end
        self.dropped = 0

    def checked(self, path: Hashable) -> None:
        """A check that proves knowledge of our ICE password came along `path`."""
        self._paths.pop(path, None)
        self._paths[path] = None
        if len(self._paths) > MAX_PATHS:
            del self._paths[next(iter(self._paths))]

    def admits(self, datagram: bytes, path: Hashable) -> bool:
        """Whether to look at it at all."""
        believed = self._is_check(datagram) or (path in self._paths and is_data(datagram))
        self.dropped += not believed
        return believed

    def _is_check(self, datagram: bytes) -> bool:
        """Whether it has the form of STUN that concerns us; it is authenticated afterwards."""
        if not (_STUN_HEADER <= len(datagram) <= MAX_DATAGRAM) or datagram[4:8] != _MAGIC_COOKIE:
            return False
        if len(datagram) != _STUN_HEADER + int.from_bytes(datagram[2:4], "big"):
            return False
        kind = datagram[:2]
        ours = kind in (_RESPONSE, _ERROR) or (kind == _REQUEST and self._username in datagram)
        return ours and _can_be_read(datagram)


def _can_be_read(datagram: bytes) -> bool:
    """Whether aioice's parser, which would raise into the event loop, makes sense of it."""
    try:
        stun.parse_message(datagram)
    except Exception:  # it raises whatever its first surprise was
        return False
    return True


def is_data(datagram: bytes) -> bool:
    """Whether it may be DTLS, or RTP and RTCP."""
    if not 0 < len(datagram) <= MAX_DATAGRAM:
        return False
    first = datagram[0]
    return 20 <= first <= 63 or 128 <= first <= 191
