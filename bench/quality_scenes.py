"""Small scenes written to be drawn twice: one thing each, as self-contained glTF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from render.gltf.writer import GlbWriter
from render.procedural import shapes
from render.procedural.shapes import Shape


def _primitive(glb: GlbWriter, shape: Shape, material: int) -> dict[str, Any]:
    attributes = {
        "POSITION": glb.accessor(shape.positions.astype(np.float32)),
        "NORMAL": glb.accessor(shape.normals.astype(np.float32)),
        "TEXCOORD_0": glb.accessor(shape.uv.astype(np.float32)),
    }
    indices = glb.accessor(shape.indices.astype(np.uint32))
    return {"attributes": attributes, "indices": indices, "material": material}


def _plain(glb: GlbWriter, color: tuple[float, ...], roughness: float, metallic: float) -> int:
    shading = {
        "baseColorFactor": [*color, 1.0][:4],
        "roughnessFactor": roughness,
        "metallicFactor": metallic,
    }
    return glb.add("materials", {"pbrMetallicRoughness": shading})


def _place(glb: GlbWriter, shape: Shape, material: int, at: tuple[float, float, float]) -> int:
    mesh = glb.mesh([_primitive(glb, shape, material)])
    return glb.add("nodes", {"mesh": mesh, "translation": list(at)})


def _card(glb: GlbWriter, material: int, at: tuple[float, float, float], side: float = 1.0) -> int:
    half = side / 2
    corners = np.float32([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    attributes = {
        "POSITION": glb.accessor(corners),
        "NORMAL": glb.accessor(np.tile(np.float32([0, 0, 1]), (4, 1))),
        "TEXCOORD_0": glb.accessor(np.float32([[0, 1], [1, 1], [1, 0], [0, 0]])),
    }
    indices = glb.accessor(np.array([0, 1, 2, 0, 2, 3], np.uint16))
    mesh = glb.mesh([{"attributes": attributes, "indices": indices, "material": material}])
    return glb.add("nodes", {"mesh": mesh, "translation": list(at)})


def _pattern() -> np.ndarray:
    """An arrow on a chequered ground: which way is up, and how large."""
    y, x = np.mgrid[:128, :128]
    ground = np.where(((x // 16 + y // 16) % 2)[..., None], (210, 205, 190), (120, 140, 165))
    arrow = (np.abs(x - 64) < 8) & (y > 30) & (y < 110)
    head = (y > 12) & (y <= 44) & (np.abs(x - 64) < y - 12)
    picture = np.where((arrow | head)[..., None], (190, 60, 40), ground)
    return picture.astype(np.uint8)


def spheres() -> bytes:
    """Roughness grows to the right, metalness upwards."""
    glb = GlbWriter()
    ball = shapes.sphere(0.45, 48)
    for row, metallic in enumerate(np.linspace(0, 1, 4)):
        for column, roughness in enumerate(np.linspace(0.1, 1, 6)):
            material = _plain(glb, (0.8, 0.55, 0.3), float(roughness), float(metallic))
            _place(glb, ball, material, (column - 2.5, row - 1.5, 0.0))
    return glb.glb()


def texture_transform() -> bytes:
    """Offset, rotation, scale, and all of them (evenly: three.js orders uneven ones otherwise)."""
    glb = GlbWriter()
    texture = glb.texture(_pattern())
    changes: list[Mapping[str, Any]] = [
        {},
        {"offset": [0.25, 0.1]},
        {"rotation": 0.5},
        {"scale": [2.0, 3.0]},
        {"offset": [0.3, -0.2], "rotation": -0.8, "scale": [1.5, 1.5]},
        {"offset": [0, 1], "scale": [1, -1]},
    ]
    for number, change in enumerate(changes):
        slot = {"index": texture, "extensions": {"KHR_texture_transform": change}}
        shading = {"baseColorTexture": slot, "metallicFactor": 0, "roughnessFactor": 0.8}
        material = glb.add("materials", {"pbrMetallicRoughness": shading})
        _card(glb, material, (1.1 * (number % 3 - 1), 0.55 - 1.1 * (number // 3), 0.0))
    glb.document["extensionsUsed"] = ["KHR_texture_transform"]
    return glb.glb()


def alpha_modes() -> bytes:
    """Opaque, masked at two cut-offs and blended cards, partly before one another."""
    glb = GlbWriter()
    y, x = np.mgrid[:128, :128]
    pixels = np.dstack([_pattern(), (255 * np.hypot(x - 64, y - 64) / 91).clip(0, 255)])
    texture = glb.texture(pixels.astype(np.uint8))
    modes = [
        {"alphaMode": "OPAQUE"},
        {"alphaMode": "MASK", "alphaCutoff": 0.3},
        {"alphaMode": "MASK", "alphaCutoff": 0.7, "doubleSided": True},
        {"alphaMode": "BLEND"},
    ]
    for number, mode in enumerate(modes):
        shading = {
            "baseColorTexture": {"index": texture}, "metallicFactor": 0, "roughnessFactor": 0.7
        }  # fmt: skip
        material = glb.add("materials", {"pbrMetallicRoughness": shading, **mode})
        _card(glb, material, (0.85 * (number - 1.5), 0.12 * (number % 2), 0.2 * number))
    return glb.glb()


def _waist(places: np.ndarray) -> np.ndarray:
    """How far a point is pulled: (n, 3)."""
    return 0.5 * np.sin(4 * places[:, 1:2]) * places * (1, 0, 1)


def _stretch(places: np.ndarray) -> np.ndarray:
    return places**3 * (0, 1, 0)


def _normals_after(pull: Callable[[np.ndarray], np.ndarray], shape: Shape) -> np.ndarray:
    """Unit normals of a pulled shape: they turn by the cofactors of the gradient (Nanson)."""
    places, step = shape.positions.astype(np.float64), 1e-5
    gradient = np.stack(
        [
            axis + (pull(places + step * axis) - pull(places - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ],
        axis=-1,
    )
    turned = np.linalg.solve(np.swapaxes(gradient, 1, 2), shape.normals[..., None])[..., 0]
    normals: np.ndarray = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    return normals


def morph() -> bytes:
    """A ball pulled two ways at once, its normals with it."""
    glb = GlbWriter()
    ball = shapes.sphere(0.8, 64)
    primitive = _primitive(glb, ball, _plain(glb, (0.3, 0.5, 0.75), 0.4, 0.0))
    targets = []
    for pull in (_waist, _stretch):
        normals = _normals_after(pull, ball)
        targets.append({
            "POSITION": glb.accessor(pull(ball.positions).astype(np.float32)),
            "NORMAL": glb.accessor((normals - ball.normals).astype(np.float32)),
        })  # fmt: skip
    primitive["targets"] = targets
    mesh = glb.mesh([primitive])
    glb.document["meshes"][mesh] = {**glb.document["meshes"][mesh], "weights": [0.6, 0.4]}
    glb.add("nodes", {"mesh": mesh})
    return glb.glb()


def punctual_lights() -> bytes:
    """A point, a spot and a directional light over a floor with balls."""
    glb = GlbWriter()
    lights = [
        {"type": "point", "color": [1, 0.6, 0.3], "intensity": 3},
        {"type": "spot", "color": [0.4, 0.7, 1], "intensity": 14,
         "spot": {"innerConeAngle": 0.25, "outerConeAngle": 0.45}},
        {"type": "directional", "intensity": 0.6},
    ]  # fmt: skip
    half = 0.5**0.5
    down = [-half, 0, 0, half]  # a node's -Z points down
    places = [
        {"translation": [-1.0, 0.9, 0.4]},
        {"translation": [1.0, 2.0, 0.0], "rotation": down},
        {"rotation": [-0.35, 0.2, 0.0, 0.915]},
    ]
    for index, place in enumerate(places):
        glb.add("nodes", {**place, "extensions": {"KHR_lights_punctual": {"light": index}}})
    glb.document["extensionsUsed"] = ["KHR_lights_punctual"]
    glb.document["extensions"] = {"KHR_lights_punctual": {"lights": lights}}
    _place(glb, shapes.disc(2.2, 64, 8), _plain(glb, (0.7, 0.7, 0.7), 0.7, 0.0), (0, 0, 0))
    for x, roughness, metallic in ((-1.0, 0.3, 0.0), (0.0, 0.4, 1.0), (1.0, 0.8, 0.0)):
        material = _plain(glb, (0.85, 0.8, 0.7), roughness, metallic)
        _place(glb, shapes.sphere(0.35, 48), material, (x, 0.35, 0.0))
    return glb.glb()


SCENES: Mapping[str, Callable[[], bytes]] = {
    "spheres": spheres,
    "texture_transform": texture_transform,
    "alpha_modes": alpha_modes,
    "morph": morph,
    "punctual_lights": punctual_lights,
}
