"""A small valid scene, and ways to spoil it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from render.gltf.container import join_glb, split_glb
from render.gltf.writer import GlbWriter

Spoil = Callable[[dict[str, Any]], None]

POSITIONS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
INDICES = np.array([0, 1, 2, 0, 2, 3], np.uint16)


def write_square() -> GlbWriter:
    """A textured unit square facing +Z, under a parent node that moves it by (10, 0, 0)."""
    writer = GlbWriter()
    pixels = np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4)
    slot = {"index": writer.texture(pixels, "pattern")}
    material = writer.add(
        "materials",
        {
            "name": "paper",
            "pbrMetallicRoughness": {"baseColorTexture": slot, "roughnessFactor": 0.5},
            "normalTexture": {**slot, "scale": 0.5},
        },
    )
    attributes = {
        "POSITION": writer.accessor(POSITIONS),
        "NORMAL": writer.accessor(np.tile(np.array([0, 0, 2], np.float32), (4, 1))),
        "TEXCOORD_0": writer.accessor(UV),
    }
    primitive = {
        "attributes": attributes,
        "indices": writer.accessor(INDICES),
        "material": material,
    }
    mesh = writer.mesh([primitive], "square")
    writer.add("nodes", {"mesh": mesh})
    writer.add("nodes", {"children": [0], "translation": [10, 0, 0]})
    return writer


@pytest.fixture
def square() -> GlbWriter:
    return write_square()


@pytest.fixture(scope="session")
def square_glb() -> bytes:
    return write_square().glb()


@pytest.fixture(scope="session")
def spoilt(square_glb: bytes) -> Callable[[Spoil], bytes]:
    """The square with its JSON document changed."""

    def spoil(change: Spoil) -> bytes:
        json_chunk, binary = split_glb(square_glb)
        document = json.loads(bytes(json_chunk))
        change(document)
        return join_glb(json.dumps(document).encode(), bytes(binary))

    return spoil
