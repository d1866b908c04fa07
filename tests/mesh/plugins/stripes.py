"""A workload without a GPU: each piece is a band of rows in one shade of grey.

Its options make it misbehave in the ways a gateway must survive.
"""

import os
import time

import msgspec
import numpy as np

from mesh.core.errors import ContentRefused, SessionRefused
from mesh.core.workload import Asset, Contract, DeviceInfo, PictureFormat, Piece, SessionSetup

INFO = DeviceInfo(unit="stripes", api="cpu", name="stripes", driver="numpy", index=0)
WIDTH, HEIGHT, BANDS = 448, 256, 4
BAND_BYTES = WIDTH * (HEIGHT // BANDS) * 3 // 2


class Band(msgspec.Struct):
    shade: int
    trouble: str = ""


class StripesExecutor:
    def heed(self, check):
        self.check = check

    def prepare(self, session, spec, assets):
        if spec == b"refuse":
            raise ContentRefused(what="the stripes are crooked", why="asked for", fix="None.")
        [data] = assets.values()
        assert bytes(data) == b"zebra"

    def run(self, session, spec, inputs, output):
        band = msgspec.msgpack.decode(spec, type=Band)
        if band.trouble == "crash":
            os.abort()
        if band.trouble == "hang":
            time.sleep(3600)
        while band.trouble == "drag":  # until nobody wants it
            self.check()
            time.sleep(0.001)
        if band.trouble == "short":
            return 1
        output[:] = bytes([band.shade]) * len(output)
        return len(output)

    def passes_us(self):
        return {"paint": 3}

    def forget(self, session):
        pass

    def close(self):
        pass


class StripesFrame:
    def __init__(self, frame_id, canvas, previous, trouble):
        shade = 40 + frame_id % 100
        spec = msgspec.msgpack.encode
        self.pieces = [
            Piece(
                index,
                "band",
                1.0,
                spec(Band(shade, trouble if index == 0 else "")),
                BAND_BYTES,
                region=(0, index * HEIGHT // BANDS, WIDTH, HEIGHT // BANDS),
            )
            for index in range(BANDS)
        ]
        self._canvas, self._previous = np.frombuffer(canvas, np.uint8), previous

    def accept(self, index, result):
        if len(result) != BAND_BYTES:
            raise ContentRefused(what="not a band", why=f"{len(result)} bytes", fix="None.")
        self._rows(self._canvas, index)[:] = np.frombuffer(result, np.uint8)

    def fill(self, index):
        rows = self._rows(self._canvas, index)
        rows[:] = 128
        if len(self._previous):
            rows[:] = self._rows(np.frombuffer(self._previous, np.uint8), index)

    def finish(self):
        return b""

    @staticmethod
    def _rows(flat, index):
        """A band's share of the whole canvas, planes ignored: grey is grey."""
        return flat[index * BAND_BYTES : (index + 1) * BAND_BYTES]


class StripesSession:
    def __init__(self, options):
        self.setup = SessionSetup(
            b"refuse" if options.get("crooked") else b"", (Asset("zebra", b"zebra"),)
        )
        self.contract = Contract(period_us=33_333, deadline_us=100_000)
        self.picture = PictureFormat(WIDTH, HEIGHT)
        self._trouble = options.get("trouble", "")
        self._troubled_frame = options.get("at", -1)

    def describe(self):
        return {"title": "stripes"}

    def apply_input(self, event, now_us):
        if event.get("nonsense"):
            raise ContentRefused(what="nonsense", why="the client said so", fix="Stop.")

    def offer_input(self, stamp_us, data):
        raise ContentRefused(what="no inputs", why="stripes need none", fix="Send none.")

    def open_frame(self, frame_id, now_us, hint, canvas, previous):
        trouble = self._trouble if frame_id == self._troubled_frame else ""
        if self._trouble == "bug" and frame_id >= self._troubled_frame:  # that one may be skipped
            raise ZeroDivisionError("a bug of the workload")
        return StripesFrame(frame_id, canvas, previous, trouble)


class Stripes:
    name = "stripes"

    def find_devices(self):
        return [INFO]

    def open_executor(self, device):
        return StripesExecutor()

    def open_session(self, request):
        if "colour" in request.options:
            raise SessionRefused(what="no colours", why="stripes are grey", fix="Ask for grey.")
        return StripesSession(request.options)


def create(settings):
    return Stripes()
