"""The process that impairs: it moves packets between sockets, or TUN devices, when they are due.

`python -m bench.impair.process LINK [NEAR FAR]`, LINK as JSON (bench.impair.line.Link), NEAR and
FAR two namespaces to join. It answers one JSON line on stdout for each on stdin, and ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import heapq
import itertools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from bench.impair.line import LineModel, Link
from bench.impair.relay import FAR_ADDRESS, LOOPBACK, NEAR_ADDRESS, TUN

UDP_HEADERS = 28  # IPv4 and UDP: they take up the bottleneck too
READ_AT_ONCE = 8  # packets of one socket before those that are due get their turn
SOCKET_BYTES = 4 << 20
MAX_CLIENTS = 256
LATE_US = 1_000
MTU = 1500
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000

Send = Callable[[bytes], Any]


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Mover:
    """Reads packets, asks the lines when they arrive, and hands them on at that time."""

    def __init__(self, link: Link) -> None:
        origin_us = now_us()
        self.down = LineModel(link.down, f"{link.seed} down", origin_us)
        self.up = LineModel(link.up, f"{link.seed} up", origin_us)
        self._due: list[tuple[int, int, LineModel, Send, bytes]] = []
        self._order = itertools.count()
        self._readers: dict[int, Callable[[], None]] = {}

    def add(self, descriptor: int, read: Callable[[], None]) -> None:
        """Call `read` whenever the non-blocking descriptor has something."""
        self._readers[descriptor] = read

    def push(self, line: LineModel, data: bytes, nbytes: int, send: Send) -> None:
        """A packet came for `line`."""
        at_us = line.arrival_us(nbytes, now_us())
        if at_us is not None:
            heapq.heappush(self._due, (at_us, next(self._order), line, send, data))

    def run(self) -> None:
        """Until a reader raises EOFError."""
        while True:
            self._send_due()
            wait_s = max(0, self._due[0][0] - now_us()) / 1e6 if self._due else None
            # `select` waits to the microsecond, `poll` and `epoll` to the millisecond.
            ready, _, _ = select.select(self._readers, (), (), wait_s)
            for descriptor in ready:
                try:
                    self._readers[descriptor]()
                except EOFError:
                    return

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= (at_us := now_us()):
            due_us, _, line, send, data = heapq.heappop(self._due)
            line.counts.late_us_max = max(line.counts.late_us_max, at_us - due_us)
            line.counts.late += at_us - due_us > LATE_US
            # Whoever left, or has a full buffer, loses the packet, as on any network.
            with contextlib.suppress(OSError):
                send(data)


class Port:
    """A UDP port in front of a server; each client gets a socket of its own towards it."""

    def __init__(self, mover: Mover, server: tuple[str, int]) -> None:
        self._mover, self._server = mover, server
        self._near = _udp_socket()
        self._far: dict[tuple[str, int], socket.socket] = {}
        self.number = int(self._near.getsockname()[1])
        mover.add(self._near.fileno(), self._read_near)

    def _read_near(self) -> None:
        for _ in range(READ_AT_ONCE):
            try:
                data, client = self._near.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:  # a client that left: its port is unreachable
                continue
            if client not in self._far:
                if len(self._far) >= MAX_CLIENTS:
                    continue
                self._far[client] = self._open_far(client)
            size = len(data) + UDP_HEADERS
            self._mover.push(self._mover.up, data, size, self._far[client].send)

    def _open_far(self, client: tuple[str, int]) -> socket.socket:
        far = _udp_socket(LOOPBACK if self._server[0] == LOOPBACK else "")
        far.connect(self._server)

        def send(data: bytes) -> None:
            self._near.sendto(data, client)

        def read() -> None:
            for _ in range(READ_AT_ONCE):
                try:
                    data = far.recv(65536)
                except BlockingIOError:
                    return
                except OSError:
                    continue
                self._mover.push(self._mover.down, data, len(data) + UDP_HEADERS, send)

        self._mover.add(far.fileno(), read)
        return far


def _udp_socket(host: str = LOOPBACK) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
    made.setblocking(False)
    made.bind((host, 0))
    return made


class Control:
    """The benchmark's questions on stdin."""

    def __init__(self, mover: Mover) -> None:
        self._mover = mover
        self._text = b""
        mover.add(sys.stdin.fileno(), self._read)

    def _read(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            raise EOFError
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            print(json.dumps(self._answer(json.loads(line))), flush=True)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked["call"]:
            case "open":
                return {"port": Port(self._mover, (asked["host"], asked["port"])).number}
            case "start":
                origin_us = now_us()
                for line in (self._mover.down, self._mover.up):
                    line.start(origin_us)
            case "counts":
                lines = {"down": self._mover.down, "up": self._mover.up}
                return {name: asdict(line.counts) for name, line in lines.items()}
        return {}


# --- namespaces -----------------------------------------------------------------------------------


def join(mover: Mover, near: str, far: str) -> None:
    """A TUN device in each namespace, and the lines between them."""
    near_tun, far_tun = _open_tun(near, NEAR_ADDRESS), _open_tun(far, FAR_ADDRESS)
    _move(mover, mover.up, near_tun, far_tun)
    _move(mover, mover.down, far_tun, near_tun)


def _move(mover: Mover, line: LineModel, source: int, target: int) -> None:
    def send(data: bytes) -> None:
        os.write(target, data)

    def read() -> None:
        for _ in range(READ_AT_ONCE):
            try:
                data = os.read(source, 65536)
            except BlockingIOError:
                return
            mover.push(line, data, len(data), send)

    mover.add(source, read)


def _open_tun(space: str, address: str) -> int:
    """A packet device (no Ethernet) named wan0 in a namespace, up, with that address."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{space}", os.O_RDONLY)
    try:
        _enter(libc, there)
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"wan0", IFF_TUN | IFF_NO_PI))
    finally:
        _enter(libc, home)
        os.close(there)
        os.close(home)
    for words in (
        ["addr", "add", f"{address}/24", "dev", "wan0"],
        ["link", "set", "wan0", "mtu", str(MTU), "txqueuelen", "5000", "up"],
    ):
        subprocess.run(["ip", "-n", space, *words], check=True)
    return device


def _enter(libc: ctypes.CDLL, space: int) -> None:
    if libc.setns(space, CLONE_NEWNET):
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))


def main(words: Sequence[str]) -> None:
    # What is late here would count as the network's lateness: go before whoever computes.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    mover = Mover(Link.from_json(json.loads(words[0])))
    if words[1:]:
        join(mover, *words[1:])
    Control(mover)
    gc.freeze()
    gc.disable()  # nothing here makes cycles
    mover.run()


if __name__ == "__main__":
    main(sys.argv[1:])
