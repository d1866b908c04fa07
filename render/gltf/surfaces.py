"""From glTF materials, textures, samplers and images to the scene's lists (glTF 3.8, 3.9)."""

from __future__ import annotations

from collections.abc import Callable

from render.gltf.accessors import Accessors
from render.gltf.document import Document, MetallicRoughness, TextureInfo, pick
from render.gltf.document import Material as Source
from render.gltf.images import Images
from render.gltf.limits import MAX_COORDINATE
from render.gltf.refusal import refused
from render.scene import (
    AlphaMode,
    Image,
    MagFilter,
    Material,
    MinFilter,
    Texture,
    TextureSlot,
    UvTransform,
    Vec3,
    Wrap,
)

_DEFAULT = -1  # stands for "no material given" among glTF indices


class Surfaces:
    """Converts what is asked for, once each; the lists grow in the order of asking."""

    def __init__(self, document: Document, accessors: Accessors, warn: Callable[[str], None]):
        self._document = document
        self._accessors = accessors
        self._warn = warn
        self._decoder = Images()
        self._material_of: dict[int, int] = {}
        self._texture_of: dict[int, int] = {}
        self._image_of: dict[int, int] = {}
        self.materials: list[Material] = []
        self.textures: list[Texture] = []
        self.images: list[Image] = []

    def material(self, index: int | None, place: str) -> int:
        """The scene's index of `materials[index]`, or of the default material for None."""
        key = _DEFAULT if index is None else index
        if key not in self._material_of:
            if index is None:
                converted = Material(name="default")
            else:
                source = pick(self._document.materials, index, "materials", place)
                converted = self._convert(source, f"materials[{index}]")
            self._material_of[key] = len(self.materials)
            self.materials.append(converted)
        return self._material_of[key]

    def _convert(self, source: Source, place: str) -> Material:
        shading: MetallicRoughness = source.pbr_metallic_roughness
        normal, occlusion = source.normal_texture, source.occlusion_texture
        pbr_place = f"{place}.pbrMetallicRoughness"
        extensions = source.extensions
        self._warn_of_left_out(source, place)
        return Material(
            name=source.name,
            base_color_factor=shading.base_color_factor,
            metallic_factor=shading.metallic_factor,
            roughness_factor=shading.roughness_factor,
            normal_scale=1.0 if normal is None else normal.scale,
            occlusion_strength=1.0 if occlusion is None else occlusion.strength,
            emissive_factor=self._emitted(source, place),
            alpha_mode=AlphaMode[source.alpha_mode],
            alpha_cutoff=source.alpha_cutoff,
            double_sided=source.double_sided,
            unlit=extensions.unlit is not None,
            ior=extensions.ior.ior,
            clearcoat_factor=extensions.clearcoat.clearcoat_factor,
            clearcoat_roughness=extensions.clearcoat.clearcoat_roughness_factor,
            transmission_factor=extensions.transmission.transmission_factor,
            base_color=self._slot(shading.base_color_texture, f"{pbr_place}.baseColorTexture"),
            metallic_roughness=self._slot(
                shading.metallic_roughness_texture, f"{pbr_place}.metallicRoughnessTexture"
            ),
            normal=self._slot(normal, f"{place}.normalTexture"),
            occlusion=self._slot(occlusion, f"{place}.occlusionTexture"),
            emissive=self._slot(source.emissive_texture, f"{place}.emissiveTexture"),
        )

    def _warn_of_left_out(self, source: Source, place: str) -> None:
        coat, glass = source.extensions.clearcoat, source.extensions.transmission
        for name, given in (
            ("clearcoatTexture", coat.clearcoat_texture),
            ("clearcoatRoughnessTexture", coat.clearcoat_roughness_texture),
            ("clearcoatNormalTexture", coat.clearcoat_normal_texture),
            ("transmissionTexture", glass.transmission_texture),
        ):
            if given is not None:
                self._warn(f"{place}: its {name} is left out; its factors are used alone")

    def _slot(self, info: TextureInfo | None, place: str) -> TextureSlot | None:
        if info is None:
            return None
        uv_set, transform = info.tex_coord, UvTransform()
        given = info.extensions.transform
        if given is not None:
            uv_set = uv_set if given.tex_coord is None else given.tex_coord
            numbers = (*given.offset, given.rotation, *given.scale)
            if max(map(abs, numbers)) > MAX_COORDINATE:
                raise refused(place, "its KHR_texture_transform holds a number beyond all sense")
            transform = UvTransform(given.offset, given.rotation, given.scale)
        if uv_set > 1:
            self._warn(f"{place} uses TEXCOORD_{uv_set}; it is left out (0 and 1 are read)")
            return None
        source = pick(self._document.textures, info.index, "textures", place).source
        if source is None:
            self._warn(f"{place}: textures[{info.index}] has no PNG or JPEG; it is left out")
            return None
        return TextureSlot(self._texture(info.index, source), uv_set, transform)

    def _emitted(self, source: Source, place: str) -> Vec3:
        strength = source.extensions.emissive_strength.emissive_strength
        if strength > MAX_COORDINATE:
            raise refused(place, f"its emissive strength {strength:g} is beyond all sense")
        red, green, blue = source.emissive_factor
        return red * strength, green * strength, blue * strength

    def _texture(self, index: int, source: int) -> int:
        if index not in self._texture_of:
            place = f"textures[{index}]"
            texture = self._document.textures[index]
            image = self._image(source, place)
            if texture.sampler is None:
                converted = Texture(image)
            else:
                sampler = pick(self._document.samplers, texture.sampler, "samplers", place)
                converted = Texture(
                    image,
                    wrap_s=Wrap(sampler.wrap_s),
                    wrap_t=Wrap(sampler.wrap_t),
                    mag_filter=MagFilter(sampler.mag_filter),
                    min_filter=MinFilter(sampler.min_filter),
                )
            self._texture_of[index] = len(self.textures)
            self.textures.append(converted)
        return self._texture_of[index]

    def _image(self, index: int, place: str) -> int:
        if index not in self._image_of:
            source = pick(self._document.images, index, "images", place)
            here = f"images[{index}]"
            if source.buffer_view is None:
                raise refused(
                    here,
                    "its bytes are outside the file",
                    "Pack the scene first (render.package.pack makes one self-contained file).",
                )
            data = self._accessors.view(source.buffer_view, here)
            image = self._decoder.decode(data, source.name or here, here)
            self._image_of[index] = len(self.images)
            self.images.append(image)
        return self._image_of[index]
