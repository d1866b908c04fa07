"""A picture's bytes do not depend on how it is cut, nor on which process draws which part."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mesh.core.workload import CutHint, DeviceInfo, Piece, SessionRequest
from mesh.device.supervisor import Device, Plugins, open_device
from render.camera import Orbit, frame_bounds
from render.pieces import Antialias, TileSpec
from render.scene import Scene
from render.session import RenderSession
from render.tiles import Rect, cut
from render.workload import create

SIZES = [(320, 180), (424, 240)]
TILINGS = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 25

View = Callable[..., TileSpec]
Tiling = Callable[..., list[Rect]]


@pytest.fixture(params=["courtyard", "helmet"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return request.getfixturevalue(request.param)


def close_up(scene: Scene, aspect: float) -> Orbit:
    """Near enough for triangles to cross every edge of the frame."""
    pose = frame_bounds(tuple(scene.bounds_min), tuple(scene.bounds_max), aspect)
    return Orbit(pose.yaw + 0.3, pose.pitch, pose.distance * 0.5, pose.target)


@pytest.mark.parametrize("size", SIZES)
def test_one_two_and_six_tiles_make_the_same_bytes(
    studio, scene: Scene, view_of: View, size: tuple[int, int]
):
    view = view_of(close_up(scene, size[0] / size[1]), size)
    whole = studio.shoot(scene, view, size)
    assert np.ptp(whole.rgba[..., :3]) > 100  # there is something to see
    for tiles in (2, 6):
        parts = studio.shoot(scene, view, size, cut(*size, tiles))
        assert parts.i420 == whole.i420
        assert np.array_equal(parts.rgba, whole.rgba)


@pytest.mark.parametrize(("antialias", "shadows"), [(1, 0), (4, 0), (1, 1024)])
def test_random_tilings_make_the_same_bytes(
    studio, scene: Scene, view_of: View, random_tiling: Tiling, antialias: Antialias, shadows: int
):
    size = SIZES[0]
    view = view_of(close_up(scene, size[0] / size[1]), size, shadows=shadows)
    whole = studio.shoot(scene, view, size, antialias=antialias)
    for seed in range(TILINGS):
        tiling = random_tiling(size, 1 + seed % 12, seed)
        parts = studio.shoot(scene, view, size, tiling, antialias=antialias)
        assert parts.i420 == whole.i420, tiling
        assert np.array_equal(parts.rgba, whole.rgba), tiling


def test_samples_bring_edges_nearer_to_those_of_many_pixels(studio, scene: Scene, view_of: View):
    """The reference is drawn four times as wide and high, and averaged in linear light."""
    (width, height), across = SIZES[0], 4
    view = view_of(close_up(scene, width / height), SIZES[0])
    large = studio.shoot(scene, view, (across * width, across * height)).rgba[..., :3]
    cells = decoded(large).reshape(height, across, width, across, 3)
    expected = cells.mean(axis=(1, 3))
    errors = [
        np.abs(decoded(studio.shoot(scene, view, SIZES[0], antialias=n).rgba[..., :3]) - expected)
        for n in (1, 4)
    ]
    assert errors[1].mean() < 0.85 * errors[0].mean()  # texture is as it was


def decoded(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """sRGB to linear light (IEC 61966-2-1)."""
    value = rgb / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def test_a_tile_draws_only_what_it_may_show(studio, scene: Scene, view_of: View):
    size = SIZES[0]
    view = view_of(close_up(scene, size[0] / size[1]), size)
    whole = studio.shoot(scene, view, size)
    corner = studio.shoot(scene, view, size, [Rect(0, 0, 32, 32)])
    assert corner.clusters < whole.clusters / 2


def session_of(name: str, scenes: dict[str, str]) -> RenderSession:
    options = {"scene": name, "width": 320, "height": 180, "tiles": 6, "turntable": 0}
    return create({"scenes": scenes}).open_session(SessionRequest("render", options))


async def run_pieces(device: Device, pieces: Sequence[Piece]) -> dict[int, bytes]:
    made = {}
    for piece in pieces:
        result = await device.run(
            "s", "render", piece.spec, piece.output_bytes, kill_after_us=20_000_000
        )
        made[piece.index] = bytes(result.lease.view)
        result.lease.release()
    return made


@pytest.mark.parametrize("name", ["courtyard", "helmet"])
async def test_tiles_split_among_two_device_processes_make_the_bytes_of_one(
    name: str, device_info: DeviceInfo, request: pytest.FixtureRequest
):
    scenes = {}
    if name == "helmet":
        path: Path = request.getfixturevalue("helmet_path")
        scenes[name] = str(path)
    session = session_of(name, scenes)
    assets = {asset.digest: asset.data for asset in session.setup.assets}
    plugins = Plugins({"render": "render.workload:create"})
    async with AsyncExitStack() as stack:
        devices = []
        for index in range(2):
            opened = open_device(
                f"render-{index}",
                [device_info],
                {"render": {}},
                changed=lambda _: None,
                plugins=plugins,
            )
            devices.append(await stack.enter_async_context(opened))
        await asyncio.gather(
            *(device.prepare("s", "render", session.setup.spec, assets) for device in devices)
        )
        frames = []
        for split in ([0] * 6, [0, 1, 0, 1, 0, 1]):
            canvas = bytearray(session.picture.nbytes)
            frame = session.open_frame(0, 0, CutHint(2), memoryview(canvas), memoryview(b""))
            shares = [
                [piece for piece in frame.pieces if split[piece.index] == number]
                for number in range(2)
            ]
            for made in await asyncio.gather(*map(run_pieces, devices, shares)):
                for index, planes in made.items():
                    frame.accept(index, memoryview(planes))
            frame.finish()
            frames.append(bytes(canvas))
    assert frames[0] == frames[1]
    assert np.ptp(np.frombuffer(frames[0], np.uint8)) > 100
