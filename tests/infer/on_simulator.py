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


def said_by(api, cuts):
    """The device; for each number of sectors, how many boxes and a digest of all that is said."""
    workload = create({"api": api})
    [info] = workload.find_devices()
    session = workload.open_session(SessionRequest("infer", OPTIONS))
    executor = workload.open_executor(info)
    executor.prepare("s", session.setup.spec, {})
    said = []
    for stamp_us, sectors in enumerate(cuts):
        session.offer_input(stamp_us, encode_sweep(sweep()))
        frame = session.open_frame(0, 0, CutHint(sectors), NOTHING, NOTHING)
        for piece in frame.pieces:
            output = memoryview(bytearray(piece.output_bytes))
            nbytes = executor.run("s", piece.spec, memoryview(piece.inputs), output)
            frame.accept(piece.index, output[:nbytes])
        result = decode_result(frame.finish())
        arrays = [getattr(result.boxes, name) for name in result.boxes.__dataclass_fields__]
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays))
        digest.update(repr(result.counts).encode())
        said.append((len(result.boxes.yaws), digest.hexdigest()))
    return info, said


cuda, (whole, in_sectors) = said_by("cuda-simulator", (1, 3))
_, (cpu,) = said_by("cpu", (1,))
print(
    json.dumps(
        {
            "api": cuda.api,
            "software": cuda.software,
            "unit": cuda.unit,
            "boxes": whole[0],
            "cpu": cpu[1],
            "cuda whole": whole[1],
            "cuda in sectors": in_sectors[1],
        }
    )
)
