"""A drive's scene as a glTF file, with the rig's camera in it: what `render` draws pictures of.

The same faces that rays meet, flat shaded, one colour each. glTF has y up; one node turns the world
so. The sun is a directional light; the sky is the environment's (`infer.drives.sky`).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infer.drives.drive import Drive, Scene
from infer.drives.rays import PX, PY, PYAW, PZ
from infer.drives.rig import CAMERA_PLACE, FOCAL_PX, PICTURE
from infer.drives.scenery import KERB_M, LANE_M
from infer.drives.solids import Colour, Floats, Material, Model

SEEN_M = (-25.0, 140.0)  # of the street, from the ego
GROUND: Colour = (0.10, 0.11, 0.07)
ASPHALT: Colour = (0.055, 0.055, 0.058)
LINE: Colour = (0.55, 0.55, 0.53)
GROUND_M, LINE_M = -0.03, 0.01  # heights of what lies beside and on the asphalt
DASH_M, DASHES_M = 3.0, 9.0  # a dash, and from one to the next
SUN = (math.radians(42.0), math.radians(35.0), 4.0)  # height, turn about z, illuminance

# Metallic and rough, by material; others are matt.
_SURFACES = {
    Material.PAINT: (0.1, 0.3), Material.GLASS: (0.0, 0.06), Material.METAL: (0.9, 0.4),
    Material.REFLECTOR: (0.0, 0.25), Material.RUBBER: (0.0, 0.8),
}  # fmt: skip
_MATT = (0.0, 0.95)

# Places of faces with their colour and surface: polygon (k, 3), colour, (metallic, rough).
Face = tuple[Floats, Colour, tuple[float, float]]


def scene_glb(drive: Drive, scene: Scene) -> bytes:
    """Self-contained; its camera 0 is the rig's at the scene's time."""
    glb = _Glb()
    numbers = {int(which): glb.mesh(_faces(drive.models[which])) for which in _used(scene)}
    nodes = [
        {
            "mesh": numbers[int(which)],
            "translation": row[[PX, PY, PZ]].tolist(),
            "rotation": [0.0, 0.0, math.sin(row[PYAW] / 2), math.cos(row[PYAW] / 2)],
        }
        for row, which in zip(scene.placed.rows, scene.placed.models, strict=True)
    ]
    nodes.append({"mesh": glb.mesh(_road(drive, scene))})
    nodes.append(_camera(scene))
    nodes.append(_sun())
    return glb.packed(nodes)


def _used(scene: Scene) -> list[int]:
    found: list[int] = np.unique(scene.placed.models).tolist()
    return found


def _faces(model: Model) -> Iterable[Face]:
    for part in model.parts:
        surface = _SURFACES.get(part.material, _MATT)
        for polygon in part.faces:
            yield polygon, part.colour, surface


def _road(drive: Drive, scene: Scene) -> Iterable[Face]:
    """The ground, the asphalt between the kerbs, and the lines on it."""
    middle = drive.ego_along(scene.time_us)
    begin, end = middle + SEEN_M[0], middle + SEEN_M[1]
    x, y = scene.ego.translation[:2].tolist()
    far = 400.0
    square = ((x - far, y - far), (x + far, y - far), (x + far, y + far), (x - far, y + far))
    yield _flat(square, GROUND_M), GROUND, _MATT
    for along in np.arange(begin, end, 5.0).tolist():
        yield _strip(drive, (along, along + 5.0), (-KERB_M, KERB_M), 0.0), ASPHALT, _MATT
        for aside in (-LANE_M - 0.35, LANE_M + 0.35):
            edges = (aside - 0.05, aside + 0.05)
            yield _strip(drive, (along, along + 5.0), edges, LINE_M), LINE, _MATT
    for along in np.arange(math.ceil(begin / DASHES_M) * DASHES_M, end, DASHES_M).tolist():
        yield _strip(drive, (along, along + DASH_M), (-0.07, 0.07), LINE_M), LINE, _MATT


def _strip(
    drive: Drive, along: tuple[float, float], aside: tuple[float, float], height: float
) -> Floats:
    """A piece of the street's surface, seen from above counter-clockwise."""
    s = (along[0], along[1], along[1], along[0])
    d = (aside[0], aside[0], aside[1], aside[1])
    x, y, _ = drive.street.place(s, d)
    return _flat(np.stack((x, y), axis=1).tolist(), height)


def _flat(corners: Sequence[Sequence[float]], height: float) -> Floats:
    polygon: Floats = np.column_stack((np.array(corners), np.full(len(corners), height)))
    return polygon


def _camera(scene: Scene) -> dict[str, Any]:
    """glTF's cameras look along their -z, y up."""
    world_from_ego = scene.ego.rotation
    axes = np.array(((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))  # ego from camera
    matrix = np.eye(4)
    matrix[:3, :3] = world_from_ego @ axes
    matrix[:3, 3] = scene.ego.apply(np.array(CAMERA_PLACE))
    return {"camera": 0, "matrix": matrix.T.ravel().tolist()}


def _sun() -> dict[str, Any]:
    """A light shines along its -z."""
    height, turn, _ = SUN
    towards = np.array(
        (math.cos(height) * math.cos(turn), math.cos(height) * math.sin(turn), math.sin(height))
    )
    aside = np.cross((0.0, 0.0, 1.0), towards)
    aside /= np.linalg.norm(aside)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack((aside, np.cross(towards, aside), towards), axis=1)
    return {
        "extensions": {"KHR_lights_punctual": {"light": 0}},
        "matrix": matrix.T.ravel().tolist(),
    }


@dataclass(slots=True)
class _Glb:
    """Meshes of flat faces, by surface, and the file that holds them."""

    binary: bytearray = field(default_factory=bytearray)
    views: list[dict[str, int]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    surfaces: dict[tuple[float, float], int] = field(default_factory=dict)

    def mesh(self, faces: Iterable[Face]) -> int:
        """The number of a mesh of these faces, a primitive for each kind of surface."""
        groups: dict[tuple[float, float], list[tuple[Floats, Colour]]] = {}
        for polygon, colour, surface in faces:
            groups.setdefault(surface, []).append((polygon, colour))
        primitives = []
        for surface, group in groups.items():
            corners = np.concatenate([_triangles(polygon) for polygon, _ in group])
            counts = [3 * (len(polygon) - 2) for polygon, _ in group]
            edges = corners[1::3] - corners[::3], corners[2::3] - corners[::3]
            normals = np.cross(*edges)
            normals /= np.linalg.norm(normals, axis=1)[:, None]
            attributes = {
                "POSITION": self._accessor(corners),
                "NORMAL": self._accessor(np.repeat(normals, 3, axis=0)),
                "COLOR_0": self._accessor(np.repeat([c for _, c in group], counts, axis=0)),
            }
            number = self.surfaces.setdefault(surface, len(self.surfaces))
            primitives.append({"attributes": attributes, "material": number})
        self.meshes.append({"primitives": primitives})
        return len(self.meshes) - 1

    def packed(self, nodes: Sequence[dict[str, Any]]) -> bytes:
        """The file, all nodes in a world whose z is up."""
        width, height = PICTURE
        document = {
            "asset": {"version": "2.0", "generator": "framemesh"},
            "extensionsUsed": ["KHR_lights_punctual"],
            "extensions": {
                "KHR_lights_punctual": {
                    "lights": [
                        {"type": "directional", "intensity": SUN[2], "color": [1, 0.96, 0.9]}
                    ]
                }
            },
            "scene": 0,
            "scenes": [{"nodes": [len(nodes)]}],
            "nodes": [
                *nodes,
                {
                    "children": list(range(len(nodes))),
                    "rotation": [-math.sqrt(0.5), 0, 0, math.sqrt(0.5)],
                },
            ],
            "cameras": [
                {
                    "type": "perspective",
                    "perspective": {
                        "yfov": 2 * math.atan(height / 2 / FOCAL_PX),
                        "aspectRatio": width / height,
                        "znear": 0.1,
                    },
                }
            ],
            "materials": [
                {"pbrMetallicRoughness": {"metallicFactor": metallic, "roughnessFactor": rough}}
                for metallic, rough in self.surfaces
            ],
            "meshes": self.meshes,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.binary)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self.binary)
        head = struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(text), b"JSON")
        return head + text + struct.pack("<I4s", len(self.binary), b"BIN\0") + bytes(self.binary)

    def _accessor(self, rows: Floats) -> int:
        data = rows.astype(np.float32)
        self.views.append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": data.nbytes})
        self.binary += data.tobytes()
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1, "componentType": 5126, "count": len(data),
                "type": "VEC3", "min": data.min(axis=0).tolist(), "max": data.max(axis=0).tolist(),
            }
        )  # fmt: skip
        return len(self.accessors) - 1


def _triangles(polygon: Floats) -> Floats:
    """A fan: float64 (3 (k - 2), 3)."""
    middle = np.arange(1, len(polygon) - 1)
    order = np.stack((np.zeros_like(middle), middle, middle + 1), axis=1).ravel()
    corners: Floats = polygon[order]
    return corners
