"""What one device makes of large frames: 1080p and 4K, raster and path traced.

The courtyard (and FlightHelmet, $FRAMEMESH_DATA/gltf, for raster) through the executor that a
device process runs, so a frame's time has all in it: decoding its description, recording, drawing,
conversion to I420 and the way to host memory. `tiles8_to_whole_*` is a frame in 8 tiles to it in
one; `two_processes_to_one` is how many frames two processes make on the device together, to what
one makes alone. Software drivers trace no paths here: it takes them minutes a frame.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench.report import Report, arguments
from mesh.core.workload import CutHint, SessionRequest
from render.executor import RenderExecutor
from render.workload import create

DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")
HELMET = DATA / "gltf" / "FlightHelmet" / "FlightHelmet.gltf"
SIZES = {"1080p": (1920, 1080), "4k": (3840, 2160)}
TILES = 8
TRACED_SAMPLES = 4
BUDGET_S = 4.0  # per case
VIEW_US = 100_000  # from one view of the turning camera to the next: samples of a view are kept


def main() -> int:
    options = arguments(__doc__)
    sizes = {"1080p": SIZES["1080p"]} if options.quick else SIZES
    budget_s = BUDGET_S / 4 if options.quick else BUDGET_S
    scenes = {"helmet": str(HELMET)} if HELMET.exists() else {}
    if not scenes:
        print(f"left out: no FlightHelmet at {HELMET} (FRAMEMESH_DATA names its folder)")
    workload = create({"scenes": scenes})
    info = workload.find_devices()[0]
    report = Report("render_device", config={"device": info.name, "driver": info.driver})
    rows: list[list[str | float]] = []
    with closing(workload.open_executor(info)) as executor:
        for label, size in sizes.items():
            for scene in (*scenes, "courtyard"):
                whole = frame_ms(executor, raster(scene, scenes, size), budget_s)
                tiled = frame_ms(executor, raster(scene, scenes, size, TILES), budget_s)
                rows.append([f"{scene}, raster", label, whole, tiled / whole])
                report.figure(f"raster_{label}_{scene}_ms", whole)
                report.figure(f"tiles8_to_whole_{label}_{scene}", tiled / whole)
            if info.software:
                continue  # minutes a frame
            traced = frame_ms(executor, traced_session(size), budget_s)
            rows.append([f"courtyard, {TRACED_SAMPLES} paths a pixel", label, traced, 1.0])
            report.figure(f"pathtrace_{label}_courtyard_ms", traced)
    report.table(["scene", "size", "frame ms", "8 tiles to it"], rows)
    report.figure("two_processes_to_one", two_processes_to_one(budget_s))
    report.finish(options)
    return 0


Session = tuple[Mapping[str, str], Mapping[str, object]]  # scenes, options


def raster(scene: str, scenes: Mapping[str, str], size: tuple[int, int], tiles: int = 1) -> Session:
    width, height = size
    return scenes, {"scene": scene, "width": width, "height": height, "tiles": tiles}


def traced_session(size: tuple[int, int]) -> Session:
    """In tiles, so that no submission is longer than drivers allow."""
    scenes, options = raster("courtyard", {}, size, 16)
    return scenes, {**options, "integrator": "pathtrace", "samples": TRACED_SAMPLES}


def frame_ms(executor: RenderExecutor, session: Session, budget_s: float) -> float:
    """Median milliseconds of a frame, over at least three, for about so long."""
    scenes, options = session
    work = create({"scenes": dict(scenes)}).open_session(SessionRequest("render", options))
    assets = {asset.digest: memoryview(asset.data) for asset in work.setup.assets}
    executor.prepare("s", work.setup.spec, assets)
    canvas = memoryview(bytearray(work.picture.nbytes))
    times: list[float] = []
    until = time.perf_counter() + budget_s
    while len(times) < 4 or time.perf_counter() < until:
        number = len(times)
        frame = work.open_frame(number, number * VIEW_US, CutHint(1), canvas, memoryview(b""))
        began = time.perf_counter()
        for piece in frame.pieces:
            executor.run("s", piece.spec, memoryview(b""), canvas[: piece.output_bytes])
        times.append((time.perf_counter() - began) * 1e3)
    executor.forget("s")
    return statistics.median(times[1:])


# --- two processes --------------------------------------------------------------------------------


def two_processes_to_one(budget_s: float) -> float:
    """Frames per second of two processes together, to one's."""
    return rate(2, budget_s) / rate(1, budget_s)


def rate(processes: int, budget_s: float) -> float:
    """Frames per second that so many processes make together. Spawned: Vulkan survives no fork."""
    context = multiprocessing.get_context("spawn")
    ready, counts = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(target=_draw, args=(ready, counts, budget_s)) for _ in range(processes)
    ]
    for process in started:
        process.start()
    total = sum(float(counts.get()) for _ in started)
    for process in started:
        process.join()
    return total


def _draw(ready: Barrier, counts: multiprocessing.SimpleQueue[float], budget_s: float) -> None:
    workload = create({})
    with closing(workload.open_executor(workload.find_devices()[0])) as executor:
        ready.wait(120)
        counts.put(1e3 / frame_ms(executor, raster("courtyard", {}, SIZES["1080p"]), budget_s))


if __name__ == "__main__":
    sys.exit(main())
