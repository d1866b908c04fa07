"""Frame times of pygfx on wgpu: the same scene, camera and light as ours, in this process.

What it cannot be given is left out: alpha cut-offs, second texture coordinates, texture transforms
and emission. FlightHelmet has none of them.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers.threejs import Job
from render.scene import AlphaMode, Material, MinFilter, Scene, TextureSlot, Vec3

_NO_MIPMAPS = (MinFilter.NEAREST, MinFilter.LINEAR)


class PygfxFrames:
    """A pygfx scene that draws when asked to. Raises ImportError if pygfx is not installed."""

    def __init__(self, scene: Scene, job: Job) -> None:
        # wgpu looks for a display there, and complains on standard error where it is not set.
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
        import pygfx  # noqa: PLC0415  (extra `bench`)
        import wgpu  # noqa: PLC0415

        self._pygfx: Any = pygfx
        self._job, self._source = job, scene
        usage = wgpu.TextureUsage
        self._target = pygfx.Texture(
            dim=2,
            size=(job.width, job.height, 1),
            format="rgba8unorm-srgb",
            usage=usage.COPY_SRC | usage.RENDER_ATTACHMENT | usage.TEXTURE_BINDING,
        )
        self._renderer = pygfx.renderers.WgpuRenderer(self._target)
        self._renderer.ppaa = "none"  # no antialiasing
        self._renderer.pixel_scale = 1
        self._textures: dict[tuple[int, str], Any] = {}
        self._scene = self._build()
        aspect = job.width / job.height
        # Its field of view is that of a square as wide as width and height are on average.
        mean = math.tan(math.radians(job.fov_degrees) / 2) * (1 + aspect) / 2
        self._camera = pygfx.PerspectiveCamera(
            math.degrees(2 * math.atan(mean)), aspect, depth_range=(job.near, job.far)
        )
        self._eye: Vec3 | None = None
        info = self._renderer.device.adapter.info
        self.renderer = f"pygfx {pygfx.__version__}, wgpu {wgpu.__version__}, {info['description']}"

    def frames(self, eyes: Sequence[Vec3]) -> list[float]:
        """Milliseconds per frame."""
        return [self._frame(eye) for eye in eyes]

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The frame last drawn, uint8 (h, w, 3)."""
        made = np.asarray(self._renderer.snapshot())
        return made.reshape(self._job.height, self._job.width, 4)[..., :3]

    def _frame(self, eye: Vec3) -> float:
        began = time.perf_counter()
        self._camera.local.position = eye
        self._camera.look_at(self._job.target)
        self._renderer.render(self._scene, self._camera)
        self._wait()
        return (time.perf_counter() - began) * 1e3

    def _wait(self) -> None:
        """Read one pixel. (wgpu 0.32's on_submitted_work_done_sync raises TypeError.)"""
        from pygfx.renderers.wgpu.engine.update import ensure_wgpu_object  # noqa: PLC0415

        source = {"texture": ensure_wgpu_object(self._target), "origin": (0, 0, 0)}
        self._renderer.device.queue.read_texture(source, {"bytes_per_row": 256}, (1, 1, 1))

    def _build(self) -> Any:
        pygfx, job, source = self._pygfx, self._job, self._source
        scene = pygfx.Scene()
        scene.add(pygfx.Background.from_color(pygfx.Color.from_physical(*job.background)))
        light = pygfx.DirectionalLight(
            pygfx.Color.from_physical(*job.light_color), job.light_intensity
        )
        light.local.position = job.towards_light
        scene.add(light)
        for draw in source.draws:
            mesh = source.primitives[draw.primitive]
            given = {"tangents": mesh.tangents, "texcoords": mesh.uv0}
            geometry = pygfx.Geometry(
                positions=mesh.positions,
                normals=mesh.normals,
                indices=mesh.indices.reshape(-1, 3),
                **{name: array for name, array in given.items() if array is not None},
            )
            placed = pygfx.Mesh(geometry, self._material(source.materials[mesh.material]))
            placed.local.matrix = np.vstack([draw.world_from_mesh[:3], [0, 0, 0, 1]])
            scene.add(placed)
        return scene

    def _material(self, material: Material) -> Any:
        roughness = self._texture(material.metallic_roughness, "physical")
        made = self._pygfx.MeshStandardMaterial(
            color=self._pygfx.Color.from_physical(*material.base_color_factor),
            map=self._texture(material.base_color, "srgb"),
            metalness=material.metallic_factor,
            metalness_map=roughness,
            roughness=material.roughness_factor,
            roughness_map=roughness,
            normal_map=self._texture(material.normal, "physical"),
            ao_map=self._texture(material.occlusion, "physical"),
            side="both" if material.double_sided else "front",
        )
        if material.alpha_mode is AlphaMode.BLEND:
            made.alpha_mode = "blend"
        return made

    def _texture(self, slot: TextureSlot | None, space: str) -> Any:
        if slot is None:
            return None
        texture = self._source.textures[slot.texture]
        mipmaps = texture.min_filter not in _NO_MIPMAPS
        if (texture.image, space) not in self._textures:
            self._textures[texture.image, space] = self._pygfx.Texture(
                np.ascontiguousarray(self._source.images[texture.image].rgba8),
                dim=2,
                colorspace=space,
                generate_mipmaps=mipmaps,
            )
        return self._pygfx.TextureMap(
            self._textures[texture.image, space],
            filter="linear",
            mipmap_filter="linear",
            wrap="repeat",
        )
