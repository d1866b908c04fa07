"""What a client holds while its session is open, whichever way the session's data travels."""

from __future__ import annotations

import abc
import operator
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from clients.sdk.feed import Feed
from mesh.core.errors import MeshError, Misuse
from mesh.core.loop import monotonic_us
from mesh.core.wire import Instant
from mesh.core.workload import Buffer

if TYPE_CHECKING:
    from clients.sdk.frame import Frame
    from clients.sdk.recorder import Recorder

Road: TypeAlias = Literal["link", "webrtc"]  # for the results of inputs

# What may wait for a slow consumer. Pictures: the newest, and the one before it.
MAX_FRAMES, MAX_RESULTS, MAX_FACTS, MAX_REFUSALS, MAX_NOTICES = 2, 16, 256, 256, 2
MAX_STEER = 4096  # bytes; the gateway takes no more


class SessionEnded(MeshError):
    """The gateway ended the session (its reason is in `why`)."""

    code = "session_ended"


@dataclass(frozen=True, slots=True)
class Result:
    """A workload's result for one frame.

    frame, number: the frame's id and the input it answers.
    facts: of the frame (docs/protocol-browser.md). A watched session's come over a channel that
        may lose them: then they are empty, and `number` is -1.
    data: in the workload's own encoding.
    """

    frame: int
    number: int
    facts: Mapping[str, Any]
    data: memoryview


@dataclass(frozen=True, slots=True)
class Notice:
    """The gateway will end the session in so long, and takes no others: open one elsewhere."""

    within_us: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that was not taken. number: the input's; 0 for what `steer` sent."""

    number: int
    problem: MeshError


class Session(abc.ABC):
    """One open session; `connect` makes it. For one event loop.

    id: the gateway's name for it. description: what the gateway says of it.
    fed: whether it makes a frame of each input, rather than pictures at a rate of its own.
    frames, facts, results, refusals, notices: async iterators, each with a `dropped` count of
        what its reader was too slow for. They end when this end leaves, and raise the reason when
        the session ended otherwise: SessionEnded or LinkLost.
    """

    fed = False

    def __init__(self) -> None:
        self.id = ""
        self.description: Mapping[str, Any] = {}
        self.frames: Feed[Frame] = Feed(MAX_FRAMES)
        self.facts: Feed[Mapping[str, Any]] = Feed(MAX_FACTS)
        self.results: Feed[Result] = Feed(MAX_RESULTS)
        self.refusals: Feed[Refusal] = Feed(MAX_REFUSALS)
        self.notices: Feed[Notice] = Feed(MAX_NOTICES)
        self._numbers = 0  # of inputs, bulk and small: both count up together
        self._ended = False
        self._why: MeshError | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{' ended' if self._ended else ''}>"

    async def send(self, data: Buffer, *, stamp_us: int | None = None) -> int:
        """Send a bulk input; returns its number when the bytes may be changed again.

        stamp_us: when it was sensed, on any clock that all inputs of this session share; now,
            on this machine's monotonic clock, if not given.
        Whether it is taken is told later, by its result or in `refusals`.
        Raises Misuse if the session takes none, or why the session has ended.
        """
        self._raise_if_ended()
        raise _no_inputs()

    async def ask(self, data: Buffer, *, stamp_us: int | None = None) -> Result:
        """Send a bulk input and wait for its own result, which `results` then does not get.

        Raises what the input was refused for, Misuse if the session takes none or its results
        do not come over the link, or why the session has ended.
        """
        self._raise_if_ended()
        raise _no_inputs()

    def steer(self, **state: object) -> int:
        """Send a small input: absolute state, in the workload's own words; returns its number.

        For a render session: `steer(camera={"yaw": 0.5, ...})`, with the fields that
        `description["camera"]` has. Raises Misuse if it is too long or cannot be JSON.
        """
        self._raise_if_ended()
        number = self._next_number()
        try:
            event = msgspec.json.encode({**state, "id": number})
        except (TypeError, msgspec.EncodeError) as problem:
            raise Misuse("nothing was steered", str(problem), "Pass what JSON can say.") from None
        if len(event) > MAX_STEER:
            raise Misuse(
                what="nothing was steered",
                why=f"the state is {len(event)} bytes, and {MAX_STEER} are taken",
                fix="Send bulk data with `send`.",
            )
        self._steer(event)
        return number

    def recording(self, path: Path) -> AbstractAsyncContextManager[Recorder]:
        """While the block runs, pictures go to `path` (.mp4, .mkv or .mov) as they come.

        Nothing is encoded again. For sessions opened with the option codec="h264"; begins with
        the next keyframe, which is asked for. Raises Misuse if the session makes no pictures,
        ConfigError for another suffix, NotRecorded if the file cannot be written.
        """
        self._raise_if_ended()
        raise Misuse(
            what="nothing is recorded",
            why="this session makes no pictures",
            fix="Keep its results instead.",
        )

    @abc.abstractmethod
    def _steer(self, event: bytes) -> None:
        """Send a JSON object."""

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _end(self, why: MeshError | None) -> None:
        """Nothing more comes; None: this end left. Only the first call counts."""
        if self._ended:
            return
        self._ended, self._why = True, why
        for feed in (self.frames, self.facts, self.results, self.refusals, self.notices):
            feed.end(why)

    def _raise_if_ended(self) -> None:
        if self._ended:
            raise self._why or Misuse(
                what="the session is over",
                why="its `async with` block was left",
                fix="Open another with `framemesh.connect`.",
            )


def ended_by_gateway(reason: str) -> SessionEnded:
    """The error for a session that the gateway ended."""
    return SessionEnded(
        what="the session has ended",
        why=reason or "the gateway gave no reason",
        fix="Open another if it is still wanted.",
    )


def now_or(stamp_us: int | None) -> int:
    """An input's stamp. Raises Misuse if it cannot travel."""
    if stamp_us is None:
        return monotonic_us()
    try:
        return msgspec.convert(operator.index(stamp_us), Instant)
    except (TypeError, msgspec.ValidationError) as problem:
        raise Misuse(
            what="the input was not sent",
            why=f"its stamp {stamp_us} cannot travel: {problem}",
            fix="Give whole microseconds; nanoseconds since 1970 are too many.",
        ) from problem


def _no_inputs() -> Misuse:
    return Misuse(
        what="the input was not sent",
        why="this session is watched, and takes no bulk inputs",
        fix="Open a session of a workload that is fed.",
    )
