"""The device half: scenes uploaded once, sessions that share them, tiles rendered into memory."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from mesh.core.errors import ContentRefused, DeviceUnavailable, Misuse
from mesh.core.workload import AssetId, DeviceInfo
from render.camera import frame_bounds
from render.environment import decode_environment
from render.package import load_scene
from render.passes.environment import DeviceEnvironment
from render.passes.scene_upload import DeviceScene
from render.pathtrace.scene import TracedScene
from render.pieces import COARSE_SHADOWS, SessionSpec, TileSpec, decode_session, decode_tile
from render.renderer import Canvas, Renderer, open_renderer
from render.scene import DirectionalLight, Vec3, as_vec3
from render.tiles import GRID, Rect
from render.upscale import SCALES
from render.vulkan.instance import open_instance

API = "vulkan"
MAX_SESSIONS = 64


@dataclass(slots=True)
class _LoadedScene:
    scene: DeviceScene
    low: Vec3
    high: Vec3
    has_lights: bool
    traced: TracedScene | None = None
    users: int = 0


@dataclass(slots=True)
class _LoadedEnvironment:
    environment: DeviceEnvironment
    users: int = 0


@dataclass(frozen=True, slots=True)
class _Session:
    asset: AssetId
    spec: bytes
    size: SessionSpec
    canvas: Canvas


class RenderExecutor:
    """Renders tiles on one Vulkan device; see mesh.core.workload.Executor."""

    def __init__(self, device: DeviceInfo, *, validate: bool = False) -> None:
        """validate: with the validation layers; what they report is in `messages`.

        Raises DeviceUnavailable unless exactly that device is there.
        """
        with ExitStack() as scope:
            instance = scope.enter_context(open_instance(validate=validate))
            physical = instance.choose(index=device.index, name=device.name)
            if (device.api, device.driver) != (API, physical.driver):
                raise DeviceUnavailable(
                    what=f"{device.name} cannot be opened",
                    why=f"{device.api} with {device.driver} was asked for, and device "
                    f"{device.index} is {API} with {physical.driver}",
                    fix="Restart the node, so that it looks for its devices again.",
                )
            # In a device process, the one folder it may write to.
            caches = os.environ.get("XDG_CACHE_HOME")
            self._renderer: Renderer = scope.enter_context(
                open_renderer(instance, physical, Path(caches, "framemesh") if caches else None)
            )
            self.messages = instance.messages
            self._scenes: dict[AssetId, _LoadedScene] = {}
            self._environments: dict[AssetId, _LoadedEnvironment] = {}
            self._sessions: dict[str, _Session] = {}
            self._check: Callable[[], None] = lambda: None
            self._passes_us: dict[str, int] = {}
            scope.callback(self._forget_all)
            self._scope = scope.pop_all()
        # Left to the garbage collector, device and instance would go in any order: drivers crash.
        atexit.register(self.close)

    def heed(self, check: Callable[[], None]) -> None:
        """Path traced pieces end early where nobody wants them; see Abandonable."""
        self._check = check

    def prepare(self, session: str, spec: bytes, assets: Mapping[AssetId, memoryview]) -> None:
        """Upload the session's scene and draw all of it once, so that no frame meets a cold driver.

        spec: a SessionSpec. assets: one packed scene, and the environment that the spec names.
        Raises ContentRefused.
        """
        size = decode_session(spec)
        scenes = [digest for digest in assets if digest != size.environment]
        if (
            len(scenes) != 1
            or len(assets) != 1 + bool(size.environment)
            or len(self._sessions) >= MAX_SESSIONS
        ):
            raise ContentRefused(
                what="the render session cannot be prepared",
                why=f"it brings {len(assets)} assets, and {len(self._sessions)} sessions are open",
                fix="Send exactly one packed scene, and the environment its spec names; "
                f"at most {MAX_SESSIONS} sessions fit.",
            )
        [asset] = scenes
        known = self._sessions.get(session)
        if known is not None and (known.asset, known.spec) == (asset, spec):
            return
        self.forget(session)
        with ExitStack() as undo:
            self._use_scene(asset, assets[asset], size.traced)
            undo.callback(self._release_scene, asset)
            if size.environment:
                self._use_environment(size.environment, assets[size.environment])
                undo.callback(self._release_environment, size.environment)
            canvas = self._renderer.create_canvas(
                size.width, size.height, block=size.depth, samples=size.antialias
            )
            undo.pop_all()
        held = self._sessions[session] = _Session(asset, spec, size, canvas)
        for lit_by_sky in (False, True) if size.environment else (False,):
            tile = _warm_up_tile(self._scenes[asset], size, lit_by_sky)
            output = memoryview(bytearray(canvas.tile_bytes(tile.region())))
            self._render(held, tile, output)
            if size.traced:
                self._render(held, msgspec.structs.replace(tile, samples=1), output)
        coarse = msgspec.structs.replace(tile, scale=SCALES[-1])
        for width in {min(size.shadows, COARSE_SHADOWS), 0}:
            self._render(held, msgspec.structs.replace(coarse, shadows=width), output)
        self._renderer.save_pipelines()

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        """Render the tile in `spec` (a TileSpec) to packed I420 planes and depth; see Executor."""
        held = self._sessions.get(session)
        if held is None:
            raise Misuse(
                what=f"no render session {session}",
                why="it was not prepared here",
                fix="Prepare it first.",
            )
        tile = decode_tile(spec, held.size)
        if tile.samples and not held.size.traced:
            raise ContentRefused(
                what="the tile is not path traced",
                why="its session was prepared for the raster pass alone",
                fix="Prepare a session whose spec says traced.",
            )
        nbytes = held.canvas.tile_bytes(tile.region())
        if len(output) < nbytes:
            raise ContentRefused(
                what="the tile has no room",
                why=f"it takes {nbytes} bytes, and {len(output)} were given",
                fix="Ask for width * height * 3 / 2 bytes of output, and those of its depth.",
            )
        self._render(held, tile, output[:nbytes])
        return nbytes

    def passes_us(self) -> dict[str, int]:
        """What the last tile's time on the device went into: `TileTimes.passes_us`; see Timing."""
        return self._passes_us

    def forget(self, session: str) -> None:
        """Free the session's targets, and its scene if no other session shows it."""
        held = self._sessions.pop(session, None)
        if held is not None:
            held.canvas.close()
            self._release_scene(held.asset)
            if held.size.environment:
                self._release_environment(held.size.environment)

    @property
    def memory_bytes(self) -> int:
        """What is allocated on the device now."""
        return self._renderer.memory_bytes

    def close(self) -> None:
        """Free everything and leave the device; done at exit if nobody did before."""
        atexit.unregister(self.close)
        self._scope.close()

    def _render(self, held: _Session, tile: TileSpec, output: memoryview) -> None:
        known = self._environments.get(held.size.environment)
        environment = None if known is None else known.environment
        loaded = self._scenes[held.asset]
        if tile.samples:
            assert loaded.traced is not None
            times = self._renderer.trace(
                held.canvas, loaded.traced, tile, output, environment, check=self._check
            )
        else:
            times = self._renderer.render(held.canvas, loaded.scene, tile, output, environment)
        self._passes_us = times.passes_us

    def _use_environment(self, asset: AssetId, data: memoryview) -> None:
        """Count one more user; load it for the first."""
        if asset not in self._environments:
            pixels = decode_environment(data)
            loaded = self._renderer.load_environment(pixels)
            self._environments[asset] = _LoadedEnvironment(loaded)
        self._environments[asset].users += 1

    def _release_environment(self, asset: AssetId) -> None:
        loaded = self._environments[asset]
        loaded.users -= 1
        if not loaded.users:
            loaded.environment.close()
            del self._environments[asset]

    def _use_scene(self, asset: AssetId, data: memoryview, traced: bool) -> None:
        """Count one more user; load it for the first, and for the first that traces paths."""
        loaded = self._scenes.get(asset)
        if loaded is None or (traced and loaded.traced is None):
            scene = load_scene(data)
            if loaded is None:
                loaded = self._scenes[asset] = _LoadedScene(
                    self._renderer.upload(scene),
                    as_vec3(scene.bounds_min),
                    as_vec3(scene.bounds_max),
                    bool(scene.lights),
                )
            if traced:
                loaded.traced = self._renderer.upload_traced(loaded.scene, scene)
        loaded.users += 1

    def _release_scene(self, asset: AssetId) -> None:
        loaded = self._scenes[asset]
        loaded.users -= 1
        if not loaded.users:
            if loaded.traced is not None:
                loaded.traced.close()
            loaded.scene.close()
            del self._scenes[asset]

    def _forget_all(self) -> None:
        for session in list(self._sessions):
            self.forget(session)


def _warm_up_tile(scene: _LoadedScene, size: SessionSpec, lit_by_sky: bool) -> TileSpec:
    """The default view shrunk into one small tile: every draw takes part, few pixels are shaded.

    Drivers compile shaders when something is first drawn with them, for the state it is drawn in.
    """
    width, height = size.width, size.height
    rect = Rect(0, 0, min(GRID, width), min(GRID, height))
    across, down = rect.width / width, rect.height / height
    frame_from_view = np.array(
        [[across, 0, 0, across - 1], [0, down, 0, down - 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    pose = frame_bounds(scene.low, scene.high, width / height)
    light = DirectionalLight()
    return TileSpec(
        rect=rect,
        clip_from_world=tuple(
            (frame_from_view @ pose.clip_from_world(width / height)).ravel().tolist()
        ),
        eye=pose.eye(),
        towards_light=light.towards_light,
        illuminance=(0.0, 0.0, 0.0) if scene.has_lights or lit_by_sky else light.color,
        ambient=light.color,
        exposure=1.0,
        background=light.color,
        sky=float(lit_by_sky),
        sky_shown=lit_by_sky,
        shadows=size.shadows,
    )
