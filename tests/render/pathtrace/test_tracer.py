"""The path tracer on a real device: energy, agreement with the raster pass, noise, tilings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from render.camera import Orbit
from render.pathtrace.slices import Slicer
from render.pieces import TileSpec
from render.scene import (
    AlphaMode,
    Draw,
    Image,
    Light,
    LightKind,
    MagFilter,
    Material,
    MinFilter,
    Primitive,
    Scene,
    Texture,
    TextureSlot,
    UvTransform,
)
from render.tiles import Rect, cut
from tests.render.bending import bending_scene

SIZE = (48, 48)
POSE = Orbit(0.5, 0.35, 2.2, (0.1, 0.05, 0.0))
DARK = {"illuminance": (0.0,) * 3, "ambient": (0.0,) * 3, "background": (0.0,) * 3}
TONE = (0.85, 0.55, 0.25, 1.0)
LINEAR = {"mag_filter": MagFilter.LINEAR, "min_filter": MinFilter.LINEAR}
OVERHEAD = np.array([[1.0, 0, 0, 0.3], [0, 1, 0, -0.2], [0, 0, 1, 0.9]])  # shines along -Z
TILTED = np.array([[1.0, 0, 0, 0], [0, 0.8, 0.6, 0], [0, -0.6, 0.8, 0]])
RAISED = {"towards_light": (0.2, 0.55, 0.81), "illuminance": (2.0, 1.8, 1.6)}

View = Callable[..., TileSpec]


def linear(rgba: NDArray[np.uint8]) -> NDArray[np.float64]:
    """IEC 61966-2-1, decoded: (h, w, 3)."""
    encoded = rgba[..., :3] / 255.0
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def middle(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean colour of the middle quarter."""
    height, width = picture.shape[:2]
    mean: NDArray[np.float64] = picture[height // 4 : -height // 4, width // 4 : -width // 4].mean(
        axis=(0, 1)
    )
    return mean


def sphere(rows: int = 24, radius: float = 1.0) -> Primitive:
    """Smooth, around the origin."""
    down, around = np.meshgrid(
        np.linspace(0, np.pi, rows + 1), np.linspace(0, 2 * np.pi, 2 * rows + 1), indexing="ij"
    )
    x, z = np.sin(down) * np.cos(around), -np.sin(down) * np.sin(around)
    normals = np.stack([x, np.cos(down), z], axis=-1).reshape(-1, 3).astype(np.float32)
    first = (np.arange(rows)[:, None] * (2 * rows + 1) + np.arange(2 * rows)).reshape(-1)
    below = first + 2 * rows + 1
    corners = np.stack([first, below, first + 1, first + 1, below, below + 1], axis=1)
    indices = corners.reshape(-1).astype(np.uint32)
    return Primitive(normals * np.float32(radius), normals, None, None, None, None, indices, 0)


@pytest.fixture
def furnace(studio):
    """An environment as bright everywhere."""
    made = studio.renderer.load_environment(np.ones((16, 32, 4), np.float16))
    yield made
    made.close()


@pytest.mark.parametrize("sky", [False, True], ids=["uniform", "environment"])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.1, 0.5, 1.0])
def test_a_white_surface_in_a_white_furnace_keeps_the_energy(
    studio, furnace, scene_of: Callable, view_of: View, metallic: float, roughness: float, sky: bool
):
    scene = scene_of([sphere()], [Material(metallic_factor=metallic, roughness_factor=roughness)])
    light = {"sky": 1.0} if sky else {"ambient": (math.pi,) * 3}
    view = view_of(
        Orbit(0.3, 0.2, 2.0, (0, 0, 0)), (32, 32), **(DARK | light), exposure=0.5, samples=32
    )
    shot = studio.shoot(scene, view, (32, 32), environment=furnace if sky else None)
    assert middle(linear(shot.rgba)) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("integrator", ["raster", "pathtrace"])
@pytest.mark.parametrize("coat", [0.1, 0.5, 1.0])
def test_a_coat_keeps_the_energy_too(
    studio, furnace, scene_of: Callable, view_of: View, coat: float, integrator: str
):
    material = Material(roughness_factor=0.7, clearcoat_factor=1.0, clearcoat_roughness=coat)
    light = DARK | {"sky": 1.0, "exposure": 0.5, "samples": 64 * (integrator == "pathtrace")}
    view = view_of(Orbit(0.3, 0.2, 2.0, (0, 0, 0)), (32, 32), **light)
    shot = studio.shoot(scene_of([sphere()], [material]), view, (32, 32), environment=furnace)
    assert middle(linear(shot.rgba)) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("integrator", ["raster", "pathtrace"])
def test_a_pane_shows_what_is_behind_and_mirrors_what_is_before(
    studio, furnace, square: Callable, scene_of: Callable, view_of: View, integrator: str
):
    """All light that comes is as bright: a clear pane is not seen, by either integrator."""
    pane = Material(metallic_factor=0.0, roughness_factor=0.0, transmission_factor=1.0)
    light = DARK | {"sky": 1.0, "sky_shown": True, "exposure": 0.5}
    view = view_of(POSE, SIZE, **light, samples=64 * (integrator == "pathtrace"))
    shot = studio.shoot(scene_of([square()], [pane]), view, SIZE, environment=furnace)
    assert linear(shot.rgba) == pytest.approx(np.full((*SIZE[::-1], 3), 0.5), rel=0.02)


def test_light_comes_through_a_pane(studio, square: Callable, scene_of: Callable, view_of: View):
    floor, roof = square(), square(z=0.4, side=0.8)
    roof = replace(roof, material=1)
    below = view_of(Orbit(0.0, 1.2, 3.0, (0, 0, 0)), SIZE, **DARK, samples=16, bounces=2)
    view = msgspec.structs.replace(below, towards_light=(0.0, 0.0, 1.0), illuminance=(2.0,) * 3)
    shares = []
    for transmission in (0.0, 1.0):
        pane = replace(PLAIN, transmission_factor=transmission)
        lit = linear(studio.shoot(scene_of([floor, roof], [PLAIN, pane]), view, SIZE).rgba)
        shares.append((lit[..., 0] < 0.01).mean())
    assert shares[0] - shares[1] > 0.02


@pytest.mark.parametrize("roughness", [0.3, 1.0])
@pytest.mark.parametrize("light", list(LightKind))
def test_direct_light_on_a_matt_surface_is_the_raster_pass_s(
    studio, square: Callable, scene_of: Callable, view_of: View, light: LightKind, roughness: float
):
    material = Material(base_color_factor=TONE, metallic_factor=0.0, roughness_factor=roughness)
    lamp = Light(
        light, OVERHEAD, color=(1.0, 0.9, 0.8), intensity=1.5, inner_cone=0.3, outer_cone=0.7
    )
    scene = scene_of([square()], [material], lights=(lamp,))
    drawn = studio.shoot(scene, view_of(POSE, SIZE, **DARK), SIZE)
    traced = studio.shoot(scene, view_of(POSE, SIZE, **DARK, samples=32), SIZE)
    assert middle(linear(traced.rgba)) == pytest.approx(middle(linear(drawn.rgba)), rel=0.02)


def test_of_many_lights_each_gives_its_share(
    studio, square: Callable, scene_of: Callable, view_of: View
):
    lamps = tuple(
        Light(LightKind.POINT, OVERHEAD + [[0, 0, 0, 0.3 * i]] * 3, intensity=0.1 * (1 + i))
        for i in range(8)
    )
    material = Material(base_color_factor=TONE, metallic_factor=0.0, roughness_factor=0.9)
    scene = scene_of([square()], [material], lights=lamps)
    drawn = studio.shoot(scene, view_of(POSE, SIZE, **DARK), SIZE)
    traced = studio.shoot(scene, view_of(POSE, SIZE, **DARK, samples=64), SIZE)
    assert middle(linear(traced.rgba)) == pytest.approx(middle(linear(drawn.rgba)), rel=0.02)


def checks(texels: int = 8) -> NDArray[np.uint8]:
    """Squares of every colour: (texels, texels, 4)."""
    return np.random.default_rng(4).integers(40, 255, (texels, texels, 4), np.uint8)


TURNED = UvTransform((0.1, -0.2), 0.6, (1.5, 0.7))
TEXTURED = {"images": (Image(checks(), ""),), "textures": (Texture(0, **LINEAR),)}
PLAIN = Material(metallic_factor=0.0, roughness_factor=0.8)
COAT = {"clearcoat_factor": 1.0, "clearcoat_roughness": 0.5}
SURFACES = {
    "base colour": (replace(PLAIN, base_color=TextureSlot(0)), {}),
    "transform": (replace(PLAIN, base_color=TextureSlot(0, transform=TURNED)), {}),
    "unlit": (replace(PLAIN, base_color=TextureSlot(0), unlit=True), {}),
    "nearest": (
        replace(PLAIN, base_color=TextureSlot(0)),
        {"textures": (Texture(0, mag_filter=MagFilter.NEAREST, min_filter=MinFilter.NEAREST),)},
    ),
    "emissive": (replace(PLAIN, emissive=TextureSlot(0), emissive_factor=(0.5, 0.4, 0.3)), {}),
    "roughness": (replace(PLAIN, metallic_factor=0.7, metallic_roughness=TextureSlot(0)), {}),
    "normal map": (
        replace(PLAIN, normal=TextureSlot(0), normal_scale=0.5),
        {"images": (Image(checks() | np.uint8([0, 0, 255, 0]), ""),)},
    ),
    "mask": (
        replace(PLAIN, base_color=TextureSlot(0), alpha_mode=AlphaMode.MASK, alpha_cutoff=0.6),
        {},
    ),
    "blend": (replace(PLAIN, base_color=TextureSlot(0), alpha_mode=AlphaMode.BLEND), {}),
    "ior": (replace(PLAIN, base_color_factor=TONE, ior=2.4), {}),
    "coat": (replace(PLAIN, base_color=TextureSlot(0), **COAT), {}),
    "coat over a normal map": (
        replace(PLAIN, normal=TextureSlot(0), normal_scale=0.5, **COAT),
        {"images": (Image(checks() | np.uint8([0, 0, 255, 0]), ""),)},
    ),
    "glass": (replace(PLAIN, base_color_factor=(0.9, 0.9, 0.9, 1), transmission_factor=0.9), {}),
}


@pytest.mark.parametrize("surface", list(SURFACES))
def test_a_surface_looks_as_the_raster_pass_draws_it(
    studio, square: Callable, scene_of: Callable, view_of: View, surface: str
):
    material, given = SURFACES[surface]
    scene = scene_of([square()], [material], **(TEXTURED | given))
    view = view_of(POSE, SIZE, **(DARK | RAISED | {"background": (0.2, 0.3, 0.1)}))
    drawn = linear(studio.shoot(scene, view, SIZE).rgba)
    traced = linear(studio.shoot(scene, msgspec.structs.replace(view, samples=32), SIZE).rgba)
    assert np.ptp(traced) > 0.2
    assert np.abs(traced - drawn).mean() < 0.02  # edges are smooth in one of them
    assert traced.mean(axis=(0, 1)) == pytest.approx(drawn.mean(axis=(0, 1)), rel=0.02)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("double_sided", [False, True])
def test_backs_are_seen_where_the_raster_pass_shows_them(
    studio, square: Callable, scene_of: Callable, view_of: View, mirrored: bool, double_sided: bool
):
    material = replace(PLAIN, base_color_factor=TONE, double_sided=double_sided)
    placed = np.diag([-1.0 if mirrored else 1.0, 1, 1, 1]).astype(np.float32)
    draws = (Draw(placed, 0), Draw(placed, 1))
    parts = [square(z=0.0, side=1.0), square(z=-0.3, flip=True)]
    scene = replace(scene_of(parts, [material]), draws=draws)
    view = view_of(POSE, SIZE, **(DARK | RAISED))
    drawn = linear(studio.shoot(scene, view, SIZE).rgba) > 0
    traced = linear(studio.shoot(scene, msgspec.structs.replace(view, samples=16), SIZE).rgba) > 0
    assert np.abs(drawn.mean() - traced.mean()) < 0.05


def test_a_surface_in_between_throws_a_shadow(
    studio, square: Callable, scene_of: Callable, view_of: View
):
    floor, roof = square(), square(z=0.4, side=0.8)
    scene = scene_of([floor, roof], [PLAIN])
    below = view_of(Orbit(0.0, 1.2, 3.0, (0, 0, 0)), SIZE, **DARK, samples=4, bounces=1)
    view = msgspec.structs.replace(below, towards_light=(0.0, 0.0, 1.0), illuminance=(2.0,) * 3)
    lit = linear(studio.shoot(scene_of([floor], [PLAIN]), view, SIZE).rgba)
    both = linear(studio.shoot(scene, view, SIZE).rgba)
    assert ((lit[..., 0] > 0.1) & (both[..., 0] < 0.01)).mean() > 0.02


@pytest.mark.parametrize("time", [0.0, 1.9])
def test_what_bends_is_where_the_raster_pass_draws_it(studio, view_of: View, time: float):
    scene = bending_scene()
    pose = Orbit(0.6, 0.3, 6.0, (0.0, 1.2, 0.0))
    for at in (0.7, time):  # the tree of one pose serves another
        view = view_of(pose, SIZE, animation=0, time=at, background=(0.0,) * 3)
        drawn = studio.shoot(scene, view, SIZE).rgba[..., :3].max(axis=2) > 0
        traced = studio.shoot(scene, msgspec.structs.replace(view, samples=2), SIZE)
    seen = traced.rgba[..., :3].max(axis=2) > 0
    assert 0.05 < drawn.mean() < 0.95
    assert (drawn != seen).mean() < 0.06  # along the outline, which is smooth in one of them


def test_a_parallel_projection_shows_the_same(
    studio, square: Callable, scene_of: Callable, flat_view: View
):
    material = Material(base_color=TextureSlot(0), unlit=True)
    scene = scene_of([square(z=0.5, side=1.5)], [material], **TEXTURED)
    view = flat_view(SIZE, background=(0.1, 0.1, 0.1))
    drawn = linear(studio.shoot(scene, view, SIZE).rgba)
    traced = linear(studio.shoot(scene, msgspec.structs.replace(view, samples=32), SIZE).rgba)
    assert np.abs(traced - drawn).mean() < 0.01


@pytest.fixture
def noisy(studio, square: Callable, scene_of: Callable):
    """A matt corner under a sky that is bright in one part: (scene, environment)."""
    sky = np.full((32, 64, 4), 0.2, np.float16)
    sky[4:10, 16:24, :3] = 6.0
    material = Material(base_color_factor=TONE, metallic_factor=0.0)
    turned = np.array([[0, 0, 1, -1], [0, 1, 0, 0], [-1, 0, 0, 1], [0, 0, 0, 1]], np.float32)
    scene = scene_of([square()], [material])
    scene = replace(scene, draws=(scene.draws[0], Draw(turned, 0)))
    made = studio.renderer.load_environment(sky)
    yield scene, made
    made.close()


def test_noise_falls_as_the_samples_grow(studio, noisy, view_of: View):
    scene, environment = noisy
    size = (24, 24)

    def shot(samples: int, seed: int) -> NDArray[np.float64]:
        view = view_of(POSE, size, **DARK, sky=1.0, exposure=0.4, samples=samples, seed=seed)
        return linear(studio.shoot(scene, view, size, environment=environment).rgba)

    settled = shot(512, 99)
    few, many = (np.square(shot(count, 1) - settled).mean() for count in (1, 16))
    assert many < few / 12  # 16 for samples that know nothing of each other
    assert middle(shot(16, 5)) == pytest.approx(middle(settled), rel=0.02)


def test_samples_that_were_made_are_not_made_again(studio, noisy, view_of: View):
    scene, environment = noisy
    renderer = studio.renderer
    whole = view_of(POSE, SIZE, sky=1.0, samples=6)
    expected = studio.shoot(scene, whole, SIZE, environment=environment).rgba
    loaded = renderer.upload(scene)
    traced = renderer.upload_traced(loaded, scene)
    canvas = renderer.create_canvas(*SIZE)
    planes = memoryview(bytearray(Rect(0, 0, *SIZE).i420_bytes))
    left = (0, 0, 32, 48)
    try:
        for changes in (
            {"samples": 2, "seed": 1},  # another view
            {"samples": 2},
            {"samples": 3, "rect": left},  # and two columns of the other half
            {"samples": 9, "rect": left},  # more than is wanted at last
            {"samples": 6},
        ):
            tile = msgspec.structs.replace(whole, **changes)
            renderer.trace(canvas, traced, tile, planes, environment)
        assert np.array_equal(renderer.read_rgba(canvas), expected)
        again = renderer.trace(canvas, traced, whole, planes, environment)
    finally:
        for made in (canvas, traced, loaded):
            made.close()
    assert again.clusters == 0


def test_submissions_leave_nothing_behind_in_memory(
    studio, noisy, view_of: View, monkeypatch: pytest.MonkeyPatch
):
    """lavapipe kept 2 MB a submission while conditions depended on uniforms."""
    scene, environment = noisy
    renderer = studio.renderer
    monkeypatch.setattr(renderer._tracer, "_slicer", Slicer(0, 1))  # as many as can be
    planes = memoryview(bytearray(Rect(0, 0, *SIZE).i420_bytes))
    with ExitStack() as scope:
        loaded = scope.enter_context(closing(renderer.upload(scene)))
        traced = scope.enter_context(closing(renderer.upload_traced(loaded, scene)))
        canvas = scope.enter_context(closing(renderer.create_canvas(*SIZE)))
        grown = []
        for seed in range(3):
            before = resident_bytes()
            view = view_of(POSE, SIZE, sky=1.0, samples=8, seed=seed)
            renderer.trace(canvas, traced, view, planes, environment)
            grown.append(resident_bytes() - before)
    assert min(grown) < 8 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_traced_frame_does_not_depend_on_its_tiling(
    studio, courtyard: Scene, view_of: View, random_tiling: Callable
):
    size = (96, 64)
    view = view_of(Orbit(0.4, 0.25, 9.0, (0, 1.0, 0)), size, samples=2)
    whole = studio.shoot(courtyard, view, size)
    assert np.ptp(whole.rgba[..., :3]) > 100  # there is something to see
    for tiling in (cut(*size, 2), *(random_tiling(size, 3 + seed, seed) for seed in range(6))):
        parts = studio.shoot(courtyard, view, size, tiling)
        assert parts.i420 == whole.i420, tiling
        assert np.array_equal(parts.rgba, whole.rgba), tiling


@pytest.mark.parametrize("matrix", [(0.0,) * 16, (1e29,) * 16, (-1.0,) * 16])
def test_degenerate_views_are_traced_to_an_end(
    studio, square: Callable, scene_of: Callable, view_of: View, matrix: tuple[float, ...]
):
    view = msgspec.structs.replace(view_of(POSE, SIZE, samples=1), clip_from_world=matrix)
    assert len(studio.shoot(scene_of([square()], [PLAIN]), view, SIZE).i420) == 48 * 48 * 3 // 2
