"""The contract between the mesh and what runs on it: workloads, executors, finders.

`mesh` knows no workload by name. `render`, `infer` and anybody's plug-in come in through the
entry-point group ``framemesh.workloads``; finders through ``framemesh.discovery``. A workload has
two halves that never share a process:

* the *session half* runs on the gateway's event loop: it opens frames, cuts them into pieces,
  merges results. It touches no GPU and never blocks for more than 2 ms;
* the *device half* (`Executor`) runs inside a device process with no network and no node key.

Everything that passes between them is bytes: a piece's `spec` is the workload's own encoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    runtime_checkable,
)

import msgspec
from msgspec import Meta

from mesh.core.errors import MeshError

Buffer: TypeAlias = bytes | bytearray | memoryview
AssetId: TypeAlias = str  # lower-case hex SHA-256 of the asset's bytes
NodeId: TypeAlias = str  # see mesh.core.identity
Settings: TypeAlias = Mapping[str, Any]  # one [workloads.NAME] or [discovery.NAME] config table


# The api of units where a program of the node's owner computes, and nothing else does: only their
# device processes may start programs, those that [device] programs lists.
PROGRAM_API: Final = "program"


class DeviceInfo(msgspec.Struct, frozen=True):
    """One way to compute on one piece of silicon, as found by probing.

    `unit` names the silicon ("cpu", or a GPU by its UUID): infos of one unit share one device
    process and one queue, because they share what they would otherwise fight for.
    """

    unit: str
    api: str  # "vulkan", "cuda", "cpu", or PROGRAM_API
    name: str  # as the driver says it
    driver: str  # name and version; results are bit-comparable only within one driver
    index: int  # as the api enumerates it
    software: bool = False  # runs on the CPU's cores (lavapipe, simulators)


@dataclass(frozen=True, slots=True)
class Asset:
    """Immutable content a session needs on every device: a packed scene, a model."""

    name: str  # for people
    data: Buffer
    digest: AssetId = field(default="")

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """What an executor must hold before it can run the session's pieces."""

    spec: bytes  # the workload's own encoding, at most 64 KiB
    assets: tuple[Asset, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a frame that one device runs without interruption.

    `units` is the workload's measure of work: on one device, pieces of one `kind` are expected
    to cost in proportion to it. `inputs` travels beside the spec as a raw buffer. `region` says
    where in the frame the piece lies, for people looking (a picture's: x, y, width, height).
    """

    index: int
    kind: str
    units: float
    spec: bytes  # at most 16 KiB
    output_bytes: int  # upper bound of the result; a longer one is refused
    inputs: Buffer = b""
    region: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lane:
    """One device that the schedule trusts with pieces of a frame, as a cut sees it.

    wait_us: predicted time from now to a piece's result, but for its run and its bytes: the
        device's queue, and the way there and back.
    us_per_unit: predicted cost by piece kind. us_per_byte: of what travels there and back.
    """

    wait_us: float
    us_per_unit: Mapping[str, float]
    us_per_byte: float = 0.0


@dataclass(frozen=True, slots=True)
class Surprise:
    """What a piece of an earlier frame cost, against what its units and its device promised.

    region: the piece's. factor: > 1 where it took longer than predicted.
    """

    region: tuple[int, ...]
    factor: float


@dataclass(frozen=True, slots=True)
class CutHint:
    """What the schedule knows when a frame is to be cut.

    devices: how many device queues can take pieces now (at least 1).
    quantum_us: longest piece wanted, so as not to block a session with a tighter deadline that
        shares the devices; 0 when there is none.
    us_per_unit: predicted cost on the slowest usable device, by piece kind; may be empty.
    lanes: the devices that will take the pieces, as far as their speeds are known; pieces sized
        for them (`mesh.schedule.cut.shares`) all finish together.
    surprises: of the pieces with a region in frames composed since the last one was opened.
    rung: of the contract's ladder, at which the frame is to be cut; 0 is full quality.
    """

    devices: int
    quantum_us: int = 0
    us_per_unit: Mapping[str, float] = field(default_factory=dict)
    lanes: Sequence[Lane] = ()
    surprises: Sequence[Surprise] = ()
    rung: int = 0


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """An I420 picture: Y, then U, then V, each row-major and unpadded; width and height even.

    Colour is BT.709, limited range (ITU-R BT.709-6), sampled as MPEG-2 (left-sited) chroma.
    """

    width: int
    height: int

    @property
    def nbytes(self) -> int:
        """Size of one picture: width * height * 3 / 2."""
        return self.width * self.height * 3 // 2


class Criticality(IntEnum):
    """What a miss costs, and so who gives way when not all can be served; higher gives way last.

    It orders nobody while there is room: queues serve by deadline, whatever the class (Vestal,
    "Preemptive scheduling of multi-criticality systems", RTSS 2007; Burns and Davis, "A survey of
    research into mixed criticality systems", ACM CSUR 50(6), 2017).
    """

    BATCH = 0  # nobody waits: late is nearly as good
    STANDARD = 1  # somebody looks on, and sees that a frame is missing
    INTERACTIVE = 2  # somebody acts on what is shown: a game, a headset
    CRITICAL = 3  # a machine acts on it


@dataclass(frozen=True, slots=True)
class Rung:
    """One quality at which a workload can make a frame.

    cost: of the frame's work, relative to the first rung's 1. quality: likewise, in the
    workload's own measure, 0 to 1.
    """

    cost: float
    quality: float


FULL_QUALITY: Final = (Rung(1.0, 1.0),)


@dataclass(frozen=True, slots=True)
class Contract:
    """What a session was promised: one frame each `period_us`, due `deadline_us` after opening.

    trigger: "clock": the gateway opens frames at that rate and samples the newest input;
        "input": each bulk input opens one frame, at most at that rate.
    criticality: who gives way in overload; share: how much is the session's due among those of
        its class (> 0, weights); value: of one frame on time, beside others of its class (> 0).
    holes: whether a frame with pieces missing is of use. If not, it is given up, and its devices
        are free, as soon as one piece cannot come in time.
    ladder: qualities at which frames can be made, best and costliest first; the first is (1, 1).
        `CutHint.rung` says at which one a frame is to be cut.
    stand_in: whether a frame of which no piece can come in time is shown all the same, filled from
        the one before. If not, the picture before it stays.
    """

    period_us: int
    deadline_us: int
    trigger: Literal["clock", "input"] = "clock"
    criticality: Criticality = Criticality.STANDARD
    share: float = 1.0
    value: float = 1.0
    holes: bool = True
    ladder: tuple[Rung, ...] = FULL_QUALITY
    stand_in: bool = False


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What an authorised client asked for: a workload by name and its options, still unchecked."""

    workload: str
    options: Mapping[str, Any]


class Frame(Protocol):
    """One open frame on the gateway, between `open_frame` and `finish`."""

    @property
    def pieces(self) -> Sequence[Piece]:
        """The cut, fixed at opening; `pieces[i].index == i`."""
        ...

    def accept(self, index: int, result: memoryview) -> None:
        """Merge one piece's result; called at most once per index.

        Copies what it keeps: `result` is recycled when this returns.
        Raises ContentRefused if the result cannot be the answer to that piece.
        """
        ...

    def fill(self, index: int) -> None:
        """Stand in for a piece that never came (the frame's cut-off has passed)."""
        ...

    def finish(self) -> bytes:
        """Close the frame; returns the result message (b"" when the picture says it all)."""
        ...


class SessionWork(Protocol):
    """The session half of a workload, one instance per session."""

    @property
    def setup(self) -> SessionSetup:
        """What to send to each device before the first piece."""
        ...

    @property
    def contract(self) -> Contract:
        """Rate and deadline, from the client's options and the workload's own limits."""
        ...

    @property
    def picture(self) -> PictureFormat | None:
        """The format of the frames' canvas, or None for a workload that makes no pictures."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON-ready facts for the client (title, size, controls)."""
        ...

    def apply_input(self, event: Mapping[str, Any], now_us: int) -> None:
        """One decoded client input (JSON object). Raises ContentRefused on nonsense."""
        ...

    def offer_input(self, stamp_us: int, data: memoryview) -> None:
        """One bulk input (a sensor sweep), kept for the next `open_frame`.

        stamp_us: when it was sensed, on the client's clock: it orders and fuses, never schedules.
        data: the session's to keep. Raises ContentRefused if it is malformed or over a limit, or
        if the workload takes none.
        """
        ...

    def open_frame(
        self, frame_id: int, now_us: int, hint: CutHint, canvas: memoryview, previous: memoryview
    ) -> Frame:
        """Sample the input and cut the next frame.

        canvas: writable, `picture.nbytes` long (empty when `picture` is None), owned by the
            frame until `finish` returns; contents undefined.
        previous: the last finished canvas, read-only, for `fill`; empty before the first.
        """
        ...


class Executor(Protocol):
    """The device half of a workload, one instance per device process."""

    def prepare(self, session: str, spec: bytes, assets: Mapping[AssetId, memoryview]) -> None:
        """Load what a session needs (idempotent; equal assets are shared between sessions).

        Raises ContentRefused if an asset is malformed or over a limit.
        """
        ...

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        """Run one piece, write its result to `output`; returns the bytes written.

        May raise MeshError; anything else is reported as PieceFailed and the device lives on.
        """
        ...

    def forget(self, session: str) -> None:
        """Release what only this session used; unknown sessions are ignored."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


MAX_BATCH: Final = 8  # pieces in one call


class PieceCall(NamedTuple):
    """One piece for an executor: the arguments of `Executor.run`."""

    session: str
    spec: bytes
    inputs: memoryview
    output: memoryview


@runtime_checkable
class Batching(Protocol):
    """What an executor may offer beside `Executor`: pieces of one model run in one call.

    The node forms batches of what waits on the device, when they would save time and every piece
    would still be on time (mesh/schedule/batching.py). Pieces that find no company go to `run`.
    """

    def batch_key(self, session: str) -> str:
        """Equal for sessions whose pieces can run together; "" for one whose pieces run alone.

        Asked once the session is prepared; pieces of one batch are also of one `Piece.kind`. The
        sessions may be of several gateways: make the key of content (a model's digest), never of
        what one of them said. At most 128 characters.
        """
        ...

    def run_batch(self, batch: Sequence[PieceCall]) -> Sequence[int | MeshError]:
        """Run 2 to MAX_BATCH pieces; one outcome for each, in order.

        An outcome is the number of bytes written to the piece's output, or why it failed: a bad
        piece fails by itself. If this raises, or answers for more or fewer, all of them have
        failed, and pieces of their sessions run alone from then on.
        """
        ...


@runtime_checkable
class Abandonable(Protocol):
    """What an executor may offer beside `Executor`: what nobody wants any more ends early.

    A piece is cancelled when another device has answered it, or its frame or session is over. One
    that runs holds its device until its end, unless the executor looks up from its work.
    """

    def heed(self, check: Callable[[], None]) -> None:
        """Called once, after opening, with what to call between the steps of `run` or `run_batch`.

        `check()` takes less than a microsecond. It raises PieceAbandoned when nobody wants any
        piece of the call: let it pass, and leave everything fit for the next piece. What was
        written to the output is not looked at. Half a millisecond between checks is often enough.
        """
        ...


MAX_PASSES: Final = 8
Passes: TypeAlias = Annotated[
    dict[Annotated[str, Meta(max_length=16)], Annotated[int, Meta(ge=0, lt=2**53)]],
    Meta(max_length=MAX_PASSES),
]


@runtime_checkable
class Timing(Protocol):
    """What an executor may offer beside `Executor`: it says where a piece's time went.

    For people who look for what is slow; nothing is scheduled by it.
    """

    def passes_us(self) -> Passes:
        """Of the last piece that `run` finished: microseconds on the device by pass, in order.

        At most MAX_PASSES names of 16 characters each. Asked after each piece: it takes no time.
        """
        ...


class Workload(Protocol):
    """A plug-in: `create(settings) -> Workload` is what the entry point names."""

    @property
    def name(self) -> str:
        """The name clients ask for; equals the entry point's."""
        ...

    def find_devices(self) -> Sequence[DeviceInfo]:
        """Probe what can run this workload. Called in a short-lived child process only.

        Raises DeviceUnavailable saying what is missing and how to install it.
        """
        ...

    def open_executor(self, device: DeviceInfo) -> Executor:
        """Open exactly that device (never another in silence). Device process only."""
        ...

    def open_session(self, request: SessionRequest) -> SessionWork:
        """The session half. May read files: called in a thread. Raises SessionRefused."""
        ...


@runtime_checkable
class Preloading(Protocol):
    """What a workload may offer beside `Workload`: to have loaded what sessions need in time."""

    def preload(self) -> None:
        """Load and compile what the session half needs; otherwise the first session does.

        Called in a thread, once, before the gateway serves: even in a thread, importing and
        compiling hold the interpreter for longer than frames can wait.
        """
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """What a client is to feed.

    path: a file or folder; None for made-up inputs without end. form: the name of its format, of
    the workload's choosing; "" for the workload to tell from what is there. compress: how inputs
    are to travel, "none" or what the workload offers.
    """

    path: Path | None = None
    form: str = ""
    compress: str = "none"


@runtime_checkable
class Feedable(Protocol):
    """What a workload may offer beside `Workload`: programs can feed it without knowing it.

    Used by clients (`framemesh infer`, the demo), so none of this loads a GPU library or compiler.
    """

    def options_for(
        self, recording: Recording, rate_hz: float | None
    ) -> Mapping[str, int | float | str]:
        """What to ask a session for that is to be fed so; rate_hz: None for its own rate.

        Raises ContentRefused.
        """
        ...

    def read_inputs(self, recording: Recording) -> Iterator[tuple[int, Buffer]]:
        """Recorded inputs in order, each with its stamp: microseconds, rising, on their own clock.

        Reads and computes as it goes: advance it in a thread.
        Raises ContentRefused, at once for what can be known at once.
        """
        ...

    def explain(self, result: Buffer) -> Mapping[str, Any]:
        """A result message as JSON-ready facts; "summary" is a few words for a person.

        Raises ContentRefused.
        """
        ...


class Following(Protocol):
    """Makes more of the inputs and results of one recording, in order, where results arrive.

    It reads and computes as it goes: call it in threads; reading and taking may be in two.
    """

    def read_inputs(self, recording: Recording) -> Iterator[tuple[int, Buffer]]:
        """As `Feedable.read_inputs`; each is kept until it is taken, or a later one is.

        Read again, a recording's inputs are counted on.
        """
        ...

    def take(self, index: int, stamp_us: int, result: Buffer | None) -> Mapping[str, Any]:
        """What follows from an input's result; JSON-ready.

        index: of the input, from 0. stamp_us: as it was sent. result: the message, or None to make
        it here. "result" is as `Feedable.explain` has it, and "perceived" what follows, with
        "summary", a few words, and "times_us", microseconds by stage.
        Raises ContentRefused, Misuse if it is not its turn.
        """
        ...

    def summary(self) -> Mapping[str, Any]:
        """Of all that was taken; JSON-ready, "summary" is a line for a person."""
        ...


@runtime_checkable
class Followable(Protocol):
    """What a `Feedable` workload may offer beside: whoever feeds it gets more than its results."""

    def follow(
        self,
        recording: Recording,
        files: Mapping[str, Path],
        *,
        local: bool = False,
        way: str = "",
    ) -> AbstractContextManager[Following]:
        """For one recording. Slow: loads what it needs.

        files: what is to be written, by the names of formats. local: whether results are made
        there, and no session is needed. way: one of the workload's, "" for its usual. Raises
        ConfigError for files that cannot be written, ContentRefused, Misuse.
        """
        ...


class Finder(Protocol):
    """Puts this node's advert where peers look, and reports theirs.

    `create(settings) -> Finder` is what an entry point in ``framemesh.discovery`` names.
    """

    @property
    def name(self) -> str:
        """The entry point's name."""
        ...

    def open(
        self, advert: bytes, port: int, found: Callable[[bytes, Sequence[str]], None]
    ) -> AbstractAsyncContextManager[FinderSession]:
        """Start announcing `advert` (signed, opaque here) and looking.

        found(advert, addresses): called on the event loop for every advert seen, valid or not
        (verification is the peer book's), with "host:port" addresses in the order to try.
        """
        ...


class FinderSession(Protocol):
    """A running finder."""

    async def update(self, advert: bytes) -> None:
        """Replace the announced advert."""
        ...


@runtime_checkable
class SaysAddresses(Protocol):
    """A running finder that tells others where to try."""

    def addresses_are(self, addresses: Sequence[str]) -> None:
        """ "host:port", or "via=" and a relay's, beside those of this machine's own networks."""
        ...


@runtime_checkable
class SharesSecret(Protocol):
    """A running finder whose nodes meet where only members of the realm can look."""

    def secret_is(self, secret: bytes) -> None:
        """What the realm's members share from now on, 32 bytes; it changes when one is revoked."""
        ...
