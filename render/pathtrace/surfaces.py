"""Materials and textures as the path tracer reads them: numbers in buffers. Pure.

Vulkan 1.3 without descriptor indexing cannot pick among samplers for each ray, so texels lie in
storage buffers and the shader filters them itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused
from render.scene import MagFilter, Material, Scene, TextureSlot, Wrap

PAGES = 4  # buffers of texels
NO_MAP = 0xFFFFFFFF
MAP = np.dtype(  # as pathtrace_scene.glsl declares it
    [
        ("rows", "<f4", (2, 4)),
        ("at", "<u4"),
        ("page", "<u4"),
        ("size", "<u4"),
        ("sampling", "<u4"),
    ]
)
MATERIAL = np.dtype(
    [
        ("base_color", "<f4", 4),
        ("emissive", "<f4", 4),
        ("factors", "<f4", 4),
        ("layers", "<f4", 4),
        ("kind", "<u4", 4),
        ("maps", MAP, 4),
    ]
)
_WRAPS = {Wrap.REPEAT: 0, Wrap.CLAMP_TO_EDGE: 1, Wrap.MIRRORED_REPEAT: 2}
_NEAREST = 16


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """materials: MATERIAL (m,). pages: at least one, uint8 (n,) each, RGBA of images in a row."""

    materials: NDArray[np.void]
    pages: tuple[NDArray[np.uint8], ...]


def pack_surfaces(scene: Scene, page_bytes: int) -> Surfaces:
    """page_bytes: that a buffer may have. Raises ContentRefused if the textures do not fit."""
    used = {
        scene.textures[slot.texture].image
        for material in scene.materials
        for slot in _slots(material)
        if slot is not None
    }
    places: dict[int, tuple[int, int]] = {}
    pages: list[list[NDArray[np.uint8]]] = [[]]
    filled = 0
    for image in sorted(used):
        pixels = scene.images[image].rgba8.reshape(-1)
        if filled + len(pixels) > page_bytes and filled:
            pages.append([])
            filled = 0
        if filled + len(pixels) > page_bytes or len(pages) > PAGES:
            raise ContentRefused(
                what="the scene cannot be path traced",
                why=f"its textures take more than the device binds: {PAGES} x {page_bytes} bytes",
                fix="Use fewer or smaller textures, or the raster integrator.",
            )
        places[image] = len(pages) - 1, filled // 4
        pages[-1].append(pixels)
        filled += len(pixels)
    materials = np.zeros(len(scene.materials), MATERIAL)
    for target, material in zip(materials, scene.materials, strict=True):
        _pack_material(target, material, scene, places)
    nothing = np.full(4, 255, np.uint8)
    return Surfaces(materials, tuple(np.concatenate(page) if page else nothing for page in pages))


def _slots(material: Material) -> tuple[TextureSlot | None, ...]:
    """Occlusion is not among them: paths find it themselves."""
    return material.base_color, material.metallic_roughness, material.normal, material.emissive


def _pack_material(
    target: np.void, material: Material, scene: Scene, places: dict[int, tuple[int, int]]
) -> None:
    target["base_color"] = material.base_color_factor
    target["emissive"] = (*material.emissive_factor, material.alpha_cutoff)
    target["factors"][:3] = (
        material.metallic_factor,
        material.roughness_factor,
        material.normal_scale,
    )
    target["layers"] = material.layers()
    target["kind"][:2] = material.alpha_mode, material.unlit
    for entry, slot in zip(target["maps"], _slots(material), strict=True):
        if slot is None:
            entry["at"] = NO_MAP
            continue
        texture = scene.textures[slot.texture]
        height, width = scene.images[texture.image].rgba8.shape[:2]
        entry["rows"][:, :3] = slot.transform.rows()
        entry["rows"][0, 3] = slot.uv_set
        entry["page"], entry["at"] = places[texture.image]
        entry["size"] = width | height << 16
        entry["sampling"] = (
            _WRAPS[texture.wrap_s]
            | _WRAPS[texture.wrap_t] << 2
            | _NEAREST * (texture.mag_filter is MagFilter.NEAREST)
        )
