"""What a user wants to know of: nodes, their faults, and classes of sessions, as a TOML file.

docs/simulate.md explains every key. Nothing here is believed before it is bounded: a scenario that
would run for hours is refused before it starts.
"""

from __future__ import annotations

import tomllib
from math import ceil
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from mesh.core.errors import ConfigError
from mesh.core.workload import Contract, Criticality
from mesh.schedule.cut import MAX_PIECES as MOST_CUT
from mesh.schedule.quantum import longest_us
from mesh.sim.gateway import SessionModel
from mesh.sim.link import LinkModel
from mesh.sim.node import NodeModel
from mesh.sim.worker import DeviceModel

MAX_TEXT: Final = 64 * 1024
MAX_NODES: Final = 20_000
MAX_SESSIONS: Final = 10_000
MAX_PIECES: Final = 20_000_000  # of the whole run; an hour or so of computing

_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=32, pattern="^[a-z0-9-]+$")]
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_NODES)]
_Share: TypeAlias = Annotated[float, Meta(ge=0.0, le=0.5)]
_Factor: TypeAlias = Annotated[float, Meta(ge=1.0, le=100.0)]
_Ms: TypeAlias = Annotated[float, Meta(ge=0.0, le=60_000.0)]
_Seconds: TypeAlias = Annotated[float, Meta(ge=0.0, le=3_600.0)]
_Bytes: TypeAlias = Annotated[int, Meta(ge=0, le=64 * 1024 * 1024)]


class NodeClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[nodes]]: so many alike."""

    name: _Name
    count: Annotated[int, Meta(ge=1, le=MAX_NODES)]
    devices: Annotated[int, Meta(ge=1, le=16)] = 1
    speed: Annotated[float, Meta(gt=0.0, le=1_000.0)] = 1.0
    noise: _Share = 0.05
    stall: _Share = 0.0
    stall_factor: _Factor = 10.0
    first_ms: _Ms = 0.0
    prepare_ms: _Ms = 100.0
    rtt_ms: _Ms = 0.4
    jitter_ms: _Ms = 0.05
    loss: _Share = 0.0
    mbit_per_s: Annotated[float, Meta(gt=0.0, le=1e6)] = 1_000.0
    slows_to: _Factor = 1.0
    slow_after_s: _Seconds = 0.0
    deaths_per_hour: Annotated[float, Meta(ge=0.0, le=3_600.0)] = 0.0
    back_after_s: _Seconds = 20.0

    def model(self) -> NodeModel:
        """One such node. A unit of work is a millisecond at speed 1."""
        device = DeviceModel(
            us_per_unit=1_000.0 / self.speed,
            noise=self.noise,
            stall=self.stall,
            stall_factor=self.stall_factor,
            warm_up_us=_us(self.first_ms),
        )
        link = LinkModel(
            delay_us=_us(self.rtt_ms / 2),
            jitter_us=_us(self.jitter_ms),
            loss=self.loss,
            bytes_per_s=self.mbit_per_s * 1e6 / 8,
        )
        return NodeModel((device,) * self.devices, link, prepare_us=_us(self.prepare_ms))


class SessionClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[sessions]]: so many alike. Work and bytes are a whole frame's."""

    name: _Name
    count: _Count
    period_ms: Annotated[float, Meta(ge=1.0, le=60_000.0)]
    deadline_ms: Annotated[float, Meta(ge=1.0, le=60_000.0)]
    work_ms: Annotated[float, Meta(gt=0.0, le=60_000.0)]
    pieces: Annotated[int, Meta(ge=1, le=256)] = 1
    varies: _Share = 0.0
    bytes_in: _Bytes = 200
    bytes_out: _Bytes = 100_000
    in_flight: Annotated[int, Meta(ge=1, le=8)] = 2
    criticality: Literal["batch", "standard", "interactive", "critical"] = "standard"

    def model(self) -> SessionModel:
        """One such session."""
        contract = Contract(
            _us(self.period_ms),
            _us(self.deadline_ms),
            criticality=Criticality[self.criticality.upper()],
        )
        return SessionModel(
            contract,
            kind=self.name,
            pieces=self.pieces,
            units=self.work_ms / self.pieces,
            spread=self.varies,
            in_bytes=self.bytes_in // self.pieces,
            out_bytes=self.bytes_out // self.pieces,
            max_in_flight=self.in_flight,
            splits=True,
        )


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    nodes: Annotated[tuple[NodeClass, ...], Meta(min_length=1, max_length=32)]
    sessions: Annotated[tuple[SessionClass, ...], Meta(min_length=1, max_length=32)]
    duration_s: Annotated[float, Meta(ge=0.1, le=3_600.0)] = 10.0
    warm_up_s: _Seconds = 2.0
    gateways: Annotated[int, Meta(ge=1, le=256)] = 1

    def __post_init__(self) -> None:
        """Raises ValueError for what no single key says."""
        _unique("nodes", [group.name for group in self.nodes])
        _unique("sessions", [group.name for group in self.sessions])
        _at_most("nodes", sum(group.count for group in self.nodes), MAX_NODES)
        _at_most("sessions", sum(group.count for group in self.sessions), MAX_SESSIONS)
        _at_most("pieces", self.expected_pieces, MAX_PIECES)

    @property
    def expected_pieces(self) -> int:
        """Of all sessions in the whole run, if every frame is made."""
        total_ms = 1e3 * (self.warm_up_s + self.duration_s)
        return round(sum(s.count * self._cut(s) * total_ms / s.period_ms for s in self.sessions))

    def _cut(self, group: SessionClass) -> int:
        """Pieces of a frame, when those longer than the quantum are cut on the slowest device."""
        tightest_us = _us(min(other.deadline_ms for other in self.sessions))
        quantum_us = longest_us(_us(group.deadline_ms), tightest_us)
        if not quantum_us:
            return group.pieces
        piece_ms = group.work_ms / group.pieces / min(node.speed for node in self.nodes)
        return min(group.pieces * ceil(1e3 * piece_ms / quantum_us), max(group.pieces, MOST_CUT))

    def session_class(self, name: str) -> SessionClass:
        """Raises ConfigError if there is none of that name."""
        for group in self.sessions:
            if group.name == name:
                return group
        raise ConfigError(
            what=f"the scenario has no sessions named '{name[:40]}'",
            why=f"its classes are {', '.join(group.name for group in self.sessions)}",
            fix="Name one of these.",
        )

    def with_count(self, name: str, count: int) -> Scenario:
        """The same with another number of one class's sessions. Raises ConfigError."""
        self.session_class(name)
        sessions = tuple(
            msgspec.structs.replace(group, count=count) if group.name == name else group
            for group in self.sessions
        )
        try:
            return msgspec.structs.replace(self, sessions=sessions)
        except ValueError as problem:
            raise _refused(str(problem)) from problem


def read_scenario(text: str) -> Scenario:
    """The scenario in a TOML document. Raises ConfigError."""
    if len(text) > MAX_TEXT:
        raise _refused(f"it has {len(text)} characters, and at most {MAX_TEXT} are read")
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(
            what="the scenario is not TOML", why=str(problem), fix="Correct the line it names."
        ) from problem
    try:
        return msgspec.convert(document, Scenario)
    except msgspec.ValidationError as problem:
        raise _refused(str(problem)) from problem


def _refused(why: str) -> ConfigError:
    return ConfigError(
        what="the scenario cannot be simulated",
        why=why,
        fix="docs/simulate.md lists every key with its unit, default and bounds.",
    )


def _us(milliseconds: float) -> int:
    return round(1e3 * milliseconds)


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two classes of {what} are named '{name}'")


def _at_most(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"it has {count:,} {what}, and at most {most:,} are simulated")
