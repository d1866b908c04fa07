"""`/usr/bin/python3 -m bench.streaming.gstreamer OPTIONS`: the moving picture by webrtcbin.

GStreamer as Debian packages it, run by Debian's own Python, which is where its bindings are:
x264enc with its settings for low latency, rtph264pay, webrtcbin. It makes the offer, as its own
examples do. OPTIONS as JSON: width, height, fps, bitrate (bits per second).

Packages: gstreamer1.0-tools, gstreamer1.0-plugins-{base,good,bad,ugly}, gstreamer1.0-nice,
gir1.2-gst-plugins-bad-1.0, python3-gst-1.0, python3-numpy.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import gi
import numpy as np

for library in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(library, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402  (after their versions)

from bench.streaming.picture import MovingPicture  # noqa: E402
from bench.streaming.source import Beat, Made, now_us  # noqa: E402

PIPELINE = (
    "appsrc name=source is-live=true do-timestamp=true format=time"
    " caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} vbv-buf-capacity=100"
    " key-int-max=1000000 bframes=0"
    " ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay name=pay aggregate-mode=zero-latency config-interval=-1 mtu=1200 pt=96"
    " ! application/x-rtp,media=video,encoding-name=H264,payload=96"
    " ! webrtcbin name=out bundle-policy=max-bundle latency=0"
)
READY_S = 20.0


class Peer:
    """One pipeline with one viewer."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._fps = options["fps"]
        self._picture = MovingPicture(options["width"], options["height"])
        self._made = Made()
        kbps = options["bitrate"] // 1000
        self._pipeline = Gst.parse_launch(PIPELINE.format(kbps=kbps, **options))
        self._source, self._out = (self._pipeline.get_by_name(n) for n in ("source", "out"))

    def offer(self) -> dict[str, Any]:
        """Start, and offer when the encoder has said what it makes."""
        self._pipeline.set_state(Gst.State.PLAYING)
        threading.Thread(target=self._feed, daemon=True).start()
        pad = self._pipeline.get_by_name("pay").get_static_pad("src")
        _until(pad.get_current_caps)
        self._out.emit("get-transceiver", 0).set_property(
            "direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
        )
        made = _promised(lambda promise: self._out.emit("create-offer", None, promise))
        offer = made.get_value("offer")
        _promised(lambda promise: self._out.emit("set-local-description", offer, promise))
        complete = GstWebRTC.WebRTCICEGatheringState.COMPLETE
        _until(lambda: self._out.get_property("ice-gathering-state") == complete)
        return {"sdp": self._out.get_property("local-description").sdp.as_text()}

    def accept(self, sdp: str) -> dict[str, Any]:
        """The browser's answer, with its candidates."""
        _, parsed = GstSdp.SDPMessage.new_from_text(sdp)
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        answer = GstWebRTC.WebRTCSessionDescription.new(kind, parsed)
        _promised(lambda promise: self._out.emit("set-remote-description", answer, promise))
        for line in sdp.splitlines():
            if line.startswith("a=candidate:"):
                self._out.emit("add-ice-candidate", 0, line.removeprefix("a="))
        return {}

    def report(self) -> dict[str, Any]:
        return {"made_us": list(self._made.at_us.items())}

    def _feed(self) -> None:
        beat = Beat(self._fps)
        pixels = np.empty((self._picture.height * 3 // 2, self._picture.width), np.uint8)
        while True:
            time.sleep(max(0, beat.next_us() - now_us()) / 1e6)
            self._picture.draw(pixels, beat.number)
            data = pixels.tobytes()
            self._made.note(beat.number)
            self._source.emit("push-buffer", Gst.Buffer.new_wrapped(data))


def _promised(ask: Any) -> Any:
    promise = Gst.Promise.new()
    ask(promise)
    promise.wait()
    return promise.get_reply()


def _until(true: Any) -> None:
    end_s = time.monotonic() + READY_S
    while not true():
        if time.monotonic() > end_s:
            raise TimeoutError(f"webrtcbin was not ready within {READY_S:.0f} s")
        time.sleep(0.01)


def serve(options: dict[str, Any]) -> None:
    """Answer the benchmark's calls, one JSON line each, to the end of its input."""
    threading.Thread(target=GLib.MainLoop().run, daemon=True).start()
    peer = Peer(options)
    for line in sys.stdin:
        asked = json.loads(line)
        match asked["call"]:
            case "offer":
                told = peer.offer()
            case "accept":
                told = peer.accept(asked["sdp"])
            case "report":
                told = peer.report()
            case _:
                told = {}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    Gst.init(None)
    serve(json.loads(sys.argv[1]))
