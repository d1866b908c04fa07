"""What is fuzzed: seeds, mutations of their own kind, and the code that must stand them."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from bench.fuzz import seeds
from bench.fuzz.documents import Json, spoil_glb, spoil_gltf
from bench.fuzz.packed import packed_sweeps, spoil_packed, take_packed
from bench.fuzz.skies import spoil_sky
from bench.fuzz.sound import assert_sound
from bench.fuzz.target import Target
from render.environment import decode_environment
from render.gltf.container import split_glb
from render.package import load_scene, pack

_SECRET = b"\x89PNG\r\n\x1a\nthis lies outside the scene's folder"


def take_scene(data: bytes) -> None:
    """A packed scene, as a device reads it from any gateway of its realm."""
    assert_sound(load_scene(data))


def take_gltf(data: bytes) -> None:
    """A .gltf beside its files, as a gateway packs it, and as a device then reads that."""
    path = _folder() / "scene.gltf"
    path.write_bytes(data)
    packed = pack(path).data
    assert _SECRET not in bytes(packed)
    take_scene(bytes(packed))


def take_sky(data: bytes) -> None:
    """An environment, as a device reads it."""
    pixels = decode_environment(data)
    assert pixels.shape[2] == 4
    assert np.isfinite(pixels).all()
    assert (pixels >= 0).all()


@cache
def _folder() -> Path:
    """Made once a process, and removed with it."""
    outside = Path(tempfile.mkdtemp(prefix="framemesh-fuzz-"))
    atexit.register(shutil.rmtree, outside, ignore_errors=True)
    (outside / "secret").write_bytes(_SECRET)
    folder = outside / "scene"
    folder.mkdir()
    seeds.write_folder(folder)
    return folder


@cache
def _documents() -> list[Json]:
    return [msgspec.json.decode(split_glb(glb)[0]) for glb in seeds.scenes()]


def _spoil_scene(rng: random.Random, data: bytes) -> bytes:
    return spoil_glb(rng, data, _documents())


def _spoil_gltf(rng: random.Random, data: bytes) -> bytes:
    return spoil_gltf(rng, data, _documents())


TARGETS: Mapping[str, Target] = {
    "scene": Target(seeds.scenes, _spoil_scene, take_scene),
    "gltf": Target(seeds.gltfs, _spoil_gltf, take_gltf),
    "sky": Target(seeds.skies, spoil_sky, take_sky),
    "packed": Target(packed_sweeps, spoil_packed, take_packed),
}
