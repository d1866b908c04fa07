"""The node's TOML configuration: one frozen type per table, unknown keys refused.

docs/configuration.md describes every field; a test holds the two against each other.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from mesh.core.errors import ConfigError
from mesh.core.turn import IceServer

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
Role: TypeAlias = Literal["gateway", "worker", "relay"]


def default_state_dir() -> Path:
    """Where keys and memberships live: $XDG_DATA_HOME/framemesh, by default in ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "framemesh"


def default_cache_dir() -> Path:
    """Where drivers keep compiled shaders: $XDG_CACHE_HOME/framemesh, by default in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "framemesh"


class LinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[link]: where other nodes reach this one."""

    host: str = "0.0.0.0"  # noqa: S104  every link is mutually authenticated; a LAN mesh listens
    port: Port = 0  # 0: any free port; the advert carries the real one
    ping_ms: Annotated[int, Meta(ge=10, le=10_000)] = 100
    silent_ms: Annotated[int, Meta(ge=50, le=60_000)] = 400
    # Peers to dial without discovery, "host:port" each.
    peers: tuple[str, ...] = ()


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[http]: signalling and the browser page, on gateways."""

    host: str = "127.0.0.1"
    port: Port = 8080


class DeviceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[device]: limits of each device process."""

    memory_mb: Annotated[int, Meta(ge=256, le=1_048_576)] = 8192
    # Longest a piece may hold a device before its process is killed and replaced.
    kill_ms: Annotated[int, Meta(ge=50, le=600_000)] = 1000
    # Physical units to use, by name as `framemesh devices` prints them; empty: all that are found.
    only: tuple[str, ...] = ()
    queue: Literal["edf", "fifo"] = "edf"
    # What devices that are programs (mesh.core.workload.PROGRAM_API) may start: absolute paths.
    programs: tuple[str, ...] = ()


# Scheme, host and port, as in RFC 6454.
Origin: TypeAlias = Annotated[str, Meta(pattern=r"\Ahttps?://[A-Za-z0-9.:\[\]-]{1,253}\Z")]


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[gateway]: what a gateway admits."""

    max_sessions: Annotated[int, Meta(ge=1, le=1024)] = 16
    # STUN and TURN servers that viewers may use to reach this gateway.
    ice_servers: Annotated[tuple[IceServer, ...], Meta(max_length=8)] = ()
    # The realm's other gateways, as browsers reach them: where sessions go on if this one ends.
    others: Annotated[tuple[Origin, ...], Meta(max_length=8)] = ()


class RelayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[relay]: what a relay passes on for members that cannot reach each other."""

    port: Port = 0  # TCP; 0: any, for members are told
    max_pairs: Annotated[int, Meta(ge=1, le=4096)] = 64
    mbit_per_s: Annotated[float, Meta(gt=0, le=100_000)] = 200.0  # each way of each pair


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    name: Annotated[str, Meta(min_length=1, max_length=32, pattern="^[a-z0-9-]+$")] = "node"
    roles: Annotated[tuple[Role, ...], Meta(min_length=1, max_length=3)] = ("gateway", "worker")
    state_dir: str = ""
    # Where this node is, in its owner's words: tokens may be for one region only.
    region: Annotated[str, Meta(max_length=32)] = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    link: LinkConfig = LinkConfig()
    http: HttpConfig = HttpConfig()
    device: DeviceConfig = DeviceConfig()
    gateway: GatewayConfig = GatewayConfig()
    relay: RelayConfig = RelayConfig()
    # One table per plug-in, read by the plug-in: [workloads.render], [discovery.mdns].
    workloads: dict[str, dict[str, Any]] = msgspec.field(
        default_factory=lambda: {"render": {}, "infer": {}}
    )
    discovery: dict[str, dict[str, Any]] = msgspec.field(default_factory=lambda: {"mdns": {}})

    @property
    def state(self) -> Path:
        """The state directory, resolved."""
        return Path(self.state_dir).expanduser() if self.state_dir else default_state_dir()


def read_config(path: Path | None) -> NodeConfig:
    """The configuration in `path`, or the defaults for None. Raises ConfigError."""
    if path is None:
        return NodeConfig()
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), NodeConfig)
    except OSError as problem:
        raise ConfigError(
            what=f"cannot read {path}",
            why=problem.strerror or str(problem),
            fix="Give --config the path of a readable TOML file.",
        ) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(
            what=f"{path} is not TOML", why=str(problem), fix="Correct the line it names."
        ) from problem
    except msgspec.ValidationError as problem:
        raise ConfigError(
            what=f"{path} is not a framemesh configuration",
            why=str(problem),
            fix="docs/configuration.md lists every key with its type and default.",
        ) from problem
