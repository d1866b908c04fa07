"""How near our pictures are to those of renderers nobody here wrote: mean FLIP beside theirs.

    python -m bench.render_quality [--quick] [--integrator NAME] [--json FILE] [--sheet FILE]
        [--traced-sheet FILE]

The same scene, camera, environment and lights; tone mapping off. FLIP (Andersson et al., "FLIP: A
Difference Evaluator for Alternating Images", HPG 2020) by its authors' own package, for sRGB
pictures, at the pixels per degree below; its mean is taken over the union of the silhouettes.
0 is equal, 1 is as different as can be. A scene whose mean is over `MOST` fails the benchmark.

The raster pass beside three.js: both sides draw `ACROSS` samples across a pixel, whose light is
averaged. So their edges compare, and three.js' widening of highlights where normals turn within a
pixel (`geometryRoughness`, against shimmering) nearly vanishes; at one sample a pixel, reported
beside, that widening is the larger part of the difference. The path tracer beside Mitsuba 3, whose
integrator is given the same material; only in full runs, of which it is most: about five minutes
on two cores, nearly all of them Mitsuba's.
docs/rendering.md says what else differs.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import flip_evaluator
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from bench.peers import mitsuba
from bench.peers.mitsuba import View
from bench.peers.threejs import Job, Reference, ReferenceUnavailable, draw
from bench.quality_scenes import SCENES
from bench.quality_sheet import Row, contact_sheet
from bench.render_reference import BACKGROUND, CACHE, DATA, unit
from bench.report import Report, arguments
from mesh.core.workload import Asset
from render.camera import Orbit
from render.environment import decode_environment
from render.package import load_scene, pack
from render.pieces import TileSpec
from render.renderer import Renderer, open_renderer
from render.scene import DirectionalLight, Scene, Vec3
from render.tiles import Rect
from render.vulkan.instance import open_instance

PIXELS_PER_DEGREE = 67.0  # FLIP's default: a 0.7 m wide 3840-pixel display seen from 0.7 m
MOST = 0.08
SIZE = (480, 360)
ACROSS = 4  # samples across a pixel, and down it
TRACED_SIZE = (160, 120)
PATHS, BOUNCES = 256, 8  # per pixel; per path
REFERENCE_PATHS = 4096  # so that most of the noise that is seen is ours
SUN = DirectionalLight(unit((0.4, 0.8, 0.45)), intensity=2.0)
NO_SUN = replace(SUN, intensity=0.0)
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4)


@dataclass(frozen=True)
class Shot:
    """One comparison. Degrees; distance in radii of the scene's box."""

    key: str
    source: Callable[[], Asset]
    yaw: float
    pitch: float
    distance: float
    environment: str = "studio.exr"
    exposure: float = 0.5  # on the environment and the light alike, so that little is clipped
    sun: DirectionalLight = NO_SUN
    own_lights: bool = False
    animation: int = -1
    time: float = 0.0
    quick: bool = False


def made(name: str) -> Callable[[], Asset]:
    return lambda: Asset(name, SCENES[name]())


def real(path: str) -> Callable[[], Asset]:
    return lambda: pack(DATA / "gltf" / path)


SHOTS = (
    Shot("flighthelmet", real("FlightHelmet/FlightHelmet.gltf"), 25, 8, 2.5, quick=True),
    Shot("fox_survey", real("Fox.glb"), 60, 10, 2.3, "park.exr", 1.0, SUN, animation=0, time=1.0),
    Shot("fox_walk", real("Fox.glb"), 60, 10, 2.3, "park.exr", 1.0, SUN, animation=1, time=0.3),
    Shot("fox_run", real("Fox.glb"), 60, 10, 2.3, "park.exr", 1.0, SUN, animation=2, time=0.4),
    Shot("draco", real("suzi.glb"), 20, 5, 2.5),
    Shot("controller", real("webxr/oculus-touch-left.glb"), 150, 35, 2.6),
    Shot("spheres", made("spheres"), 0, 0, 2.9, quick=True),
    Shot("texture_transform", made("texture_transform"), 0, 0, 2.9, "park.exr", 1.0, SUN),
    Shot("alpha_modes", made("alpha_modes"), 15, 5, 2.6, "park.exr", 1.0, SUN,
         quick=True),
    Shot("morph", made("morph"), 30, 20, 2.8),
    Shot("punctual_lights", made("punctual_lights"), 20, 30, 2.4, "", 1.0, own_lights=True),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """FLIP per pixel float32 (h, w), and its mean over the union of the silhouettes."""

    flip: NDArray[np.float32]
    mean: float
    silhouette: float  # share of all pixels


@dataclass(frozen=True)
class Staged:
    """A shot with its scene read: what both sides draw. light: the environment's file, or b""."""

    shot: Shot
    asset: Asset
    scene: Scene
    pose: Orbit
    light: bytes


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sheet", type=Path, help="write ours | three.js | FLIP of all scenes")
    parser.add_argument("--traced-sheet", type=Path, help="write ours | Mitsuba | FLIP")
    parser.add_argument("--integrator", choices=("raster", "pathtrace"), help="only that one")
    options = arguments(__doc__, parser=parser)
    shots = [shot for shot in SHOTS if shot.quick or not options.quick]
    if not DATA.is_dir():
        print(f"left out: {DATA} does not exist (FRAMEMESH_DATA names the folder of real inputs)")
        return 1 if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1" else 0
    config = {
        "size": SIZE,
        "samples_per_pixel": ACROSS**2,
        "traced_size": TRACED_SIZE,
        "paths": PATHS,
        "reference_paths": REFERENCE_PATHS,
        "bounces": BOUNCES,
        "pixels_per_degree": PIXELS_PER_DEGREE,
        "tone_mapping": "none",
    }
    report = Report("render_quality", config=config)
    holds = True
    with ExitStack() as scope:
        instance = scope.enter_context(open_instance())
        physical = instance.choose()
        renderer = scope.enter_context(open_renderer(instance, physical))
        report.config["ours"] = f"{physical.name}, {physical.driver}"
        print(report.config["ours"])
        staged = [stage(shot) for shot in shots]
        try:
            if options.integrator != "pathtrace":
                samples = (ACROSS,) if options.quick else (1, ACROSS)
                holds &= compare_raster(renderer, staged, samples, report, options.sheet)
            # Paths take minutes without a GPU.
            if options.integrator == "pathtrace" or not (options.quick or options.integrator):
                holds &= compare_traced(renderer, staged, report, options.traced_sheet)
        except ReferenceUnavailable as problem:
            print(f"left out: {problem}", file=sys.stderr)
    report.finish(options)
    return 0 if holds else 1


def stage(shot: Shot) -> Staged:
    asset = shot.source()
    scene = load_scene(asset.data)
    if not shot.own_lights:
        scene = replace(scene, lights=())
    light = (DATA / "hdri" / shot.environment).read_bytes() if shot.environment else b""
    return Staged(shot, asset, scene, pose_of(shot, scene), light)


def compare_raster(
    renderer: Renderer,
    shots: Sequence[Staged],
    samples: Sequence[int],
    report: Report,
    sheet: Path | None,
) -> bool:
    """The raster pass beside three.js: report, and write the sheet; whether all scenes hold.

    samples: across a pixel; the last one counts.
    """
    rows, lines, holds = [], [], True
    for staged in shots:
        key, outcomes = staged.shot.key, {}
        for across in samples:
            tile = tile_of(staged, (SIZE[0] * across, SIZE[1] * across))
            ours = averaged(draw_ours(renderer, staged, tile), across)
            job = job_of(staged, tile.region())
            drawn = draw(bytes(staged.asset.data), job, CACHE, staged.light)
            theirs = shrunk(drawn, across)
            outcomes[across] = compare(ours, theirs)
        many = outcomes[ACROSS]
        holds &= many.mean <= MOST
        report.figure(f"flip_mean_{key}_raster", many.mean)
        if 1 in outcomes:
            report.figure(f"flip_mean_{key}_raster_one_sample", outcomes[1].mean)
        means = [outcomes[across].mean for across in reversed(samples)]
        lines.append((key, *means, many.silhouette, verdict(many)))
        rows.append(Row(key, ours, theirs.rgb, many.flip, many.mean))
    if sheet is not None:
        contact_sheet(rows).save(sheet, quality=82)
    report.config["reference"] = theirs.renderer
    print(f"\nraster beside {theirs.renderer}")
    header = ["scene", "mean FLIP", "one sample"][: 1 + len(samples)]
    report.table((*header, "silhouette", ""), lines)
    return holds


def compare_traced(
    renderer: Renderer, shots: Sequence[Staged], report: Report, sheet: Path | None
) -> bool:
    """The path tracer beside Mitsuba, in smaller pictures; whether all scenes hold."""
    rows, lines, holds = [], [], True
    for staged in shots:
        tile = structs.replace(tile_of(staged, TRACED_SIZE), samples=PATHS, bounces=BOUNCES)
        theirs = mitsuba.draw(staged.scene, traced_view(staged))
        ours, key = draw_ours(renderer, staged, tile), staged.shot.key
        outcome = compare(ours, theirs)
        holds &= outcome.mean <= MOST
        report.figure(f"flip_mean_{key}_pathtrace", outcome.mean)
        lines.append((key, outcome.mean, outcome.silhouette, verdict(outcome)))
        rows.append(Row(key, ours, theirs.rgb, outcome.flip, outcome.mean))
    if sheet is not None:
        contact_sheet(rows, "Mitsuba 3").save(sheet, quality=82)
    report.config["traced_reference"] = theirs.renderer
    print(f"\npath tracer beside {theirs.renderer}")
    report.table(("scene", "mean FLIP", "silhouette", ""), lines)
    return holds


def verdict(outcome: Outcome) -> str:
    return "holds" if outcome.mean <= MOST else "FALLS SHORT"


def pose_of(shot: Shot, scene: Scene) -> Orbit:
    low, high = scene.bounds_min.astype(float), scene.bounds_max.astype(float)
    x, y, z = ((low + high) / 2).tolist()
    distance = shot.distance * float(np.linalg.norm(high - low)) / 2
    return Orbit(math.radians(shot.yaw), math.radians(shot.pitch), distance, (x, y, z))


def tile_of(staged: Staged, size: tuple[int, int]) -> TileSpec:
    """One tile that is the whole picture."""
    (width, height), shot, pose = size, staged.shot, staged.pose
    return TileSpec(
        rect=(0, 0, width, height),
        clip_from_world=tuple(pose.clip_from_world(width / height).ravel().tolist()),
        eye=pose.eye(),
        towards_light=shot.sun.towards_light,
        illuminance=illuminance_of(shot),
        ambient=(0.0, 0.0, 0.0),
        exposure=1.0,
        background=(BACKGROUND,) * 3,
        animation=shot.animation,
        time=shot.time,
        sky=shot.exposure if staged.light else 0.0,
    )


def illuminance_of(shot: Shot) -> Vec3:
    red, green, blue = (channel * shot.sun.intensity for channel in shot.sun.color)
    return red, green, blue


def draw_ours(renderer: Renderer, staged: Staged, tile: TileSpec) -> NDArray[np.uint8]:
    """By the raster pass, or path traced if the tile has samples: uint8 (h, w, 3) sRGB."""
    rect = tile.region()
    with ExitStack() as scope:
        uploaded = scope.enter_context(closing(renderer.upload(staged.scene)))
        around = None
        if staged.light:
            pixels = decode_environment(staged.light)
            around = scope.enter_context(closing(renderer.load_environment(pixels)))
        canvas = scope.enter_context(closing(renderer.create_canvas(rect.width, rect.height)))
        planes = memoryview(bytearray(rect.i420_bytes))
        if tile.samples:
            traced = scope.enter_context(closing(renderer.upload_traced(uploaded, staged.scene)))
            renderer.trace(canvas, traced, tile, planes, around)
        else:
            renderer.render(canvas, uploaded, tile, planes, around)
        return renderer.read_rgba(canvas)[..., :3]


def traced_view(staged: Staged) -> View:
    shot, pose = staged.shot, staged.pose
    return View(
        width=TRACED_SIZE[0],
        height=TRACED_SIZE[1],
        eye=pose.eye(),
        target=pose.target,
        fov_degrees=math.degrees(pose.fov),
        towards_light=shot.sun.towards_light,
        illuminance=illuminance_of(shot),
        background=(BACKGROUND,) * 3,
        environment=decode_environment(staged.light) if staged.light else None,
        environment_intensity=shot.exposure,
        animation=shot.animation,
        time=shot.time,
        samples=REFERENCE_PATHS,
        bounces=BOUNCES,
    )


def job_of(staged: Staged, rect: Rect) -> Job:
    shot, pose = staged.shot, staged.pose
    return Job(
        width=rect.width,
        height=rect.height,
        eye=pose.eye(),
        target=pose.target,
        fov_degrees=math.degrees(pose.fov),
        near=pose.distance * 0.01,
        far=pose.distance * 4.0,
        towards_light=shot.sun.towards_light,
        light_color=shot.sun.color,
        light_intensity=shot.sun.intensity,
        background=(BACKGROUND,) * 3,
        environment=shot.environment.rpartition(".")[2],
        environment_intensity=shot.exposure,
        own_lights=shot.own_lights,
        animation=shot.animation,
        time=shot.time,
    )


def compare(ours: NDArray[np.uint8], theirs: Reference) -> Outcome:
    """Ours is where our picture is not the background."""
    mask = theirs.silhouette | (np.abs(ours - ours[0, 0].astype(int)).max(axis=2) > 1)
    pictures = [(each / np.float32(255)).astype(np.float32) for each in (theirs.rgb, ours)]
    flip, _, _ = flip_evaluator.evaluate(
        *pictures, "LDR", applyMagma=False, parameters={"ppd": PIXELS_PER_DEGREE}
    )
    return Outcome(flip[..., 0], float(flip[..., 0][mask].mean()), float(mask.mean()))


def averaged(rgb: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    """sRGB pixels (h * across, w * across, 3) to (h, w, 3): the mean of their light."""
    if across == 1:
        return rgb
    height, width = rgb.shape[0] // across, rgb.shape[1] // across
    light = _LINEAR[rgb].reshape(height, across, width, across, 3).mean(axis=(1, 3))
    low, high = 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    return np.rint(255 * np.where(light <= 0.0031308, low, high)).astype(np.uint8)


def shrunk(reference: Reference, across: int) -> Reference:
    """Likewise; a pixel is the scene's where one of its samples is."""
    height, width = (side // across for side in reference.silhouette.shape)
    parts = reference.silhouette.reshape(height, across, width, across)
    return replace(
        reference, rgb=averaged(reference.rgb, across), silhouette=parts.any(axis=(1, 3))
    )


if __name__ == "__main__":
    sys.exit(main())
