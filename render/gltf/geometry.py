"""From a glTF primitive to an indexed triangle list with normals (glTF 3.7.2)."""

from __future__ import annotations

import numpy as np

from render.gltf import draco
from render.gltf.accessors import Accessors
from render.gltf.document import Primitive as Source
from render.gltf.limits import MAX_COORDINATE, MAX_INDICES, MAX_MORPH_VERTICES, MAX_VERTICES
from render.gltf.refusal import refused
from render.scene import Float32Array, Influences, Morph, Primitive, Uint32Array

TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6
_LINES_AND_POINTS = ("points", "lines", "a line loop", "a line strip")
_MORPHED = {"POSITION", "NORMAL", "TANGENT"}
_INFLUENCE_SETS = 2  # of four joints each
_SIMPLIFY = "Simplify the meshes, or split the scene."


class Geometry:
    """Converts primitives, and keeps count of what they take together."""

    def __init__(self, accessors: Accessors) -> None:
        self._accessors = accessors
        self._vertices = 0
        self._indices = 0
        self._morph_vertices = 0

    def convert(
        self, source: Source, material: int, uv_sets: frozenset[int], place: str
    ) -> tuple[Primitive | None, list[str]]:
        """One primitive, and warnings about what of it is left out.

        material: index in the scene. uv_sets: what the material's textures use, of {0, 1}.
        Returns None for a primitive without triangles.
        Raises ContentRefused if it is malformed, or the scene's totals are over a limit.
        """
        if source.mode < TRIANGLES:
            return None, [f"{place} is {_LINES_AND_POINTS[source.mode]}; only triangles are drawn."]
        attributes = _Attributes(self._accessors, source, place)
        self._charge(attributes.count, self._index_count(source, attributes.count, place), place)
        compressed = source.extensions.draco
        if compressed is not None:
            draco.supply(self._accessors, compressed, source.attributes, source.indices, place)
        indices = self._triangles(source, attributes.count, place)
        if not len(indices):
            return None, [f"{place} has no triangle."]
        return self._assemble(attributes, indices, material, uv_sets, place)

    def _index_count(self, source: Source, vertices: int, place: str) -> int:
        """Upper bound of the triangle list's length."""
        listed = (
            vertices
            if source.indices is None
            else self._accessors.count(source.indices, f"{place}.indices")
        )
        return listed if source.mode == TRIANGLES else 3 * listed

    def _charge(self, vertices: int, indices: int, place: str) -> None:
        self._vertices += vertices
        self._indices += indices
        if self._vertices > MAX_VERTICES or self._indices > MAX_INDICES:
            raise refused(
                place,
                f"with it the scene has {self._vertices} vertices and {self._indices} indices; "
                f"the limits are {MAX_VERTICES} and {MAX_INDICES}",
                _SIMPLIFY,
            )

    def _triangles(self, source: Source, vertices: int, place: str) -> Uint32Array:
        if source.indices is None:
            listed = np.arange(vertices, dtype=np.uint32)
        else:
            listed = self._accessors.indices(source.indices, vertices, f"{place}.indices")
        if source.mode == TRIANGLE_STRIP:
            return _from_strip(listed)
        if source.mode == TRIANGLE_FAN:
            return _from_fan(listed)
        if len(listed) % 3:
            raise refused(place, f"{len(listed)} indices are not a whole number of triangles")
        return listed

    def _assemble(
        self,
        attributes: _Attributes,
        indices: Uint32Array,
        material: int,
        uv_sets: frozenset[int],
        place: str,
    ) -> tuple[Primitive, list[str]]:
        warnings = []
        positions = attributes.positions()
        uvs: list[Float32Array | None] = []
        for uv_set in (0, 1):
            uv = attributes.uv(uv_set)
            if uv is None and uv_set in uv_sets:
                warnings.append(f"{place} lacks TEXCOORD_{uv_set}, which its material uses.")
                uv = np.zeros((attributes.count, 2), np.float32)
            uvs.append(uv)
        colors = attributes.colors()
        normals, tangents = attributes.normals(), attributes.tangents()
        influences = attributes.influences(warnings)
        morph = self._morph(attributes, warnings, place)
        flat = normals is None
        if normals is None:  # flat: each triangle gets three vertices of its own
            self._charge(len(indices), 0, place)
            positions = positions[indices]
            uvs = [uv if uv is None else uv[indices] for uv in uvs]
            colors = colors if colors is None else colors[indices]
            normals, tangents = _flat_normals(positions), None
            if influences is not None:
                influences = Influences(influences.joints[indices], influences.weights[indices])
            if morph is not None:
                self._charge_morph(len(morph.positions) * len(indices), place)
                morph = Morph(morph.positions[:, indices], None, None)
            indices = np.arange(len(indices), dtype=np.uint32)
        primitive = Primitive(
            positions=_sealed(positions),
            normals=_sealed(normals),
            tangents=None if tangents is None else _sealed(tangents),
            uv0=None if uvs[0] is None else _sealed(uvs[0]),
            uv1=None if uvs[1] is None else _sealed(uvs[1]),
            colors=None if colors is None else _sealed(colors),
            indices=indices,
            material=material,
            flat=flat,
            influences=influences,
            morph=morph,
        )
        indices.flags.writeable = False
        return primitive, warnings

    def _morph(self, attributes: _Attributes, warnings: list[str], place: str) -> Morph | None:
        targets = attributes.targets()
        if not targets:
            return None
        other = sorted({name for target in targets for name in target} - _MORPHED)
        if other:
            warnings.append(f"{place}: its targets' {', '.join(other[:4])[:80]} are not applied.")
        self._charge_morph(len(targets) * attributes.count, place)
        positions = attributes.displacements("POSITION")
        assert positions is not None
        return Morph(
            positions,
            attributes.displacements("NORMAL"),
            attributes.displacements("TANGENT"),
        )

    def _charge_morph(self, vertices: int, place: str) -> None:
        self._morph_vertices += vertices
        if self._morph_vertices > MAX_MORPH_VERTICES:
            raise refused(
                place,
                f"with it the morph targets have {self._morph_vertices} vertices; "
                f"the limit is {MAX_MORPH_VERTICES}",
                _SIMPLIFY,
            )


class _Attributes:
    """The vertex attributes of one primitive, all of one length."""

    def __init__(self, accessors: Accessors, source: Source, place: str) -> None:
        self._accessors = accessors
        self._source = source
        self._place = place
        if "POSITION" not in source.attributes:
            raise refused(place, "it has no POSITION")
        self.count = accessors.count(source.attributes["POSITION"], f"{place}.POSITION")

    def positions(self) -> Float32Array:
        positions = self._read("POSITION", "VEC3")
        assert positions is not None
        if np.abs(positions).max() > MAX_COORDINATE:
            raise refused(self._place, f"a vertex lies beyond {MAX_COORDINATE:g} metres")
        return positions

    def normals(self) -> Float32Array | None:
        normals = self._read("NORMAL", "VEC3")
        return None if normals is None else _unit(normals)

    def tangents(self) -> Float32Array | None:
        tangents = self._read("TANGENT", "VEC4")
        if tangents is not None:
            tangents[:, :3] = _unit(tangents[:, :3])
            tangents[:, 3] = np.where(tangents[:, 3] < 0.0, -1.0, 1.0)
        return tangents

    def uv(self, uv_set: int) -> Float32Array | None:
        return self._read(f"TEXCOORD_{uv_set}", "VEC2")

    def colors(self) -> Float32Array | None:
        colors = self._read("COLOR_0", "VEC3", "VEC4")
        if colors is None or colors.shape[1] == 4:
            return colors
        return np.concatenate((colors, np.ones((self.count, 1), np.float32)), axis=1)

    def influences(self, warnings: list[str]) -> Influences | None:
        """The joints' influences, weights scaled to sum 1; None where no weight is above 0."""
        joints, weights = [], []
        for number in range(_INFLUENCE_SETS):
            moved = self._read(f"WEIGHTS_{number}", "VEC4")
            name = f"JOINTS_{number}"
            if moved is None or name not in self._source.attributes:
                break
            index, place = self._source.attributes[name], f"{self._place}.{name}"
            if self._accessors.count(index, place) != self.count:
                raise refused(place, "it has another number of vertices than POSITION")
            joints.append(self._accessors.counts(index, "VEC4", place))
            weights.append(moved)
        if f"JOINTS_{_INFLUENCE_SETS}" in self._source.attributes:
            warnings.append(f"{self._place}: at most {4 * _INFLUENCE_SETS} joints move a vertex.")
        if not weights:
            return None
        return _scaled_influences(np.concatenate(joints, axis=1), np.concatenate(weights, axis=1))

    def targets(self) -> list[dict[str, int]]:
        return self._source.targets

    def displacements(self, name: str) -> Float32Array | None:
        """float32 (targets, n, 3), zero where a target has none; None where none has."""
        if name != "POSITION" and not any(name in target for target in self.targets()):
            return None
        moved = np.zeros((len(self.targets()), self.count, 3), np.float32)
        for number, target in enumerate(self.targets()):
            if name in target:
                place = f"{self._place}.targets[{number}].{name}"
                moved[number] = self._vertices(target[name], place, "VEC3")
        if np.abs(moved).max() > MAX_COORDINATE:
            raise refused(self._place, f"a target moves a vertex beyond {MAX_COORDINATE:g} metres")
        return moved

    def _read(self, name: str, *types: str) -> Float32Array | None:
        if name not in self._source.attributes:
            return None
        return self._vertices(self._source.attributes[name], f"{self._place}.{name}", *types)

    def _vertices(self, index: int, place: str, *types: str) -> Float32Array:
        if self._accessors.count(index, place) != self.count:
            raise refused(place, "it has another number of vertices than POSITION")
        return self._accessors.floats(index, types, place)


def _scaled_influences(
    joints: np.ndarray[tuple[int, ...], np.dtype[np.int64]], weights: Float32Array
) -> Influences:
    """joints, weights: (n, k). A vertex without weight belongs to its first joint."""
    wide = np.maximum(weights.astype(np.float64), 0.0)
    total = wide.sum(axis=1, keepdims=True)
    weightless = total[:, 0] <= 0.0
    wide[weightless, 0] = 1.0
    wide /= np.where(total <= 0.0, 1.0, total)
    scaled = wide.astype(np.float32)
    used = np.where(scaled > 0.0, joints, 0).clip(max=65535)  # refused where a skin has fewer
    return Influences(used.astype(np.uint16), scaled)


def _from_strip(listed: Uint32Array) -> Uint32Array:
    """Triangle i is (i, i+1, i+2), every second one with its last two swapped (glTF 3.7.2.1)."""
    first = np.arange(max(len(listed) - 2, 0))
    odd = first % 2
    corners = np.stack((first, first + 1 + odd, first + 2 - odd), axis=1)
    return listed[corners].reshape(-1)


def _from_fan(listed: Uint32Array) -> Uint32Array:
    """Triangle i is (i+1, i+2, 0) (glTF 3.7.2.1)."""
    first = np.arange(max(len(listed) - 2, 0))
    corners = np.stack((first + 1, first + 2, np.zeros_like(first)), axis=1)
    return listed[corners].reshape(-1)


def _flat_normals(positions: Float32Array) -> Float32Array:
    """Per-vertex normals (3t, 3) of t separate triangles."""
    corners = positions.astype(np.float64).reshape(-1, 3, 3)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.repeat(_unit(faces), 3, axis=0)


def _unit(vectors: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Float32Array:
    """Vectors (n, 3) scaled to length 1; zero ones, which point nowhere, become +Z."""
    wide = vectors.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    wide = np.where(largest > 0.0, wide / np.where(largest > 0.0, largest, 1.0), (0.0, 0.0, 1.0))
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(np.float32)


def _sealed(array: Float32Array) -> Float32Array:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
