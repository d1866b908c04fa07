"""The render workload on a device that takes as long as it is told to, and is slowed by a signal.

Real tiles, made early and handed over late: how long a tile takes is then the same on any machine
that is fast enough, and two such devices on one machine do not slow each other.
"""

import signal
import time

import msgspec

from render.cost import SHADED_PIXEL, TILE, UPSCALED_PIXEL
from render.executor import RenderExecutor
from render.pieces import decode_tile
from render.upscale import FULL
from render.workload import RenderSettings, RenderWorkload

SLOWER = 4
SLOW, RECOVER = signal.SIGUSR1, signal.SIGUSR2  # to the device process


class PacedSettings(msgspec.Struct):
    s_per_unit: float


class PacedExecutor(RenderExecutor):
    def __init__(self, device, s_per_unit):
        super().__init__(device)
        self._s_per_unit, self._factor = s_per_unit, 1
        signal.signal(SLOW, lambda *_: self._slow_down(SLOWER))
        signal.signal(RECOVER, lambda *_: self._slow_down(1))

    def _slow_down(self, factor):
        self._factor = factor

    def run(self, session, spec, inputs, output):
        began_s = time.monotonic()
        written = super().run(session, spec, inputs, output)
        tile = decode_tile(spec, self._sessions[session].size)
        units = units_of(tile.region().area, tile.scale) * self._factor
        time.sleep(max(0.0, began_s + units * self._s_per_unit - time.monotonic()))
        return written


class PacedWorkload(RenderWorkload):
    def __init__(self, settings):
        super().__init__(RenderSettings())
        self._s_per_unit = settings.s_per_unit

    def open_executor(self, device):
        return PacedExecutor(device, self._s_per_unit)


def units_of(area, scale):
    """What the session half will say that a tile costs, where every pixel shows something."""
    share = (scale / FULL) ** 2
    return TILE + area * ((1 + SHADED_PIXEL) * share + (UPSCALED_PIXEL if scale != FULL else 0))


def create(settings):
    return PacedWorkload(msgspec.convert(dict(settings), PacedSettings))
