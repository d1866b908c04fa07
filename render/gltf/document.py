"""The JSON part of a glTF 2.0 file as types; decoding checks every field against its bounds.

Only what is drawn, or what must be warned about, has a field here; the rest is skipped unread.
Numbers are finite by construction (JSON has no NaN, and the decoder refuses what overflows).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from render.gltf.limits import MAX_ASSET_BYTES, MAX_COORDINATE, MAX_INDICES, MAX_ITEMS
from render.gltf.refusal import refused

Item = TypeVar("Item")
Index: TypeAlias = Annotated[int, Meta(ge=0, lt=MAX_ITEMS)]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_ASSET_BYTES)]
Length: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_ASSET_BYTES)]
Unit: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive: TypeAlias = Annotated[float, Meta(ge=0.0)]
IndexOfRefraction: TypeAlias = Annotated[float, Meta(ge=0.0, le=100.0)]
Name: TypeAlias = Annotated[str, Meta(max_length=1024)]
Many: TypeAlias = Annotated[list[Item], Meta(max_length=MAX_ITEMS)]
Three: TypeAlias = tuple[float, float, float]
Four: TypeAlias = tuple[float, float, float, float]
Unit3: TypeAlias = tuple[Unit, Unit, Unit]
Unit4: TypeAlias = tuple[Unit, Unit, Unit, Unit]


class Entry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of every object in the document."""


class Version(Entry, frozen=True):
    """`asset`: what wrote the file, and for which version of the format."""

    version: Annotated[str, Meta(max_length=16)]
    min_version: Annotated[str, Meta(max_length=16)] | None = None


class Buffer(Entry, frozen=True):
    """Raw bytes; in a packed scene the binary chunk."""

    byte_length: Length
    uri: str | None = None


class BufferView(Entry, frozen=True):
    """A slice of a buffer."""

    buffer: Index
    byte_length: Length
    byte_offset: Size = 0
    byte_stride: Annotated[int, Meta(ge=4, le=252)] | None = None


class SparseIndices(Entry, frozen=True):
    """Which elements deviate."""

    buffer_view: Index
    component_type: Literal[5121, 5123, 5125]
    byte_offset: Size = 0


class SparseValues(Entry, frozen=True):
    """What they deviate to."""

    buffer_view: Index
    byte_offset: Size = 0


class Sparse(Entry, frozen=True):
    """Deviations from an accessor's elements."""

    count: Annotated[int, Meta(ge=1, le=MAX_INDICES)]
    indices: SparseIndices
    values: SparseValues


class Accessor(Entry, frozen=True):
    """A typed array in a buffer view; zeros when it has none."""

    component_type: Literal[5120, 5121, 5122, 5123, 5125, 5126]
    count: Annotated[int, Meta(ge=1, le=MAX_INDICES)]
    type: Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
    buffer_view: Index | None = None
    byte_offset: Size = 0
    normalized: bool = False
    min: Annotated[list[float], Meta(max_length=16)] = []
    max: Annotated[list[float], Meta(max_length=16)] = []
    sparse: Sparse | None = None


class Image(Entry, frozen=True):
    """An encoded picture."""

    buffer_view: Index | None = None
    uri: str | None = None
    name: Name = ""


class Sampler(Entry, frozen=True):
    """Filtering and addressing."""

    mag_filter: Literal[9728, 9729] = 9729
    min_filter: Literal[9728, 9729, 9984, 9985, 9986, 9987] = 9987
    wrap_s: Literal[10497, 33071, 33648] = 10497
    wrap_t: Literal[10497, 33071, 33648] = 10497


class Texture(Entry, frozen=True):
    """An image with a sampler."""

    source: Index | None = None
    sampler: Index | None = None


class TextureTransform(Entry, frozen=True):
    """KHR_texture_transform on a texture reference."""

    offset: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    tex_coord: Annotated[int, Meta(ge=0, le=255)] | None = None


class TextureInfoExtensions(Entry, frozen=True):
    """The extensions of a texture reference that are read."""

    transform: TextureTransform | None = msgspec.field(default=None, name="KHR_texture_transform")


class TextureInfo(Entry, frozen=True):
    """A material's reference to a texture."""

    index: Index
    tex_coord: Annotated[int, Meta(ge=0, le=255)] = 0
    extensions: TextureInfoExtensions = TextureInfoExtensions()


class NormalTextureInfo(TextureInfo, frozen=True):
    """The same, for a normal map."""

    scale: float = 1.0


class OcclusionTextureInfo(TextureInfo, frozen=True):
    """The same, for ambient occlusion."""

    strength: Unit = 1.0


class MetallicRoughness(Entry, frozen=True):
    """The factors and textures of the metallic-roughness model."""

    base_color_factor: Unit4 = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: Unit = 1.0
    roughness_factor: Unit = 1.0
    base_color_texture: TextureInfo | None = None
    metallic_roughness_texture: TextureInfo | None = None


class EmissiveStrength(Entry, frozen=True):
    """KHR_materials_emissive_strength."""

    emissive_strength: Positive = 1.0


class Unlit(Entry, frozen=True):
    """KHR_materials_unlit: that it is there says all."""


class Ior(Entry, frozen=True):
    """KHR_materials_ior."""

    ior: IndexOfRefraction = 1.5


class Clearcoat(Entry, frozen=True):
    """KHR_materials_clearcoat."""

    clearcoat_factor: Unit = 0.0
    clearcoat_roughness_factor: Unit = 0.0
    clearcoat_texture: TextureInfo | None = None
    clearcoat_roughness_texture: TextureInfo | None = None
    clearcoat_normal_texture: TextureInfo | None = None


class Transmission(Entry, frozen=True):
    """KHR_materials_transmission."""

    transmission_factor: Unit = 0.0
    transmission_texture: TextureInfo | None = None


class MaterialExtensions(Entry, frozen=True):
    """The extensions of a material that are read."""

    emissive_strength: EmissiveStrength = msgspec.field(
        default=EmissiveStrength(), name="KHR_materials_emissive_strength"
    )
    unlit: Unlit | None = msgspec.field(default=None, name="KHR_materials_unlit")
    ior: Ior = msgspec.field(default=Ior(), name="KHR_materials_ior")
    clearcoat: Clearcoat = msgspec.field(default=Clearcoat(), name="KHR_materials_clearcoat")
    transmission: Transmission = msgspec.field(
        default=Transmission(), name="KHR_materials_transmission"
    )


class Material(Entry, frozen=True):
    """A surface."""

    name: Name = ""
    pbr_metallic_roughness: MetallicRoughness = MetallicRoughness()
    normal_texture: NormalTextureInfo | None = None
    occlusion_texture: OcclusionTextureInfo | None = None
    emissive_texture: TextureInfo | None = None
    emissive_factor: Unit3 = (0.0, 0.0, 0.0)
    alpha_mode: Literal["OPAQUE", "MASK", "BLEND"] = "OPAQUE"
    alpha_cutoff: Positive = 0.5
    double_sided: bool = False
    extensions: MaterialExtensions = MaterialExtensions()


class DracoExtension(Entry, frozen=True):
    """KHR_draco_mesh_compression: a stream, and the ids of attributes within it."""

    buffer_view: Index
    attributes: Annotated[dict[Name, Index], Meta(max_length=64)]


class PrimitiveExtensions(Entry, frozen=True):
    """The extensions of a primitive that are read."""

    draco: DracoExtension | None = msgspec.field(default=None, name="KHR_draco_mesh_compression")


class Primitive(Entry, frozen=True):
    """Geometry with one material."""

    attributes: Annotated[dict[Name, Index], Meta(max_length=64)]
    indices: Index | None = None
    material: Index | None = None
    mode: Annotated[int, Meta(ge=0, le=6)] = 4
    targets: Many[dict[Name, Index]] = []
    extensions: PrimitiveExtensions = PrimitiveExtensions()


class Mesh(Entry, frozen=True):
    """Primitives drawn together."""

    primitives: Annotated[list[Primitive], Meta(min_length=1, max_length=MAX_ITEMS)]
    weights: Many[float] = []


class NodeLight(Entry, frozen=True):
    """KHR_lights_punctual on a node."""

    light: Index


class NodeExtensions(Entry, frozen=True):
    """The extensions of a node that are read."""

    lights: NodeLight | None = msgspec.field(default=None, name="KHR_lights_punctual")


class Node(Entry, frozen=True):
    """A place in the tree: a matrix (column-major), or translation, rotation (xyzw) and scale."""

    children: Many[Index] = []
    mesh: Index | None = None
    skin: Index | None = None
    camera: Index | None = None
    name: Name = ""
    matrix: Annotated[list[float], Meta(min_length=16, max_length=16)] | None = None
    translation: Three = (0.0, 0.0, 0.0)
    rotation: Four = (0.0, 0.0, 0.0, 1.0)
    scale: Three = (1.0, 1.0, 1.0)
    weights: Many[float] = []
    extensions: NodeExtensions = NodeExtensions()


class Skin(Entry, frozen=True):
    """Joints, and where the mesh was bound to them."""

    joints: Annotated[list[Index], Meta(min_length=1, max_length=MAX_ITEMS)]
    inverse_bind_matrices: Index | None = None


class ChannelTarget(Entry, frozen=True):
    """What keyframes change."""

    path: Name
    node: Index | None = None


class Channel(Entry, frozen=True):
    """A sampler applied to a target."""

    sampler: Index
    target: ChannelTarget


class AnimationSampler(Entry, frozen=True):
    """Keyframes: times and values."""

    input: Index
    output: Index
    interpolation: Literal["STEP", "LINEAR", "CUBICSPLINE"] = "LINEAR"


class Animation(Entry, frozen=True):
    """Channels played together."""

    channels: Many[Channel]
    samplers: Many[AnimationSampler]
    name: Name = ""


class SceneRoots(Entry, frozen=True):
    """The roots of one scene."""

    nodes: Many[Index] = []


class Spot(Entry, frozen=True):
    """The cone of a spot light; radians from its axis."""

    inner_cone_angle: Annotated[float, Meta(ge=0.0, le=1.5708)] = 0.0
    outer_cone_angle: Annotated[float, Meta(ge=0.0, le=1.5708)] = 0.7853981633974483


class Light(Entry, frozen=True):
    """A light of KHR_lights_punctual."""

    type: Name
    color: Unit3 = (1.0, 1.0, 1.0)
    intensity: Annotated[float, Meta(ge=0.0, le=1e20)] = 1.0
    range: Annotated[float, Meta(gt=0.0)] | None = None
    spot: Spot = Spot()


class Perspective(Entry, frozen=True):
    """A camera's frustum."""

    yfov: Annotated[float, Meta(gt=0.0, lt=3.14159)]
    znear: Annotated[float, Meta(gt=0.0, le=MAX_COORDINATE)]
    zfar: Annotated[float, Meta(gt=0.0)] | None = None


class Orthographic(Entry, frozen=True):
    """A camera's box."""

    xmag: float
    ymag: float
    znear: Annotated[float, Meta(ge=0.0, le=MAX_COORDINATE)]
    zfar: Annotated[float, Meta(gt=0.0, le=MAX_COORDINATE)]


class Camera(Entry, frozen=True):
    """How a node sees."""

    type: Literal["perspective", "orthographic"]
    name: Name = ""
    perspective: Perspective | None = None
    orthographic: Orthographic | None = None


class Lights(Entry, frozen=True):
    """KHR_lights_punctual at the top."""

    lights: Many[Light] = []


class DocumentExtensions(Entry, frozen=True):
    """The top-level extensions that are read."""

    lights: Lights = msgspec.field(default=Lights(), name="KHR_lights_punctual")


class Document(Entry, frozen=True):
    """The whole of it."""

    asset: Version
    scene: Index | None = None
    scenes: Many[SceneRoots] = []
    nodes: Many[Node] = []
    meshes: Many[Mesh] = []
    accessors: Many[Accessor] = []
    buffer_views: Many[BufferView] = []
    buffers: Many[Buffer] = []
    materials: Many[Material] = []
    textures: Many[Texture] = []
    images: Many[Image] = []
    samplers: Many[Sampler] = []
    animations: Many[Animation] = []
    skins: Many[Skin] = []
    cameras: Many[Camera] = []
    extensions_used: Many[Name] = []
    extensions_required: Many[Name] = []
    extensions: DocumentExtensions = DocumentExtensions()


# Read in full, or of no consequence to a picture.
SUPPORTED_EXTENSIONS = frozenset(
    {
        "KHR_draco_mesh_compression",
        "KHR_lights_punctual",
        "KHR_materials_clearcoat",
        "KHR_materials_emissive_strength",
        "KHR_materials_ior",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_mesh_quantization",
        "KHR_texture_transform",
    }
)

_decoder = msgspec.json.Decoder(Document)


def decode_document(json_chunk: bytes | memoryview) -> Document:
    """Decode and check the JSON text. Raises ContentRefused naming the field at fault."""
    try:
        document = _decoder.decode(json_chunk)
    except msgspec.ValidationError as problem:
        why, _, path = str(problem).partition(" - at `$")
        raise refused(path.strip("`.") or "the JSON text", why) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise refused("the JSON text", str(problem)) from None
    except RecursionError:
        raise refused("the JSON text", "it is nested too deeply") from None
    _check_version(document.asset)
    _check_extensions(document)
    return document


def pick(items: list[Item], index: int, name: str, place: str) -> Item:
    """`items[index]`, where `place` refers to entry `index` of the list called `name`."""
    if index >= len(items):
        raise refused(place, f"it refers to {name}[{index}], and there are {len(items)}")
    return items[index]


def _check_version(asset: Version) -> None:
    wanted = asset.min_version or asset.version
    if wanted != "2.0" and not (asset.min_version is None and wanted.startswith("2.")):
        raise refused(
            "asset.version", f"it needs glTF {wanted}, and 2.0 is read", "Convert it to glTF 2.0."
        )


def _check_extensions(document: Document) -> None:
    missing = sorted(set(document.extensions_required) - SUPPORTED_EXTENSIONS)
    if missing:
        names = ", ".join(missing[:8])
        raise refused(
            "extensionsRequired",
            f"it cannot be drawn without {names}, which this version does not read",
            "Export the scene without these extensions (for meshopt: uncompressed or with Draco).",
        )
