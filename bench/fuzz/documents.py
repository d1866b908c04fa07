"""Mutations of glTF: fields of the document, bytes of the buffer, the container around both."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from bench.fuzz.bytework import spoil
from bench.fuzz.streams import spoil_stream

Json: TypeAlias = Any
Path: TypeAlias = tuple[Any, ...]

_NUMBERS = (
    -1, 0, 1, 2, 3, 4, 6, 7, 16, 252, 255, 256, 5120, 5121, 5123, 5125, 5126, 65_535, 65_536,
    10**6, 3_999_999, 23_999_999, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 10**30,
    0.5, 1e-40, 1e-9, 1e9, 1e20, 1e38, 1e308, -1e308, -0.0,
)  # fmt: skip
_OTHERS = (
    None, True, "", "SCALAR", "VEC2", "VEC3", "VEC4", "MAT4", "MASK", "BLEND", "CUBICSPLINE",
    "STEP", "weights", "rotation", "translation", "../../secret", "data:;base64,AAAA",
    "data:;base64,", "\ud83d\ude00" * 9, "x" * 2000, [], {}, [[]], [0] * 16, [0, 0, 0, 0],
    {"extensions": {}}, {"index": 0}, {"count": 1, "indices": {}, "values": {}},
)  # fmt: skip
_MOST_TEXT = 1 << 20


def spoil_glb(rng: random.Random, data: bytes, donors: list[Json]) -> bytes:
    """A GLB with its document, its buffer or its container changed.

    donors: documents whose parts may be planted in place of others of the same name.
    """
    parts = _split(data)
    if parts is None or rng.random() < 0.05:
        return spoil(rng, data)
    document, binary = parts
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.65:
            document = spoil_document(rng, document, donors)
        else:
            binary = _spoil_buffer(rng, document, binary)
    glb = _join(document, binary)
    return _spoil_container(rng, glb) if rng.random() < 0.05 else glb


def spoil_gltf(rng: random.Random, data: bytes, donors: list[Json]) -> bytes:
    """The same of a document alone."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return spoil(rng, data)
    if rng.random() < 0.1:
        return spoil(rng, data)
    return json.dumps(spoil_document(rng, document, donors)).encode()


def spoil_document(rng: random.Random, document: Json, donors: list[Json]) -> Json:
    """One to three fields changed, gone, repeated, or taken from elsewhere."""
    document = copy.deepcopy(document)
    if rng.random() < 0.08:
        _swell(rng, document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = _paths(document)
        if not found:
            break
        path = rng.choice(found)
        holder = _at(document, path[:-1])
        rng.choice(_EDITS)(rng, holder, path[-1], donors)
    return document


def _swell(rng: random.Random, document: Json) -> None:
    """Some of the accessors hold zeros, of which there may be any number: a bomb of no bytes."""
    accessors = document.get("accessors") if isinstance(document, dict) else None
    if not isinstance(accessors, list) or not accessors:
        return
    count = rng.choice((10_000, 100_000, 249_999, 1_400_000, 3_999_999, 23_999_997))
    share = rng.choice((0, 0.5, 1))
    for accessor in [a for a in accessors if rng.random() < share] or [rng.choice(accessors)]:
        if isinstance(accessor, dict):
            accessor.pop("bufferView", None)
            accessor["count"] = count


def _change(rng: random.Random, holder: Json, key: Any, donors: list[Json]) -> None:
    old = holder[key]
    if isinstance(old, (int, float)) and not isinstance(old, bool) and rng.random() < 0.4:
        holder[key] = rng.choice((old + 1, old - 1, old * 2, -old, old * 1000))
    elif rng.random() < 0.7:
        holder[key] = rng.choice(_NUMBERS)
    else:
        holder[key] = copy.deepcopy(rng.choice(_OTHERS))


def _remove(rng: random.Random, holder: Json, key: Any, donors: list[Json]) -> None:
    del holder[key]


def _repeat(rng: random.Random, holder: Json, key: Any, donors: list[Json]) -> None:
    """An entry of a list a few times, or often; a field's value in another field."""
    if isinstance(holder, list):
        times = rng.choice((1, 1, 2, 100, 3000))
        if len(json.dumps(holder[key])) * times < _MOST_TEXT // 4:
            holder[key:key] = [copy.deepcopy(holder[key]) for _ in range(times)]
    else:
        holder[rng.choice(list(holder))] = copy.deepcopy(holder[key])


def _plant(rng: random.Random, holder: Json, key: Any, donors: list[Json]) -> None:
    """What another document has under the same name; or one more of its fields."""
    donor = rng.choice(donors)
    paths = [path for path in _paths(donor) if path[-1] == key or isinstance(path[-1], str)]
    same = [path for path in paths if path[-1] == key]
    if same and rng.random() < 0.7:
        holder[key] = copy.deepcopy(_at(donor, rng.choice(same)))
    elif isinstance(holder, dict):
        path = rng.choice(paths)
        holder[path[-1]] = copy.deepcopy(_at(donor, path))


_EDITS: tuple[Callable[[random.Random, Json, Any, list[Json]], None], ...] = (
    _change, _change, _change, _remove, _repeat, _plant, _plant,
)  # fmt: skip


def _spoil_buffer(rng: random.Random, document: Json, binary: bytes) -> bytes:
    """Bytes of one view; a picture or a stream by its structure, as far as there is room."""
    views = document.get("bufferViews") if isinstance(document, dict) else None
    bounds = [span for view in views if (span := _span(view))] if isinstance(views, list) else []
    if not bounds or rng.random() < 0.1:
        return spoil(rng, binary)
    start, end = rng.choice(bounds)
    changed = spoil_stream(rng, binary[start:end])
    if len(changed) <= end - start:
        return binary[:start] + changed.ljust(end - start, b"\0") + binary[end:]
    # No room: it goes to the end, and its view with it.
    for view in views:
        if _span(view) == (start, end):
            view["byteOffset"], view["byteLength"] = len(binary), len(changed)
    document["buffers"] = [{"byteLength": len(binary) + len(changed)}]
    return binary + changed


def _span(view: Json) -> tuple[int, int] | None:
    if not isinstance(view, dict):
        return None
    start, length = view.get("byteOffset", 0), view.get("byteLength")
    if type(start) is int and type(length) is int and 0 <= start < 2**28 and 0 < length < 2**28:
        return start, start + length
    return None


def _spoil_container(rng: random.Random, glb: bytes) -> bytes:
    """A header or the first chunk's lies, or the file cut off."""
    if rng.random() < 0.3:
        return glb[: rng.randrange(len(glb))]
    lying = bytearray(glb)
    at = rng.choice((0, 4, 8, 12, 16))
    struct.pack_into("<I", lying, at, rng.choice((0, 1, 2, 3, 11, len(glb), 2**31, 2**32 - 1)))
    return bytes(lying)


def _split(data: bytes) -> tuple[Json, bytes] | None:
    if len(data) < 20 or data[:4] != b"glTF":
        return None
    [length] = struct.unpack_from("<I", data, 12)
    try:
        document = json.loads(data[20 : 20 + length])
    except (ValueError, RecursionError):
        return None
    return document, data[28 + length :]


def _join(document: Json, binary: bytes) -> bytes:
    text = json.dumps(document).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    size = 28 + len(text) + len(binary)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, size),
            struct.pack("<I4s", len(text), b"JSON"), text,
            struct.pack("<I4s", len(binary), b"BIN\0"), binary,
        )
    )  # fmt: skip


def _paths(node: Json, path: Path = ()) -> list[Path]:
    """Every place in a document; of long lists, the first entries."""
    found = [path] if path else []
    if isinstance(node, dict):
        for key, value in node.items():
            found += _paths(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node[:40]):
            found += _paths(value, (*path, number))
    return found


def _at(node: Json, path: Path) -> Json:
    for key in path:
        node = node[key]
    return node
