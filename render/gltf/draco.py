"""KHR_draco_mesh_compression, decoded by DracoPy (the extra `scenes`).

What a stream says it holds is compared with the document, which the loader has charged against its
limits, before the decoder sees it; what came out is compared again. How many attributes a stream
has, and how wide, it says behind what only a decoder can read: so the decoder's memory is bounded.
Bitstream: https://google.github.io/draco/spec/, version 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from render.gltf.accessors import Accessors
from render.gltf.document import DracoExtension
from render.gltf.heap import bounded_heap
from render.gltf.refusal import refused

EXTENSION = "KHR_draco_mesh_compression"
INSTALL = "Install the decoder, `pip install 'framemesh[scenes]'`, or export without compression."


class DracoMesh(Protocol):
    """What DracoPy decodes to, as far as it is used here."""

    faces: NDArray[np.generic]  # (triangles, 3)
    attributes: list[dict[str, Any]]  # "unique_id", "data" (n,) or (n, components), ...


_MAGIC = b"DRACO\x02\x02"
_TRIANGLES = 1
_SEQUENTIAL, _EDGEBREAKER = 0, 1
_HEADER_BYTES = 11
_VERTEX_BYTES = 64  # of each attribute: what is decoded, and what it is decoded from
_TRIANGLE_BYTES = 128  # corner tables
_SMALLER = "Export it again; a stream that holds what its primitive names takes a third of that."


def supply(
    accessors: Accessors,
    extension: DracoExtension,
    attributes: Mapping[str, int],
    indices: int | None,
    place: str,
) -> None:
    """Decode a primitive and give its accessors what they lack.

    attributes, indices: the primitive's, by accessor. Raises ContentRefused if the decoder is not
    installed or the stream is not what the document says.
    """
    here = f"{place}.extensions.{EXTENSION}"
    if indices is None:
        raise refused(here, "the primitive has no indices")
    vertices = accessors.count(attributes["POSITION"], place)
    corners = accessors.count(indices, place)
    stream = accessors.view(extension.buffer_view, here)
    _check_header(bytes(stream[:64]), vertices, corners, here)
    width = 1 + len(extension.attributes)
    budget = vertices * _VERTEX_BYTES * width + corners // 3 * _TRIANGLE_BYTES
    mesh = _decode(bytes(stream), budget, here)
    faces = np.asarray(mesh.faces)
    if faces.shape != (corners // 3, 3) or corners % 3:
        raise refused(here, f"it holds {faces.shape[0]} triangles for {corners} indices")
    accessors.supply(indices, faces.reshape(-1, 1), here)
    decoded = {entry["unique_id"]: np.asarray(entry["data"]) for entry in mesh.attributes}
    for name, identity in extension.attributes.items():
        if name not in attributes or identity not in decoded:
            raise refused(here, f"{name[:80]} with id {identity} is not there")
        values: NDArray[np.generic] = decoded[identity].reshape(len(decoded[identity]), -1)
        accessors.supply(attributes[name], values, f"{here}.attributes.{name}")


def _decode(stream: bytes, budget: int, here: str) -> DracoMesh:
    """budget: bytes that the decoder may take."""
    try:
        decoder = import_module("DracoPy")
    except ImportError:
        raise refused(here, "DracoPy, which decodes it, is not installed", INSTALL) from None
    try:
        with bounded_heap(budget):
            mesh: DracoMesh = decoder.decode(stream)
    except MemoryError:
        raise refused(here, f"it decodes to more than {budget} bytes", _SMALLER) from None
    except Exception as damage:  # what it raises is not documented
        raise refused(here, f"it is damaged: {damage}") from damage
    return mesh


def _check_header(head: bytes, vertices: int, corners: int, here: str) -> None:
    """Raises ContentRefused unless the stream announces what the accessors announce."""
    if head[:7] != _MAGIC or len(head) < _HEADER_BYTES + 2:
        raise refused(here, "it is no Draco stream of version 2.2")
    kind, method, flags = head[7], head[8], int.from_bytes(head[9:11], "little")
    if kind != _TRIANGLES or method not in (_SEQUENTIAL, _EDGEBREAKER) or flags:
        raise refused(here, "it is not a plain triangle mesh (a point cloud, or with metadata)")
    if method == _SEQUENTIAL:
        faces, at = _varint(head, _HEADER_BYTES, here)
        points, _ = _varint(head, at, here)
    else:
        points, at = _varint(head, _HEADER_BYTES + 1, here)  # after the traversal's type
        faces, _ = _varint(head, at, here)
    # An edge-broken mesh gains vertices where attributes have seams.
    if 3 * faces != corners or points > vertices:
        raise refused(
            here,
            f"it announces {faces} triangles of {points} vertices, "
            f"and the accessors {corners} indices of {vertices}",
        )


def _varint(data: bytes, at: int, here: str) -> tuple[int, int]:
    """An unsigned LEB128 number and where it ends."""
    value = 0
    for index, byte in enumerate(data[at : at + 5]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise refused(here, "a number in its header does not end")
