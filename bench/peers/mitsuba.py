"""Pictures by Mitsuba 3: an independent path tracer to hold ours against.

A `Scene` of ours becomes meshes and textures of Mitsuba's, with glTF's material (gltf_bsdf) in its
integrator. Not translated: vertex colours, unlit materials, second texture coordinates, clamped
texture edges.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers import gltf_bsdf
from bench.peers.threejs import Reference, ReferenceUnavailable
from render.lights import pack_lights
from render.motion import Stance, stance
from render.pose import world_positions
from render.scene import (
    AlphaMode,
    Draw,
    Light,
    LightKind,
    Material,
    Primitive,
    Scene,
    TextureSlot,
    UvTransform,
    Vec3,
)

INSTALL, LLVM = "pip install 'framemesh[peers]'", "apt-get install libllvm19"
AT_ONCE = 1 << 18  # paths, of about 2 KB each
CONE = 512  # texels across what a spot light casts
Texels = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """What to draw: world frame, metres; colours linear. fov_degrees: vertical.

    environment: float16 (h, w, 4) as `render.environment` decodes it.
    """

    width: int
    height: int
    eye: Vec3
    target: Vec3
    fov_degrees: float
    towards_light: Vec3 = (0.0, 1.0, 0.0)
    illuminance: Vec3 = (0.0, 0.0, 0.0)
    background: Vec3 = (0.0, 0.0, 0.0)
    environment: NDArray[np.float16] | None = None
    environment_intensity: float = 1.0
    animation: int = -1
    time: float = 0.0
    samples: int = 256
    bounces: int = 8


def draw(scene: Scene, view: View) -> Reference:
    """The path-traced picture. Raises ReferenceUnavailable."""
    mi = _open()
    now = None if scene.motion is None else stance(scene.motion, view.animation, view.time)
    film = {
        "type": "hdrfilm",
        "width": view.width,
        "height": view.height,
        "pixel_format": "rgba",
        "rfilter": {"type": "box"},
    }
    place = mi.ScalarTransform4f().look_at(origin=view.eye, target=view.target, up=(0, 1, 0))
    whole: dict[str, Any] = {
        "type": "scene",
        # Mitsuba's `path` lets no light through a mask towards a lamp, `volpath` does.
        "integrator": {
            "type": "volpath",
            "max_depth": view.bounces + 1,
            "hide_emitters": True,
        },
        "sensor": {
            "type": "perspective",
            "fov": view.fov_degrees,
            "fov_axis": "y",
            "to_world": place,
            "film": film,
            "sampler": {"type": "independent"},
        },
        **_lights(mi, scene, view, now),
    }
    surfaces = _Surfaces(mi, scene)
    for number, drawn in enumerate(scene.draws):
        for mirrored in (False, True):
            mesh = _mesh(mi, scene, drawn, now, surfaces, mirrored)
            if mesh is not None:
                whole[f"draw_{number}_{mirrored}"] = mesh
    made = _mean(mi, mi.load_dict(whole), view)
    light = made[..., :3] + (1 - made[..., 3:]) * np.array(view.background)
    return Reference(_encoded(light), made[..., 3] > 0, f"Mitsuba {mi.__version__}, {mi.variant()}")


def _mean(mi: Any, scene: Any, view: View) -> NDArray[np.float64]:
    """RGBA (h, w, 4): Mitsuba holds all paths of a rendering in memory, so some at a time."""
    total: NDArray[np.float64] = np.zeros((view.height, view.width, 4))
    most, left = max(AT_ONCE // (view.width * view.height), 1), view.samples
    while left:
        count = min(most, left)
        left -= count
        total += count * np.asarray(mi.render(scene, spp=count, seed=left), np.float64)
    return total / view.samples


def _open() -> Any:
    """Mitsuba, vectorised: only so can a material be written for it in Python."""
    try:
        import mitsuba  # noqa: PLC0415
    except ImportError:
        raise ReferenceUnavailable(f"Mitsuba is not installed: {INSTALL}") from None
    if mitsuba.variant() is None:
        # With LLVM 17 and older its compiler aborts the process; from 18 on the file has this name.
        newest = sorted(Path("/usr/lib").glob("*/libLLVM.so.*"))
        if "DRJIT_LIBLLVM_PATH" not in os.environ and not newest:
            raise ReferenceUnavailable(f"Mitsuba needs LLVM 18 or later: {LLVM}")
        os.environ.setdefault("DRJIT_LIBLLVM_PATH", str(newest[-1]) if newest else "")
        mitsuba.set_variant("llvm_ad_rgb")
        gltf_bsdf.register(mitsuba)
    return mitsuba


def _lights(mi: Any, scene: Scene, view: View, now: Stance | None) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if view.environment is not None:
        pixels = view.environment[..., :3].astype(np.float32)
        # Mitsuba's picture begins where it looks along -Z, ours where it looks along -X.
        pixels = np.roll(pixels, -pixels.shape[1] // 4, axis=1)
        bitmap = mi.Bitmap(np.ascontiguousarray(pixels))
        made["environment"] = {
            "type": "envmap",
            "bitmap": bitmap,
            "scale": view.environment_intensity,
        }
    if any(view.illuminance):
        made["sun"] = {
            "type": "directional",
            "direction": [-axis for axis in view.towards_light],
            "irradiance": {"type": "rgb", "value": list(view.illuminance)},
        }
    packed = pack_lights(scene.lights, now).astype(np.float64)
    for number, (light, (place, intensity, axis, _)) in enumerate(
        zip(scene.lights, packed, strict=True)
    ):
        color = {"type": "rgb", "value": intensity[:3].tolist()}
        at = place[:3]
        if light.kind is LightKind.DIRECTIONAL:
            given = {"type": "directional", "direction": (-at).tolist(), "irradiance": color}
        elif light.kind is LightKind.POINT:
            given = {"type": "point", "position": at.tolist(), "intensity": color}
        else:
            up = (1, 0, 0) if abs(axis[1]) > 0.9 else (0, 1, 0)
            given = {
                "type": "spot",
                "to_world": mi.ScalarTransform4f().look_at(at, at - axis[:3], up),
                "intensity": color,
                "cutoff_angle": float(np.degrees(light.outer_cone)),
                "beam_width": float(np.degrees(light.outer_cone)) * 0.9999,
                "texture": {"type": "bitmap", "bitmap": mi.Bitmap(cone(light)), "raw": True},
            }
        made[f"light_{number}"] = given
    return made


def cone(light: Light) -> Texels:
    """What a spot light casts across its outer cone, (n, n, 3): KHR_lights_punctual's edge.

    Mitsuba's own is a ramp of the angle, so there it has none.
    """
    y, x = (np.mgrid[:CONE, :CONE] + 0.5) / CONE * 2 - 1
    cosine = 1 / np.sqrt(1 + np.tan(light.outer_cone) ** 2 * (x * x + y * y))
    inner, outer = np.cos((light.inner_cone, light.outer_cone))
    share = ((cosine - outer) / max(inner - outer, 1e-3)).clip(0, 1) ** 2
    return np.repeat(share[..., None], 3, axis=2).astype(np.float32)


def _mesh(
    mi: Any, scene: Scene, drawn: Draw, now: Stance | None, surfaces: _Surfaces, mirrored: bool
) -> Any:
    """The triangles whose texture is, or is not, mirrored; None if there are none."""
    primitive = scene.primitives[drawn.primitive]
    faces = primitive.indices.reshape(-1, 3)
    uv = np.zeros((len(primitive.positions), 2)) if primitive.uv0 is None else primitive.uv0
    first, across, down = (uv[faces[:, corner]] for corner in range(3))
    one, two = across - first, down - first
    # Unmirrored, v grows downwards while u grows to the right, seen from the front.
    faces = faces[(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] > 0) == mirrored]
    if not len(faces):
        return None
    places = world_positions(drawn, primitive, now)
    normals = world_normals(drawn, primitive, now, places)
    given = mi.Properties()
    given["bsdf"] = surfaces.of(primitive.material, mirrored)
    mesh = mi.Mesh(
        "mesh",
        vertex_count=len(places),
        face_count=len(faces),
        has_vertex_normals=True,
        has_vertex_texcoords=True,
        props=given,
    )
    fields = mi.traverse(mesh)
    fields["vertex_positions"] = places.astype(np.float32).ravel()
    fields["vertex_normals"] = normals.astype(np.float32).ravel()
    fields["vertex_texcoords"] = uv.astype(np.float32).ravel()
    fields["faces"] = faces.astype(np.uint32).ravel()
    fields.update()
    return mesh


def world_normals(
    drawn: Draw, primitive: Primitive, now: Stance | None, places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turned with the vertices, unit length; right where scales are even.

    Normals that no file gave are those of the triangles, however these are bent.
    """
    if primitive.flat:
        first, across, down = np.swapaxes(places.reshape(-1, 3, 3), 0, 1)
        return _unit(np.repeat(np.cross(across - first, down - first), 3, axis=0))
    normals = primitive.normals.astype(np.float64)
    morph = primitive.morph
    if now is not None and drawn.weights >= 0 and morph is not None and morph.normals is not None:
        for target, moved in enumerate(morph.normals):
            normals = normals + moved * now.weights[drawn.weights + target]
    tips = replace(primitive, positions=primitive.positions + normals)
    ways = world_positions(drawn, tips, now) - places
    return _unit(ways)


def _unit(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = ways / np.linalg.norm(ways, axis=1, keepdims=True).clip(1e-12)
    return made


class _Surfaces:
    """Materials as Mitsuba's, each made once for either side of its normal map."""

    def __init__(self, mi: Any, scene: Scene) -> None:
        self._mi, self._scene = mi, scene
        self._made: dict[tuple[int, bool], Any] = {}

    def of(self, index: int, mirrored: bool) -> Any:
        key = (index, mirrored)
        if key not in self._made:
            given = self._convert(self._scene.materials[index], mirrored)
            self._made[key] = self._mi.load_dict(given)
        return self._made[key]

    def _convert(self, material: Material, mirrored: bool) -> dict[str, Any]:
        base = np.array(material.base_color_factor, np.float32)
        if material.base_color is not None:
            texels = self._texels(material.base_color)
            linear = np.where(texels <= 0.04045, texels / 12.92, ((texels + 0.055) / 1.055) ** 2.4)
            linear[..., 3] = texels[..., 3]
            base = base * linear.astype(np.float32)
        slot, factors = material.metallic_roughness, np.ones(4, np.float32)
        factors[1:3] = material.roughness_factor, material.metallic_factor
        if slot is not None:
            factors = factors * self._texels(slot)
        made: dict[str, Any] = {
            "type": gltf_bsdf.NAME,
            "base_color": self._texture(base[..., :3], material.base_color),
            "roughness": self._texture(factors[..., 1:2], slot),
            "metallic": self._texture(factors[..., 2:3], slot),
        }
        if material.normal is not None:
            way = self._texels(material.normal)[..., :3] * 2 - 1
            way[..., :2] *= material.normal_scale
            way[..., 1] *= -1 if mirrored else 1
            way /= np.linalg.norm(way, axis=-1, keepdims=True).clip(1e-6)
            bumps = self._texture(way / 2 + 0.5, material.normal)
            made = {"type": "normalmap", "normalmap": bumps, "bsdf": made}
        made = {"type": "twosided", "bsdf": made}
        if material.alpha_mode is AlphaMode.OPAQUE:
            return made
        opacity = base[..., 3:]
        if material.alpha_mode is AlphaMode.MASK:
            opacity = (opacity >= material.alpha_cutoff).astype(np.float32)
        return {
            "type": "mask",
            "opacity": self._texture(opacity, material.base_color),
            "bsdf": made,
        }

    def _texels(self, slot: TextureSlot) -> Texels:
        """As stored, 0 to 1: (h, w, 4)."""
        image = self._scene.images[self._scene.textures[slot.texture].image]
        return image.rgba8.astype(np.float32) / 255

    def _texture(self, values: Texels, slot: TextureSlot | None) -> Any:
        """Linear values, (h, w, 1 or 3), or (1 or 3,) for one everywhere."""
        if values.ndim == 1:
            values = values[None, None]
        (a, b, c), (d, e, f) = (UvTransform() if slot is None else slot.transform).rows()
        return {
            "type": "bitmap",
            "bitmap": self._mi.Bitmap(np.ascontiguousarray(values, np.float32)),
            "raw": True,
            "to_uv": self._mi.ScalarTransform3f([[a, b, c], [d, e, f], [0, 0, 1]]),
        }


def _encoded(light: NDArray[np.float64]) -> NDArray[np.uint8]:
    light = light.clip(0, 1)
    low, high = 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    return np.rint(255 * np.where(light <= 0.0031308, low, high)).astype(np.uint8)
