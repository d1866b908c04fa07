"""One device process as the event loop sees it: ask, get an answer or learn that it is lost.

Requests queue here. At most two are with the process: the one that it is at, and the next, so that
it goes on without waiting for the node. Answers come in the order of the requests. Each request has
a time, from when the process is at it, after which the process counts as hung and is killed.
However the process ends, every request ends too, and the process is reaped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mesh.core.errors import DeviceLost, MeshError, Misuse, PieceAbandoned, from_problem
from mesh.device import messages
from mesh.device.buffers import StopWords
from mesh.device.launch import spawn
from mesh.device.messages import MAX_MESSAGE, Abandoned, Answer, Close, Failed, Request

log = logging.getLogger(__name__)

IN_FLIGHT = 2  # requests with the process
_EXIT_S = 2.0  # grace for each step of ending: asked, SIGTERM, SIGKILL
_OBITUARY_S = 0.05  # how long the exit status may take after the socket closed
_LOG_CHUNK = 64 * 1024
_LOG_PAUSE_S = 0.02
_LOG_LINE = 1000
_LOG_LINES_PER_S = 100
_LOG_TAIL = 40


def _nothing(*_: object) -> None:
    return None


class Call:
    """A request under way. `settled` is called once, when the process is done with it."""

    __slots__ = ("answer", "fds", "kill_after_us", "message", "number", "settled")

    def __init__(
        self,
        answer: asyncio.Future[Answer],
        *,
        number: int,
        message: bytes,
        fds: Sequence[int],
        kill_after_us: int,
        settled: Callable[[], None],
    ) -> None:
        self.answer = answer
        self.number, self.message, self.fds = number, message, fds
        self.kill_after_us, self.settled = kill_after_us, settled

    def end(self, outcome: Answer | MeshError) -> None:
        """Hand the outcome to whoever still waits."""
        self.close_fds()
        if not self.answer.done():
            if isinstance(outcome, MeshError):
                self.answer.set_exception(outcome)
            else:
                self.answer.set_result(outcome)
        self.settled()

    def close_fds(self) -> None:
        """Sent, or never to be sent."""
        for fd in self.fds:
            os.close(fd)
        self.fds = ()


class Child:
    """A spawned device process. Made and used on the event loop; nothing here blocks it.

    `lost` resolves to the reason once the process no longer answers (it may not be reaped yet);
    `reaped` resolves when the kernel has let go of it.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], on_lost: Callable[[Child], None] = _nothing
    ) -> None:
        """Spawn it. `on_lost` is called before anything that waits learns of the loss.

        Raises OSError when it cannot be spawned.
        """
        self.name = name
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.reaped: asyncio.Future[None] = self._loop.create_future()
        self._waiting: deque[Call] = deque()
        self._flying: deque[Call] = deque()  # with the process; it is at the first of them
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0  # when that fires
        self._hung_us = 0  # when the process counts as hung
        self._numbers = 0
        self.ended_at = 0  # once lost: the request that it was at, 0 if it was idle
        self.hung = False  # once lost: whether that request took too long
        self._tail: deque[str] = deque(maxlen=_LOG_TAIL)
        self._partial = b""
        self._log_since_s, self._logged = 0.0, 0
        self.stop_words = StopWords()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stderr, their_stderr = os.pipe2(os.O_CLOEXEC)
        try:
            with theirs:
                self._process = spawn(environment, theirs, their_stderr)
            self._pidfd = os.pidfd_open(self._process.pid)
        except BaseException:
            self._sock.close()
            os.close(self._stderr)
            self.stop_words.close()
            raise
        finally:
            os.close(their_stderr)
        self._sock.setblocking(False)
        os.set_blocking(self._stderr, False)
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._loop.add_reader(self._pidfd, self._exited)
        self._loop.add_reader(self._stderr, self._read_log)

    @property
    def pid(self) -> int:
        """The process id; stays when the process ends."""
        return self._process.pid

    def call(
        self,
        make: Callable[[int], Request],
        fds: Sequence[int] = (),
        *,
        kill_after_us: int,
        settled: Callable[[], None] = _nothing,
    ) -> asyncio.Future[Answer]:
        """Queue the request `make(number)`; the future gets its answer.

        It fails with DeviceLost, or with the MeshError that the process answered. Cancelling it
        withdraws a request not yet sent, and otherwise only discards the answer. `fds` stay the
        caller's. `kill_after_us` counts from when the process is done with what was before.
        """
        self._numbers += 1
        message = messages.encode(make(self._numbers))
        if len(message) > MAX_MESSAGE:
            raise Misuse(
                what="a request to a device process is too long",
                why=f"{len(message)} bytes, {MAX_MESSAGE} fit",
                fix="Send large content as an asset or as inputs, not in a spec or in settings.",
            )
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if self.lost.done():
            answer.set_exception(self.obituary())
            settled()
        else:
            self._waiting.append(
                Call(
                    answer,
                    number=self._numbers,
                    message=message,
                    fds=tuple(os.dup(fd) for fd in fds),
                    kill_after_us=kill_after_us,
                    settled=settled,
                )
            )
            self._send_next()
        return answer

    def abandon(self, number: int) -> None:
        """Nobody wants that request any more: withdraw it, or ask the process to stop.

        Its call fails with PieceAbandoned, now or when it has stopped; or it ends as it would
        have, where the process was done with it or does not look up from its work.
        """
        if any(call.number == number for call in self._flying):
            self.stop_words.write(number)
            return
        for call in self._waiting:
            if call.number == number:
                self._waiting.remove(call)
                call.end(abandoned(0))
                return

    def kill(self, why: str, *, answered: int = 0) -> None:
        """End the process now; everything waiting fails with DeviceLost.

        answered: the request whose answer is the reason, if one is.
        """
        self.ended_at = answered
        self._signal(signal.SIGKILL)
        self._lose(why)

    async def close(self) -> None:
        """End the process in order: ask, then SIGTERM, then SIGKILL; returns once it is reaped."""
        if not self.lost.done():
            self.call(Close, kill_after_us=int(_EXIT_S * 1e6)).add_done_callback(_retrieved)
        for then in (signal.SIGTERM, signal.SIGKILL):
            if await self._gone_within(_EXIT_S):
                return
            self._signal(then)
        if not await self._gone_within(_EXIT_S):
            log.error("%s: process %d survives SIGKILL (a driver holds it)", self.name, self.pid)

    async def _gone_within(self, seconds: float) -> bool:
        await asyncio.wait([self.reaped], timeout=seconds)
        return self.reaped.done()

    # --- requests ------------------------------------------------------------------------------

    def _send_next(self) -> None:
        while self._waiting and len(self._flying) < IN_FLIGHT and not self.lost.done():
            call = self._waiting.popleft()
            if call.answer.cancelled():
                call.close_fds()
                call.settled()
                continue
            try:
                if call.fds:
                    socket.send_fds(self._sock, [call.message], call.fds)
                else:
                    self._sock.send(call.message)
            except OSError as problem:
                self._waiting.appendleft(call)
                if not isinstance(problem, BlockingIOError) or not self._flying:
                    self.kill(f"its socket failed: {problem}")
                return  # or: two long requests do not fit; it goes out after the next answer
            call.close_fds()
            self._flying.append(call)
            if len(self._flying) == 1:
                self._watch(call)

    def _watch(self, call: Call) -> None:
        """The process is at that request from now on.

        A timer under way is left alone where it fires early enough, and then set again: most
        requests are answered long before, and timers cost more than looking at the clock.
        """
        now_us = time.monotonic_ns() // 1000
        self._hung_us = now_us + call.kill_after_us
        if self._timer is None or self._timer_us > self._hung_us:
            self._stop_timer()
            self._set_timer(call.kill_after_us)

    def _set_timer(self, after_us: int) -> None:
        self._timer_us = time.monotonic_ns() // 1000 + after_us
        self._timer = self._loop.call_later(after_us / 1e6, self._check_hung)

    def _check_hung(self) -> None:
        self._timer = None
        if not self._flying:
            return
        left_us = self._hung_us - time.monotonic_ns() // 1000
        if left_us > 0:
            self._set_timer(max(left_us, 1000))
        else:
            self.hung = True
            self.kill(f"it did not answer within {self._flying[0].kill_after_us / 1000:.0f} ms")

    def _readable(self) -> None:
        try:
            data = self._sock.recv(MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError as problem:
            self.kill(f"its socket failed: {problem}")
            return
        if not data:
            # It is ending, or it closed its socket: the exit status says which, if it comes soon.
            self._loop.remove_reader(self._sock.fileno())
            self._loop.call_later(_OBITUARY_S, self.kill, "it closed its socket")
            return
        try:
            answer = messages.decode_answer(data)
        except msgspec.DecodeError as problem:
            self.kill(f"it sent nonsense: {problem}")
            return
        if not self._flying or answer.request != self._flying[0].number:
            self.kill("it answered what was not asked")
            return
        call = self._flying.popleft()
        if self._flying:
            self._watch(self._flying[0])
        outcome: Answer | MeshError = answer
        if isinstance(answer, Failed):
            outcome = from_problem(answer.problem)
        elif isinstance(answer, Abandoned):
            outcome = abandoned(answer.run_us)
        if isinstance(outcome, DeviceLost):  # the executor's word that its GPU is gone
            self.kill(str(outcome), answered=call.number)
        self._send_next()
        call.end(outcome)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the end -------------------------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        if not self.reaped.done():
            self._process.send_signal(number)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._process.wait()  # returns at once: the process is a zombie
        self._read_log()
        self._lose(_ending(code))
        self._loop.remove_reader(self._stderr)
        os.close(self._stderr)
        self.stop_words.close()
        self.reaped.set_result(None)

    def _lose(self, why: str) -> None:
        if self.lost.done():
            return
        self.lost.set_result(why)
        self._stop_timer()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        calls = [*self._flying, *self._waiting]
        if self._flying and not self.ended_at:
            self.ended_at = self._flying[0].number
        self._flying.clear()
        self._waiting.clear()
        try:
            self._on_lost(self)
        finally:
            for call in calls:
                call.end(self.obituary())

    def obituary(self) -> DeviceLost:
        """Why the process is lost, as the error its callers get."""
        errors = [line for line in self._tail if "error" in line.lower()]
        words = (errors or list(self._tail))[-1:]
        last = f" (its last words: {words[0][:300]})" if words else ""
        return DeviceLost(
            what=f"device {self.name} lost its process {self.pid}",
            why=self.lost.result() + last,
            fix="It is being replaced; run the piece again, here or elsewhere.",
        )

    # --- its log ---------------------------------------------------------------------------------

    def _read_log(self) -> None:
        try:
            data = os.read(self._stderr, _LOG_CHUNK)
        except BlockingIOError:
            return
        if not data or len(data) == _LOG_CHUNK:
            self._loop.remove_reader(self._stderr)
        if len(data) == _LOG_CHUNK:  # a flood: let the process wait rather than the loop
            self._loop.call_later(_LOG_PAUSE_S, self._resume_log)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > _LOG_LINE:
            lines, self._partial = [*lines, self._partial], b""
        now_s = time.monotonic()
        if now_s - self._log_since_s >= 1:
            self._log_since_s, self._logged = now_s, 0
        for line in lines[: max(0, _LOG_LINES_PER_S - self._logged)]:
            text = line[:_LOG_LINE].decode("utf-8", "replace")
            text = "".join(c if c.isprintable() else "?" for c in text)
            self._tail.append(text)
            log.info("%s: %s", self.name, text)
        self._logged += len(lines)
        if self._logged > _LOG_LINES_PER_S >= self._logged - len(lines):
            log.info("%s: (it says more than is worth keeping)", self.name)

    def _resume_log(self) -> None:
        if not self.reaped.done():
            self._loop.add_reader(self._stderr, self._read_log)


def abandoned(run_us: int) -> PieceAbandoned:
    """A call that ended because nobody wants its answer, after so long in the executor."""
    problem = PieceAbandoned(
        what="a piece was not run to its end",
        why=f"it was taken back, after {run_us} us on the device",
        fix="Nothing: its device is free again.",
    )
    problem.run_us = run_us
    return problem


def _ending(code: int) -> str:
    """An exit status of `subprocess`, in words."""
    if code >= 0:
        return f"it exited with {code}"
    named = -code in {number.value for number in signal.Signals}
    return f"it was ended by {signal.Signals(-code).name if named else f'signal {-code}'}"


def _retrieved(future: asyncio.Future[Answer]) -> None:
    """Mark an expected failure as seen."""
    if not future.cancelled():
        future.exception()
