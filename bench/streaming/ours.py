"""`python -m bench.streaming.ours OPTIONS`: a stream of ours, fed with the moving picture.

The stream as a gateway holds it (mesh.stream.session.Stream), on the event loop that nodes run.
OPTIONS as JSON: width, height, fps, and those of mesh.stream.session.StreamOptions; sessions: how
many streams in this process, each with its source and encoder (a call names its `session`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any

import uvloop

from bench.childprocess import answer_calls
from bench.streaming.picture import MovingPicture
from bench.streaming.source import Beat, Made, now_us
from mesh.core.errors import MeshError
from mesh.core.workload import PictureFormat
from mesh.stream import session
from mesh.stream.session import SendReport, Stream, StreamOptions

COUNTED = "open_encoder"  # what the session opens its encoder with


class Ours:
    """One stream and its source."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._fps = options.pop("fps")
        width, height = options.pop("width"), options.pop("height")
        self._picture = MovingPicture(width, height)
        self._made = Made()
        self._reports: list[SendReport] = []
        self._skipped = 0
        self._sending: set[asyncio.Future[SendReport]] = set()
        self._stream = Stream(
            PictureFormat(width, height),
            self._fps,
            on_input=lambda _: None,
            on_closed=lambda _: None,
            options=StreamOptions(**options),
        )

    async def handle(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One call of the benchmark's."""
        match asked["call"]:
            case "answer":
                return {"sdp": await self._stream.answer(asked["sdp"])}
            case "report":
                return self._report()
            case "viewer":
                return {"address": self._viewer_address()}
        raise ValueError(asked["call"])

    def _viewer_address(self) -> list[Any]:
        """Where the one viewer's packets come from."""
        [peer] = self._stream._viewers
        [transport] = peer._connection._RTCPeerConnection__iceTransports  # type: ignore[attr-defined]
        [pair] = transport._connection._nominated.values()
        return list(pair.remote_addr)

    async def feed(self) -> None:
        """A frame at each beat, as long as somebody looks."""
        beat = Beat(self._fps)
        while True:
            due_us = beat.next_us()
            await asyncio.sleep(max(0, due_us - now_us()) / 1e6)
            if not self._stream.watched:
                continue
            canvas = self._stream.lease_canvas()
            if canvas is None:  # the encoder is behind
                self._skipped += 1
                continue
            self._picture.draw(canvas.picture, beat.number)
            self._made.note(beat.number)
            sending = asyncio.ensure_future(self._stream.send(canvas, beat.number, now_us()))
            self._sending.add(sending)
            sending.add_done_callback(self._sent)

    async def close(self) -> None:
        """End the stream; its viewers may be gone already."""
        await self._stream.close()

    def _sent(self, sending: asyncio.Future[SendReport]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled():
            self._reports.append(sending.result())

    def _report(self) -> dict[str, Any]:
        encode_us = sorted(report.encode_us for report in self._reports)
        return {
            "made_us": list(self._made.at_us.items()),
            "skipped": self._skipped,
            "keyframes": sum(report.keyframe for report in self._reports),
            "encode_us_p50": encode_us[len(encode_us) // 2] if encode_us else 0,
            "encoders_opened": openings.count,
            "cpu_s": time.process_time(),
            "now_us": now_us(),
        }


class Openings:
    """Counts the encoders that sessions open."""

    def __init__(self) -> None:
        self.count = 0
        self._open = getattr(session, COUNTED)
        setattr(session, COUNTED, self)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.count += 1
        return self._open(*given, **named)


openings = Openings()


async def serve(options: dict[str, Any]) -> None:
    sessions = [Ours(dict(options)) for _ in range(options.pop("sessions", 1))]
    gc.collect()  # as a node does when it is up (clients.cli.node)
    gc.freeze()
    feeding = [asyncio.create_task(session.feed()) for session in sessions]
    try:
        await answer_calls(lambda asked: sessions[asked.get("session", 0)].handle(asked))
    finally:
        for task in feeding:
            task.cancel()
        await asyncio.gather(*(session.close() for session in sessions))


if __name__ == "__main__":
    try:
        uvloop.run(serve(json.loads(sys.argv[1])))
    except MeshError as problem:
        sys.exit(str(problem))
