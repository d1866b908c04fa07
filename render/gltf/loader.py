"""One GLB to one `Scene`: walks the node tree and converts what it draws, and only that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mesh.core.workload import Buffer
from render.gltf.accessors import Accessors
from render.gltf.container import split_glb
from render.gltf.document import SUPPORTED_EXTENSIONS, Document, Node, decode_document, pick
from render.gltf.geometry import Geometry
from render.gltf.limits import (
    MAX_BENT_VERTICES,
    MAX_COORDINATE,
    MAX_DRAWN_VERTICES,
    MAX_DRAWS,
    MAX_WARNINGS,
)
from render.gltf.moving import Moving
from render.gltf.refusal import refused
from render.gltf.surfaces import Surfaces
from render.gltf.tree import Matrix, Placed, is_flattened, placed_nodes
from render.motion import Motion, stance
from render.pose import REST, world_positions
from render.scene import (
    MAX_LIGHTS,
    Camera,
    Draw,
    Float32Array,
    Light,
    LightKind,
    Primitive,
    Scene,
)

_LIGHT_KINDS = {
    "directional": LightKind.DIRECTIONAL,
    "point": LightKind.POINT,
    "spot": LightKind.SPOT,
}
_SMALLEST = 1e-9  # metres
_AT_ONCE = 65_536  # vertices placed at a time, so that memory stays small
_SIMPLIFY = "Simplify the scene, or split it."


def load_gltf(data: Buffer) -> Scene:
    """Read a self-contained GLB; every array of the result is a copy of its own.

    Raises ContentRefused naming the place if it is malformed, over a limit (`limits`), needs an
    extension that is not read, or has nothing to draw.
    """
    json_chunk, binary = split_glb(data)
    document = decode_document(json_chunk)
    return _Loader(document, binary).load()


class _Loader:
    """Gathers one scene."""

    def __init__(self, document: Document, binary: memoryview) -> None:
        self._document = document
        self._warnings: list[str] = []
        self._left_out = 0
        accessors = Accessors(document, binary)
        self._nodes = list(placed_nodes(document))
        self._moving = Moving(document, accessors, self._nodes, self._warn)
        self._geometry = Geometry(accessors)
        self._surfaces = Surfaces(document, accessors, self._warn)
        self._primitives: list[Primitive] = []
        self._primitives_of: dict[int, tuple[int, ...]] = {}
        self._draws: list[Draw] = []
        self._drawn_vertices = self._bent_vertices = 0
        self._lights: list[Light] = []
        self._cameras: list[Camera] = []

    def load(self) -> Scene:
        self._warn_of_what_is_not_read()
        for placed in self._nodes:
            self._place_mesh(placed, f"nodes[{placed.index}]")
            self._place_light(placed, f"nodes[{placed.index}]")
            self._place_camera(placed, f"nodes[{placed.index}]")
        if not self._draws:
            raise refused("its node tree", "it has no triangle to draw")
        motion = self._moving.motion()
        low, high = self._bounds(motion)
        return Scene(
            draws=tuple(self._draws),
            primitives=tuple(self._primitives),
            materials=tuple(self._surfaces.materials),
            textures=tuple(self._surfaces.textures),
            images=tuple(self._surfaces.images),
            bounds_min=low,
            bounds_max=high,
            motion=motion,
            lights=tuple(self._lights),
            cameras=tuple(self._cameras),
            warnings=self._all_warnings(),
        )

    def _place_mesh(self, placed: Placed, place: str) -> None:
        node, moving = placed.node, self._moving.node(placed.index)
        if node.mesh is None:
            return
        if moving < 0 and node.skin is None and is_flattened(placed.world_from_node):
            self._warn(f"{place} is scaled to nothing; it is left out")
            return
        world_from_mesh = _sealed(placed.world_from_node)
        for number in self._mesh(node.mesh, place):
            primitive = self._primitives[number]
            draw = Draw(
                world_from_mesh,
                number,
                node=moving,
                skin=self._skin(node, primitive, place),
                weights=self._weights(placed.index, node, primitive, place),
            )
            self._charge_draw(draw, len(primitive.positions), place)
            self._draws.append(draw)

    def _charge_draw(self, draw: Draw, vertices: int, place: str) -> None:
        self._drawn_vertices += vertices
        self._bent_vertices += vertices if draw.bends else 0
        if len(self._draws) >= MAX_DRAWS or self._drawn_vertices > MAX_DRAWN_VERTICES:
            raise refused(
                place,
                f"with it the scene draws {len(self._draws) + 1} primitives and "
                f"{self._drawn_vertices} vertices a frame; the limits are {MAX_DRAWS} and "
                f"{MAX_DRAWN_VERTICES}",
                _SIMPLIFY,
            )
        if self._bent_vertices > MAX_BENT_VERTICES:
            raise refused(
                place,
                f"with it skins and morph targets move {self._bent_vertices} vertices a frame; "
                f"the limit is {MAX_BENT_VERTICES}",
                _SIMPLIFY,
            )

    def _skin(self, node: Node, primitive: Primitive, place: str) -> int:
        """The first joint of a node's skin, checked against the vertices' influences; or -1."""
        if node.skin is None:
            return -1
        joints = self._moving.joints(node.skin, place)
        if primitive.influences is None:
            self._warn(f"{place} has a skin, and a primitive without JOINTS_0 and WEIGHTS_0")
            return -1
        largest = int(primitive.influences.joints.max())
        if largest >= joints:
            raise refused(
                place, f"its vertices use joint {largest}, and skins[{node.skin}] has {joints}"
            )
        return self._moving.skin(node.skin)

    def _weights(self, index: int, node: Node, primitive: Primitive, place: str) -> int:
        """The first of a node's morph weights; or -1."""
        if primitive.morph is None:
            return -1
        assert node.mesh is not None
        targets = len(primitive.morph.positions)
        mesh = self._document.meshes[node.mesh]
        if any(len(other.targets) not in (0, targets) for other in mesh.primitives):
            raise refused(f"meshes[{node.mesh}]", "its primitives differ in morph targets")
        rest = node.weights or mesh.weights or [0.0] * targets
        if len(rest) != targets or max(map(abs, rest)) > MAX_COORDINATE:
            raise refused(place, f"its weights do not fit its mesh's {targets} morph targets")
        return self._moving.weights(index, rest)

    def _bounds(self, motion: Motion | None) -> tuple[Float32Array, Float32Array]:
        """The box of everything at rest."""
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        now = None if motion is None else stance(motion, REST, 0.0)
        for draw in self._draws:
            primitive = self._primitives[draw.primitive]
            for start in range(0, len(primitive.positions), _AT_ONCE):
                chosen = slice(start, start + _AT_ONCE)
                world = world_positions(draw, primitive, now, chosen)
                if not np.abs(world).max() <= MAX_COORDINATE:  # also where it is not a number
                    raise refused(
                        "the placing of its meshes",
                        f"a vertex lies beyond {MAX_COORDINATE:g} metres",
                    )
                np.minimum(low, world.min(axis=0), out=low)
                np.maximum(high, world.max(axis=0), out=high)
        return _sealed(low), _sealed(high)

    def _mesh(self, index: int, place: str) -> tuple[int, ...]:
        """The scene's primitives of `meshes[index]`, converted at first use."""
        if index not in self._primitives_of:
            mesh = pick(self._document.meshes, index, "meshes", place)
            converted = []
            for number, source in enumerate(mesh.primitives):
                here = f"meshes[{index}].primitives[{number}]"
                material = self._surfaces.material(source.material, here)
                uv_sets = frozenset(
                    slot.uv_set for slot in self._surfaces.materials[material].slots()
                )
                primitive, warnings = self._geometry.convert(source, material, uv_sets, here)
                self._warn(*warnings)
                if primitive is not None:
                    converted.append(len(self._primitives))
                    self._primitives.append(primitive)
            self._primitives_of[index] = tuple(converted)
        return self._primitives_of[index]

    def _place_light(self, placed: Placed, place: str) -> None:
        """KHR_lights_punctual: a light shines along its node's -Z."""
        if placed.node.extensions.lights is None:
            return
        given = pick(
            self._document.extensions.lights.lights,
            placed.node.extensions.lights.light,
            "extensions.KHR_lights_punctual.lights",
            place,
        )
        if given.type not in _LIGHT_KINDS:
            self._warn(
                f"{place}: its {given.type[:80]!r} light is of no known kind; it is left out"
            )
        elif len(self._lights) == MAX_LIGHTS:
            self._warn(f"{place}: its light is left out; {MAX_LIGHTS} lights are drawn")
        elif self._points_somewhere(placed, place):
            self._lights.append(
                Light(
                    _LIGHT_KINDS[given.type],
                    placed.world_from_node[:3],
                    node=self._moving.node(placed.index),
                    color=given.color,
                    intensity=given.intensity,
                    reach=given.range or 0.0,
                    inner_cone=given.spot.inner_cone_angle,
                    outer_cone=given.spot.outer_cone_angle,
                )
            )

    def _place_camera(self, placed: Placed, place: str) -> None:
        if placed.node.camera is None:
            return
        given = pick(self._document.cameras, placed.node.camera, "cameras", place)
        here = f"cameras[{placed.node.camera}]"
        if (given.perspective is None) == (given.type == "perspective") or (
            (given.orthographic is None) == (given.type == "orthographic")
        ):
            raise refused(here, f"it is {given.type}, and does not say how")
        if not self._points_somewhere(placed, place):
            return
        camera = Camera(
            given.name or placed.node.name or here,
            placed.world_from_node[:3],
            node=self._moving.node(placed.index),
        )
        if given.perspective is not None:
            frustum = given.perspective
            far = min(frustum.zfar or 0.0, MAX_COORDINATE)
            if far and far <= frustum.znear:
                raise refused(here, "its zfar is not beyond its znear")
            camera = replace(camera, fov=frustum.yfov, near=frustum.znear, far=far)
        else:
            box = given.orthographic
            assert box is not None
            if not _SMALLEST < abs(box.ymag) < MAX_COORDINATE or box.zfar <= box.znear:
                raise refused(here, "its box has no size")
            camera = replace(camera, half_height=abs(box.ymag), near=box.znear, far=box.zfar)
        self._cameras.append(camera)

    def _points_somewhere(self, placed: Placed, place: str) -> bool:
        """Whether a node's axes have a direction; says so if not."""
        if is_flattened(placed.world_from_node):
            self._warn(f"{place} is scaled to nothing; its light or camera is left out")
            return False
        return True

    def _warn_of_what_is_not_read(self) -> None:
        ignored = sorted(set(self._document.extensions_used) - SUPPORTED_EXTENSIONS)
        if ignored:
            self._warn(f"The extensions {', '.join(ignored[:8])} are not read")

    def _warn(self, *sentences: str) -> None:
        room = MAX_WARNINGS - len(self._warnings)
        self._warnings += [sentence.rstrip(".")[:300] + "." for sentence in sentences[:room]]
        self._left_out += max(0, len(sentences) - room)

    def _all_warnings(self) -> tuple[str, ...]:
        more = (f"{self._left_out} further warnings.",) if self._left_out else ()
        return (*self._warnings, *more)


def _sealed(values: Matrix) -> Float32Array:
    array = values.astype(np.float32)
    array.flags.writeable = False
    return array
