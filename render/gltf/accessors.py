"""From accessors to arrays: buffers, buffer views, component types, sparse storage (glTF 3.6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from render.gltf.document import Accessor, BufferView, Document, pick
from render.gltf.refusal import refused
from render.scene import Float32Array, Uint32Array

_DTYPES: dict[int, np.dtype[np.generic]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_LARGEST = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}
_UNSIGNED = (5121, 5123, 5125)


class Accessors:
    """Reads arrays out of one document's binary chunk. Every read is checked against its end."""

    def __init__(self, document: Document, binary: memoryview) -> None:
        self._document = document
        self._binary = binary
        self._supplied: dict[int, NDArray[np.generic]] = {}

    def supply(self, index: int, values: NDArray[np.generic], place: str) -> None:
        """Have an accessor read from decoded values, (count, components), in place of a buffer.

        Raises ContentRefused if they do not have the accessor's shape.
        """
        accessor = self._accessor(index, place)
        shape = (accessor.count, _WIDTHS.get(accessor.type))
        if values.shape != shape:
            raise refused(place, f"it decodes to {values.shape}, and accessors[{index}] is {shape}")
        self._supplied[index] = values.astype(_DTYPES[accessor.component_type])

    def count(self, index: int, place: str) -> int:
        """How many elements `accessors[index]` has, without reading them."""
        return self._accessor(index, place).count

    def floats(self, index: int, types: tuple[str, ...], place: str) -> Float32Array:
        """A vertex attribute as float32 (count, components), integers normalised where marked.

        types: the accessor types allowed. place: what refers to the accessor.
        Raises ContentRefused if anything is out of bounds or not finite.
        """
        accessor = self._accessor(index, place)
        here = f"accessors[{index}]"
        if accessor.type not in types:
            raise refused(here, f"{place} needs {' or '.join(types)}, and it is {accessor.type}")
        raw = self._elements(index, accessor, here)
        values = raw.astype(np.float32)  # always a copy: the result outlives the asset's bytes
        if accessor.normalized and accessor.component_type in _LARGEST:
            values /= np.float32(_LARGEST[accessor.component_type])
            np.maximum(values, np.float32(-1.0), out=values)  # glTF 3.11, equations of c -> f
        if not np.isfinite(values).all():
            raise refused(here, "it holds numbers that are not finite")
        return values

    def counts(self, index: int, kind: str, place: str) -> NDArray[np.int64]:
        """Unsigned integers as int64 (count, components)."""
        accessor = self._accessor(index, place)
        here = f"accessors[{index}]"
        if accessor.type != kind or accessor.component_type not in _UNSIGNED:
            raise refused(here, f"{place} needs unsigned {kind}, and it is something else")
        return self._elements(index, accessor, here).astype(np.int64)

    def indices(self, index: int, vertices: int, place: str) -> Uint32Array:
        """Vertex indices as uint32 (count,). Raises ContentRefused if one is >= `vertices`."""
        values = self.counts(index, "SCALAR", place)[:, 0]
        largest = int(values.max())
        if largest >= vertices:
            raise refused(
                f"accessors[{index}]",
                f"it holds the index {largest}, and there are {vertices} vertices",
            )
        return values.astype(np.uint32)

    def view(self, index: int, place: str) -> memoryview:
        """The bytes of `bufferViews[index]`."""
        view, data = self._view(index, place)
        if view.byte_stride is not None:
            raise refused(place, f"bufferViews[{index}] has a stride, so it cannot be a picture")
        return data

    def _accessor(self, index: int, place: str) -> Accessor:
        return pick(self._document.accessors, index, "accessors", place)

    def _view(self, index: int, place: str) -> tuple[BufferView, memoryview]:
        view = pick(self._document.buffer_views, index, "bufferViews", place)
        here = f"bufferViews[{index}]"
        buffer = pick(self._document.buffers, view.buffer, "buffers", here)
        if buffer.uri is not None or view.buffer != 0:
            raise refused(
                f"buffers[{view.buffer}]",
                "its bytes are outside the file",
                "Pack the scene first (render.package.pack makes one self-contained file).",
            )
        if buffer.byte_length > len(self._binary):
            raise refused(
                "buffers[0]",
                f"it announces {buffer.byte_length} bytes and {len(self._binary)} are there",
            )
        end = view.byte_offset + view.byte_length
        if end > buffer.byte_length:
            raise refused(
                here, f"it ends at byte {end}, and buffers[0] has {buffer.byte_length} bytes"
            )
        return view, self._binary[view.byte_offset : end]

    def _elements(self, index: int, accessor: Accessor, here: str) -> NDArray[np.generic]:
        """(count, components) of the accessor's own component type, possibly a view."""
        if accessor.type not in _WIDTHS:
            raise refused(here, f"{accessor.type} is not a type for vertices or indices")
        dtype = _DTYPES[accessor.component_type]
        width = _WIDTHS[accessor.type]
        if index in self._supplied:
            return self._supplied[index]
        if accessor.buffer_view is None:
            elements: NDArray[np.generic] = np.zeros((accessor.count, width), dtype)
        else:
            elements = self._strided(
                accessor.buffer_view, accessor.byte_offset, (accessor.count, width), dtype, here
            )
        if accessor.sparse is not None:
            elements = self._deviated(elements, accessor, here)
        return elements

    def _strided(
        self,
        buffer_view: int,
        offset: int,
        shape: tuple[int, int],
        dtype: np.dtype[np.generic],
        here: str,
    ) -> NDArray[np.generic]:
        """A view of `dtype` into a buffer view, `offset` bytes from its start."""
        count, width = shape
        view, data = self._view(buffer_view, here)
        size = width * dtype.itemsize
        stride = view.byte_stride or size
        if stride < size:
            raise refused(here, f"its elements of {size} bytes overlap at a stride of {stride}")
        end = offset + stride * (count - 1) + size
        if end > len(data):
            raise refused(
                here,
                f"{count} elements end at byte {end} of bufferViews[{buffer_view}], "
                f"which has {len(data)} bytes",
            )
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))

    def _deviated(
        self, elements: NDArray[np.generic], accessor: Accessor, here: str
    ) -> NDArray[np.generic]:
        """A copy of `elements` with the sparse values put in place (glTF 3.6.2.3)."""
        sparse = accessor.sparse
        assert sparse is not None
        place = f"{here}.sparse"
        where = self._strided(
            sparse.indices.buffer_view,
            sparse.indices.byte_offset,
            (sparse.count, 1),
            _DTYPES[sparse.indices.component_type],
            place,
        )[:, 0]
        values = self._strided(
            sparse.values.buffer_view,
            sparse.values.byte_offset,
            (sparse.count, elements.shape[1]),
            elements.dtype,
            place,
        )
        if int(where.max()) >= accessor.count:
            raise refused(place, f"it replaces element {where.max()} of {accessor.count}")
        replaced = elements.copy()
        replaced[where] = values
        return replaced
