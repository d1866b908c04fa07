"""Networks behind NATs of every kind, out of network namespaces: real kernels, real TCP.

A public network 203.0.113.0/24 (RFC 5737) is a bridge in a namespace of its own. Hosts are on it,
or in networks of their own behind a NAT that is. The kinds are those of RFC 3489 (5), as they are
mostly called; all of them keep the port where they can, but the symmetric one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from contextlib import ExitStack
from typing import Literal

_numbers = itertools.count()
Nat = Literal["full cone", "address restricted", "port restricted", "symmetric"]

# What a NAT lets in beside answers: from anybody, from whom the host has written to, from nobody.
_LETS_IN = {
    "full cone": "iifname wan tcp dport 1024-65535 dnat to {host}",
    "address restricted": "iifname wan ip saddr @spoken tcp dport 1024-65535 dnat to {host}",
    "port restricted": "",
    "symmetric": "",
}
_RULES = """
table ip nat {{
  set spoken {{ type ipv4_addr; flags dynamic, timeout; timeout 5m; }}
  chain in {{
    type nat hook prerouting priority -100;
    {lets_in}
  }}
  chain out {{
    type nat hook postrouting priority 100;
    oifname wan masquerade {how}
  }}
  chain note {{
    type filter hook forward priority -10;
    oifname wan update @spoken {{ ip daddr }}
  }}
}}
table ip guard {{
  chain self {{
    type filter hook input priority 0;
    iifname wan ct state new drop
  }}
  chain pass {{
    type filter hook forward priority 0;
    iifname wan ct status dnat accept
    iifname wan ct state new drop
  }}
}}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Lab:
    """Namespaces by role; all of them go with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._hosts = itertools.count(2)
        self._lans = itertools.count(1)
        self._subnets = itertools.count(1)
        self._routers: dict[str, tuple[str, str]] = {}  # of hosts behind NATs, and their addresses
        self._core = self._namespace("core")
        ip("-n", self._core, "link", "add", "net", "type", "bridge")
        ip("-n", self._core, "link", "set", "net", "up")

    def close(self) -> None:
        self._stack.close()

    def public(self) -> tuple[str, str]:
        """A host on the public network: its namespace and address."""
        name = self._namespace("pub")
        return name, self._plug(name, "eth0")

    def inside(self, host: str) -> str:
        """A namespace for a machine behind a host that will route for it; see `route_inside`."""
        return self._namespace(f"in-{host[-2:]}")

    def route_inside(self, host: str, inner: str, *, near: str, far: str) -> None:
        """Let `inner`, at `near`, reach all that `host` reaches: they are joined, at `near` and
        `far`, by a line of the caller's.
        """
        ip("-n", inner, "route", "add", "default", "via", far)
        run(host, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        router, address = self._routers[host]
        ip("-n", router, "route", "add", near, "via", address)

    def routed(self) -> tuple[str, str]:
        """A host in a /24 of its own (RFC 2544) that is routed to all others, without multicast."""
        number, name = next(self._subnets), self._namespace("far")
        port = f"far{number}"
        run(self._core, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        ip("-n", self._core, "link", "add", port, "type", "veth", "peer", "eth0", "netns", name)
        for where, device, last in ((self._core, port, 1), (name, "eth0", 2)):
            address = f"198.18.{number}.{last}/24"
            ip("-n", where, "address", "add", address, "dev", device)
            ip("-n", where, "link", "set", device, "up")
        ip("-n", name, "route", "add", "default", "via", f"198.18.{number}.1")
        return name, f"198.18.{number}.2"

    def crowd(self, subnets: int, each: int) -> tuple[str, list[str]]:
        """One host with so many addresses in each of so many routed networks; see `routed`."""
        name, gateway = self.routed()
        addresses = []
        for _ in range(subnets):
            number = next(self._subnets)
            ip("-n", self._core, "route", "add", f"198.18.{number}.0/24", "via", gateway)
            for last in range(1, each + 1):
                addresses.append(f"198.18.{number}.{last}")
        lines = "".join(f"address add {address}/32 dev lo\n" for address in addresses)
        run(name, "ip", "-batch", "-", given=lines)
        return name, addresses

    def behind(self, kind: Nat) -> tuple[str, str]:
        """A host in a network of its own behind a NAT: its namespace, and the NAT's address."""
        number = next(self._lans)
        router, host = self._namespace("nat"), self._namespace("lan")
        outside = self._plug(router, "wan")
        ip("-n", router, "link", "add", "lan", "type", "veth", "peer", "eth0", "netns", host)
        inside, address = f"10.88.{number}.1", f"10.88.{number}.2"
        for where, device, own in ((router, "lan", inside), (host, "eth0", address)):
            ip("-n", where, "address", "add", f"{own}/24", "dev", device)
            ip("-n", where, "link", "set", device, "up")
        ip("-n", host, "route", "add", "default", "via", inside)
        run(router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        how = "fully-random" if kind == "symmetric" else ""
        rules = _RULES.format(lets_in=_LETS_IN[kind].format(host=address), how=how)
        run(router, "nft", "-f", "-", given=rules)
        self._routers[host] = router, address
        return host, outside

    def _plug(self, name: str, device: str) -> str:
        """Join a namespace to the public network."""
        number = next(self._hosts)
        port = f"port{number}"
        ip("-n", self._core, "link", "add", port, "type", "veth", "peer", device, "netns", name)
        ip("-n", self._core, "link", "set", port, "master", "net", "up")
        ip("-n", name, "address", "add", f"203.0.113.{number}/24", "dev", device)
        ip("-n", name, "link", "set", device, "up")
        return f"203.0.113.{number}"

    def _namespace(self, kind: str) -> str:
        name = f"fm-{kind}-{os.getpid()}-{next(_numbers)}"
        ip("netns", "add", name)
        self._stack.callback(ip, "netns", "delete", name)
        ip("-n", name, "link", "set", "lo", "up")
        return name


def run(namespace: str, *words: str, given: str = "") -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *words],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
