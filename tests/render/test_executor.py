"""The device half: what is refused and how, what sessions share, that nothing is left behind."""

from __future__ import annotations

import gc
import hashlib
import math
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mesh.core.errors import ContentRefused, DeviceUnavailable, Misuse
from mesh.core.workload import DeviceInfo, Timing
from render.camera import Orbit
from render.executor import MAX_SESSIONS, RenderExecutor
from render.gltf.writer import GlbWriter
from render.package import pack
from render.pieces import SessionSpec, TileSpec, encode
from render.renderer import Renderer
from render.upscale import FULL, SCALES

SIZE = (320, 180)
SESSION = encode(SessionSpec(*SIZE))
NOTHING = memoryview(b"")


def small_scene(tint: int = 255, alpha: int = 255) -> bytes:
    """Two triangles with a texture, half a metre around the origin; as a packed scene."""
    glb = GlbWriter()
    points = np.float32([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    pixels = np.random.default_rng(tint).integers(0, tint + 1, (256, 256, 4), np.uint8)
    pixels[..., 3] = alpha
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": glb.texture(pixels)}}}
    primitive = {
        "attributes": {
            "POSITION": glb.accessor(points),
            "TEXCOORD_0": glb.accessor(points[:, :2] + np.float32(0.5)),
        },
        "indices": glb.accessor(np.array([0, 1, 2, 0, 2, 3], np.uint16)),
        "material": glb.add("materials", material),
    }
    glb.add("nodes", {"mesh": glb.mesh([primitive])})
    return glb.glb()


def asset(data: bytes) -> dict[str, memoryview]:
    return {hashlib.sha256(data).hexdigest(): memoryview(data)}


@pytest.fixture
def tile(view_of: Callable[..., TileSpec]) -> TileSpec:
    return view_of(Orbit(0.2, 0.1, 2.0, (0, 0, 0)), SIZE)


@pytest.fixture
def run(tile: TileSpec) -> Callable:
    """Run the whole frame, or a changed tile, with as much room as given."""

    def ran(executor: RenderExecutor, session: str = "s", room: int | None = None, **changes):
        spec = encode(msgspec.structs.replace(tile, **changes))
        output = bytearray(SIZE[0] * SIZE[1] * 3 // 2 if room is None else room)
        written = executor.run(session, spec, NOTHING, memoryview(output))
        return bytes(output[:written])

    return ran


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every scene that any renderer uploads from here on."""
    seen: list[object] = []
    upload = Renderer.upload

    def noted(self: Renderer, scene: object) -> object:
        seen.append(scene)
        return upload(self, scene)

    monkeypatch.setattr(Renderer, "upload", noted)
    return seen


def test_a_prepared_session_renders_its_scene(executor: RenderExecutor, run: Callable):
    executor.prepare("s", SESSION, asset(small_scene()))
    whole = run(executor)
    assert len(whole) == SIZE[0] * SIZE[1] * 3 // 2
    assert np.ptp(np.frombuffer(whole, np.uint8)) > 50
    assert run(executor) == whole


def test_a_tile_s_time_is_told_by_pass(executor: RenderExecutor, run: Callable):
    executor.prepare("s", SESSION, asset(small_scene()))
    run(executor)
    assert isinstance(executor, Timing)
    assert list(executor.passes_us()) == ["raster", "finish"]


def test_results_go_to_the_start_of_a_longer_output(executor: RenderExecutor, run: Callable):
    executor.prepare("s", SESSION, asset(small_scene()))
    whole = run(executor)
    assert run(executor, room=len(whole) + 1000) == whole


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rect": (8, 0, 64, 64)}, "not on the grid"),
        ({"rect": (0, 0, 40, 64)}, "not on the grid"),
        ({"rect": (0, 0, 64, 4)}, "not on the grid"),
        ({"rect": (0, 0, 0, 64)}, "not on the grid"),
        ({"rect": (0, 0, 336, 64)}, "not on the grid of a frame of 320"),
        ({"rect": (0, 176, 64, 16)}, "not on the grid of a frame of 180"),
        ({"rect": (-16, 0, 64, 64)}, "int"),
        ({"rect": (0, 0, 64, 10**9)}, "int"),
        ({"rect": (0, 0, 64)}, "length 4"),
        ({"clip_from_world": (math.nan,) * 16}, "not finite"),
        ({"clip_from_world": (1.0,) * 15}, "length"),
        ({"clip_from_world": (1e31,) * 16}, "too large"),
        ({"eye": (0.0, math.inf, 0.0)}, "not finite"),
        ({"exposure": -math.inf}, "not finite"),
        ({"exposure": "bright"}, "float"),
        ({"background": (math.nan, 0.0, 0.0)}, "not finite"),
    ],
)
def test_a_bad_tile_is_refused_with_the_reason_and_the_next_is_drawn(
    executor: RenderExecutor, run: Callable, changes: dict, why: str
):
    executor.prepare("s", SESSION, asset(small_scene()))
    before = run(executor)
    with pytest.raises(ContentRefused, match=f"(?s)tile.*{why}"):
        run(executor, **changes)
    assert run(executor) == before


@pytest.mark.parametrize("spec", [b"", b"\xc1", b"\x80", b"\xff" * 100, encode({"rect": None})])
def test_bytes_that_are_no_tile_are_refused(executor: RenderExecutor, run: Callable, spec: bytes):
    executor.prepare("s", SESSION, asset(small_scene()))
    with pytest.raises(ContentRefused, match="tile's description cannot be used"):
        executor.run("s", spec, NOTHING, memoryview(bytearray(100_000)))
    assert run(executor)


def test_degenerate_but_finite_views_are_drawn(executor: RenderExecutor, run: Callable):
    executor.prepare("s", SESSION, asset(small_scene()))
    for matrix in ((0.0,) * 16, (1e29,) * 16, (-1.0,) * 16):
        assert len(run(executor, clip_from_world=matrix)) == SIZE[0] * SIZE[1] * 3 // 2
    assert run(executor, towards_light=(0.0,) * 3, illuminance=(1e29,) * 3, exposure=-1e29)


def test_an_output_without_room_is_refused(executor: RenderExecutor, run: Callable):
    executor.prepare("s", SESSION, asset(small_scene()))
    with pytest.raises(ContentRefused, match="takes 86400 bytes, and 86399 were given"):
        run(executor, room=86399)
    assert run(executor)


def test_a_session_that_is_not_there_is_our_mistake(executor: RenderExecutor, run: Callable):
    with pytest.raises(Misuse, match="no render session s: it was not prepared"):
        run(executor)
    executor.forget("never heard of")
    executor.prepare("s", SESSION, asset(small_scene()))
    executor.forget("s")
    with pytest.raises(Misuse):
        run(executor)


@pytest.mark.parametrize(
    "spec",
    [
        b"",
        encode({"width": 320}),
        encode({"width": 321, "height": 180}),
        encode({"width": 320, "height": 10}),
        encode({"width": 1 << 20, "height": 180}),
        encode({"width": "320", "height": 180}),
    ],
)
def test_a_bad_session_is_refused(executor: RenderExecutor, run: Callable, spec: bytes):
    with pytest.raises(ContentRefused, match="session's description cannot be used"):
        executor.prepare("s", spec, asset(small_scene()))
    executor.prepare("s", SESSION, asset(small_scene()))
    assert run(executor)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"glTF",
        small_scene()[:1000],
        small_scene().replace(b"IDAT", b"JDAT"),
        struct.pack("<4sII", b"glTF", 2, 12),
        b"{}",
    ],
    ids=["empty", "magic", "short", "broken texture", "no chunks", "json"],
)
def test_a_malformed_scene_is_refused_and_nothing_of_it_is_kept(
    executor: RenderExecutor, run: Callable, data: bytes
):
    executor.prepare("good", SESSION, asset(small_scene()))
    with pytest.raises(ContentRefused):
        executor.prepare("s", SESSION, asset(data))
    with pytest.raises(Misuse):
        run(executor)
    assert run(executor, "good")
    executor.prepare("s", SESSION, asset(small_scene()))
    assert run(executor) == run(executor, "good")


def test_a_session_has_exactly_one_scene_and_there_is_a_limit_to_them(executor: RenderExecutor):
    scene = asset(small_scene())
    for assets in ({}, scene | asset(small_scene(200))):
        with pytest.raises(ContentRefused, match="exactly one packed scene"):
            executor.prepare("s", SESSION, assets)
    for number in range(MAX_SESSIONS):
        executor.prepare(str(number), encode(SessionSpec(64, 64)), scene)
    with pytest.raises(ContentRefused, match=f"{MAX_SESSIONS} sessions are open"):
        executor.prepare("one more", SESSION, scene)
    executor.forget("0")
    executor.prepare("one more", SESSION, scene)


def test_sessions_share_a_scene_until_the_last_is_gone(
    executor: RenderExecutor, run: Callable, uploads: list[object]
):
    scene, other = asset(small_scene()), asset(small_scene(100))
    for session in ("a", "b"):
        executor.prepare(session, SESSION, scene)
    executor.prepare("a", SESSION, scene)  # again: nothing to do
    executor.prepare("c", SESSION, other)
    assert len(uploads) == 2
    assert run(executor, "a") == run(executor, "b") != run(executor, "c")
    executor.forget("a")
    shown = run(executor, "b")
    executor.forget("b")
    executor.prepare("a", SESSION, scene)
    assert len(uploads) == 3
    assert run(executor, "a") == shown


def environment(grey: int) -> tuple[str, bytes]:
    """A Radiance file of two pixels, and its digest."""
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\n"
    data = head + bytes((grey, grey, grey, 128)) * 2
    return hashlib.sha256(data).hexdigest(), data


def test_sessions_share_an_environment_until_the_last_is_gone(
    executor: RenderExecutor, run: Callable, monkeypatch: pytest.MonkeyPatch
):
    loads: list[object] = []
    load = Renderer.load_environment
    monkeypatch.setattr(
        Renderer, "load_environment", lambda self, p: (loads.append(p), load(self, p))[1]
    )
    digest, data = environment(128)
    spec = encode(SessionSpec(*SIZE, digest))
    assets = asset(small_scene()) | {digest: memoryview(data)}
    lit = {"ambient": (0.0,) * 3, "illuminance": (0.0,) * 3, "sky": 1.0}
    executor.prepare("plain", SESSION, asset(small_scene()))
    for session in ("a", "b"):
        executor.prepare(session, spec, assets)
    assert len(loads) == 1
    shown = run(executor, "a", **lit)
    assert shown == run(executor, "b", **lit) != run(executor, "plain", **lit)
    executor.forget("a")
    assert run(executor, "b", **lit) == shown
    executor.forget("b")
    executor.prepare("a", spec, assets)
    assert len(loads) == 2
    assert run(executor, "a", **lit) == shown


def test_an_environment_that_is_missing_superfluous_or_broken_is_refused(
    executor: RenderExecutor, run: Callable
):
    digest, data = environment(128)
    spec = encode(SessionSpec(*SIZE, digest))
    scene = asset(small_scene())
    for given, described in ((scene, spec), (scene | {digest: memoryview(data)}, SESSION)):
        with pytest.raises(ContentRefused, match="exactly one packed scene"):
            executor.prepare("s", described, given)
    with pytest.raises(ContentRefused, match="the environment was refused"):
        executor.prepare("s", spec, scene | {digest: memoryview(data[:-1])})
    with pytest.raises(ContentRefused, match="environment"):
        executor.prepare("s", encode(SessionSpec(*SIZE, "../x")), scene)
    executor.prepare("s", spec, scene | {digest: memoryview(data)})
    assert run(executor)


def test_preparing_anew_replaces_what_the_session_was(executor: RenderExecutor, run: Callable):
    executor.prepare("s", SESSION, asset(small_scene()))
    first = run(executor)
    executor.prepare("s", SESSION, asset(small_scene(100)))
    assert run(executor) != first
    executor.prepare("s", encode(SessionSpec(64, 64)), asset(small_scene()))
    with pytest.raises(ContentRefused, match="frame of 64"):
        run(executor)


def test_preparing_draws_with_every_pipeline_the_scene_needs(
    executor: RenderExecutor, monkeypatch: pytest.MonkeyPatch
):
    """Drivers compile at the first draw: what is not drawn then would make a frame late."""
    drawn = []
    render = Renderer.render

    def noted(self, canvas, scene, tile, output, environment):
        times = render(self, canvas, scene, tile, output, environment)
        drawn.append((tile.scale, tile.region().area, times.clusters, len(scene.clusters.draw)))
        return times

    monkeypatch.setattr(Renderer, "render", noted)
    packed = pack("procedural:courtyard")
    executor.prepare("s", SESSION, {packed.digest: memoryview(packed.data)})
    assert [scale for scale, *_ in drawn] == [FULL, SCALES[-1]]
    _, area, clusters, every = drawn[0]
    assert clusters == every > 100
    assert area <= 256


@pytest.fixture
def plain_executor(device_info: DeviceInfo) -> Iterator[RenderExecutor]:
    """Without validation layers, which keep records of their own."""
    made = RenderExecutor(device_info)
    yield made
    made.close()


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_fifty_scenes_come_and_go_without_a_trace(plain_executor: RenderExecutor, run: Callable):
    scenes = [asset(small_scene(tint)) for tint in (255, 200)]

    def cycle(number: int) -> None:
        plain_executor.prepare("s", SESSION, scenes[number % 2])
        run(plain_executor)
        plain_executor.forget("s")

    for number in range(20):
        cycle(number)
    before = resident_bytes()
    for number in range(50):
        cycle(number)
    assert resident_bytes() < 1.05 * before


@pytest.mark.parametrize(
    "changes",
    [{"index": 99}, {"name": "GeForce of another machine"}, {"driver": "older"}, {"api": "cuda"}],
)
def test_only_exactly_the_device_asked_for_is_opened(device_info: DeviceInfo, changes: dict):
    with pytest.raises(DeviceUnavailable):
        RenderExecutor(msgspec.structs.replace(device_info, **changes))


def test_an_executor_that_nobody_closes_is_closed_at_exit(repository: Path):
    forgetful = (
        "from render.executor import RenderExecutor; from render.workload import create\n"
        "kept = RenderExecutor(create({}).find_devices()[0])\n"
        "dropped = RenderExecutor(create({}).find_devices()[0]); del dropped\n"
    )
    done = subprocess.run([sys.executable, "-c", forgetful], cwd=repository, check=False)
    assert done.returncode == 0
