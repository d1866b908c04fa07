"""Writes a self-contained GLB from arrays: the built-in scenes, and the tests' small files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from render.gltf.container import join_glb
from render.scene import Uint8Array

_COMPONENTS = {"b": 5120, "B": 5121, "h": 5122, "H": 5123, "I": 5125, "f": 5126}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


class GlbWriter:
    """Grows a document list by list; every method returns the index of what it added."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"asset": {"version": "2.0", "generator": "framemesh"}}
        self._binary = bytearray()

    def add(self, name: str, entry: Mapping[str, Any]) -> int:
        """Append `entry` to the top-level list `name`."""
        entries: list[Mapping[str, Any]] = self.document.setdefault(name, [])
        entries.append(entry)
        return len(entries) - 1

    def buffer_view(self, data: bytes) -> int:
        """Store bytes."""
        self._binary += b"\0" * (-len(self._binary) % 4)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._binary += data
        return self.add("bufferViews", view)

    def accessor(self, array: NDArray[Any], normalized: bool = False) -> int:
        """Store an array (n,) or (n, components) of one of glTF's component types."""
        rows = array.reshape(len(array), -1)
        entry: dict[str, Any] = {
            "bufferView": self.buffer_view(np.ascontiguousarray(rows).tobytes()),
            "componentType": _COMPONENTS[array.dtype.char],
            "count": len(rows),
            "type": _TYPES[rows.shape[1]],
            "min": rows.min(axis=0).tolist(),
            "max": rows.max(axis=0).tolist(),
        }
        if normalized:
            entry["normalized"] = True
        return self.add("accessors", entry)

    def texture(self, pixels: Uint8Array, name: str = "") -> int:
        """Store uint8 (h, w, 3 or 4) as PNG, with a texture that repeats and is mipmapped."""
        packed = io.BytesIO()
        Pillow.fromarray(pixels).save(packed, "PNG", compress_level=6)
        view = self.buffer_view(packed.getvalue())
        image = self.add("images", {"bufferView": view, "mimeType": "image/png", "name": name})
        return self.add("textures", {"source": image})

    def mesh(self, primitives: Sequence[Mapping[str, Any]], name: str = "") -> int:
        """Store a mesh of glTF primitives."""
        return self.add("meshes", {"name": name, "primitives": list(primitives)})

    def glb(self) -> bytes:
        """The file; all nodes that are nobody's child are in its one scene."""
        nodes = self.document.get("nodes", [])
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
        document = {"scene": 0, "scenes": [{"nodes": roots}], **self.document}
        document["buffers"] = [{"byteLength": max(len(self._binary), 1)}]
        return join_glb(msgspec.json.encode(document), self._binary or b"\0")
