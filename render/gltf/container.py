"""The GLB container: a 12-byte header, a JSON chunk, an optional binary chunk (glTF 4.4)."""

from __future__ import annotations

import struct

from mesh.core.workload import Buffer
from render.gltf.limits import MAX_ASSET_BYTES, MAX_JSON_BYTES
from render.gltf.refusal import refused

MAGIC = b"glTF"
_HEADER = struct.Struct("<4sII")  # magic, version, length of everything
_CHUNK = struct.Struct("<I4s")  # length, type
_SHRINK = "Use fewer or smaller textures and meshes, or split the scene."


def split_glb(data: Buffer) -> tuple[memoryview, memoryview]:
    """The JSON chunk and the binary chunk (empty when there is none), as views into `data`.

    Raises ContentRefused if the container is not well formed or over a limit.
    """
    view = memoryview(data).cast("B").toreadonly()
    check_size(len(view))
    if len(view) < _HEADER.size:
        raise refused("the GLB header", f"{len(view)} bytes are fewer than a header's 12")
    magic, version, length = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise refused("the GLB header", f"it starts with {magic!r} instead of b'glTF'")
    if version != 2:
        raise refused(
            "the GLB header",
            f"it is version {version}, and only glTF 2.0 is read",
            "Convert it to glTF 2.0.",
        )
    if length != len(view):
        raise refused(
            "the GLB header", f"it announces {length} bytes and {len(view)} are there (cut off?)"
        )
    json_chunk, rest = _chunk(view[_HEADER.size :], b"JSON")
    if len(json_chunk) > MAX_JSON_BYTES:
        raise refused(
            "the JSON chunk",
            f"{len(json_chunk)} bytes are over the limit {MAX_JSON_BYTES}",
            _SHRINK,
        )
    binary = rest
    if rest:  # later chunks, of types a newer version may bring, are to be ignored
        binary, _ = _chunk(rest, b"BIN\0")
    return json_chunk, binary


def join_glb(document: bytes, binary: bytes | bytearray) -> bytes:
    """A GLB of a JSON text and a binary buffer. Raises ContentRefused if it would be too large."""
    json_chunk = document + b" " * (-len(document) % 4)
    bin_chunk = bytes(binary) + b"\0" * (-len(binary) % 4)
    length = _HEADER.size + 2 * _CHUNK.size + len(json_chunk) + len(bin_chunk)
    check_size(length)
    return b"".join(
        (
            _HEADER.pack(MAGIC, 2, length),
            _CHUNK.pack(len(json_chunk), b"JSON"),
            json_chunk,
            _CHUNK.pack(len(bin_chunk), b"BIN\0"),
            bin_chunk,
        )
    )


def check_size(nbytes: int) -> None:
    """Raises ContentRefused if a packed scene may not be that large."""
    if nbytes > MAX_ASSET_BYTES:
        raise refused(
            "its size", f"{nbytes} bytes packed are over the limit {MAX_ASSET_BYTES}", _SHRINK
        )


def _chunk(view: memoryview, kind: bytes) -> tuple[memoryview, memoryview]:
    """The first chunk's body, which must be of `kind`, and what follows it."""
    name = kind.rstrip(b"\0").decode()
    if len(view) < _CHUNK.size:
        raise refused(f"the {name} chunk", f"{len(view)} bytes are fewer than a chunk header's 8")
    length, found = _CHUNK.unpack_from(view)
    if found != kind:
        raise refused(f"the {name} chunk", f"a chunk of type {found!r} stands in its place")
    body = view[_CHUNK.size :]
    if length > len(body):
        raise refused(f"the {name} chunk", f"it announces {length} bytes and {len(body)} are left")
    return body[:length], body[length:]
