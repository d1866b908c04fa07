"""One GLB to one `Scene`: walks the node tree and converts what it draws, and only that."""

from __future__ import annotations

import numpy as np

from mesh.core.workload import Buffer
from render.gltf.accessors import Accessors
from render.gltf.container import split_glb
from render.gltf.document import SUPPORTED_EXTENSIONS, Document, Node, decode_document, pick
from render.gltf.geometry import Geometry
from render.gltf.limits import MAX_COORDINATE, MAX_DRAWN_VERTICES, MAX_DRAWS, MAX_WARNINGS
from render.gltf.refusal import refused
from render.gltf.surfaces import Surfaces
from render.gltf.tree import Matrix, is_flattened, placed_nodes
from render.scene import DirectionalLight, Draw, Float32Array, Primitive, Scene

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
        self._geometry = Geometry(accessors)
        self._surfaces = Surfaces(document, accessors, self._warn)
        self._primitives: list[Primitive] = []
        self._primitives_of: dict[int, tuple[int, ...]] = {}
        self._draws: list[Draw] = []
        self._drawn_vertices = 0
        self._lights: list[DirectionalLight] = []
        self._low = np.full(3, np.inf)
        self._high = np.full(3, -np.inf)

    def load(self) -> Scene:
        self._warn_of_what_is_not_read()
        for index, node, world_from_node in placed_nodes(self._document):
            self._place_mesh(node, world_from_node, f"nodes[{index}]")
            self._place_light(node, world_from_node, f"nodes[{index}]")
        if not self._draws:
            raise refused("its node tree", "it has no triangle to draw")
        return Scene(
            draws=tuple(self._draws),
            primitives=tuple(self._primitives),
            materials=tuple(self._surfaces.materials),
            textures=tuple(self._surfaces.textures),
            images=tuple(self._surfaces.images),
            bounds_min=_sealed(self._low),
            bounds_max=_sealed(self._high),
            light=self._lights[0] if self._lights else DirectionalLight(),
            warnings=self._all_warnings(),
        )

    def _place_mesh(self, node: Node, world_from_node: Matrix, place: str) -> None:
        if node.mesh is None:
            return
        if is_flattened(world_from_node):
            self._warn(f"{place} is scaled to nothing; it is left out")
            return
        world_from_mesh = _sealed(world_from_node)
        for primitive in self._mesh(node.mesh, place):
            positions = self._primitives[primitive].positions
            self._drawn_vertices += len(positions)
            if len(self._draws) >= MAX_DRAWS or self._drawn_vertices > MAX_DRAWN_VERTICES:
                raise refused(
                    place,
                    f"with it the scene draws {len(self._draws) + 1} primitives and "
                    f"{self._drawn_vertices} vertices a frame; the limits are {MAX_DRAWS} and "
                    f"{MAX_DRAWN_VERTICES}",
                    _SIMPLIFY,
                )
            self._draws.append(Draw(world_from_mesh, primitive))
            self._grow_bounds(positions, world_from_node, place)

    def _grow_bounds(self, positions: Float32Array, world_from_node: Matrix, place: str) -> None:
        world = positions @ world_from_node[:3, :3].T + world_from_node[:3, 3]
        if np.abs(world).max() > MAX_COORDINATE:
            raise refused(place, f"a vertex lies beyond {MAX_COORDINATE:g} metres in the world")
        np.minimum(self._low, world.min(axis=0), out=self._low)
        np.maximum(self._high, world.max(axis=0), out=self._high)

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

    def _place_light(self, node: Node, world_from_node: Matrix, place: str) -> None:
        """KHR_lights_punctual: a directional light shines along its node's -Z."""
        if node.extensions.lights is None:
            return
        lights = self._document.extensions.lights.lights
        index = node.extensions.lights.light
        light = pick(lights, index, "extensions.KHR_lights_punctual.lights", place)
        axis = world_from_node[:3, 2]
        length = float(np.linalg.norm(axis))
        if light.type != "directional" or self._lights or length < 1e-9:
            self._warn(
                f"{place}: its {light.type} light is left out; one directional light is drawn"
            )
            return
        x, y, z = (float(part) for part in axis / length)
        self._lights.append(DirectionalLight((x, y, z), light.color, light.intensity))

    def _warn_of_what_is_not_read(self) -> None:
        ignored = sorted(set(self._document.extensions_used) - SUPPORTED_EXTENSIONS)
        if ignored:
            self._warn(f"The extensions {', '.join(ignored[:8])} are not read")
        if self._document.animations:
            self._warn(f"Its {len(self._document.animations)} animations are not played")
        if any(node.skin is not None for node in self._document.nodes):
            self._warn("Its skins are not applied: skinned meshes stand in their bind pose")
        if any(p.targets for mesh in self._document.meshes for p in mesh.primitives):
            self._warn("Its morph targets are not applied")

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
