"""What each rung of the degrade ladder costs and how it looks, and what stands in for lost tiles.

The courtyard and, if it is there, FlightHelmet ($FRAMEMESH_DATA/gltf), 640x360 in one tile on the
first Vulkan device; the path tracer the courtyard alone, 160x96. Cost: a frame's time beside the
first rung's, rungs in turns, median of the rounds; beside it what the session half predicts.
Quality: mean FLIP (67 pixels per degree) and PSNR of the encoded pixels, beside the first rung's
picture; of the path tracer beside one of four times the samples. Re-projection: a picture of an
orbit TURN radians further, filled from the one before, beside the true one; the old pixels too.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import flip_evaluator
import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.render_speed import tile_of
from bench.report import Report, arguments
from render.camera import Orbit, frame_bounds
from render.clusters import DrawnClusters, cluster_scene
from render.cost import cost_map
from render.ladder import Quality, ladder, qualities
from render.package import load_scene, pack
from render.pieces import Shadows, TileSpec
from render.renderer import Renderer, open_renderer
from render.reproject import MOST_PIXELS, Reprojection, warm_up
from render.scene import Scene
from render.tiles import GRID, Rect
from render.vulkan.instance import open_instance

SIZE, TRACED_SIZE = (640, 360), (160, 96)
SAMPLES = 16
SHADOWS: Shadows = 2048
REFERENCE = 4  # times the samples
TURN = 0.02  # radians: a slow orbit's at 30 frames a second
DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")
HELMET = DATA / "gltf" / "FlightHelmet" / "FlightHelmet.gltf"
PIXELS_PER_DEGREE = 67.0

Picture = NDArray[np.uint8]


class Studio:
    """One scene and one size on the device."""

    def __init__(
        self, renderer: Renderer, scene: Scene, size: tuple[int, int], scope: ExitStack
    ) -> None:
        self._renderer, self._size = renderer, size
        self._scene = scope.enter_context(closing(renderer.upload(scene)))
        self._canvas = scope.enter_context(closing(renderer.create_canvas(*size)))
        self._output = bytearray(size[0] * size[1] * 3 // 2)
        self._traced = scope.enter_context(closing(renderer.upload_traced(self._scene, scene)))
        self._seed = 0

    def draw(self, tile: TileSpec) -> float:
        """Milliseconds; samples that are kept are no use to it."""
        self._seed += 1
        output = memoryview(self._output)
        began_s = time.perf_counter()
        if tile.samples:
            tile = msgspec.structs.replace(tile, seed=self._seed)
            self._renderer.trace(self._canvas, self._traced, tile, output)
        else:
            self._renderer.render(self._canvas, self._scene, tile, output)
        return (time.perf_counter() - began_s) * 1e3

    def picture(self, tile: TileSpec) -> Picture:
        """uint8 (height, width, 3), sRGB-encoded."""
        self.draw(tile)
        return self._renderer.read_rgba(self._canvas)[..., :3].copy()

    def planes(self, tile: TileSpec) -> list[Picture]:
        """Y, U and V."""
        self.draw(tile)
        width, height = self._size
        flat, made, at = np.frombuffer(bytes(self._output), np.uint8), [], 0
        for halving in (1, 2, 2):
            shape = height // halving, width // halving
            made.append(flat[at : at + shape[0] * shape[1]].reshape(shape).copy())
            at += made[-1].size
        return made


def psnr(made: Picture, truth: Picture) -> float:
    """Decibels, of 8-bit values that differ somewhere."""
    error = float(np.square(made.astype(float) - truth).mean())
    return 10 * float(np.log10(255**2 / error))


def flip(made: Picture, truth: Picture) -> float:
    """Mean over the picture."""
    pictures = [(each / np.float32(255)).astype(np.float32) for each in (truth, made)]
    _, mean, _ = flip_evaluator.evaluate(
        *pictures, "LDR", applyMagma=False, parameters={"ppd": PIXELS_PER_DEGREE}
    )
    return float(mean)


def spent(studio: Studio, tiles: Sequence[TileSpec], rounds: int) -> list[float]:
    """Median time of each, as a share of the first one's in the same round."""
    taken = [[studio.draw(tile) for tile in tiles] for _ in range(rounds + 1)][1:]
    return [statistics.median(row[i] / row[0] for row in taken) for i in range(len(tiles))]


def climb(
    report: Report, name: str, studio: Studio, view: TileSpec, clusters: DrawnClusters, rounds: int
) -> None:
    """Every rung of one integrator on one scene; `view` says which integrator."""
    choices = qualities(view.samples, view.shadows)
    cost = cost_map(clusters.boxes, clusters.triangles, view.matrix(), *view.rect[2:])
    predicted = {
        quality: rung.cost for quality, rung in zip(*ladder(choices, cost, 1), strict=True)
    }
    tiles = [msgspec.structs.replace(view, **choice._asdict()) for choice in choices]
    truth = studio.picture(msgspec.structs.replace(view, samples=view.samples * REFERENCE))
    costs, rows = spent(studio, tiles, rounds), []
    for choice, tile, share in zip(choices, tiles, costs, strict=True):
        made = studio.picture(tile)
        same = np.array_equal(made, truth)
        looks: list[str | float] = ["-", "-"] if same else [psnr(made, truth), flip(made, truth)]
        rows.append([_name(choice), share, predicted.get(choice, "none"), *looks])
        key = f"{name}_{choice.samples}_samples_{choice.scale}"
        if view.shadows:
            key += f"_shadows_{choice.shadows}"
        report.figure(f"cost_{key}", share)
        if not same:
            report.figure(f"flip_{key}", float(looks[1]))
    print(f"\n{name}, {'path tracer' if view.samples else 'raster pass'}")
    report.table(["rung", "cost", "predicted", "PSNR dB", "FLIP"], rows)


def stand_in(
    report: Report, name: str, studio: Studio, pose: Orbit, clusters: DrawnClusters, rounds: int
) -> None:
    """The picture before, as it is and re-projected, beside the true one."""
    further = replace(pose, yaw=pose.yaw + TURN)
    old, truth = (studio.planes(tile_of(each, SIZE)) for each in (pose, further))
    then, now = (each.clip_from_world(SIZE[0] / SIZE[1]) for each in (pose, further))
    filled, taken = [plane.copy() for plane in old], []
    most_rows = min(SIZE[1], MOST_PIXELS // SIZE[0] // GRID * GRID)  # of a frame, as in a gateway
    for _ in range(rounds):
        began_s = time.perf_counter()
        made = Reprojection(clusters.boxes, now, then, SIZE)
        made.fill(filled, old, Rect(0, 0, SIZE[0], most_rows))
        taken.append((time.perf_counter() - began_s) * 1e3)
    errors = [
        float(np.abs(each[0][:most_rows].astype(float) - truth[0][:most_rows]).mean())
        for each in (old, filled)
    ]
    rows: list[list[str | float]] = [
        [name, *errors, errors[1] / errors[0], statistics.median(taken)]
    ]
    report.table(["turned", "old pixels", "re-projected", "share", "ms"], rows)
    report.figure(f"reprojected_error_{name}", errors[1] / errors[0])
    report.figure(f"reproject_ms_{name}", statistics.median(taken))


def _name(choice: Quality) -> str:
    paths = f"{choice.samples} samples, " if choice.samples else ""
    shadows = f", shadows {choice.shadows}" if choice.shadows else ""
    return f"{paths}{choice.scale} %{shadows}"


def main() -> None:
    options = arguments(__doc__)
    rounds = 5 if options.quick else 25
    report = Report("ladder", config={"size": SIZE, "traced_size": TRACED_SIZE, "rounds": rounds})
    warm_up()
    sources = {"courtyard": "procedural:courtyard"} | (
        {"helmet": HELMET} if HELMET.exists() else {}
    )
    with open_instance() as instance, open_renderer(instance, instance.choose()) as renderer:
        for name, source in sources.items():
            scene = load_scene(pack(source).data)
            clusters = cluster_scene(scene)
            low, high = tuple(scene.bounds_min), tuple(scene.bounds_max)
            pose = frame_bounds(low, high, SIZE[0] / SIZE[1])
            with ExitStack() as scope:
                studio = Studio(renderer, scene, SIZE, scope)
                view = tile_of(pose, SIZE)
                climb(report, name, studio, view, clusters, rounds)
                shadowed = msgspec.structs.replace(view, shadows=SHADOWS)
                climb(report, name, studio, shadowed, clusters, rounds)
                stand_in(report, name, studio, pose, clusters, rounds)
            if name == "courtyard":
                with ExitStack() as scope:
                    studio = Studio(renderer, scene, TRACED_SIZE, scope)
                    view = msgspec.structs.replace(tile_of(pose, TRACED_SIZE), samples=SAMPLES)
                    climb(report, name, studio, view, clusters, max(2, rounds // 5))
    report.finish(options)


if __name__ == "__main__":
    main()
