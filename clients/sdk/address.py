"""The address a gateway's page has: http://host:port/?option=value#token=TOKEN. Pure."""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from mesh.core.errors import ConfigError

Option: TypeAlias = int | float | str

_PAGES_OWN = {"overlay"}  # options that mean something to the page alone


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway is, what opens it, and what its page would ask for."""

    base: str  # "http://host:port", no slash at the end
    host: str
    token: str = field(repr=False)
    workload: str | None
    options: Mapping[str, Option]
    session: str = ""  # a running one to join

    @property
    def on_this_machine(self) -> bool:
        """Whether the host is a loopback address, or its name."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_address(url: str, token: str = "") -> Address:
    """Take a page's address apart. token: used instead of the one in the address.

    Raises ConfigError if it is none, or holds no token and none is given.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is checked when it is asked for
        options = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as problem:
        raise _unusable(url, str(problem)) from problem
    if parts.scheme not in ("http", "https") or not host:
        raise _unusable(url, "it does not begin with http://HOST")
    token = token or urllib.parse.parse_qs(parts.fragment).get("token", [""])[0]
    if not token:
        raise ConfigError(
            what=f"no token for {parts.scheme}://{parts.netloc}",
            why="the address does not end in #token=..., and none was given beside it",
            fix="Use the whole address that the gateway's owner gave, or pass token=TOKEN"
            " (`framemesh realm token` makes one).",
        )
    workload, session = options.pop("workload", None), options.pop("session", "")
    return Address(
        base=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        host=host,
        token=token,
        workload=workload,
        options={n: option_value(v) for n, v in options.items() if n not in _PAGES_OWN},
        session=session,
    )


def option_value(text: str) -> Option:
    """A number if it is written as JSON writes one, else the text: as gateways read queries."""
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.DecodeError:
        return text


def _unusable(url: str, why: str) -> ConfigError:
    shown = url.partition("#")[0][:200]  # never the token
    return ConfigError(
        what=f"'{shown}' is no gateway's address",
        why=why,
        fix="Give what `framemesh demo` prints: http://HOST:PORT/#token=TOKEN.",
    )
