"""Run by test_cuda in a process of its own, because Numba's simulator is chosen when it is loaded.

Prints, as JSON, what the CPU and the simulated CUDA device say about one sweep of 2,000 points.
"""

import hashlib
import json

import numpy as np

from infer.codec import decode_result
from infer.sweep import encode_sweep
from infer.workload import create
from mesh.core.workload import CutHint, SessionRequest

POINTS = 2000
OPTIONS = {"reach_m": 16, "near_m": 1.0}
NOTHING = memoryview(b"")


def sweep():
    """Noise on the ground and four blocks on it, one of them across the sectors' border."""
    rng = np.random.default_rng(3)
    points = np.zeros((POINTS, 4), np.float32)
    points[:, :2] = rng.uniform(-15, 15, (POINTS, 2))
    points[:, 2] = -1.73 + rng.normal(0, 0.02, POINTS)
    for k, (x, y) in enumerate(((6, 5), (-9, 0), (4, -8), (-5, 9))):
        block = slice(300 * k, 300 * (k + 1))
        points[block, :3] = rng.uniform((x - 2, y - 0.9, -1.7), (x + 2, y + 0.9, 0.0), (300, 3))
    return points


def said_by(device, sectors):
    workload = create({"api": device})
    [info] = [info for info in workload.find_devices() if info.api == device]
    session = workload.open_session(SessionRequest("infer", OPTIONS))
    executor = workload.open_executor(info)
    executor.prepare("s", session.setup.spec, {})
    session.offer_input(1, encode_sweep(sweep()))
    frame = session.open_frame(0, 0, CutHint(sectors), NOTHING, NOTHING)
    for piece in frame.pieces:
        output = memoryview(bytearray(piece.output_bytes))
        frame.accept(
            piece.index, output[: executor.run("s", piece.spec, memoryview(piece.inputs), output)]
        )
    result = decode_result(frame.finish())
    fields = [getattr(result.boxes, name).tobytes() for name in result.boxes.__dataclass_fields__]
    digest = hashlib.sha256(b"".join(fields) + repr(result.counts).encode()).hexdigest()
    return info, len(result.boxes.yaws), digest


cuda, boxes, whole = said_by("cuda", 1)
print(
    json.dumps(
        {
            "api": cuda.api,
            "software": cuda.software,
            "unit": cuda.unit,
            "boxes": boxes,
            "cpu": said_by("cpu", 1)[2],
            "cuda whole": whole,
            "cuda in sectors": said_by("cuda", 3)[2],
        }
    )
)
