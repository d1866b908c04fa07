"""`/usr/bin/python3 -m bench.streaming.screen OPTIONS`: the moving picture on an X screen.

For peers that stream a screen. Shown by GStreamer's ximagesink in the corner of the DISPLAY, which
has no window manager; a frame counts as made when it is handed to X, its colours converted.
OPTIONS as JSON: width, height, fps. Packages: as bench.streaming.gstreamer, and gstreamer1.0-x.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import gi
import numpy as np

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402  (after its version)

from bench.streaming.picture import MovingPicture  # noqa: E402
from bench.streaming.source import Beat, Made, now_us  # noqa: E402

PIPELINE = (
    "appsrc name=source is-live=true format=time"
    " caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
    " ! videoconvert ! ximagesink name=screen sync=false"
)


class Screen:
    """The pipeline, and what it has shown."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._fps = options["fps"]
        self._picture = MovingPicture(options["width"], options["height"])
        self.made = Made()
        self._pipeline = Gst.parse_launch(PIPELINE.format(**options))
        self._source = self._pipeline.get_by_name("source")
        pad = self._pipeline.get_by_name("screen").get_static_pad("sink")
        pad.add_probe(Gst.PadProbeType.BUFFER, self._handed_to_x)
        self._pipeline.set_state(Gst.State.PLAYING)
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        beat = Beat(self._fps)
        pixels = np.empty((self._picture.height * 3 // 2, self._picture.width), np.uint8)
        while True:
            time.sleep(max(0, beat.next_us() - now_us()) / 1e6)
            self._picture.draw(pixels, beat.number)
            buffer = Gst.Buffer.new_wrapped(pixels.tobytes())
            buffer.pts = beat.number * Gst.MSECOND  # its number; nothing waits for a clock
            self._source.emit("push-buffer", buffer)

    def _handed_to_x(self, _: Any, probe: Any) -> Any:
        self.made.note(probe.get_buffer().pts // Gst.MSECOND)
        return Gst.PadProbeReturn.OK


def serve(options: dict[str, Any]) -> None:
    """Answer the benchmark's calls, one JSON line each, to the end of its input."""
    screen = Screen(options)
    for line in sys.stdin:
        told = {"made_us": list(screen.made.at_us.items())} if "report" in line else {}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    Gst.init(None)
    serve(json.loads(sys.argv[1]))
