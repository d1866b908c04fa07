"""How long is a frame? Ours beside three.js and pygfx, on one Vulkan driver, in turns.

FlightHelmet ($FRAMEMESH_DATA/gltf) at 1280x720 from a camera that goes around it, one step a
frame: one directional light, no environment, no shadows, no tone mapping, no antialiasing, sRGB
out. All three have one machine's Vulkan driver (three.js through ANGLE in headless Chromium) and
take turns of a few frames each, so that whatever else runs there hits them alike; ratios are
medians over the turns, ours to theirs.

Timed is a frame's whole way on the host's clock: from a new camera until its picture is finished.
The peers read one pixel of it, which waits for the rest. Ours is also converted to I420 and copied
to host memory within its time, because that is what `Renderer.render` gives: to the peers that
would come on top. What was drawn is compared once, so that nobody is fast by drawing less.

`record_500_draws_ms` is the rendering thread's own CPU time per frame of 500 draws of 16 materials
at 64x64 pixels: culling, sorting, recording, submission, and copying the picture out.
`tiles8_to_whole` is the time of a frame made tile by tile, 8 of them, to that of the whole, for
FlightHelmet at 1280x720; the other tilings and scenes are in the table.
`two_node_speedup` is of the path tracer at 640x360, TRACED_SAMPLES paths a pixel, in 16 tiles that
two worker nodes of one core each take in turns over real links, to one of them doing all; the
picture must be the same. Every frame has a view of its own, or a view that its nodes have since
left: samples of the view before are kept on the device, and would be shown for nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

from bench.peers.pygfx_frames import PygfxFrames
from bench.peers.threejs import Job, ReferenceUnavailable
from bench.peers.threejs_frames import open_threejs
from bench.report import Report, arguments
from bench.workernode import WorkerNode, worker_node
from mesh.core.plugins import create_workload
from mesh.core.workload import CutHint, Frame, SessionRequest, SessionWork
from render.camera import Orbit, frame_bounds
from render.package import load_scene, pack
from render.passes.scene_upload import DeviceScene
from render.pieces import TileSpec
from render.procedural.shapes import sphere
from render.renderer import Canvas, Renderer, open_renderer
from render.scene import Draw, Material, Primitive, Scene, Vec3, as_vec3
from render.tiles import Rect, cut
from render.vulkan.instance import open_instance

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data")
HELMET = DATA / "gltf" / "FlightHelmet" / "FlightHelmet.gltf"
CACHE = ROOT / "out" / "reference"
SIZE = (1280, 720)
LIGHT: Vec3 = (0.0, 0.6, 0.8)
ILLUMINANCE = 3.0
BACKGROUND = 0.2  # linear grey
STEP = math.radians(3)
TURN_FRAMES = 3
LIKE = (
    12.0  # of 255: pictures that differ by more, on average where there is something, are not alike
)
DRAWS, MATERIALS = 500, 16
TILES = (2, 4, 8)
TRACED_SAMPLES = 2
VIEW_US = 100_000  # from one view of the turning camera to the next


def main() -> int:
    options = arguments(__doc__)
    turns = 4 if options.quick else 16
    report = Report("render_speed", config={"size": SIZE})
    with ExitStack() as scope:
        instance = scope.enter_context(open_instance())
        physical = instance.choose()
        renderer = scope.enter_context(open_renderer(instance, physical))
        report.config["ours"] = f"{physical.name}, {physical.driver}"
        if HELMET.exists():
            compare_frames(renderer, report, turns)
        else:
            print(f"left out: no FlightHelmet at {HELMET} (FRAMEMESH_DATA names its folder)")
            if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1":
                return 1
        compare_tilings(renderer, report, turns)
        report.figure("record_500_draws_ms", record_ms(renderer, 50 * turns))
    uvloop.run(compare_nodes(report, 1 if options.quick else 5))
    report.finish(options)
    return 0


# --- frames ---------------------------------------------------------------------------------------


def compare_frames(renderer: Renderer, report: Report, turns: int) -> None:
    """Frame times of all renderers that run here, in turns."""
    asset = pack(HELMET)
    scene = load_scene(asset.data)
    first = frame_bounds(as_vec3(scene.bounds_min), as_vec3(scene.bounds_max), SIZE[0] / SIZE[1])
    poses = [replace(first, yaw=first.yaw + STEP * number) for number in range(TURN_FRAMES)]
    eyes, job = [pose.eye() for pose in poses], job_of(first)
    with ExitStack() as scope:
        # The job's light is the only one, here as for the peers.
        ours = Ours(renderer, replace(scene, lights=()), SIZE, scope)
        drawers: dict[str, Callable[[], list[float]]] = {"ours": lambda: ours.frames(poses)}
        pictures: dict[str, Callable[[], NDArray[np.uint8] | None]] = {}
        try:
            pygfx = PygfxFrames(scene, job)
            drawers["pygfx"], pictures["pygfx"] = lambda: pygfx.frames(eyes), lambda: pygfx.picture
            report.config["pygfx"] = pygfx.renderer
        except ImportError as problem:
            print(f"left out: pygfx ({problem})", file=sys.stderr)
        try:
            three = scope.enter_context(open_threejs(bytes(asset.data), job, CACHE))
            drawers["threejs"], pictures["threejs"] = (
                lambda: three.frames(eyes),
                lambda: three.picture,
            )
            report.config["threejs"] = three.renderer
        except ReferenceUnavailable as problem:
            print(f"left out: three.js ({problem})", file=sys.stderr)
        for draw in drawers.values():
            draw()
        for name, picture in pictures.items():
            must_be_alike(name, ours.picture(), picture())
        times: dict[str, list[float]] = {name: [] for name in drawers}
        for turn in range(turns):
            order = list(drawers) if turn % 2 == 0 else list(reversed(drawers))
            for name in order:
                times[name] += drawers[name]()
    rows: list[list[str | float]] = []
    for name, taken in times.items():
        ratio = paired_ratio(times["ours"], taken, TURN_FRAMES)
        rows.append([name, len(taken), min(taken), statistics.median(taken), ratio])
        if name != "ours":
            report.figure(f"frame_ms_to_{name}", ratio)
    report.table(["renderer", "frames", "least ms", "median ms", "ours to it"], rows)
    report.figure("frame_ms", statistics.median(times["ours"]))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], turn: int) -> float:
    """Median over turns of so many frames, each against the one made beside it."""
    turns = [np.reshape(taken, (-1, turn)).sum(axis=1) for taken in (ours, theirs)]
    return float(np.median(turns[0] / turns[1]))


class Ours:
    """One scene and one size on our renderer."""

    def __init__(
        self, renderer: Renderer, scene: Scene, size: tuple[int, int], scope: ExitStack
    ) -> None:
        self._renderer, self._size = renderer, size
        self._scene: DeviceScene = scope.enter_context(closing(renderer.upload(scene)))
        self._canvas: Canvas = scope.enter_context(closing(renderer.create_canvas(*size)))
        self._output = memoryview(bytearray(size[0] * size[1] * 3 // 2))

    def frames(self, poses: Sequence[Orbit]) -> list[float]:
        """Milliseconds per frame."""
        return [self.frame(pose) for pose in poses]

    def frame(self, pose: Orbit, rects: Sequence[Rect] = ()) -> float:
        """Milliseconds for a frame in so many tiles (default: one)."""
        began = time.perf_counter()
        tile = tile_of(pose, self._size)
        for rect in rects or [tile.region()]:
            self.draw(msgspec.structs.replace(tile, rect=tuple(rect)))
        return (time.perf_counter() - began) * 1e3

    def draw(self, tile: TileSpec) -> None:
        """Draw a tile, convert it and copy it out."""
        output = self._output[: tile.region().i420_bytes]
        self._renderer.render(self._canvas, self._scene, tile, output)

    def picture(self) -> NDArray[np.uint8]:
        """The frame last drawn whole, uint8 (h, w, 3)."""
        return self._renderer.read_rgba(self._canvas)[..., :3]


def job_of(pose: Orbit) -> Job:
    """What the peers are told."""
    return Job(
        width=SIZE[0],
        height=SIZE[1],
        eye=pose.eye(),
        target=pose.target,
        fov_degrees=math.degrees(pose.fov),
        near=pose.distance * 0.01,
        far=pose.distance * 4.0,
        towards_light=LIGHT,
        light_color=(1.0, 1.0, 1.0),
        light_intensity=ILLUMINANCE,
        background=(BACKGROUND,) * 3,
    )


def tile_of(pose: Orbit, size: tuple[int, int]) -> TileSpec:
    """The same for us."""
    return TileSpec(
        rect=(0, 0, *size),
        clip_from_world=tuple(pose.clip_from_world(size[0] / size[1]).ravel().tolist()),
        eye=pose.eye(),
        towards_light=LIGHT,
        illuminance=(ILLUMINANCE,) * 3,
        ambient=(0.0, 0.0, 0.0),
        exposure=1.0,
        background=(BACKGROUND,) * 3,
    )


def must_be_alike(name: str, ours: NDArray[np.uint8], theirs: NDArray[np.uint8] | None) -> None:
    """Raises RuntimeError if a peer did not draw what we drew."""
    assert theirs is not None
    silhouette = np.abs(ours.astype(int) - ours[0, 0]).max(axis=2) > 1
    difference = float(np.abs(ours.astype(int) - theirs)[silhouette].mean())
    print(f"{name}: its picture differs from ours by {difference:.1f} of 255 where the scene is")
    if difference > LIKE:
        raise RuntimeError(f"{name} drew something else: {difference:.1f} of 255 on average")


# --- tiles ----------------------------------------------------------------------------------------


def compare_tilings(renderer: Renderer, report: Report, turns: int) -> None:
    """A frame in tiles, one after another on one device, beside the frame in one piece."""
    rows: list[list[str | float]] = []
    for name, size in (("helmet", SIZE), ("helmet", (640, 360)), ("courtyard", SIZE)):
        if name == "helmet" and not HELMET.exists():
            continue
        scene = load_scene(pack(HELMET if name == "helmet" else f"procedural:{name}").data)
        pose = frame_bounds(as_vec3(scene.bounds_min), as_vec3(scene.bounds_max), size[0] / size[1])
        tilings = {count: cut(*size, count) for count in (1, *TILES)}
        times: dict[int, list[float]] = {count: [] for count in tilings}
        with ExitStack() as scope:
            ours = Ours(renderer, scene, size, scope)
            ours.frame(pose)
            for turn in range(turns):
                order = list(tilings) if turn % 2 == 0 else list(reversed(tilings))
                for count in order:
                    times[count].append(ours.frame(pose, tilings[count]))
        ratios = [paired_ratio(times[count], times[1], 1) for count in TILES]
        rows.append([f"{name} {size[0]}x{size[1]}", statistics.median(times[1]), *ratios])
        if not report.figures.get("tiles8_to_whole"):
            report.figure("tiles8_to_whole", ratios[-1])
    report.table(["scene", "whole ms", *(f"{count} tiles to it" for count in TILES)], rows)


# --- recording ------------------------------------------------------------------------------------


def record_ms(renderer: Renderer, frames: int) -> float:
    """Median CPU time of the rendering thread for a frame of DRAWS draws, milliseconds."""
    scene = many_draws()
    pose = frame_bounds(as_vec3(scene.bounds_min), as_vec3(scene.bounds_max), 1.0)
    with ExitStack() as scope:
        ours = Ours(renderer, scene, (64, 64), scope)
        taken = []
        for number in range(frames):
            tile = tile_of(replace(pose, yaw=STEP * number), (64, 64))
            began_ns = time.thread_time_ns()
            ours.draw(tile)
            taken.append((time.thread_time_ns() - began_ns) / 1e6)
    return statistics.median(taken[len(taken) // 10 :])


def many_draws() -> Scene:
    """DRAWS small spheres in a cube, of MATERIALS materials in turns: no two neighbours join."""
    random = np.random.default_rng(5)
    shape = sphere(0.02, 6)
    primitives = tuple(
        Primitive(
            positions=shape.positions,
            normals=shape.normals,
            tangents=None,
            uv0=shape.uv,
            uv1=None,
            colors=None,
            indices=shape.indices,
            material=material,
        )
        for material in range(MATERIALS)
    )
    placements = np.tile(np.eye(4, dtype=np.float32), (DRAWS, 1, 1))
    placements[:, :3, 3] = random.random((DRAWS, 3))
    return Scene(
        draws=tuple(Draw(place, i % MATERIALS) for i, place in enumerate(placements)),
        primitives=primitives,
        materials=tuple(
            Material(base_color_factor=(*random.random(3).tolist(), 1.0)) for _ in primitives
        ),
        textures=(),
        images=(),
        bounds_min=np.zeros(3, np.float32),
        bounds_max=np.ones(3, np.float32),
    )


# --- two nodes ------------------------------------------------------------------------------------


async def compare_nodes(report: Report, rounds: int) -> None:
    """Path-traced frames by one node and by two, in turns."""
    options: dict[str, object] = {"width": 640, "height": 360, "tiles": 16}
    options |= {"integrator": "pathtrace", "samples": TRACED_SAMPLES}
    request = SessionRequest("render", options)
    work = create_workload("render", {}).open_session(request)
    times: list[tuple[float, float]] = []
    async with AsyncExitStack() as stack:
        nodes = []
        for core in sorted(os.sched_getaffinity(0))[:2]:
            with alone_on(core):
                nodes.append(await stack.enter_async_context(worker_node(work)))
        await traced(work, nodes, 0)
        for number in range(1, rounds + 1):
            one, one_s = await traced(work, nodes[:1], number)
            await leave(work, nodes)
            two, two_s = await traced(work, nodes, number)
            if one != two:
                raise RuntimeError("two nodes made another picture than one")
            times.append((one_s, two_s))
    one_s, two_s = np.median(times, axis=0).tolist()
    speedup = statistics.median(one_s / two_s for one_s, two_s in times)
    report.figure("two_node_speedup", speedup)
    print("\npath tracer, 640x360, through the mesh")
    report.table(["one node ms", "two nodes ms", "speed-up"], [[one_s * 1e3, two_s * 1e3, speedup]])


@contextmanager
def alone_on(core: int) -> Iterator[None]:
    """Processes started within have one core, and lavapipe one thread."""
    cores, threads = os.sched_getaffinity(0), os.environ.get("LP_NUM_THREADS")
    os.sched_setaffinity(0, {core})
    os.environ["LP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        del os.environ["LP_NUM_THREADS"]
        if threads is not None:
            os.environ["LP_NUM_THREADS"] = threads


def frame_of(work: SessionWork, canvas: bytearray, nodes: int, view: int) -> Frame:
    empty = memoryview(b"")
    return work.open_frame(view, view * VIEW_US, CutHint(nodes), memoryview(canvas), empty)


async def leave(work: SessionWork, nodes: Sequence[WorkerNode]) -> None:
    """Each node draws a tile of the first view, and forgets the samples of its last one."""
    assert work.picture is not None
    [piece, *_] = frame_of(work, bytearray(work.picture.nbytes), len(nodes), 0).pieces
    await asyncio.gather(*(node.run(piece) for node in nodes))


async def traced(work: SessionWork, nodes: Sequence[WorkerNode], view: int) -> tuple[bytes, float]:
    """A frame and its seconds; each node takes the next piece when it is done with its last."""
    assert work.picture is not None
    canvas = bytearray(work.picture.nbytes)
    frame = frame_of(work, canvas, len(nodes), view)
    left = iter(frame.pieces)

    async def take(node: WorkerNode) -> None:
        for piece in left:
            _, tile = await node.run(piece)
            frame.accept(piece.index, tile)

    began = time.perf_counter()
    await asyncio.gather(*map(take, nodes))
    return bytes(canvas), time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
