"""A picture's bytes do not depend on how it is cut, nor on which node draws which part.

FlightHelmet ($FRAMEMESH_DATA/gltf) at 640x360 by the raster pass, and the courtyard at 160x96 by
the path tracer, cut into 1, 2 and 6 tiles on one and on two worker nodes, and in random tilings
whose tiles alternate between the two: every composed picture is held against the whole one byte for
byte. Nodes forget what they drew before each one, because they keep the samples of a view. Exits 1
if any differs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from bench.report import Report, arguments
from bench.workernode import WorkerNode, worker_node
from mesh.core.plugins import create_workload
from mesh.core.workload import CutHint, Piece, SessionRequest, SessionWork
from render.pieces import TileSpec, encode
from render.session import RenderFrame
from render.tiles import Rect, cut, grid_shape

Size = tuple[int, int]

SIZE, TRACED_SIZE = (640, 360), (160, 96)
DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")
HELMET = DATA / "gltf" / "FlightHelmet" / "FlightHelmet.gltf"


def open_work() -> SessionWork:
    """For the raster pass."""
    scenes = {"helmet": str(HELMET)} if HELMET.exists() else {}
    if not scenes:
        print(f"no FlightHelmet at {HELMET}: the built-in scene is cut instead", file=sys.stderr)
        if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1":
            sys.exit(1)
    options: dict[str, object] = {"width": SIZE[0], "height": SIZE[1], "tiles": 1, "turntable": 0}
    options |= {"scene": "helmet"} if scenes else {}
    workload = create_workload("render", {"scenes": scenes})
    return workload.open_session(SessionRequest("render", options))


def open_traced() -> SessionWork:
    """For the path tracer."""
    options: dict[str, object] = {
        "width": TRACED_SIZE[0],
        "height": TRACED_SIZE[1],
        "tiles": 1,
        "turntable": 0,
    }
    options |= {"integrator": "pathtrace", "samples": 1, "bounces": 5}
    return create_workload("render", {}).open_session(SessionRequest("render", options))


def size_of(work: SessionWork) -> Size:
    assert work.picture is not None
    return work.picture.width, work.picture.height


def pieces_of(work: SessionWork, rects: Sequence[Rect]) -> list[Piece]:
    """The same view of the scene, cut another way."""
    width, height = size_of(work)
    canvas = memoryview(bytearray(width * height * 3 // 2))
    [whole] = work.open_frame(0, 0, CutHint(1), canvas, memoryview(b"")).pieces
    view = msgspec.msgpack.decode(whole.spec, type=TileSpec)
    return [
        Piece(
            index,
            whole.kind,
            float(rect.area),
            encode(msgspec.structs.replace(view, rect=tuple(rect))),
            rect.i420_bytes,
            region=tuple(rect),
        )
        for index, rect in enumerate(rects)
    ]


def random_tiling(size: Size, seed: int) -> list[Rect]:
    """Edges on the 16-pixel grid, anywhere: the cut of a random cost."""
    draw = np.random.default_rng(seed)
    columns, rows = grid_shape(*size)
    return cut(*size, int(draw.integers(2, 17)), draw.random((rows, columns)) ** 8)


async def picture(work: SessionWork, rects: Sequence[Rect], nodes: Sequence[WorkerNode]) -> bytes:
    """Tiles from the nodes in turn, composed as the gateway does it."""
    await asyncio.gather(*(forget(work, node) for node in nodes))
    pieces = pieces_of(work, rects)
    width, height = size_of(work)
    canvas = bytearray(width * height * 3 // 2)
    frame = RenderFrame((width, height), pieces, memoryview(canvas), memoryview(b""))
    for piece in pieces:
        _, tile = await nodes[piece.index % len(nodes)].run(piece)
        frame.accept(piece.index, tile)
    return bytes(canvas)


async def forget(work: SessionWork, node: WorkerNode) -> None:
    """A tile of other samples takes the place of all that the node has of this view."""
    [piece] = pieces_of(work, [Rect(0, 0, 16, 16)])
    other = msgspec.structs.replace(msgspec.msgpack.decode(piece.spec, type=TileSpec), seed=1)
    await node.run(replace(piece, spec=encode(other)))


async def compare(work: SessionWork, random_tilings: int) -> dict[str, tuple[int, int]]:
    """(pictures, of them different from the whole) by case."""
    size = size_of(work)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(worker_node(work)) for _ in range(2)]
        whole = await picture(work, cut(*size, 1), nodes[:1])
        found: dict[str, tuple[int, int]] = {}
        for tiles in (1, 2, 6):
            for count in (1, 2):
                made = await picture(work, cut(*size, tiles), nodes[:count])
                found[f"{tiles} tiles, {count} node{'s' * (count > 1)}"] = (1, int(made != whole))
        other = await picture(work, cut(*size, 1), nodes[1:])
        found["the whole on the other node"] = (1, int(other != whole))
        differ = [
            await picture(work, random_tiling(size, seed), nodes) != whole
            for seed in range(random_tilings)
        ]
        found["random tilings, 2 nodes"] = (len(differ), sum(differ))
    return found


def main() -> None:
    options = arguments(__doc__)
    random_tilings = 6 if options.quick else 200
    sizes = {"raster": SIZE, "pathtrace": TRACED_SIZE}
    report = Report("tilings", config={"sizes": sizes}, seeds=range(random_tilings))
    rows: list[list[str | float]] = []
    for integrator, opened in (("raster", open_work), ("pathtrace", open_traced)):
        found = uvloop.run(compare(opened(), random_tilings))
        rows += [[integrator, case, *counts] for case, counts in found.items()]
    pictures, different = (sum(int(row[column]) for row in rows) for column in (2, 3))
    report.table(["integrator", "case", "pictures", "different"], rows)
    report.figure("pictures", pictures)
    report.figure("different", different)
    report.finish(options)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
