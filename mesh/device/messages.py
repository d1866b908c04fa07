"""What the node and one device process say to each other: requests down, one answer each back.

One message is one datagram of a SOCK_SEQPACKET pair; descriptors (arena, assets) ride beside it
as SCM_RIGHTS. The node has at most two requests on the wire, the socket is their queue, and answers
come in their order. Pixels and sweeps never travel here: they are in the
arena, and a `Slot` says where.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from mesh.core.errors import Problem
from mesh.core.workload import MAX_BATCH, AssetId, DeviceInfo, Passes
from mesh.device.sandbox import SandboxReport, SandboxRules

MAX_MESSAGE = 160 * 1024  # fits the default SO_SNDBUF with its bookkeeping
MAX_BATCH_KEY = 128  # characters
MAX_ASSETS = 64  # per session; the kernel passes at most 253 descriptors at once


class Slot(msgspec.Struct, frozen=True, array_like=True):
    """A leased range of the arena, stamped so that a stale one is recognised."""

    offset: int
    nbytes: int
    generation: int


class Plugin(msgspec.Struct, frozen=True):
    """A workload to load: `factory` is "module:attribute", called with `settings`."""

    name: str
    factory: str
    settings: dict[str, Any]
    # Devices to try in this order; the first that opens is used, the others' reasons are kept.
    infos: tuple[DeviceInfo, ...] = ()


class Confine(msgspec.Struct, frozen=True, tag="confine"):
    """First request: die with `parent`, then give up every right not in `rules`."""

    request: int
    parent: int
    rules: SandboxRules


class FindDevices(msgspec.Struct, frozen=True, tag="find"):
    """Probe what can run one workload."""

    request: int
    plugin: Plugin


class OpenExecutors(msgspec.Struct, frozen=True, tag="open"):
    """Map arena and stop word (their descriptors come along), open one executor per workload."""

    request: int
    arena_bytes: int
    plugins: tuple[Plugin, ...]


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Load what a session needs; one sealed descriptor per asset comes along, in this order."""

    request: int
    session: str
    workload: str
    spec: bytes
    assets: tuple[AssetId, ...]


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run one piece from `inputs` (None: empty) into `output`.

    start_by_us: on the system's monotonic clock; what has not begun by then is abandoned. 0: none.
    """

    request: int
    session: str
    workload: str
    spec: bytes
    inputs: Slot | None
    output: Slot
    start_by_us: int = 0


class BatchPiece(msgspec.Struct, frozen=True, array_like=True):
    """One piece of a batch; see `Run`."""

    session: str
    spec: bytes
    inputs: Slot | None
    output: Slot


class RunBatch(msgspec.Struct, frozen=True, tag="run_batch"):
    """Run several pieces in one call of an executor that offers it.

    Their specs, of 16 KiB each at most, fit one message together.
    """

    request: int
    workload: str
    pieces: Annotated[tuple[BatchPiece, ...], Meta(min_length=2, max_length=MAX_BATCH)]


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Release what only this session used."""

    request: int
    session: str


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Close the executors and exit; the answer is the end of the stream."""

    request: int


Request: TypeAlias = (
    Confine | FindDevices | OpenExecutors | Prepare | Run | RunBatch | Forget | Close
)


class Confined(msgspec.Struct, frozen=True, tag="confined"):
    """The sandbox as it really is."""

    request: int
    report: SandboxReport


class Found(msgspec.Struct, frozen=True, tag="found"):
    """What a workload's probe found."""

    request: int
    infos: Annotated[tuple[DeviceInfo, ...], Meta(max_length=64)]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Which executors are open, on what; why the others are not."""

    request: int
    opened: dict[str, DeviceInfo]
    why_not: dict[str, str]


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """The session can be run. batch_key: see mesh.core.workload.Batching."""

    request: int
    batch_key: Annotated[str, Meta(max_length=MAX_BATCH_KEY)] = ""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Forgotten."""

    request: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """A piece's result lies in the slot of `generation`."""

    request: int
    generation: int
    nbytes: int
    run_us: int  # inside the executor
    passes_us: Passes = {}  # see mesh.core.workload.Timing


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of one piece of a batch: its result lies in a slot, or there is none."""

    generation: int
    nbytes: int
    problem: Problem | None = None


class BatchFinished(msgspec.Struct, frozen=True, tag="batch_finished"):
    """The pieces' outcomes, in the order of the request."""

    request: int
    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=MAX_BATCH)]
    run_us: int  # inside the executor, for all together


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The request could not be done; the process lives on."""

    request: int
    problem: Problem


class Abandoned(msgspec.Struct, frozen=True, tag="abandoned"):
    """The run was stopped, because the stop word named it."""

    request: int
    run_us: int  # inside the executor, until then


Answer: TypeAlias = (
    Confined | Found | Ready | Prepared | Done | Finished | BatchFinished | Abandoned | Failed
)

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
