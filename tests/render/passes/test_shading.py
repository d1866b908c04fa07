"""Shading against glTF 2.0 appendix B in float64, on planes seen at an angle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from render.camera import Orbit
from render.scene import (
    Image,
    Light,
    LightKind,
    MagFilter,
    Material,
    MinFilter,
    Texture,
    TextureSlot,
    UvTransform,
)

Array = NDArray[np.float64]

SIZE = (96, 64)
POSE = Orbit(0.5, 0.35, 2.2, (0.1, 0.05, 0.0))
LIGHT = np.array([0.2, 0.55, 0.81])
LIGHT /= np.linalg.norm(LIGHT)
ILLUMINANCE, EXPOSURE = (3.0, 2.5, 2.0), 0.8
TONE = (0.85, 0.55, 0.25, 1.0)


def seen_points() -> tuple[Array, NDArray[np.bool_]]:
    """Where each pixel's centre meets the plane z = 0, (h, w, 3), and whether in the square."""
    width, height = SIZE
    plane_from_ndc = np.linalg.inv(
        POSE.clip_from_world(width / height)[np.ix_([0, 1, 3], [0, 1, 3])]
    )
    x = (np.arange(width) + 0.5) * 2 / width - 1
    y = (np.arange(height) + 0.5) * 2 / height - 1
    ndc = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
    flat = ndc @ plane_from_ndc.T
    points = np.concatenate([flat[..., :2] / flat[..., 2:], np.zeros((height, width, 1))], axis=-1)
    return points, (np.abs(points[..., :2]) < 0.97).all(axis=-1)


def appendix_b(
    points: Array,
    normal: Array,
    base: Array,
    metallic: float,
    roughness: float,
    light: Array = LIGHT,
    illuminance: object = ILLUMINANCE,
) -> Array:
    """Radiance towards the eye, linear RGB, of a surface lit by one light.

    light: towards it, (3,) or by point; illuminance: on a surface that faces it, likewise.
    """
    view = np.array(POSE.eye()) - points
    view /= np.linalg.norm(view, axis=-1, keepdims=True)
    half = view + light
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    n_l = np.maximum(light @ normal, 0.0)
    n_v, n_h, v_h = np.abs(view @ normal), half @ normal, (view * half).sum(axis=-1)
    a2 = roughness**4
    distribution = a2 / (math.pi * (n_h**2 * (a2 - 1) + 1) ** 2)
    visibility = 0.5 / (
        n_l * np.sqrt(n_v**2 * (1 - a2) + a2) + n_v * np.sqrt(n_l**2 * (1 - a2) + a2)
    )
    f0 = 0.04 * (1 - metallic) + base * metallic
    fresnel = f0 + (1 - f0) * ((1 - v_h) ** 5)[..., None]
    scale, bias = split_sums(n_v, roughness)
    compensation = 1 + f0 * (1 / (scale + bias) - 1)[..., None]  # Turquin 2019, eq. 16
    specular = fresnel * compensation * (distribution * visibility)[..., None]
    diffuse = (1 - fresnel) * base * (1 - metallic) / math.pi
    return (diffuse + specular) * np.array(illuminance) * n_l[..., None]


@cache
def split_sum_table(roughness: float) -> Array:
    """(2, n): scale and bias by n.v, at the middles of n steps."""
    return np.array([split_sum((i + 0.5) / 128, roughness) for i in range(128)]).T


def split_sums(n_v: Array, roughness: float) -> tuple[Array, Array]:
    """Scale and bias of f0, of n_v's shape."""
    at = (np.arange(128) + 0.5) / 128
    scale, bias = split_sum_table(roughness)
    return np.interp(n_v, at, scale), np.interp(n_v, at, bias)


def encoded(linear: Array) -> Array:
    """IEC 61966-2-1, times 255."""
    clipped = np.clip(linear, 0, 1)
    return 255 * np.where(
        clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055
    )


SCENE_FIELDS = ("images", "textures", "lights")


@pytest.fixture
def furnace(studio):
    """An environment as bright everywhere."""
    made = studio.renderer.load_environment(np.ones((16, 32, 4), np.float16))
    yield made
    made.close()


@pytest.fixture
def shaded(studio, square: Callable, scene_of: Callable, view_of: Callable) -> Callable:
    """The picture of a square of the given material under the one light."""

    def drawn(material: Material, mesh_changes: dict | None = None, **given: object):
        light = {
            "towards_light": tuple(LIGHT),
            "illuminance": ILLUMINANCE,
            "ambient": (0.0,) * 3,
            "exposure": EXPOSURE,
        }
        scene = scene_of(
            [replace(square(), **(mesh_changes or {}))],
            [material],
            **{name: given.pop(name) for name in SCENE_FIELDS if name in given},
        )
        environment = given.pop("environment", None)
        view = view_of(POSE, SIZE, **(light | given))
        return studio.shoot(scene, view, SIZE, environment=environment).rgba[..., :3]

    return drawn


@pytest.mark.parametrize("metallic", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("roughness", [0.2, 0.5, 1.0])
def test_a_lit_plane_is_shaded_as_appendix_b_says(
    shaded: Callable, metallic: float, roughness: float
):
    points, inside = seen_points()
    rgb = shaded(
        Material(base_color_factor=TONE, metallic_factor=metallic, roughness_factor=roughness)
    )
    radiance = appendix_b(points, np.array([0, 0, 1.0]), np.array(TONE[:3]), metallic, roughness)
    expected = encoded(EXPOSURE * radiance)
    assert inside.mean() > 0.3
    assert np.ptp(expected[inside]) > 20
    assert np.abs(rgb[inside] - expected[inside]).max() <= 1.01  # rounding, and 32-bit floats


def texel_scene(texel: tuple[int, ...]) -> dict[str, object]:
    """One image of a single value, sampled everywhere."""
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[..., : len(texel)] = texel
    texture = Texture(0, mag_filter=MagFilter.NEAREST, min_filter=MinFilter.NEAREST)
    return {"images": (Image(pixels, "texel"),), "textures": (texture,)}


TANGENTS = {"tangents": np.tile(np.float32([1, 0, 0, 1]), (4, 1))}


@pytest.mark.parametrize("mesh_changes", [None, TANGENTS], ids=["derived", "given"])
@pytest.mark.parametrize("texel", [(200, 128, 220), (128, 190, 215), (90, 70, 210)])
def test_a_normal_map_tilts_the_plane_x_to_the_right_and_y_up(
    shaded: Callable, mesh_changes: dict | None, texel: tuple[int, int, int]
):
    points, inside = seen_points()
    material = Material(
        base_color_factor=TONE, metallic_factor=0.0, roughness_factor=0.7, normal=TextureSlot(0)
    )
    normal = np.array(texel) / 255 * 2 - 1
    normal /= np.linalg.norm(normal)
    radiance = appendix_b(points, normal, np.array(TONE[:3]), 0.0, 0.7)
    rgb = shaded(material, mesh_changes, **texel_scene(texel))
    assert np.abs(rgb[inside] - encoded(EXPOSURE * radiance)[inside]).max() <= 1.01


def test_factor_textures_are_linear_and_color_textures_srgb(shaded: Callable):
    points, inside = seen_points()
    up = np.array([0, 0, 1.0])
    packed = Material(
        base_color_factor=TONE, roughness_factor=0.9, metallic_roughness=TextureSlot(0)
    )
    rgb = shaded(packed, **texel_scene((7, 128, 64)))  # R is not theirs; G roughness, B metallic
    radiance = appendix_b(points, up, np.array(TONE[:3]), 64 / 255, 0.9 * 128 / 255)
    assert np.abs(rgb[inside] - encoded(EXPOSURE * radiance)[inside]).max() <= 1.01

    colored = Material(base_color=TextureSlot(0), metallic_factor=0.0, roughness_factor=0.7)
    rgb = shaded(colored, **texel_scene((180, 120, 60)))
    base = (np.array([180, 120, 60]) / 255 + 0.055) / 1.055
    radiance = appendix_b(points, up, base**2.4, 0.0, 0.7)
    assert np.abs(rgb[inside] - encoded(EXPOSURE * radiance)[inside]).max() <= 1.01


def test_occlusion_darkens_the_environment_and_not_the_light(shaded: Callable):
    _, inside = seen_points()
    plain = Material(base_color_factor=TONE, metallic_factor=0.0)
    occluded = replace(plain, occlusion=TextureSlot(0), occlusion_strength=0.5)
    texel = texel_scene((51, 0, 0))
    lit = shaded(plain)
    assert np.array_equal(shaded(occluded, **texel)[inside], lit[inside])
    around = {"ambient": (1.0,) * 3, "illuminance": (0.0,) * 3}
    open_sky = shaded(plain, **around)[inside].astype(float)
    under = shaded(occluded, **texel, **around)[inside]

    def linear(values: Array) -> Array:
        return ((values / 255 + 0.055) / 1.055) ** 2.4

    expected = encoded(linear(open_sky) * (1 + 0.5 * (51 / 255 - 1)))
    assert np.abs(under - expected).max() <= 1.5  # both are rounded


def test_occlusion_in_the_map_of_roughness_is_as_in_a_map_of_its_own(shaded: Callable):
    scene = texel_scene((51, 120, 200))
    scene["textures"] *= 2
    around = {"ambient": (1.0,) * 3}
    both = Material(metallic_roughness=TextureSlot(0), occlusion=TextureSlot(0))
    apart = replace(both, occlusion=TextureSlot(1))
    shared = shaded(both, **scene, **around)
    assert np.array_equal(shared, shaded(apart, **scene, **around))
    assert not np.array_equal(shared, shaded(replace(both, occlusion=None), **scene, **around))


@pytest.mark.parametrize("roughness", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_a_uniform_environment_reflects_as_its_integral(
    shaded: Callable, roughness: float, metallic: float
):
    """Irradiance pi from everywhere: what is seen is the surface's reflectance."""
    points, inside = seen_points()
    material = Material(
        base_color_factor=(0.5, 0.5, 0.5, 1), metallic_factor=metallic, roughness_factor=roughness
    )
    light = {"ambient": (math.pi,) * 3, "illuminance": (0.0,) * 3, "exposure": 1.0}
    rgb = shaded(material, **light)
    view = np.array(POSE.eye()) - points
    n_v = view[..., 2] / np.linalg.norm(view, axis=-1)
    expected = encoded(uniform_reflectance(n_v, roughness, metallic, 0.5))
    assert np.abs(rgb[inside, 0] - expected[inside]).max() <= 1.5


def uniform_reflectance(n_v: Array, roughness: float, metallic: float, base: float) -> Array:
    """Of a surface in a uniform environment, with bounces between facets (Fdez-Aguera 2019)."""
    scale, bias = split_sums(n_v, roughness)

    def scattered(f0: float) -> Array:
        once, missed = f0 * scale + bias, 1 - scale - bias
        mean = f0 + (1 - f0) / 21
        return once + once * mean / (1 - missed * mean) * missed

    dielectric = scattered(0.04)
    return metallic * scattered(base) + (1 - metallic) * (dielectric + base * (1 - dielectric))


@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.1, 0.3, 0.5, 0.7, 0.85, 1.0])
@pytest.mark.parametrize("sky", [False, True], ids=["uniform", "map"])
def test_a_white_surface_in_a_white_furnace_is_not_seen(
    shaded: Callable, furnace: object, metallic: float, roughness: float, sky: bool
):
    """Energy within 1 %: what arrives from everywhere goes back, whatever the roughness."""
    _, inside = seen_points()
    material = Material(metallic_factor=metallic, roughness_factor=roughness)
    light = {"illuminance": (0.0,) * 3, "exposure": 0.5}
    light |= {"sky": 1.0, "environment": furnace} if sky else {"ambient": (math.pi,) * 3}
    rgb = shaded(material, **light)
    linear = ((rgb[inside] / 255 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(linear / 0.5, 1.0, atol=0.01)


@pytest.mark.parametrize("roughness", [0.1, 0.3, 0.5, 0.7, 0.85, 1.0])
def test_lights_from_everywhere_make_a_white_furnace(shaded: Callable, roughness: float):
    """The light's own model keeps energy too: many suns over the hemisphere, a metal without loss.

    Suns are where the surface's lobe is, so that few of them measure it: by importance, weighted.
    """
    points, inside = seen_points()
    row, column = np.argwhere(inside)[inside.sum() // 2]
    view = np.array(POSE.eye()) - points[row, column]
    view /= np.linalg.norm(view)
    a2 = roughness**4
    count = 16 * 24  # lights per tile, tiles
    index = np.arange(count)
    u, phi = (index + 0.5) / count, 2 * math.pi * (index * 0.6180339887498949 % 1)
    cosine = np.sqrt((1 - u) / (1 + (a2 - 1) * u))
    sine = np.sqrt(1 - cosine**2)
    half = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    v_h = half @ view
    towards = 2 * v_h[:, None] * half - view
    density = a2 * cosine / (math.pi * (cosine**2 * (a2 - 1) + 1) ** 2) / (4 * v_h)
    above = (towards[:, 2] > 0) & (v_h > 0)
    material = Material(metallic_factor=1.0, roughness_factor=roughness)
    total = 0.0
    for start in range(0, count, 16):
        lights = [
            Light(LightKind.DIRECTIONAL, facing(towards[i]), intensity=1 / density[i] / count)
            for i in range(start, start + 16)
            if above[i]
        ]
        rgb = shaded(material, lights=tuple(lights), illuminance=(0.0,) * 3, exposure=6.0)
        total += ((rgb[row, column, 0] / 255 + 0.055) / 1.055) ** 2.4 / 6.0
    assert total == pytest.approx(1.0, abs=0.015)  # 24 pictures were rounded


def facing(towards: Array) -> Array:
    """world_from_light of a light that comes from there; only its axis matters."""
    placed = np.eye(4)[:3]
    placed[:, 2] = towards
    return placed


def split_sum(n_v: float, roughness: float) -> tuple[float, float]:
    """Scale and bias of f0 (Karis 2013), by midpoints over the half vectors of GGX."""
    a2 = roughness**4
    u, phi = np.meshgrid((np.arange(400) + 0.5) / 400, (np.arange(200) + 0.5) / 200 * 2 * math.pi)
    cos = np.sqrt((1 - u) / (1 + (a2 - 1) * u))
    sin = np.sqrt(1 - cos**2)
    half = np.stack([sin * np.cos(phi), sin * np.sin(phi), cos], axis=-1)
    view = np.array([math.sqrt(1 - n_v**2), 0, n_v])
    v_h = np.maximum(half @ view, 1e-9)
    n_l = 2 * v_h * cos - n_v
    above = n_l > 0
    smith = (
        2
        * n_l
        * n_v
        / (n_l * math.sqrt(n_v**2 * (1 - a2) + a2) + n_v * np.sqrt(n_l**2 * (1 - a2) + a2))
    )
    weight = np.where(above, smith * v_h / (cos * n_v), 0.0)
    fresnel = (1 - v_h) ** 5
    return float((weight * (1 - fresnel)).mean()), float((weight * fresnel).mean())


DARK = {"illuminance": (0.0,) * 3}
AT = np.array([0.3, -0.2, 0.9])  # where a light stands, 0.9 m over the plane
DOWN = np.array([[1.0, 0, 0, AT[0]], [0, 1, 0, AT[1]], [0, 0, 1, AT[2]]])  # shines along -Z


def around(light: Light, points: Array) -> tuple[Array, Array]:
    """(towards the light, candela over distance squared) by point."""
    way = AT - points
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    return way / distance, np.array(light.color) * light.intensity / distance**2


def test_a_point_light_falls_off_with_the_square_of_the_distance(shaded: Callable):
    points, inside = seen_points()
    light = Light(LightKind.POINT, DOWN, color=(1.0, 0.8, 0.6), intensity=2.0)
    material = Material(base_color_factor=TONE, metallic_factor=0.3, roughness_factor=0.6)
    towards, lux = around(light, points)
    radiance = appendix_b(points, np.array([0, 0, 1.0]), np.array(TONE[:3]), 0.3, 0.6, towards, lux)
    rgb = shaded(material, lights=(light,), **DARK)
    assert np.abs(rgb[inside] - encoded(EXPOSURE * radiance)[inside]).max() <= 1.01


def test_a_point_light_ends_at_its_reach(shaded: Callable):
    points, inside = seen_points()
    light = Light(LightKind.POINT, DOWN, intensity=2.0, reach=1.2)
    material = Material(base_color_factor=TONE, metallic_factor=0.0, roughness_factor=1.0)
    towards, lux = around(light, points)
    distance = np.linalg.norm(AT - points, axis=-1, keepdims=True)
    window = np.clip(1 - (distance / 1.2) ** 4, 0, 1)
    radiance = appendix_b(
        points, np.array([0, 0, 1.0]), np.array(TONE[:3]), 0.0, 1.0, towards, lux * window
    )
    rgb = shaded(material, lights=(light,), **DARK)
    assert (window[inside] == 0).any()
    assert np.abs(rgb[inside] - encoded(EXPOSURE * radiance)[inside]).max() <= 1.01


def test_a_spot_light_shines_within_its_cone(shaded: Callable):
    points, inside = seen_points()
    light = Light(LightKind.SPOT, DOWN, intensity=3.0, inner_cone=0.3, outer_cone=0.6)
    material = Material(base_color_factor=TONE, metallic_factor=0.0, roughness_factor=0.8)
    towards, lux = around(light, points)
    scale = 1 / (math.cos(0.3) - math.cos(0.6))
    cone = np.clip((towards[..., 2:] - math.cos(0.6)) * scale, 0, 1) ** 2
    radiance = appendix_b(
        points, np.array([0, 0, 1.0]), np.array(TONE[:3]), 0.0, 0.8, towards, lux * cone
    )
    rgb = shaded(material, lights=(light,), **DARK)
    assert (cone[inside] == 0).any()
    assert (cone[inside] == 1).any()
    assert np.abs(rgb[inside] - encoded(EXPOSURE * radiance)[inside]).max() <= 1.01


def test_lights_add_up(shaded: Callable):
    material = Material(base_color_factor=TONE, metallic_factor=0.0)
    _, inside = seen_points()
    tilted = np.array([[1.0, 0, 0, 0], [0, 0.8, 0.6, 0], [0, -0.6, 0.8, 0]])
    sun = Light(LightKind.DIRECTIONAL, tilted, intensity=0.5)
    lamp = Light(LightKind.POINT, DOWN, intensity=0.4)

    def linear(rgb: Array) -> Array:
        return ((rgb[inside] / 255 + 0.055) / 1.055) ** 2.4

    apart = sum(linear(shaded(material, lights=(light,), **DARK)) for light in (sun, lamp))
    dim = {"illuminance": (0.3,) * 3}
    together = shaded(material, lights=(sun, lamp), **dim)
    expected = encoded(apart + linear(shaded(material, **dim)))
    assert np.abs(together[inside] - expected).max() <= 2.5  # each of three was rounded


def test_an_unlit_material_is_its_base_color_whatever_the_light(shaded: Callable):
    _, inside = seen_points()
    rgb = shaded(
        Material(base_color_factor=TONE, unlit=True), lights=(Light(LightKind.POINT, DOWN),)
    )
    assert np.abs(rgb[inside] - encoded(np.array(TONE[:3]))).max() <= 0.51


def test_emission_may_be_stronger_than_white(shaded: Callable):
    _, inside = seen_points()
    material = Material(base_color_factor=(0, 0, 0, 1), emissive_factor=(4.0, 0.4, 0.0))
    rgb = shaded(material, **DARK, exposure=0.2, ambient=(0.0,) * 3)
    assert np.abs(rgb[inside] - encoded(np.array([0.8, 0.08, 0.0]))).max() <= 0.51


@pytest.mark.parametrize("uv_set", [0, 1])
def test_texture_coordinates_are_scaled_then_turned_then_moved(
    shaded: Callable, square: Callable, uv_set: int
):
    """Each quarter of the image has a colour; which one is seen tells where it was sampled."""
    points, inside = seen_points()
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:32, :, 0] = pixels[:, :32, 1] = 200  # red above, green on the left
    pixels[..., 2] = 60
    nearest = Texture(0, mag_filter=MagFilter.NEAREST, min_filter=MinFilter.NEAREST)
    transform = UvTransform(offset=(0.3, 0.1), rotation=0.4, scale=(0.5, 1.5))
    material = Material(base_color=TextureSlot(0, uv_set, transform), unlit=True)
    changes = {f"uv{uv_set}": square().uv0, f"uv{1 - uv_set}": None}
    rgb = shaded(material, changes, images=(Image(pixels, "map"),), textures=(nearest,))
    u, v = (points[..., 0] + 1) / 2 * 0.5, (1 - points[..., 1]) / 2 * 1.5
    at_u = math.cos(0.4) * u + math.sin(0.4) * v + 0.3
    at_v = -math.sin(0.4) * u + math.cos(0.4) * v + 0.1
    red, green = (at_v % 1) < 0.5, (at_u % 1) < 0.5
    near_an_edge = np.minimum(np.abs(at_u * 2 % 1 - 0.5), np.abs(at_v * 2 % 1 - 0.5)) > 0.47
    sure = inside & ~near_an_edge
    assert {(bool(r), bool(g)) for r, g in zip(red[sure], green[sure], strict=True)} == {
        (a, b) for a in (False, True) for b in (False, True)
    }
    np.testing.assert_array_equal(rgb[..., 0][sure] > 100, red[sure])
    np.testing.assert_array_equal(rgb[..., 1][sure] > 100, green[sure])
