"""What a headset's options cost a device, and what squeezed edges lose.

One eye of FlightHelmet ($FRAMEMESH_DATA/gltf; else of the courtyard), 1024 x 1024 pixels as looked
at, drawn by one device in this process: whole, with depth, and with squeezed edges (shares of 0.4).
The cases take turns; `time` is the median over the rounds of a frame's time to that of the whole
view in the same round. `middle` and `edges` are mean differences in luma (of 255) from the whole
view, after the edges are put back.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.report import Report, arguments
from mesh.core.workload import CutHint, SessionRequest
from render.executor import RenderExecutor
from render.foveate import Axis, Fovea
from render.session import RenderSession
from render.workload import RenderWorkload, create

SIDE = 1024
DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")
HELMET = DATA / "gltf" / "FlightHelmet" / "FlightHelmet.gltf"
SHARES = {"fovea_width": 0.4, "fovea_height": 0.4}
CASES: Mapping[str, Mapping[str, float]] = {
    "whole": {},
    "depth8": {"depth": 8},
    **{f"squeezed_{ratio}": SHARES | {"fovea_ratio": ratio} for ratio in (1.5, 2, 3)},
    "squeezed_across_3": {"fovea_width": 0.4, "fovea_ratio": 3},
}


def main() -> None:
    options = arguments(__doc__)
    rounds = 3 if options.quick else 15
    scenes = {"helmet": str(HELMET)} if HELMET.exists() else {}
    workload = create({"scenes": scenes})
    device = workload.find_devices()[0]
    executor = RenderExecutor(device)
    sessions = {name: opened(workload, case) for name, case in CASES.items()}
    for name, session in sessions.items():
        assets = {asset.digest: memoryview(asset.data) for asset in session.setup.assets}
        executor.prepare(name, session.setup.spec, assets)
    pictures = {name: drawn(executor, name, work)[1] for name, work in sessions.items()}
    took: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        whole_s = drawn(executor, "whole", sessions["whole"])[0]
        for name, session in sessions.items():
            took[name].append(drawn(executor, name, session)[0] / whole_s)
    executor.close()
    config = {"device": device.name, "scene": next(iter(scenes), "courtyard"), "side": SIDE}
    report = Report("headset", config=config)
    rows: list[list[str | float]] = []
    for name, session in sessions.items():
        ratio, pixels = statistics.median(took[name]), pictures[name].size / SIDE**2
        middle, edges = loss(session, pictures[name], pictures["whole"])
        rows.append([name, pixels, ratio, middle, edges])
        report.figure(f"{name}_time", ratio)
        if session.describe().get("fovea"):
            report.figure(f"{name}_pixels", pixels)
            report.figure(f"{name}_middle", middle)
            report.figure(f"{name}_edges", edges)
    report.table(["case", "pixels", "time", "middle", "edges"], rows)
    report.finish(options)


def opened(workload: RenderWorkload, case: Mapping[str, float]) -> RenderSession:
    """A session that looks at the whole scene from near enough to fill the view with it."""
    scene = "helmet" if HELMET.exists() else "courtyard"
    options = {"scene": scene, "view": "left", "width": SIDE, "height": SIDE, "tiles": 1, **case}
    session = workload.open_session(SessionRequest("render", options))
    camera = session.describe()["camera"]
    level = 0.32 * camera["distance"]
    x, y, z = camera["target"]
    turn = camera["yaw"] / 2
    pose = {
        "id": 1,
        "position": [x + level * math.sin(2 * turn), y, z + level * math.cos(2 * turn)],
        "orientation": [0.0, math.sin(turn), 0.0, math.cos(turn)],
    }
    session.apply_input({"id": 0, "pose": pose}, 0)
    return session


def drawn(
    executor: RenderExecutor, name: str, session: RenderSession
) -> tuple[float, NDArray[np.uint8]]:
    """Seconds that a frame's tiles took, one after another; and its luma (height, width)."""
    width, height = session.picture.width, session.picture.height
    canvas = bytearray(session.picture.nbytes)
    frame = session.open_frame(0, 0, CutHint(1), memoryview(canvas), memoryview(b""))
    outputs = [memoryview(bytearray(piece.output_bytes)) for piece in frame.pieces]
    began = time.perf_counter()
    for piece, output in zip(frame.pieces, outputs, strict=True):
        executor.run(name, piece.spec, memoryview(b""), output)
    took_s = time.perf_counter() - began
    for piece, output in zip(frame.pieces, outputs, strict=True):
        frame.accept(piece.index, output)
    return took_s, np.frombuffer(canvas, np.uint8, width * height).reshape(height, width)


def loss(
    session: RenderSession, sent: NDArray[np.uint8], whole: NDArray[np.uint8]
) -> tuple[float, float]:
    """Mean differences of the middle and of the edges."""
    said = session.describe().get("fovea")
    if said is None:
        return float(np.abs(sent.astype(float) - whole).mean()), 0.0
    fovea = Fovea(**{name: Axis(**axis) for name, axis in said[0].items()})
    wrong = np.abs(fovea.unsqueeze(sent[..., None])[..., 0].astype(float) - whole)
    middle = np.zeros(whole.shape, np.bool_)
    middle[fovea.y.whole, fovea.x.whole] = True
    return float(wrong[middle].mean()), float(wrong[~middle].mean())


if __name__ == "__main__":
    main()
