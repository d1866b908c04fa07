"""A real Vulkan device under validation, pictures put together from tiles, and small scenes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mesh.core.workload import DeviceInfo
from render.camera import Orbit
from render.executor import RenderExecutor
from render.package import load_scene, pack
from render.passes.environment import DeviceEnvironment
from render.passes.scene_upload import DeviceScene
from render.pathtrace.scene import TracedScene
from render.pieces import Antialias, TileSpec
from render.renderer import Renderer, open_renderer
from render.scene import Draw, Material, Primitive, Scene
from render.tiles import GRID, Rect
from render.vulkan.instance import Instance, open_instance
from render.workload import create


@dataclass(frozen=True)
class Picture:
    """What came of a frame: planes as the encoder takes them, and RGBA before conversion."""

    i420: bytes
    rgba: NDArray[np.uint8]
    clusters: int  # drawn, all tiles together


class Studio:
    """Draws frames tile by tile on one device that the validation layers watch."""

    def __init__(self, instance: Instance, renderer: Renderer) -> None:
        self.instance, self.renderer = instance, renderer
        self._scenes: dict[int, tuple[Scene, DeviceScene]] = {}
        self._traced: dict[int, TracedScene] = {}

    def shoot(
        self,
        scene: Scene,
        view: TileSpec,
        size: tuple[int, int],
        rects: Sequence[Rect] = (),
        environment: DeviceEnvironment | None = None,
        antialias: Antialias = 1,
    ) -> Picture:
        """The frame in the given tiles (default: one), each drawn on its own.

        Path traced where the view has samples. antialias: samples of a pixel otherwise.
        """
        if id(scene) not in self._scenes:
            self._scenes[id(scene)] = scene, self.renderer.upload(scene)
        loaded = self._scenes[id(scene)][1]
        width, height = size
        i420, rgba = np.zeros(width * height * 3 // 2, np.uint8), np.zeros((height, width, 4), "u1")
        canvas = self.renderer.create_canvas(width, height, samples=antialias)
        clusters = 0
        try:
            for rect in rects or [Rect(0, 0, width, height)]:
                planes = bytearray(rect.i420_bytes)
                tile = replace_rect(view, rect)
                if view.samples:
                    traced = self._trace(scene, loaded)
                    self.renderer.trace(canvas, traced, tile, memoryview(planes), environment)
                else:
                    times = self.renderer.render(
                        canvas, loaded, tile, memoryview(planes), environment
                    )
                    clusters += times.clusters
                paste(i420, size, rect, planes)
                rows, columns = (
                    slice(rect.y, rect.y + rect.height),
                    slice(rect.x, rect.x + rect.width),
                )
                rgba[rows, columns] = self.renderer.read_rgba(canvas)[rows, columns]
        finally:
            canvas.close()
        return Picture(i420.tobytes(), rgba, clusters)

    def _trace(self, scene: Scene, loaded: DeviceScene) -> TracedScene:
        if id(scene) not in self._traced:
            self._traced[id(scene)] = self.renderer.upload_traced(loaded, scene)
        return self._traced[id(scene)]

    def close(self) -> None:
        for traced in self._traced.values():
            traced.close()
        self._traced.clear()
        for _, loaded in self._scenes.values():
            loaded.close()
        self._scenes.clear()


def replace_rect(view: TileSpec, rect: Rect) -> TileSpec:
    values = {name: getattr(view, name) for name in view.__struct_fields__}
    return TileSpec(**(values | {"rect": tuple(rect)}))


def paste(
    canvas: NDArray[np.uint8], size: tuple[int, int], rect: Rect, planes: bytes | bytearray
) -> None:
    """Put a tile's packed planes where they belong in a picture's."""
    width, height = size
    taken = given = 0
    for scale in (1, 2, 2):
        plane = canvas[taken : taken + width * height // scale**2].reshape(height // scale, -1)
        taken += plane.size
        x, y, across, down = (value // scale for value in rect)
        part = np.frombuffer(planes, np.uint8)[given : given + across * down]
        plane[y : y + down, x : x + across] = part.reshape(down, across)
        given += part.size


@pytest.fixture(scope="session")
def _watched() -> Iterator[tuple[Instance, Renderer]]:
    with (
        open_instance(validate=True) as instance,
        open_renderer(instance, instance.choose()) as renderer,
    ):
        yield instance, renderer
    assert instance.messages == [], "the validation layers object to how the device was left"


@pytest.fixture
def studio(_watched: tuple[Instance, Renderer]) -> Iterator[Studio]:
    """One device for all tests; each test answers for what the layers say while it runs."""
    instance, renderer = _watched
    instance.messages.clear()
    made = Studio(instance, renderer)
    yield made
    made.close()
    assert instance.messages == []


@pytest.fixture(scope="session")
def device_info() -> DeviceInfo:
    """The first Vulkan device, as a node would name it."""
    return create({}).find_devices()[0]


@pytest.fixture
def executor(device_info: DeviceInfo) -> Iterator[RenderExecutor]:
    """An executor under validation, which must be silent to the end."""
    made = RenderExecutor(device_info, validate=True)
    yield made
    made.close()
    assert made.messages == []


@pytest.fixture(scope="session")
def courtyard() -> Scene:
    return load_scene(pack("procedural:courtyard").data)


@pytest.fixture(scope="session")
def helmet_path(data_dir: Path) -> Path:
    return data_dir / "gltf/FlightHelmet/FlightHelmet.gltf"


@pytest.fixture(scope="session")
def helmet(helmet_path: Path) -> Scene:
    return load_scene(pack(helmet_path).data)


@pytest.fixture(scope="session")
def fox(data_dir: Path) -> Scene:
    """Skinned, flat-shaded, with three animations."""
    return load_scene(pack(data_dir / "gltf/Fox.glb").data)


@pytest.fixture(scope="session")
def view_of() -> Callable[..., TileSpec]:
    """The whole frame as one tile, for a pose and a frame size; lights may be given."""

    def made(pose: Orbit, size: tuple[int, int], **given: object) -> TileSpec:
        width, height = size
        matrix = pose.clip_from_world(width / height)
        light: dict[str, object] = {
            "towards_light": (0.3713906763541037, 0.7427813527082074, 0.5570860145311556),
            "illuminance": (3.0, 2.9, 2.7),
            "ambient": (0.6, 0.6, 0.6),
            "exposure": 1.0,
            "background": (0.05, 0.06, 0.08),
        }
        return TileSpec(
            rect=(0, 0, width, height),
            clip_from_world=tuple(matrix.ravel().tolist()),
            eye=pose.eye(),
            **(light | given),
        )

    return made


@pytest.fixture(scope="session")
def flat_view() -> Callable[..., TileSpec]:
    """No perspective: x and y in -1..1 fill the frame, z in 0..1 is depth (1 nearest)."""

    def made(size: tuple[int, int], **given: object) -> TileSpec:
        values: dict[str, object] = {
            "rect": (0, 0, *size),
            "clip_from_world": (1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1),
            "eye": (0.0, 0.0, 1000.0),
            "towards_light": (0.0, 0.0, 1.0),
            "illuminance": (0.0, 0.0, 0.0),
            "ambient": (0.0, 0.0, 0.0),
            "exposure": 1.0,
            "background": (0.0, 0.0, 0.0),
        }
        return TileSpec(**(values | given))

    return made


@pytest.fixture(scope="session")
def random_tiling() -> Callable[..., list[Rect]]:
    """A frame cut at random on the grid: recursive cuts of whatever is picked next."""

    def made(size: tuple[int, int], tiles: int, seed: int) -> list[Rect]:
        rng = random.Random(seed)
        rects = [Rect(0, 0, *size)]
        while len(rects) < tiles:
            rect = rects.pop(rng.randrange(len(rects)))
            across = rect.width > GRID and (rect.height <= GRID or rng.random() < 0.5)
            if max(rect.width, rect.height) <= GRID:
                rects.append(rect)
                break
            length = rect.width if across else rect.height
            at = GRID * rng.randrange(1, -(-length // GRID))
            if across:
                halves = (
                    rect._replace(width=at),
                    Rect(rect.x + at, rect.y, rect.width - at, rect.height),
                )
            else:
                halves = (
                    rect._replace(height=at),
                    Rect(rect.x, rect.y + at, rect.width, rect.height - at),
                )
            rects.extend(halves)
        rng.shuffle(rects)
        return rects

    return made


@pytest.fixture(scope="session")
def square() -> Callable[..., Primitive]:
    """A square in the z = `z` plane, `side` metres, facing +Z; texture coordinates cover it."""

    def made(z: float = 0.0, side: float = 2.0, material: int = 0, flip: bool = False) -> Primitive:
        half = side / 2
        corners = [(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)]
        indices = [0, 2, 1, 0, 3, 2] if flip else [0, 1, 2, 0, 2, 3]
        return Primitive(
            positions=np.array(corners, np.float32),
            normals=np.tile(np.float32([0, 0, -1 if flip else 1]), (4, 1)),
            tangents=None,
            uv0=np.array([(0, 1), (1, 1), (1, 0), (0, 0)], np.float32),
            uv1=None,
            colors=None,
            indices=np.array(indices, np.uint32),
            material=material,
        )

    return made


@pytest.fixture(scope="session")
def scene_of() -> Callable[..., Scene]:
    """A scene of primitives, each drawn once where it is."""

    def made(
        primitives: Sequence[Primitive], materials: Sequence[Material], **given: object
    ) -> Scene:
        points = np.concatenate([mesh.positions for mesh in primitives])
        scene = Scene(
            draws=tuple(Draw(np.eye(4, dtype=np.float32), i) for i in range(len(primitives))),
            primitives=tuple(primitives),
            materials=tuple(materials),
            textures=(),
            images=(),
            bounds_min=points.min(axis=0),
            bounds_max=points.max(axis=0),
        )
        return replace(scene, **given)

    return made
