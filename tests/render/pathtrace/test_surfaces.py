"""Materials and textures in buffers: each texel where its material says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mesh.core.errors import ContentRefused
from render.pathtrace.surfaces import NO_MAP, pack_surfaces
from render.scene import Image, MagFilter, Material, Scene, Texture, TextureSlot, Wrap


@pytest.fixture
def textured(square: Callable, scene_of: Callable) -> Scene:
    """Two images that materials use, and one between them that none does."""
    rng = np.random.default_rng(1)
    sizes = [(4, 8), (64, 64), (2, 6)]
    images = tuple(Image(rng.integers(0, 256, (*size, 4), np.uint8), "") for size in sizes)
    nearest = Texture(2, Wrap.CLAMP_TO_EDGE, Wrap.MIRRORED_REPEAT, MagFilter.NEAREST)
    material = Material(base_color=TextureSlot(0), emissive=TextureSlot(1, uv_set=1))
    return scene_of([square()], [material], images=images, textures=(Texture(0), nearest))


@pytest.mark.parametrize(("page_bytes", "pages"), [(10_000, 1), (128, 2)])
def test_a_map_says_where_its_texels_are(textured: Scene, page_bytes: int, pages: int):
    made = pack_surfaces(textured, page_bytes)
    assert len(made.pages) == pages
    maps = made.materials[0]["maps"]
    for number, image in ((0, 0), (3, 2)):
        pixels = textured.images[image].rgba8
        at = 4 * int(maps[number]["at"])
        stored = made.pages[maps[number]["page"]][at : at + pixels.size]
        assert np.array_equal(stored.reshape(pixels.shape), pixels)
        assert maps[number]["size"] == pixels.shape[1] | pixels.shape[0] << 16
    assert (maps[1:3]["at"] == NO_MAP).all()
    assert maps[3]["sampling"] == 1 | 2 << 2 | 16
    assert maps[3]["rows"][0, 3] == 1


def test_a_scene_without_textures_has_something_to_bind(textured: Scene):
    made = pack_surfaces(replace(textured, materials=(Material(),)), 1000)
    assert [len(page) for page in made.pages] == [4]


@pytest.mark.parametrize("page_bytes", [64, 4])
def test_textures_that_no_buffer_holds_are_refused(textured: Scene, page_bytes: int):
    with pytest.raises(ContentRefused, match="textures take more than the device binds"):
        pack_surfaces(textured, page_bytes)
