"""A scene as the renderer draws it: flat lists of draws, primitives, materials, textures, images.

Loaders produce it, passes consume it; nothing in it refers to a file or a GPU. Everything here
has been checked: every index points at an entry of its list, every number is finite.

Conventions are glTF 2.0's (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html): metres,
right-handed, +Y up, counter-clockwise triangles face the viewer, texture coordinates (0, 0) at the
upper left corner of the image. Matrices multiply column vectors: `world = world_from_mesh @ mesh`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from render.motion import Motion

Float32Array: TypeAlias = NDArray[np.float32]
Uint32Array: TypeAlias = NDArray[np.uint32]
Uint16Array: TypeAlias = NDArray[np.uint16]
Uint8Array: TypeAlias = NDArray[np.uint8]
Vec3: TypeAlias = tuple[float, float, float]
Vec4: TypeAlias = tuple[float, float, float, float]

MAX_LIGHTS = 16  # a shader looks at each for every pixel


def as_vec3(values: NDArray[np.floating]) -> Vec3:
    """An array (3,) as plain numbers."""
    x, y, z = values.tolist()
    return x, y, z


class AlphaMode(IntEnum):
    """What a material's alpha means (glTF 3.9.4)."""

    OPAQUE = 0  # alpha is ignored
    MASK = 1  # drawn where alpha >= alpha_cutoff
    BLEND = 2  # composited "over" what lies behind


class Wrap(IntEnum):
    """Addressing outside [0, 1]; the values are glTF's (OpenGL's)."""

    REPEAT = 10497
    CLAMP_TO_EDGE = 33071
    MIRRORED_REPEAT = 33648


class MagFilter(IntEnum):
    """Magnification; the values are glTF's."""

    NEAREST = 9728
    LINEAR = 9729


class MinFilter(IntEnum):
    """Minification, within and between mip levels; the values are glTF's."""

    NEAREST = 9728
    LINEAR = 9729
    NEAREST_MIPMAP_NEAREST = 9984
    LINEAR_MIPMAP_NEAREST = 9985
    NEAREST_MIPMAP_LINEAR = 9986
    LINEAR_MIPMAP_LINEAR = 9987


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Decoded pixels: uint8 (height, width, 4), RGBA, row-major, top row first, read-only.

    The bytes are as stored. Base colour and emissive images are sRGB-encoded; metallic-roughness,
    normal and occlusion images are linear. Alpha is linear, not premultiplied.
    """

    rgba8: Uint8Array
    name: str


@dataclass(frozen=True, slots=True)
class Texture:
    """An image and how to sample it."""

    image: int
    wrap_s: Wrap = Wrap.REPEAT
    wrap_t: Wrap = Wrap.REPEAT
    mag_filter: MagFilter = MagFilter.LINEAR
    min_filter: MinFilter = MinFilter.LINEAR_MIPMAP_LINEAR


@dataclass(frozen=True, slots=True)
class UvTransform:
    """Texture coordinates are scaled, then turned, then moved (KHR_texture_transform).

    rotation: radians, counter-clockwise as seen with v growing downwards, as the implementations
    do it; the listing in the extension's text has the sign wrong (KhronosGroup/glTF#1563).
    """

    offset: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def rows(self) -> tuple[Vec3, Vec3]:
        """u' and v' as dot products with (u, v, 1)."""
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        (across, down), (x, y) = self.scale, self.offset
        return (cos * across, sin * down, x), (-sin * across, cos * down, y)


@dataclass(frozen=True, slots=True)
class TextureSlot:
    """A material's use of a texture, with the vertex's `uv0` (uv_set 0) or `uv1` (uv_set 1)."""

    texture: int
    uv_set: int = 0
    transform: UvTransform = UvTransform()


@dataclass(frozen=True, slots=True)
class Material:
    """Metallic-roughness material (glTF 3.9.2, appendix B). Colour factors are linear.

    emissive_factor may exceed 1 (KHR_materials_emissive_strength). unlit: the base colour as it
    is, whatever the light (KHR_materials_unlit).
    Channels: metallic_roughness G = roughness, B = metallic; occlusion R; normal is tangent space,
    +Y up, its x and y scaled by `normal_scale`. Each texture multiplies its factor.
    ior: of what is not metal (KHR_materials_ior). clearcoat_factor, clearcoat_roughness: a clear
    layer over all else (KHR_materials_clearcoat). transmission_factor: of the light that enters
    what is not metal, the share that leaves it behind, as from a thin pane
    (KHR_materials_transmission).
    """

    name: str = ""
    base_color_factor: Vec4 = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: float = 1.0
    roughness_factor: float = 1.0
    normal_scale: float = 1.0
    occlusion_strength: float = 1.0
    emissive_factor: Vec3 = (0.0, 0.0, 0.0)
    alpha_mode: AlphaMode = AlphaMode.OPAQUE
    alpha_cutoff: float = 0.5
    double_sided: bool = False
    unlit: bool = False
    ior: float = 1.5
    clearcoat_factor: float = 0.0
    clearcoat_roughness: float = 0.0
    transmission_factor: float = 0.0
    base_color: TextureSlot | None = None
    metallic_roughness: TextureSlot | None = None
    normal: TextureSlot | None = None
    occlusion: TextureSlot | None = None
    emissive: TextureSlot | None = None

    @property
    def reflectance(self) -> float:
        """Of what is not metal, head-on: Fresnel's equations for `ior`; 0 stands for a mirror."""
        return ((self.ior - 1) / (self.ior + 1)) ** 2

    def layers(self) -> Vec4:
        """As shaders take them: reflectance, the coat's factor and roughness, transmission."""
        coat = self.clearcoat_factor, self.clearcoat_roughness
        return (self.reflectance, *coat, self.transmission_factor)

    @property
    def blends(self) -> bool:
        """Whether what lies behind shows through, in the raster pass."""
        return self.alpha_mode is AlphaMode.BLEND or self.transmission_factor > 0

    def slots(self) -> Iterator[TextureSlot]:
        """The texture slots in use."""
        for slot in (
            self.base_color,
            self.metallic_roughness,
            self.normal,
            self.occlusion,
            self.emissive,
        ):
            if slot is not None:
                yield slot


@dataclass(frozen=True, slots=True, eq=False)
class Morph:
    """Displacements of a primitive's vertices, one set per target, summed by weight (glTF 3.7.2.2).

    positions, normals, tangents: float32 (targets, n, 3); normals and tangents None where no
    target has any.
    """

    positions: Float32Array
    normals: Float32Array | None
    tangents: Float32Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Influences:
    """Which joints of a skin move a primitive's vertices (glTF 3.7.3).

    joints: uint16 (n, k), k = 4 or 8, counted within the skin; 0 where the weight is 0.
    weights: float32 (n, k), >= 0, each row's sum 1.
    """

    joints: Uint16Array
    weights: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """An indexed triangle list in mesh space with one material; all arrays contiguous, read-only.

    positions: float32 (n, 3), metres; n >= 1.
    normals: float32 (n, 3), unit length (generated flat where the source has none).
    tangents: float32 (n, 4), unit xyz and the bitangent's sign w, or None: then a normal map is
        oriented by the texture coordinates' screen-space derivatives.
    uv0, uv1: float32 (n, 2) or None; every set that the material's textures use is present.
    colors: float32 (n, 4), linear, multiplies the base colour, or None.
    indices: uint32 (3 * triangles,), each < n; at least one triangle.
    flat: the normals were generated: vertices 3 i .. 3 i + 2 are triangle i, however it is bent.
    """

    positions: Float32Array
    normals: Float32Array
    tangents: Float32Array | None
    uv0: Float32Array | None
    uv1: Float32Array | None
    colors: Float32Array | None
    indices: Uint32Array
    material: int
    flat: bool = False
    influences: Influences | None = None
    morph: Morph | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One placement of a primitive.

    world_from_mesh: float32 (4, 4), affine, invertible, row-major. Where its determinant is
        negative the triangles' winding is mirrored (glTF 3.7.4). Normals go by the inverse
        transpose. What moves is where it stands at rest; what a skin carries has its joints alone.
    node: of `Scene.motion` that carries it, -1 where nothing moves it.
    skin: its first joint among `Motion.joints`, -1 without a skin.
    weights: its first morph weight among `Motion.weights`, -1 without morph targets.
    """

    world_from_mesh: Float32Array
    primitive: int
    node: int = -1
    skin: int = -1
    weights: int = -1

    @property
    def bends(self) -> bool:
        """Whether its vertices move among each other."""
        return self.skin >= 0 or self.weights >= 0


class LightKind(IntEnum):
    """Of KHR_lights_punctual."""

    DIRECTIONAL = 0
    POINT = 1
    SPOT = 2


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """A light of the scene (KHR_lights_punctual).

    color: linear RGB. intensity: lux of a directional light, candela of the others.
    world_from_light: float64 (3, 4), the light shines from the origin along -Z; its scale is of
        no meaning. node: of `Scene.motion` that carries it, or -1.
    reach: metres, beyond which a point or spot light is dark; 0 for no end.
    inner_cone, outer_cone: radians from the axis; a spot light is full within the first and dark
        beyond the second.
    """

    kind: LightKind
    world_from_light: NDArray[np.float64]
    node: int = -1
    color: Vec3 = (1.0, 1.0, 1.0)
    intensity: float = 1.0
    reach: float = 0.0
    inner_cone: float = 0.0
    outer_cone: float = math.pi / 4


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A camera of the scene; looks along -Z of its frame, +Y up.

    world_from_camera: float64 (3, 4), its scale is of no meaning. node: as a light's.
    fov: vertical, radians; 0 for a parallel projection, then half_height: metres.
    near, far: metres; far 0 for no end (perspective only).
    """

    name: str
    world_from_camera: NDArray[np.float64]
    node: int = -1
    fov: float = 0.0
    half_height: float = 0.0
    near: float = 0.01
    far: float = 0.0


@dataclass(frozen=True, slots=True)
class DirectionalLight:
    """A light at infinity: what shines on a scene without lights of its own.

    towards_light: from any surface to the light, world frame, unit length.
    color: linear RGB. intensity: illuminance in lux on a surface that faces the light, as in
    KHR_lights_punctual: a Lambertian surface sends back base_color / pi * color * intensity * cos.
    """

    towards_light: Vec3 = (0.3713906763541037, 0.7427813527082074, 0.5570860145311556)
    color: Vec3 = (1.0, 1.0, 1.0)
    intensity: float = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything a device holds to draw a scene.

    draws: in the source's order; at least one. materials: at least one.
    bounds_min, bounds_max: float32 (3,), metres, world frame: the axis-aligned box of all draws.
    lights: at most `MAX_LIGHTS`. cameras: all of the source's.
    motion: what moves in it, None where nothing can.
    warnings: what the source asks for and the renderer leaves out, one sentence each, for people.
    """

    draws: tuple[Draw, ...]
    primitives: tuple[Primitive, ...]
    materials: tuple[Material, ...]
    textures: tuple[Texture, ...]
    images: tuple[Image, ...]
    bounds_min: Float32Array
    bounds_max: Float32Array
    lights: tuple[Light, ...] = ()
    cameras: tuple[Camera, ...] = ()
    motion: Motion | None = None
    warnings: tuple[str, ...] = ()

    @property
    def triangles(self) -> int:
        """Triangles drawn per frame: a primitive counts once for each of its draws."""
        return sum(len(self.primitives[draw.primitive].indices) // 3 for draw in self.draws)
