"""Scenes as assets: on the gateway a file becomes one string of bytes, on a device it is read back.

A packed scene is a self-contained GLB: one binary chunk, no references to anything outside it.
It is named by its digest, so equal content is sent and loaded once.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from mesh.core.errors import ContentRefused
from mesh.core.workload import Asset, Buffer
from render.gltf import load_gltf
from render.gltf.container import MAGIC, check_size, join_glb, split_glb
from render.gltf.document import Document, decode_document
from render.gltf.images import sniff
from render.gltf.limits import MAX_ASSET_BYTES
from render.gltf.refusal import refused
from render.procedural import SCENES, procedural_glb
from render.scene import Scene

PROCEDURAL = "procedural:"
DEFAULT_SCENE = PROCEDURAL + "courtyard"

# A .gltf may embed its buffers as base64, which is a third longer than the bytes.
_MAX_FILE_BYTES = MAX_ASSET_BYTES * 4 // 3 + 1024 * 1024
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_DATA_URI = re.compile(r"^data:[A-Za-z0-9/+.;=_-]*;base64,")
_SUPPLY = "Put the file beside the scene, or export the scene as one .glb."


def load_scene(data: Buffer) -> Scene:
    """Read a packed scene (device side). Raises ContentRefused; see `render.gltf`."""
    return load_gltf(data)


def pack(scene: str | os.PathLike[str]) -> Asset:
    """Make one asset of a .gltf or .glb file with all it refers to, or of "procedural:NAME".

    References are followed inside the scene's own folder only. Blocks on files: call in a thread.
    Raises ContentRefused if a file is missing, outside that folder, malformed or over a limit.
    """
    if isinstance(scene, str) and scene.startswith(PROCEDURAL):
        return _pack_procedural(scene.removeprefix(PROCEDURAL))
    path = Path(scene).resolve()  # the file may be a link; what it refers to may not
    data = _read(path, path.parent, "its file")
    if data[:4] == MAGIC:
        json_chunk, binary = split_glb(data)
        if _is_self_contained(decode_document(json_chunk)):
            return Asset(path.stem, data)
        document = _decode_json(bytes(json_chunk))
        return Asset(path.stem, _Packer(path.parent, document, binary).pack())
    return Asset(path.stem, _Packer(path.parent, _decode_json(data), memoryview(b"")).pack())


def _pack_procedural(name: str) -> Asset:
    if name not in SCENES:
        raise ContentRefused(
            what=f"there is no built-in scene '{name}'",
            why=f"the built-in ones are: {', '.join(sorted(SCENES))}",
            fix=f"Ask for {DEFAULT_SCENE}, or for the path of a .gltf or .glb file.",
        )
    return Asset(name, procedural_glb(name))


def _is_self_contained(document: Document) -> bool:
    return (
        all(buffer.uri is None for buffer in document.buffers)
        and all(image.uri is None for image in document.images)
        and len(document.buffers) <= 1
    )


def _decode_json(text: bytes) -> dict[str, Any]:
    """The document as plain objects: packing keeps the fields it does not know."""
    try:
        document: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise refused(
            "the JSON text", str(problem), "Give a .gltf or .glb file (glTF 2.0)."
        ) from None
    return document


class _Packer:
    """Gathers one document's buffers and images into one binary chunk."""

    def __init__(self, folder: Path, document: dict[str, Any], binary: memoryview) -> None:
        self._folder = folder
        self._document = document
        self._glb_binary = binary
        self._binary = bytearray()
        self._view_of: dict[str, int] = {}

    def pack(self) -> bytes:
        self._check()
        bases = [self._take_buffer(i, b) for i, b in enumerate(self._list("buffers"))]
        for view in self._list("bufferViews"):
            view["byteOffset"] = view.get("byteOffset", 0) + bases[view["buffer"]]
            view["buffer"] = 0
        sources = {texture.get("source") for texture in self._list("textures")}
        for index, image in enumerate(self._list("images")):
            self._take_image(index, image, used=index in sources)
        self._document["buffers"] = [{"byteLength": max(len(self._binary), 1)}]
        text = msgspec.json.encode(self._document)
        decode_document(text)  # the device's own reading: what it would refuse fails here
        return join_glb(text, self._binary or b"\0")

    def _check(self) -> None:
        """Refuse what the typed decoding refuses, so that the rest may rely on the types."""
        document = decode_document(msgspec.json.encode(self._without_data_uris()))
        for index, view in enumerate(document.buffer_views):
            if view.buffer >= len(document.buffers):
                raise refused(f"bufferViews[{index}]", f"there is no buffers[{view.buffer}]")

    def _without_data_uris(self) -> dict[str, Any]:
        """The document with embedded data left out; it has its own limit."""
        slim = dict(self._document)
        for name in ("buffers", "images"):
            if isinstance(slim.get(name), list):
                slim[name] = [_without_data_uri(entry) for entry in slim[name]]
        return slim

    def _list(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._document.get(name, [])
        return entries

    def _take_buffer(self, index: int, buffer: dict[str, Any]) -> int:
        """Append a buffer; returns where it begins."""
        place = f"buffers[{index}]"
        if buffer.get("uri") is not None:
            data: Buffer = self._fetch(buffer["uri"], place)
        elif index == 0:
            data = self._glb_binary
        else:
            data = b""
        length = buffer["byteLength"]
        if length > len(data):
            raise refused(place, f"it announces {length} bytes and {len(data)} are there", _SUPPLY)
        return self._append(memoryview(data)[:length])

    def _take_image(self, index: int, image: dict[str, Any], used: bool) -> None:
        """Move an image that lies outside into the binary chunk; drop one that nothing samples."""
        uri = image.pop("uri", None)
        if uri is None or not used:
            return
        place = f"images[{index}]"
        if uri not in self._view_of:
            data = self._fetch(uri, place)
            if sniff(data) is None:
                raise refused(
                    place, f"{_short(uri)} is neither PNG nor JPEG", "Convert it to PNG or JPEG."
                )
            views = self._document.setdefault("bufferViews", [])
            self._view_of[uri] = len(views)
            views.append({"buffer": 0, "byteOffset": self._append(data), "byteLength": len(data)})
        image["bufferView"] = self._view_of[uri]
        data_view = self._document["bufferViews"][image["bufferView"]]
        start = data_view["byteOffset"]
        names = sniff(self._binary[start : start + 8])
        assert names is not None
        image["mimeType"] = names[1]

    def _append(self, data: Buffer) -> int:
        self._binary += b"\0" * (-len(self._binary) % 16)
        check_size(len(self._binary) + len(data))
        base = len(self._binary)
        self._binary += data
        return base

    def _fetch(self, uri: str, place: str) -> bytes:
        """The bytes a URI stands for: embedded, or in a file under the scene's folder."""
        embedded = _DATA_URI.match(uri)
        if embedded:
            try:
                return base64.b64decode(uri[embedded.end() :], validate=True)
            except (binascii.Error, ValueError) as problem:
                raise refused(place, f"its embedded data is not base64: {problem}") from None
        if _SCHEME.match(uri):
            raise refused(place, f"{_short(uri)} is an address, not a file of the scene", _SUPPLY)
        relative = Path(unquote(uri))
        if relative.is_absolute() or ".." in relative.parts or "\\" in uri or "\0" in str(relative):
            raise refused(place, f"{_short(uri)} leaves the scene's folder", _SUPPLY)
        return _read(self._folder / relative, self._folder, place)


def _read(path: Path, folder: Path, place: str) -> bytes:
    """A regular file that lies, links resolved, under `folder`."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise refused(place, f"{path.name} cannot be opened ({problem})", _SUPPLY) from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise refused(place, f"{path.name!r} is not a regular file", _SUPPLY)
        # Asked of the open descriptor, so that nobody can swap the path in between.
        opened = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not opened.is_relative_to(folder.resolve()):
            raise refused(place, f"{path.name} is a link out of the scene's folder", _SUPPLY)
        if facts.st_size > _MAX_FILE_BYTES:
            raise refused(
                place,
                f"{path.name} has {facts.st_size} bytes; the limit is {_MAX_FILE_BYTES}",
                "Use fewer or smaller textures and meshes.",
            )
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_MAX_FILE_BYTES)
    finally:
        os.close(descriptor)


def _without_data_uri(entry: object) -> object:
    if isinstance(entry, dict) and isinstance(entry.get("uri"), str):
        return {**entry, "uri": entry["uri"][:64]}
    return entry


def _short(uri: str) -> str:
    return repr(uri if len(uri) <= 80 else uri[:77] + "...")
