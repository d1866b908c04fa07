"""Does a device process grow as scenes come and go?

One executor prepares a session, draws a frame of it and forgets it, over and over: the courtyard
and the skinned Fox ($FRAMEMESH_DATA/gltf) in turn, at two sizes. `rss_growth_pct` is the resident
memory at the end against that after the first tenth of the cycles, when caches have their size
(means over the last tenth and the second: one scene leaves more behind than the other, until it is
the other's turn; the heap gives back what is free before it is looked at); `device_growth_bytes` is
what the device has allocated more after the last session than after the first. Exits 1 if the
device's memory grew at all or, over at least 200 cycles, the resident by more than 5 %.

    python -m bench.soak_scenes [--cycles 1000]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import sys
import time
from contextlib import closing
from pathlib import Path

from bench.report import Report, arguments
from mesh.core.workload import Asset, CutHint, SessionRequest
from render.executor import RenderExecutor
from render.workload import RenderWorkload, create

DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")
FOX = DATA / "gltf" / "Fox.glb"
SIZES = ((640, 360), (320, 180))
CYCLES, QUICK_CYCLES = 1000, 40
MOST_PCT, ENOUGH = 5.0, 200


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, help=f"default {CYCLES}, quick {QUICK_CYCLES}")
    options = arguments(__doc__, parser=parser)
    cycles = options.cycles or (QUICK_CYCLES if options.quick else CYCLES)
    scenes = {"fox": str(FOX)} if FOX.exists() else {}
    if not scenes:
        print(f"left out: no Fox at {FOX} (FRAMEMESH_DATA names the folder of real inputs)")
    workload = create({"scenes": scenes})
    names = [*scenes, "courtyard"]
    resident, held = [], []
    began = time.monotonic()
    with closing(workload.open_executor(workload.find_devices()[0])) as executor:
        for number in range(cycles):
            cycle(workload, executor, names[number % len(names)], SIZES[number % 3 % 2])
            resident.append(resident_bytes())
            held.append(executor.memory_bytes)
    seconds = time.monotonic() - began
    growth = growth_pct(resident)
    report = Report("soak_scenes", config={"cycles": cycles, "scenes": names, "sizes": SIZES})
    at = [0, cycles // 10, cycles // 2, cycles - 1]
    rows: list[list[str | float]] = [[i + 1, resident[i] / 2**20, held[i] / 2**20] for i in at]
    report.table(["cycle", "resident MiB", "device MiB"], rows)
    report.figure("cycles", cycles)
    report.figure("cycle_ms", 1e3 * seconds / cycles)
    report.figure("rss_growth_pct", growth)
    report.figure("device_growth_bytes", held[-1] - held[0])
    report.finish(options)
    return int(held[-1] != held[0] or (cycles >= ENOUGH and growth > MOST_PCT))


def cycle(
    workload: RenderWorkload, executor: RenderExecutor, scene: str, size: tuple[int, int]
) -> None:
    """One session, from its preparation to its end."""
    options = {"scene": scene, "width": size[0], "height": size[1], "tiles": 1}
    work = workload.open_session(SessionRequest("render", options))
    assets: dict[str, Asset] = {asset.digest: asset for asset in work.setup.assets}
    executor.prepare(
        "s", work.setup.spec, {digest: memoryview(asset.data) for digest, asset in assets.items()}
    )
    canvas = memoryview(bytearray(work.picture.nbytes))
    [piece] = work.open_frame(0, 0, CutHint(1), canvas, memoryview(b"")).pieces
    executor.run("s", piece.spec, memoryview(b""), canvas)
    executor.forget("s")


def resident_bytes() -> int:
    """Of this process, without what its heap keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth_pct(resident: list[int]) -> float:
    """From after the first tenth to the end, by means over a tenth each."""
    tenth = max(len(resident) // 10, 1)
    before = statistics.fmean(resident[tenth : 2 * tenth] or resident)
    return 100 * (statistics.fmean(resident[-tenth:]) / before - 1)


if __name__ == "__main__":
    sys.exit(main())
