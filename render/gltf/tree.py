"""The node tree: which meshes and lights stand where in the world (glTF 3.5)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from render.gltf.document import Document, Node, pick
from render.gltf.limits import MAX_COORDINATE
from render.gltf.refusal import refused

Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A node in its scene at rest. parent: its parent's index, -1 for a root."""

    index: int
    node: Node
    parent: int
    world_from_node: Matrix  # (4, 4)


def placed_nodes(document: Document) -> Iterator[Placed]:
    """Every node of the default scene, parents first.

    Without a `scene` the first one is taken, without any scenes all nodes that no node has as a
    child. Raises ContentRefused if the nodes are not strict trees or a matrix is not affine.
    """
    seen: set[int] = set()
    waiting = [(root, place, -1, np.eye(4)) for root, place in reversed(_roots(document))]
    while waiting:
        index, place, parent, world_from_parent = waiting.pop()
        node = pick(document.nodes, index, "nodes", place)
        if index in seen:
            raise refused(
                f"nodes[{index}]", "it is reached twice: a cycle, or a node with two parents"
            )
        seen.add(index)
        with np.errstate(over="ignore", invalid="ignore"):
            parent_from_here = parent_from_node(node, f"nodes[{index}]")
            # Not `@`: what BLAS does depends on the CPU, and every node must place alike.
            world_from_node = (world_from_parent[:, :, None] * parent_from_here).sum(axis=1)
        if not (np.abs(world_from_node) <= MAX_COORDINATE).all():  # also where it is not a number
            raise refused(
                f"nodes[{index}]", f"its place in the world is beyond {MAX_COORDINATE:g} metres"
            )
        yield Placed(index, node, parent, world_from_node)
        place = f"nodes[{index}].children"
        waiting += [(child, place, index, world_from_node) for child in reversed(node.children)]


def is_flattened(world_from_node: Matrix) -> bool:
    """Whether a zero scale leaves nothing to see: the matrix has no usable inverse."""
    linear = world_from_node[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    if lengths.min() < 1e-9:
        return True
    return bool(abs(np.linalg.det(linear / lengths)) < 1e-6)


def _roots(document: Document) -> list[tuple[int, str]]:
    if document.scenes:
        chosen = document.scene or 0
        scene = pick(document.scenes, chosen, "scenes", "scene")
        return [(root, f"scenes[{chosen}].nodes") for root in scene.nodes]
    children = {child for node in document.nodes for child in node.children}
    return [(i, "nodes") for i in range(len(document.nodes)) if i not in children]


def parent_from_node(node: Node, place: str) -> Matrix:
    """A node's own matrix (4, 4), however it is given."""
    if node.matrix is not None:
        matrix = np.array(node.matrix, np.float64).reshape(4, 4).T  # stored column-major
        if not np.allclose(matrix[3], (0.0, 0.0, 0.0, 1.0), atol=1e-6):
            raise refused(f"{place}.matrix", "its last row is not 0 0 0 1")
        matrix[3] = (0.0, 0.0, 0.0, 1.0)
        return matrix
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(node.rotation, place) * np.array(node.scale)
    matrix[:3, 3] = node.translation
    return matrix


def unit_rotation(
    quaternion: tuple[float, float, float, float], place: str
) -> tuple[float, float, float, float]:
    """A quaternion x, y, z, w scaled to unit length. Raises ContentRefused if it is near zero."""
    norm = math.sqrt(sum(part * part for part in quaternion))
    if not 0.5 < norm < 2.0:
        raise refused(f"{place}.rotation", f"a quaternion of length {norm:g} is no rotation")
    x, y, z, w = (part / norm for part in quaternion)
    return x, y, z, w


def _rotation(quaternion: tuple[float, float, float, float], place: str) -> Matrix:
    """The rotation (3, 3) of a quaternion x, y, z, w, scaled to unit length first."""
    x, y, z, w = unit_rotation(quaternion, place)
    return np.array(
        (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
    )
