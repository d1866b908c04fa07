"""A scene's lights at a time, as shaders take them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from render.motion import Stance
from render.pieces import TileSpec
from render.scene import Light, LightKind, Vec3

# Per light four vectors: position or direction towards it, w 1 or 0 | intensity, w 1 / reach
# (0 for no end) | direction from what it shines on towards a spot light, w scale | x offset of the
# cone's falloff (KHR_lights_punctual, "Inner and Outer Cone Angles").
PACKED = (4, 4)


class Lighting(IntEnum):
    """Which lights a tile has: shaders are specialised for it."""

    NONE = 0
    ONE_SUN = 1  # one directional light
    SEVERAL = 2


_NARROWEST = 1e-3  # between the cosines of a spot light's cones


def lighting(packed: NDArray[np.float32]) -> Lighting:
    """For packed lights (n, 4, 4)."""
    if not len(packed):
        return Lighting.NONE
    return Lighting.ONE_SUN if len(packed) == 1 and packed[0, 0, 3] == 0 else Lighting.SEVERAL


def pack_lights(lights: Sequence[Light], now: Stance | None) -> NDArray[np.float32]:
    """float32 (n, 4, 4), in the world frame."""
    packed = np.zeros((len(lights), *PACKED), np.float32)
    for target, light in zip(packed, lights, strict=True):
        moved = light.node >= 0 and now is not None
        world = now.world_from_node[light.node] if moved and now else light.world_from_light
        axis = _unit(world[:, 2].tolist())
        directional = light.kind is LightKind.DIRECTIONAL
        target[0] = (*axis, 0.0) if directional else (*world[:, 3], 1.0)
        target[1, :3] = [channel * light.intensity for channel in light.color]
        target[1, 3] = 1.0 / light.reach if light.reach else 0.0
        target[2, :3] = axis
        target[2, 3], target[3, 0] = _cone(light)
    return packed


def sun(towards: Vec3, illuminance: Vec3) -> NDArray[np.float32]:
    """One directional light: float32 (4, 4)."""
    packed = np.zeros(PACKED, np.float32)
    packed[0, :3], packed[1, :3] = towards, illuminance
    packed[3, 0] = 1.0
    return packed


def lights_of(scene: NDArray[np.float32], tile: TileSpec) -> NDArray[np.float32]:
    """All that shine on a tile, packed (n, 4, 4): the scene's, and then the tile's own sun."""
    if not any(tile.illuminance):
        return scene
    return np.concatenate([scene, sun(tile.towards_light, tile.illuminance)[None]])


def brightest_sun(packed: NDArray[np.float32]) -> int:
    """Which of packed lights (n, 4, 4) is the brightest directional one; -1 if none is."""
    bright = np.where(packed[:, 0, 3] == 0, packed[:, 1, :3].sum(axis=1), 0.0)
    return int(bright.argmax()) if bright.size and bright.max() > 0 else -1


def _cone(light: Light) -> tuple[float, float]:
    """Scale and offset of the axis' cosine; without a cone it counts as 1 everywhere."""
    if light.kind is not LightKind.SPOT:
        return 0.0, 1.0
    outer = math.cos(light.outer_cone)
    scale = 1.0 / max(_NARROWEST, math.cos(light.inner_cone) - outer)
    return scale, -outer * scale


def _unit(axis: Sequence[float]) -> Vec3:
    x, y, z = axis
    length = math.sqrt(x * x + y * y + z * z)
    return (x / length, y / length, z / length) if length > 1e-9 else (0.0, 0.0, 1.0)
