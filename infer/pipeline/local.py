"""Boxes without a mesh: the workload's two halves in this process, one sector a sweep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.executor import InferExecutor
from infer.session import InferSession
from infer.sweep import encode_sweep
from mesh.core.workload import CutHint

_SESSION = "local"
_NOTHING = memoryview(b"")


class LocalBoxes:
    """Finds the boxes that the mesh would find, by the same code. Not for two threads at once."""

    def __init__(self, session: InferSession, executor: InferExecutor) -> None:
        self._session, self._executor = session, executor
        executor.prepare(_SESSION, session.setup.spec, {})

    def find(self, points: NDArray[np.float32], stamp_us: int) -> bytes:
        """The result message (infer.codec) of float32 (n, 4) points. Raises ContentRefused."""
        self._session.offer_input(stamp_us, encode_sweep(points))
        frame = self._session.open_frame(0, 0, CutHint(1), _NOTHING, _NOTHING)
        for piece in frame.pieces:
            answer = memoryview(bytearray(piece.output_bytes))
            inputs = memoryview(piece.inputs).toreadonly()
            size = self._executor.run(_SESSION, piece.spec, inputs, answer)
            frame.accept(piece.index, answer[:size])
        return frame.finish()
