"""Light from an environment: its directions, its filtered lobes, its background, tone mapping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from render.camera import Orbit, View, camera_view
from render.passes.environment import DeviceEnvironment
from render.pieces import TileSpec, ToneMapping
from render.scene import Camera, Material, Scene

Array = NDArray[np.float64]
SIZE = (96, 64)
SLOPE = np.array([0.2, -0.35, 0.5])  # the environment's light is 1 + SLOPE . direction, per channel
CHANNELS = np.array([1.0, 0.8, 0.6])


def directions(width: int, height: int) -> Array:
    """Where each texel of an equirectangular picture looks (render.environment)."""
    round_, down = np.meshgrid(
        ((np.arange(width) + 0.5) / width - 0.5) * 2 * math.pi,
        (np.arange(height) + 0.5) / height * math.pi,
    )
    level = np.sin(down)
    return np.stack([level * np.cos(round_), np.cos(down), level * np.sin(round_)], axis=-1)


def sloped(ways: Array, strength: float = 1.0) -> Array:
    return (1 + strength * (ways @ SLOPE))[..., None] * CHANNELS


@pytest.fixture
def load(studio) -> Iterator[Callable[[Array], DeviceEnvironment]]:
    """An environment of RGB radiance (height, width, 3)."""
    made: list[DeviceEnvironment] = []

    def loaded(rgb: Array) -> DeviceEnvironment:
        pixels = np.ones((*rgb.shape[:2], 4), np.float16)
        pixels[..., :3] = rgb
        made.append(studio.renderer.load_environment(pixels))
        return made[-1]

    yield loaded
    for environment in made:
        environment.close()


def encoded(linear: Array) -> Array:
    clipped = np.clip(linear, 0, 1)
    return 255 * np.where(
        clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055
    )


def dark(view: TileSpec, **given: object) -> TileSpec:
    values = {name: getattr(view, name) for name in view.__struct_fields__}
    off = {"illuminance": (0.0,) * 3, "ambient": (0.0,) * 3, "sky": 1.0, "exposure": 0.5}
    return TileSpec(**(values | off | given))


POSE = Orbit(0.4, 0.5, 2.2, (0.0, 0.0, 0.0))


def seen_points() -> tuple[Array, NDArray[np.bool_]]:
    """Where each pixel's centre meets z = 0, and whether in the square of two metres."""
    width, height = SIZE
    rows = POSE.clip_from_world(width / height)[np.ix_([0, 1, 3], [0, 1, 3])]
    x, y = np.meshgrid(
        (np.arange(width) + 0.5) * 2 / width - 1, (np.arange(height) + 0.5) * 2 / height - 1
    )
    flat = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(rows).T
    points = np.concatenate([flat[..., :2] / flat[..., 2:], np.zeros((height, width, 1))], axis=-1)
    return points, (np.abs(points[..., :2]) < 0.97).all(axis=-1)


@pytest.fixture
def lit_square(studio, square: Callable, scene_of: Callable, view_of: Callable) -> Callable:
    """RGB of a square of a material in an environment."""

    def drawn(material: Material, environment: DeviceEnvironment, **given: object) -> Array:
        scene = scene_of([square()], [material])
        view = dark(view_of(POSE, SIZE), **given)
        return studio.shoot(scene, view, SIZE, environment=environment).rgba[..., :3].astype(float)

    return drawn


def test_a_mirror_shows_what_is_reflected(lit_square: Callable, load: Callable):
    points, inside = seen_points()
    rgb = lit_square(Material(roughness_factor=0.0), load(sloped(directions(256, 128))))
    way = points - np.array(POSE.eye())
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    mirrored = way * [1, 1, -1]
    expected = encoded(0.5 * sloped(mirrored))
    assert np.abs(rgb - expected)[inside].max() <= 2.0


def test_a_matt_surface_gathers_by_the_cosine(lit_square: Callable, load: Callable):
    """Of light 1 + s.w, a cosine lobe about n gathers 1 + 2/3 s.n."""
    _, inside = seen_points()
    white = lit_square(Material(metallic_factor=0.0), load(sloped(directions(256, 128))))
    # All that is not mirrored: a dielectric whose mirror sees about the same light.
    uniform = load(np.broadcast_to(sloped(np.array([0, 0, 1.0]), 2 / 3), (16, 32, 3)))
    expected = lit_square(Material(metallic_factor=0.0), uniform)
    assert np.abs(white - expected)[inside].max() <= 4.0
    assert np.abs(white - expected)[inside].mean() <= 1.5


@pytest.mark.parametrize("roughness", [0.3, 0.6])
def test_a_rough_mirror_sees_through_its_lobe(
    lit_square: Callable, load: Callable, roughness: float
):
    """Of light 1 + s.w, a lobe about r gathers 1 + k s.r; k is the lobe's mean cosine."""
    points, inside = seen_points()
    u = (np.arange(100_000) + 0.5) / 100_000
    half = np.sqrt((1 - u) / (1 + (roughness**4 - 1) * u))
    cosine = 2 * half**2 - 1
    k = (cosine**2)[cosine > 0].sum() / cosine[cosine > 0].sum()
    way = points - np.array(POSE.eye())
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    mirrored = way * [1, 1, -1]
    rgb = lit_square(Material(roughness_factor=roughness), load(sloped(directions(256, 128))))
    # Energy is kept, so the two lobes' light is at most this far from the mirrored one's.
    expected = encoded(0.5 * sloped(mirrored, k))
    assert np.abs(rgb - expected)[inside].mean() <= 3.0
    assert np.abs(rgb - expected)[inside].max() <= 8.0


@pytest.mark.parametrize(
    "way", [(0.1, 0.2, 1.0), (0.75, 0.1, 1.0), (0.9, 0.93, 1.0), (-0.5, 0.97, 0.8)]
)
def test_a_small_sun_lights_by_its_cosine_wherever_it_stands(
    lit_square: Callable, load: Callable, way: tuple
):
    """White and fully rough: what is seen is the irradiance over pi. Near edges and corners of the
    cube, where its texels are small, a sun counts as much as anywhere."""
    _, inside = seen_points()
    ways = directions(256, 128)
    sun = np.unravel_index((ways @ np.array(way)).argmax(), (128, 256))
    rgb = np.zeros((128, 256, 3))
    rgb[sun] = 4000.0
    span = 2 * math.pi / 256 * math.pi / 128 * math.sqrt(1 - ways[sun][1] ** 2)
    white = Material(roughness_factor=1.0)
    seen = lit_square(white, load(rgb), exposure=1.0)
    linear = ((seen[inside] / 255 + 0.055) / 1.055) ** 2.4
    expected = 4000.0 * span * ways[sun][2] / math.pi
    assert linear.mean() == pytest.approx(expected, rel=0.04)


def looking(way: tuple[float, float, float]) -> View:
    """From the origin along `way`, which is level."""
    back = -np.array(way)
    placed = np.stack([np.cross([0, 1, 0], back), [0.0, 1, 0], back, [0, 0, 0]], axis=1)
    return camera_view(Camera("c", placed, fov=0.6), placed, SIZE[0] / SIZE[1])


@pytest.fixture
def empty(square: Callable, scene_of: Callable) -> Scene:
    """Nothing that is seen."""
    return scene_of([square(z=-50.0, side=1e-4)], [Material()])


@pytest.mark.parametrize(
    ("way", "column"), [((1, 0, 0), 0.5), ((0, 0, 1), 0.75), ((0, 0, -1), 0.25)]
)
@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_the_background_is_the_environment_where_one_looks(
    studio, empty: Scene, load: Callable, view_of: Callable, way: tuple, column: float, turn: float
):
    """Each column has a brightness of its own; a turned environment shows another at its middle."""
    ramp = np.linspace(0.1, 0.9, 512)
    environment = load(np.broadcast_to(ramp[None, :, None], (256, 512, 3)))
    view = looking(tuple(map(float, way)))
    tile = dark(
        view_of(POSE, SIZE),
        clip_from_world=tuple(view.clip_from_world.ravel().tolist()),
        eye=view.eye,
        exposure=1.0,
        sky_shown=True,
        sky_turn=(math.cos(turn), math.sin(turn)),
    )
    rgb = studio.shoot(empty, tile, SIZE, environment=environment).rgba[..., :3]
    middle = rgb[SIZE[1] // 2, SIZE[0] // 2 - 1 : SIZE[0] // 2 + 1].mean()
    at = (column + turn / (2 * math.pi)) % 1.0
    assert middle == pytest.approx(
        encoded(np.interp(at * 512 - 0.5, np.arange(512), ramp)), abs=1.5
    )


def test_up_is_the_first_row(studio, empty: Scene, load: Callable, view_of: Callable):
    rows = np.zeros((256, 512, 3))
    rows[:128] = 0.6
    view = looking((1.0, 0.0, 0.0))
    tile = dark(
        view_of(POSE, SIZE),
        clip_from_world=tuple(view.clip_from_world.ravel().tolist()),
        eye=view.eye,
        exposure=1.0,
        sky_shown=True,
    )
    rgb = studio.shoot(empty, tile, SIZE, environment=load(rows)).rgba[..., 0]
    assert (rgb[: SIZE[1] // 2 - 2] > 150).all()
    assert (rgb[SIZE[1] // 2 + 2 :] == 0).all()


def test_without_an_environment_its_light_is_none(studio, courtyard: Scene, view_of: Callable):
    pose = Orbit(0.5, 0.35, 9.0, (0.0, 0.8, 0.0))
    plain = studio.shoot(courtyard, view_of(pose, SIZE), SIZE)
    asked = studio.shoot(courtyard, view_of(pose, SIZE, sky=1.0, sky_shown=True), SIZE)
    assert asked.i420 == plain.i420


@pytest.mark.parametrize("seed", range(2))
def test_a_frame_in_an_environment_does_not_depend_on_its_tiling(
    studio, courtyard: Scene, load: Callable, view_of: Callable, random_tiling: Callable, seed: int
):
    pose = Orbit(0.5 + seed, 0.35, 9.0, (0.0, 0.8, 0.0))
    tile = dark(view_of(pose, SIZE), sky_shown=True, tone_mapping=ToneMapping.ACES)
    environment = load(sloped(directions(128, 64)))
    whole = studio.shoot(courtyard, tile, SIZE, environment=environment)
    cut = studio.shoot(courtyard, tile, SIZE, random_tiling(SIZE, 7, seed), environment=environment)
    assert cut.i420 == whole.i420


def neutral(color: Array) -> Array:
    """Khronos PBR Neutral, as its specification writes it."""
    color = color.copy()
    least = color.min()
    color -= least - 6.25 * least**2 if least < 0.08 else 0.04
    peak = color.max()
    if peak < 0.76:
        return color
    d = 1 - 0.76
    new_peak = 1 - d * d / (peak + d - 0.76)
    g = 1 - 1 / (0.15 * (peak - new_peak) + 1)
    return color * new_peak / peak * (1 - g) + new_peak * g


def aces(color: Array) -> Array:
    """Stephen Hill's fit."""
    into = np.array([[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566],
                     [0.02840, 0.13383, 0.83777]])  # fmt: skip
    out = np.array([[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605],
                    [-0.00327, -0.07276, 1.07602]])  # fmt: skip
    v = into @ color
    return out @ ((v * (v + 0.0245786) - 0.000090537) / (v * (0.983729 * v + 0.432951) + 0.238081))


@pytest.mark.parametrize("mapping", list(ToneMapping))
@pytest.mark.parametrize(
    "light", [(0.02, 0.05, 0.03), (0.5, 0.4, 0.3), (3.0, 1.0, 0.5), (20.0, 18.0, 25.0)]
)
def test_light_is_brought_into_range_as_asked(
    studio, square: Callable, scene_of: Callable, flat_view: Callable, mapping: ToneMapping, light
):
    material = Material(base_color_factor=(0, 0, 0, 1), emissive_factor=light)
    scene = scene_of([square(z=0.5)], [material])
    view = flat_view(SIZE, exposure=2.0, tone_mapping=mapping)
    rgb = studio.shoot(scene, view, SIZE).rgba[32, 48, :3]
    shapes = {ToneMapping.NONE: lambda c: c, ToneMapping.NEUTRAL: neutral, ToneMapping.ACES: aces}
    np.testing.assert_allclose(rgb, encoded(shapes[mapping](2 * np.array(light))), atol=0.75)
