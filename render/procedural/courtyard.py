"""A small courtyard in the morning sun: the scene a newcomer sees first.

A paved circle with a knot of half-corroded copper on a plinth, two rows of balls (rough to smooth;
dielectric before metal), fluted columns under lamps, a brick wall and two shrubs. About 70,000
triangles; every texture slot, both texture coordinate sets, vertex colours, alpha masking and
shared meshes are in use. The sun's shadows are painted into the base colour of the paving and of
the balls' bench.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from render.gltf.writer import GlbWriter
from render.procedural import shapes, textures
from render.procedural.shapes import Shape
from render.procedural.sunlight import sunlight
from render.procedural.textures import Color, Field
from render.scene import Uint8Array

_FLOOR_RADIUS = 3.75
_COLUMN_RING = 2.95
_COLUMN_ANGLES = tuple(np.radians((-150.0, -110.0, -70.0, 70.0, 110.0, 150.0)))
_SHRUBS = ((-2.2, 1.85), (2.2, 1.85))
_GLAZES: tuple[Color, ...] = (
    (0.72, 0.20, 0.16),
    (0.85, 0.55, 0.16),
    (0.36, 0.52, 0.27),
    (0.12, 0.46, 0.52),
    (0.20, 0.24, 0.56),
)
_GOLD: Color = (1.00, 0.78, 0.36)
_BALL_RADIUS = 0.19
_TILE = 0.5  # of the paving, metres; its relief has tiles as large, from the same corner
_BENCH = (1.75, 2.55, 0.22)  # inner and outer radius, height; metres
_SUN_AZIMUTH, _SUN_ELEVATION = np.radians(70.0), np.radians(46.0)  # azimuth 0 is +Z, towards +X
_SHADOW: Color = (0.46, 0.49, 0.57)  # what a shadow leaves of a colour, sRGB-encoded: sky light


@cache
def courtyard() -> bytes:
    """The scene as a GLB."""
    return _Courtyard().build()


class _Courtyard:
    """Builds the document part by part."""

    def __init__(self) -> None:
        self._glb = GlbWriter()
        self._solid: dict[int, Shape] = {}  # what casts shadows, by mesh
        self._casters: list[NDArray[np.float64]] = []  # triangles (n, 3, 3), world frame
        self._glb.document["extensionsUsed"] = ["KHR_lights_punctual"]
        self._glb.document["extensions"] = {
            "KHR_lights_punctual": {
                "lights": [{"type": "directional", "color": [1.0, 0.957, 0.885], "intensity": 3.4}]
            }
        }

    def build(self) -> bytes:
        self._light()
        stone = self._stone()
        self._plinth_and_knot(stone)
        self._balls(stone)
        self._columns(stone)
        self._wall()
        self._shrubs()
        self._bench_top()  # these two show the shadows of all that stands by now
        self._floor()
        return self._glb.glb()

    def _light(self) -> None:
        # Up by the elevation, then round by the azimuth; the light goes along the node's -Z.
        half_up, half_round = -_SUN_ELEVATION / 2, _SUN_AZIMUTH / 2
        rotation = np.array(
            (
                np.cos(half_round) * np.sin(half_up),
                np.sin(half_round) * np.cos(half_up),
                -np.sin(half_round) * np.sin(half_up),
                np.cos(half_round) * np.cos(half_up),
            )
        )
        self._glb.add(
            "nodes",
            {
                "name": "sun",
                "rotation": rotation.tolist(),
                "extensions": {"KHR_lights_punctual": {"light": 0}},
            },
        )

    def _floor(self) -> None:
        """Paving: tiles repeat on TEXCOORD_0, the painted shadows span TEXCOORD_1."""
        rng = np.random.default_rng(11)
        paving = textures.tiles(512, 4, 4, joint=0.03, shift=0.0, seed=3)
        grain = textures.noise(512, 1.1, rng)
        relief = textures.normal_map(paving.relief + 0.12 * grain, 3.0)
        surface = textures.material_map(
            0.4 + 0.6 * paving.relief,
            0.9 - 0.45 * paving.relief * (0.4 + 0.6 * paving.shade) + 0.1 * grain,
            np.zeros_like(grain),
        )
        surface_texture = self._glb.texture(surface, "paving surface")
        material = self._glb.add(
            "materials",
            {
                "name": "paving",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {
                        "index": self._glb.texture(self._painted_paving(rng), "paving color"),
                        "texCoord": 1,
                    },
                    "metallicRoughnessTexture": {"index": surface_texture},
                },
                "normalTexture": {"index": self._glb.texture(relief, "paving relief")},
                "occlusionTexture": {"index": surface_texture},
            },
        )
        disc = shapes.disc(_FLOOR_RADIUS, 96, 8)
        primitive = self._primitive(disc, material, uv_scale=0.5)
        across = disc.uv / np.float32(2 * _FLOOR_RADIUS)
        primitive["attributes"]["TEXCOORD_1"] = self._glb.accessor(across)
        self._node(self._glb.mesh([primitive], "paving"))
        rim = shapes.lathe([(_FLOOR_RADIUS, -0.14), (_FLOOR_RADIUS, 0.0)], 96)
        self._node(self._mesh(rim, self._plain((0.42, 0.40, 0.38), 0.9), "rim"))

    def _stone(self) -> int:
        """Pale limestone, for columns and steps."""
        rng = np.random.default_rng(23)
        coarse, fine = textures.noise(512, 1.6, rng), textures.noise(512, 0.7, rng)
        weather = 0.6 * coarse + 0.4 * fine
        surface = textures.material_map(
            0.7 + 0.3 * weather, 0.72 + 0.25 * fine, np.zeros_like(fine)
        )
        surface_texture = self._glb.texture(surface, "stone surface")
        color = textures.color_map((0.66, 0.60, 0.52), (0.90, 0.87, 0.80), weather)
        return self._glb.add(
            "materials",
            {
                "name": "limestone",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": self._glb.texture(color, "stone color")},
                    "metallicRoughnessTexture": {"index": surface_texture},
                },
                "normalTexture": {
                    "index": self._glb.texture(textures.normal_map(weather, 6.0), "stone relief"),
                    "scale": 0.8,
                },
                "occlusionTexture": {"index": surface_texture, "strength": 0.8},
            },
        )

    def _plinth_and_knot(self, stone: int) -> None:
        steps = shapes.lathe(
            [(0.95, 0.0), (0.95, 0.16), (0.74, 0.16), (0.74, 0.32), (0.50, 0.32), (0.47, 0.40),
             (0.40, 0.44), (0.40, 0.86), (0.46, 0.92), (0.52, 0.95), (0.52, 1.04), (0.0, 1.04)],
            64,
        )  # fmt: skip
        self._node(self._mesh(steps, stone, "plinth"))
        rng = np.random.default_rng(37)
        patina = np.clip(textures.noise(512, 1.5, rng) * 2.6 - 1.15, 0.0, 1.0)
        grain = textures.noise(512, 0.6, rng)
        surface = textures.material_map(
            np.ones_like(patina), 0.34 + 0.5 * patina + 0.12 * grain, 1.0 - patina
        )
        material = self._glb.add(
            "materials",
            {
                "name": "corroded copper",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {
                        "index": self._glb.texture(
                            textures.color_map((0.98, 0.66, 0.50), (0.30, 0.62, 0.53), patina),
                            "copper color",
                        )
                    },
                    "metallicRoughnessTexture": {
                        "index": self._glb.texture(surface, "copper surface")
                    },
                },
                "normalTexture": {
                    "index": self._glb.texture(
                        textures.normal_map(0.5 * patina + 0.15 * grain, 4.0), "copper relief"
                    )
                },
            },
        )
        knot = shapes.torus_knot(2, 3, radius=0.44, tube=0.145, segments=288, sides=32)
        self._node(self._mesh(knot, material, "knot"), translation=[0.0, 1.56, 0.0])

    def _balls(self, stone: int) -> None:
        """Roughness falls from left to right; the front row is dielectric, the back one metal."""
        inner, outer, height = _BENCH
        bench = shapes.arc_wall(
            inner=inner, outer=outer, height=height, start=-0.78, end=0.78, uv_per_metre=1.0
        )
        self._node(self._mesh(bench, stone, "bench"))
        ball = shapes.sphere(_BALL_RADIUS, 48)
        for metallic, distance in ((0.0, 2.36), (1.0, 1.93)):
            for number, glaze in enumerate(_GLAZES):
                share = number / (len(_GLAZES) - 1)
                angle = -0.62 + 1.24 * share
                color = _GOLD if metallic else glaze
                material = self._plain(color, 0.85 - 0.6 * share, metallic)
                self._node(
                    self._mesh(ball, material, "ball"),
                    translation=[
                        distance * float(np.sin(angle)),
                        height + _BALL_RADIUS,
                        distance * float(np.cos(angle)),
                    ],
                )

    def _bench_top(self) -> None:
        """A slab on the bench that carries its shadows; it overhangs, so that no rim shows."""
        inner, outer, height = _BENCH
        inner, outer, height = inner - 0.008, outer + 0.008, height + 0.004
        angles = np.linspace(-0.784, 0.784, 65)
        ring = np.stack((np.sin(angles), np.zeros_like(angles), np.cos(angles)), axis=-1)
        slab = shapes.surface(
            np.stack((ring * outer, ring * inner)) + np.array((0.0, height, 0.0)), (1.0, 1.0)
        )
        corner, side = (-2.0, 0.9), 4.0
        lit = self._sunlight(height, corner, side, 1024)
        weather = textures.noise(1024, 1.2, np.random.default_rng(29))
        color = textures.color_map((0.72, 0.67, 0.59), (0.88, 0.84, 0.77), weather)
        material = self._glb.add(
            "materials",
            {
                "name": "bench top",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {
                        "index": self._glb.texture(_shaded(color, lit)[:512], "bench color")
                    },
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.8,
                },
            },
        )
        primitive = self._primitive(slab, material, with_tangents=False)
        across = (slab.positions[:, (0, 2)] - np.array(corner)) / (side, side / 2)
        primitive["attributes"]["TEXCOORD_0"] = self._glb.accessor(across.astype(np.float32))
        self._node(self._glb.mesh([primitive], "bench top"))

    def _columns(self, stone: int) -> None:
        foot = shapes.lathe(
            [(0.34, 0.0), (0.34, 0.12), (0.30, 0.18), (0.30, 0.24), (0.25, 0.28)], 40
        )
        shaft = shapes.lathe([(0.235, 0.28), (0.245, 0.9), (0.20, 2.3)], 96, flutes=16, depth=0.09)
        head = shapes.lathe(
            [(0.20, 2.3), (0.26, 2.36), (0.26, 2.42), (0.36, 2.52), (0.36, 2.62), (0.0, 2.62)], 40
        )
        column = self._mesh(shapes.joined([foot, shaft, head]), stone, "column")
        lamp = self._lamp()
        for angle in _COLUMN_ANGLES:
            x, z = _COLUMN_RING * float(np.sin(angle)), _COLUMN_RING * float(np.cos(angle))
            self._node(column, translation=[x, 0.0, z])
            self._node(lamp, translation=[x, 2.62 + 0.19, z], scale=[0.2, 0.2, 0.2])

    def _lamp(self) -> int:
        """A globe that shines through a dark lattice."""
        glow = textures.lattice(256, 6)
        warm = textures.color_map((0.0, 0.0, 0.0), (1.0, 0.80, 0.46), glow)
        body = textures.color_map((0.13, 0.11, 0.10), (0.90, 0.84, 0.72), glow)
        material = self._glb.add(
            "materials",
            {
                "name": "lamp",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": self._glb.texture(body, "lamp color")},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.45,
                },
                "emissiveTexture": {"index": self._glb.texture(warm, "lamp glow")},
                "emissiveFactor": [0.9, 0.9, 0.9],
            },
        )
        return self._mesh(shapes.sphere(1.0, 32), material, "lamp")

    def _wall(self) -> None:
        rng = np.random.default_rng(53)
        bond = textures.tiles(512, 8, 4, joint=0.09, shift=0.5, seed=5)
        grain = textures.noise(512, 0.8, rng)
        tone = 0.55 * bond.shade + 0.45 * grain
        brick = textures.color_map((0.44, 0.19, 0.13), (0.76, 0.42, 0.29), tone)
        mortar = textures.color_map((0.56, 0.53, 0.48), (0.72, 0.70, 0.65), grain)
        color = np.where(bond.relief[..., None] > 0.25, brick, mortar)
        surface = textures.material_map(
            0.35 + 0.65 * bond.relief, 0.82 + 0.15 * grain, np.zeros_like(grain)
        )
        surface_texture = self._glb.texture(surface, "brick surface")
        material = self._glb.add(
            "materials",
            {
                "name": "brick",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": self._glb.texture(color, "brick color")},
                    "metallicRoughnessTexture": {"index": surface_texture},
                },
                "normalTexture": {
                    "index": self._glb.texture(
                        textures.normal_map(bond.relief + 0.25 * grain, 3.0), "brick relief"
                    )
                },
                "occlusionTexture": {"index": surface_texture},
            },
        )
        wall = shapes.arc_wall(
            inner=3.35,
            outer=3.6,
            height=1.05,
            start=np.radians(100.0),
            end=np.radians(260.0),
            uv_per_metre=0.9,
        )
        # Without tangents: the renderer orients this normal map by derivatives.
        self._node(self._mesh(wall, material, "wall", with_tangents=False))

    def _shrubs(self) -> None:
        rng = np.random.default_rng(71)
        pot = shapes.lathe(
            [(0.20, 0.0), (0.30, 0.42), (0.35, 0.42), (0.35, 0.52), (0.29, 0.52), (0.26, 0.40)], 40
        )
        soil = shapes.moved(shapes.disc(0.28, 40, 2), (0.0, 0.46, 0.0))
        terracotta = self._plain((0.70, 0.36, 0.24), 0.8)
        earth = self._plain((0.20, 0.14, 0.10), 0.95)
        foliage = self._glb.add(
            "materials",
            {
                "name": "leaves",
                "alphaMode": "MASK",
                "alphaCutoff": 0.5,
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": self._glb.texture(textures.leaf(256), "leaf")},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                },
            },
        )
        bush = shapes.moved(shapes.leaves(420, 0.46, 0.22, rng), (0.0, 0.92, 0.0))
        primitive = self._primitive(bush, foliage)
        # Leaves deep inside get less light than the outer ones.
        depth = np.linalg.norm(bush.positions - np.array((0.0, 0.92, 0.0), np.float32), axis=1)
        light = np.clip(depth / 0.5, 0.35, 1.0) ** 1.5
        tint = np.repeat(np.round(light * 255.0)[:, None], 4, axis=1).astype(np.uint8)
        tint[:, 3] = 255
        primitive["attributes"]["COLOR_0"] = self._glb.accessor(tint, normalized=True)
        shrub = self._glb.mesh(
            [self._primitive(pot, terracotta), self._primitive(soil, earth), primitive], "shrub"
        )
        self._solid[shrub] = shapes.joined([pot, bush])
        for x, z in _SHRUBS:
            self._node(shrub, translation=[x, 0.0, z])

    def _plain(self, color: Color, roughness: float, metallic: float = 0.0) -> int:
        """A material without textures; `color` is sRGB-encoded."""
        encoded = np.array(color)
        linear = np.where(
            encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4
        )  # IEC 61966-2-1
        return self._glb.add(
            "materials",
            {
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*linear.round(4).tolist(), 1.0],
                    "metallicFactor": metallic,
                    "roughnessFactor": round(roughness, 3),
                }
            },
        )

    def _mesh(self, shape: Shape, material: int, name: str, with_tangents: bool = True) -> int:
        primitive = self._primitive(shape, material, with_tangents=with_tangents)
        mesh = self._glb.mesh([primitive], name)
        self._solid[mesh] = shape
        return mesh

    def _primitive(
        self, shape: Shape, material: int, uv_scale: float = 1.0, with_tangents: bool = True
    ) -> dict[str, Any]:
        attributes = {
            "POSITION": self._glb.accessor(shape.positions),
            "NORMAL": self._glb.accessor(shape.normals),
            "TEXCOORD_0": self._glb.accessor(shape.uv * np.float32(uv_scale)),
        }
        if with_tangents:
            attributes["TANGENT"] = self._glb.accessor(shape.tangents)
        small = len(shape.positions) <= 65_535
        indices = shape.indices.astype(np.uint16 if small else np.uint32)
        return {
            "attributes": attributes,
            "indices": self._glb.accessor(indices),
            "material": material,
        }

    def _node(self, mesh: int, **placement: Any) -> None:
        node: Mapping[str, Any] = {"mesh": mesh, **placement}
        self._glb.add("nodes", node)
        if mesh in self._solid:
            shape = self._solid[mesh]
            points = shape.positions.astype(np.float64) * placement.get("scale", (1.0, 1.0, 1.0))
            points += placement.get("translation", (0.0, 0.0, 0.0))
            self._casters.append(points[shape.indices.reshape(-1, 3)])

    def _sunlight(
        self, height: float, corner: tuple[float, float], side: float, size: int
    ) -> Field:
        """Where the sun reaches a square at that height; see `sunlight`."""
        level = np.cos(_SUN_ELEVATION)
        towards = (
            float(level * np.sin(_SUN_AZIMUTH)),
            float(np.sin(_SUN_ELEVATION)),
            float(level * np.cos(_SUN_AZIMUTH)),
        )
        casters = np.concatenate(self._casters)
        return sunlight(casters, towards, height=height, corner=corner, side=side, size=size)

    def _painted_paving(self, rng: np.random.Generator) -> Uint8Array:
        """The whole floor's base colour: two stones in a checker, dirt, shadows."""
        size, side = 1024, 2 * _FLOOR_RADIUS
        row, column = np.indices((size, size)) * side / size // _TILE
        row, column = row.astype(int), column.astype(int)
        per_tile = rng.random((row.max() + 1, column.max() + 1))[row, column]
        checker = (row + column) % 2
        dirt = textures.noise(size, 1.4, rng)
        mix = 0.12 + 0.62 * checker + 0.22 * (per_tile - 0.5) + 0.18 * (dirt - 0.5)
        color = textures.color_map((0.36, 0.34, 0.34), (0.86, 0.80, 0.70), mix)
        return _shaded(color, self._sunlight(0.0, (-_FLOOR_RADIUS, -_FLOOR_RADIUS), side, size))


def _shaded(color: Uint8Array, lit: Field) -> Uint8Array:
    """A picture (h, w, 3) where the sun reaches it as `lit` (h, w) says."""
    left = np.array(_SHADOW) * (1.0 - lit[..., None]) + lit[..., None]
    return np.round(color * left).astype(np.uint8)
