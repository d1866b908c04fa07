"""What mutations start from: small files written here, and real ones where they are to be had."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import OpenEXR
from PIL import Image as Pillow

from bench.quality_scenes import alpha_modes, texture_transform
from render.gltf.container import split_glb
from render.gltf.writer import GlbWriter

DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")
_MOST_BYTES = 256 * 1024  # of a real file: a mutation of a larger one mostly hits its pixels
_SIDE = 6  # vertices of a sheet's edge


def scenes() -> list[bytes]:
    """GLBs that together use all that is read."""
    made = [_moving(), _compressed(0), _compressed(7), alpha_modes(), texture_transform()]
    return made + _real("gltf/*.glb")


def gltfs() -> list[bytes]:
    """Documents whose buffer, pictures and strange neighbours lie beside them (`write_folder`)."""
    document: dict[str, Any] = json.loads(bytes(split_glb(alpha_modes())[0]))
    length = document["buffers"][0]["byteLength"]
    document["buffers"] = [{"byteLength": length, "uri": "scene.bin"}]
    document["images"] = [{"uri": "picture.png"}, {"uri": "picture%2Ejpg"}]
    document["textures"] = [{"source": 0}, {"source": 1}]
    return [json.dumps(document).encode()]


def write_folder(folder: Path) -> None:
    """What `gltfs` refer to, and what they must not reach."""
    binary = split_glb(alpha_modes())[1]
    (folder / "scene.bin").write_bytes(binary)
    (folder / "picture.png").write_bytes(picture("PNG", "RGB"))
    (folder / "picture.jpg").write_bytes(picture("JPEG", "RGB"))
    os.mkfifo(folder / "pipe")
    (folder / "away").symlink_to(folder.parent)


def skies() -> list[bytes]:
    """Radiance with and without run lengths, OpenEXR in every compression that is for RGB."""
    made = [_radiance(24, 6, runs=True), _radiance(5, 4, runs=False)]
    for name in ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB"):
        made += [_exr(getattr(OpenEXR, f"{name}_COMPRESSION"), kind) for kind in ("<f2", "<f4")]
    return made + _real("hdri/*.exr")


def picture(kind: str, mode: str, side: int = 8) -> bytes:
    """Noise in one of Pillow's formats and modes."""
    noise = np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)
    made = Pillow.fromarray(noise).convert("L" if mode == "I;16" else mode)
    packed = io.BytesIO()
    if mode == "I;16":
        made = Pillow.fromarray(np.asarray(made).astype(np.uint16) * 257)
    made.save(packed, kind, **({"progressive": True} if mode == "CMYK" else {}))
    return packed.getvalue()


def _real(pattern: str) -> list[bytes]:
    found = sorted(DATA.glob(pattern))
    return [path.read_bytes() for path in found if path.stat().st_size <= _MOST_BYTES]


def _sheet() -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) and triangles (m, 3) of a bent sheet."""
    x, y = np.meshgrid(np.arange(_SIDE), np.arange(_SIDE))
    points = np.stack([x, y, (x * y) % 3], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(_SIDE - 1)[:, None] * _SIDE + np.arange(_SIDE - 1)).reshape(-1, 1)
    faces = corner + np.array([0, 1, _SIDE + 1, 0, _SIDE + 1, _SIDE])
    return points, faces.reshape(-1, 3).astype(np.uint32)


def _compressed(level: int) -> bytes:
    """The sheet as a Draco stream: sequential (0) or edge-broken (7)."""
    points, faces = _sheet()
    stream = DracoPy.encode(points, faces, quantization_bits=10, compression_level=level)
    glb = GlbWriter()
    position = {"componentType": 5126, "count": len(points), "type": "VEC3"}
    extension = {"bufferView": glb.buffer_view(stream), "attributes": {"POSITION": 0}}
    primitive = {
        "attributes": {"POSITION": glb.add("accessors", position)},
        "indices": glb.add(
            "accessors", {"componentType": 5125, "count": faces.size, "type": "SCALAR"}
        ),
        "extensions": {"KHR_draco_mesh_compression": extension},
    }
    glb.mesh([primitive])
    glb.add("nodes", {"mesh": 0})
    glb.document["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    return glb.glb()


def _moving() -> bytes:
    """Skin, morph targets, every interpolation, sparse values, pictures, a lamp, cameras."""
    glb = GlbWriter()
    primitives = [_bent(glb), {**_bent(glb), "mode": 5}]
    glb.mesh(primitives)
    glb.document["meshes"][0]["weights"] = [0.25, 0.5]
    nodes: list[dict[str, Any]] = [
        {"mesh": 0, "skin": 0, "children": [1]},
        {"translation": [0, 1, 0], "children": [2]},
        {"rotation": [0, 0, 0.6, 0.8], "scale": [1, 2, 1]},
        {"camera": 0, "extensions": {"KHR_lights_punctual": {"light": 0}}},
        {"matrix": np.eye(4).reshape(-1).tolist(), "camera": 1},
    ]
    for node in nodes:
        glb.add("nodes", node)
    binds = np.tile(np.eye(4, dtype=np.float32).reshape(-1), (2, 1)).tobytes()
    matrices = {
        "bufferView": glb.buffer_view(binds), "componentType": 5126, "count": 2, "type": "MAT4",
    }  # fmt: skip
    glb.add("skins", {"joints": [1, 2], "inverseBindMatrices": glb.add("accessors", matrices)})
    _animate(glb)
    glb.add("cameras", {"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}})
    box = {"xmag": 1, "ymag": 1, "znear": 0, "zfar": 9}
    glb.add("cameras", {"type": "orthographic", "orthographic": box})
    spot = {"type": "spot", "range": 9, "spot": {"innerConeAngle": 0.1, "outerConeAngle": 0.5}}
    glb.document["extensions"] = {"KHR_lights_punctual": {"lights": [spot]}}
    glb.document["extensionsUsed"] = ["KHR_lights_punctual", "KHR_texture_transform"]
    return glb.glb()


def _bent(glb: GlbWriter) -> dict[str, Any]:
    """A primitive with every attribute, two morph targets and a material of its own."""
    points, faces = _sheet()
    rng, n = np.random.default_rng(len(glb.document.get("accessors", []))), len(points)
    lift = np.zeros((n, 3), np.float32)
    lift[:, 2] = 1
    names = {
        "POSITION": points.astype(np.int16),
        "NORMAL": lift,
        "TANGENT": np.tile(np.array([1, 0, 0, 1], np.float32), (n, 1)),
        "TEXCOORD_0": rng.random((n, 2)).astype(np.float32),
        "TEXCOORD_1": rng.integers(0, 256, (n, 2)).astype(np.uint8),
        "COLOR_0": rng.integers(0, 65_536, (n, 4)).astype(np.uint16),
        "JOINTS_0": rng.integers(0, 2, (n, 4)).astype(np.uint8),
        "WEIGHTS_0": rng.random((n, 4)).astype(np.float32),
    }
    normalized = ("TEXCOORD_1", "COLOR_0")
    attributes = {
        name: glb.accessor(array, normalized=name in normalized) for name, array in names.items()
    }
    which = glb.buffer_view(np.array([1, 5, 9], np.uint8).tobytes())
    values = glb.buffer_view(lift[:3].tobytes())
    sparse = {
        "componentType": 5126, "count": n, "type": "VEC3",
        "sparse": {
            "count": 3, "indices": {"bufferView": which, "componentType": 5121},
            "values": {"bufferView": values},
        },
    }  # fmt: skip
    targets = [{"POSITION": glb.add("accessors", sparse)}, {"NORMAL": glb.accessor(lift)}]
    return {
        "attributes": attributes, "targets": targets, "material": _painted(glb),
        "indices": glb.accessor(faces.reshape(-1).astype(np.uint16)),
    }  # fmt: skip


def _painted(glb: GlbWriter) -> int:
    """A material whose pictures are of all kinds that are read."""
    slots = []
    for kind, mode in (
        ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("JPEG", "RGB"), ("JPEG", "CMYK"),
    ):  # fmt: skip
        view = glb.buffer_view(picture(kind, mode))
        image = glb.add("images", {"bufferView": view, "mimeType": f"image/{kind.lower()}"})
        sampler = glb.add("samplers", {"wrapS": 33071, "minFilter": 9984})
        slots.append({"index": glb.add("textures", {"source": image, "sampler": sampler})})
    moved = {"offset": [0.5, 0], "rotation": 0.3, "scale": [2, 2], "texCoord": 1}
    slots[0]["extensions"] = {"KHR_texture_transform": moved}
    shading = {"baseColorTexture": slots[0], "metallicRoughnessTexture": slots[1]}
    return glb.add(
        "materials",
        {
            "pbrMetallicRoughness": shading,
            "occlusionTexture": {**slots[2], "strength": 0.5},
            "normalTexture": {**slots[3], "scale": 0.5},
            "emissiveTexture": {**slots[4], "texCoord": 1},
            "emissiveFactor": [1, 1, 0],
            "alphaMode": "MASK",
            "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 5}},
        },
    )


def _animate(glb: GlbWriter) -> None:
    times = glb.accessor(np.array([0, 1, 2], np.float32))
    turns = np.tile(np.array([0, 0, 0.6, 0.8], np.float32), (3, 1))
    values = {
        ("rotation", 2, "LINEAR"): turns,
        ("translation", 1, "CUBICSPLINE"): np.ones((9, 3), np.float32),
        ("scale", 2, "STEP"): np.ones((3, 3), np.float32),
        ("weights", 0, "LINEAR"): np.ones(6, np.float32),
    }
    samplers = [
        {"input": times, "output": glb.accessor(array), "interpolation": interpolation}
        for (_, _, interpolation), array in values.items()
    ]
    channels = [
        {"sampler": number, "target": {"node": node, "path": path}}
        for number, (path, node, _) in enumerate(values)
    ]
    glb.add("animations", {"samplers": samplers, "channels": channels})


def _radiance(width: int, height: int, *, runs: bool) -> bytes:
    rgbe = np.random.default_rng(1).integers(100, 140, (height, width, 4), np.uint8)
    lines = ["#?RADIANCE", "EXPOSURE=2", "FORMAT=32-bit_rle_rgbe", "", f"-Y {height} +X {width}"]
    head = "\n".join([*lines, ""]).encode()
    if not runs:
        return head + rgbe.tobytes()
    mark = bytes((2, 2, width >> 8, width & 255))
    rows = [
        mark + b"".join(bytes((width,)) + channel.tobytes() for channel in row.T) for row in rgbe
    ]
    # Two rows of runs, so that mutations meet both kinds.
    rows[:2] = [mark + bytes((128 + width, 127)) * 4] * 2
    return head + b"".join(rows)


def _exr(compression: int, kind: str) -> bytes:
    rgb = np.random.default_rng(2).random((12, 20, 3)).astype(kind)
    header = {"compression": compression, "type": OpenEXR.scanlineimage}
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        with OpenEXR.File(header, {"RGB": rgb}) as made:
            made.write(file.name)
        return Path(file.name).read_bytes()
