"""The render workload: what the entry point names, and what a client may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mesh.core.errors import ConfigError, SessionRefused
from mesh.core.workload import Asset, DeviceInfo, SessionRequest, Settings
from mesh.stream.parts import MAX_RESULT
from render.clusters import cluster_scene
from render.depth import BlockOrNone
from render.environment import pack_environment
from render.foveate import Axis, Fovea
from render.headset import Eye, eyes_of
from render.motion import stance
from render.overscan import Overscan
from render.package import DEFAULT_SCENE, PROCEDURAL, load_scene, pack
from render.pieces import (
    MAX_BOUNCES,
    MAX_SAMPLES,
    MAX_SIDE,
    MIN_SIDE,
    Antialias,
    Shadows,
    Side,
    ToneMapping,
)
from render.pose import REST, Poser, world_positions
from render.procedural import SCENES
from render.scene import DirectionalLight, Scene, as_vec3
from render.session import Environment, RenderSession, SceneFacts
from render.viewresult import result_bytes

if TYPE_CHECKING:
    from render.executor import RenderExecutor

CPU_UNIT = "cpu"
OUTLINE_POINTS = 8192

Tangent: TypeAlias = Annotated[float, Meta(ge=0.01, le=20)]
SceneName: TypeAlias = Annotated[str, Meta(pattern="^[a-z0-9-]{1,32}$")]


class RenderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[workloads.render]."""

    # Scenes that clients may ask for by name, beside the built-in ones: name = path of glTF file.
    scenes: dict[SceneName, str] = {}
    # Environments (.hdr, .exr) that light them, likewise.
    environments: dict[SceneName, str] = {}


class RenderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may choose. deadline_ms: from a frame's opening, 0 for two periods."""

    scene: SceneName = DEFAULT_SCENE.removeprefix(PROCEDURAL)
    width: Side = 640
    height: Side = 360
    fps: Annotated[float, Meta(ge=1, le=240)] = 30.0
    tiles: Annotated[int, Meta(ge=1, le=64)] = 4
    exposure: Annotated[float, Meta(gt=0, le=100)] = 1.0
    ambient: Annotated[float, Meta(ge=0, le=100)] = 0.6  # without an environment
    environment: Annotated[str, Meta(pattern="^[a-z0-9-]{0,32}$")] = ""
    environment_intensity: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    environment_turn: Annotated[float, Meta(ge=-7, le=7)] = 0.0  # radians about +Y
    backdrop: Annotated[int, Meta(ge=0, le=1)] = 0  # the environment is seen behind the scene
    tone_mapping: Literal["none", "neutral", "aces"] = "none"
    antialias: Antialias = 1  # samples of a pixel in the raster pass
    shadows: Shadows = 0  # texels along a side of its shadow map, 0 for none
    integrator: Literal["raster", "pathtrace"] = "raster"
    samples: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] = 16  # paths per pixel
    bounces: Annotated[int, Meta(ge=1, le=MAX_BOUNCES)] = 8  # of each path, at most
    animation: Annotated[int, Meta(ge=-1, le=65_535)] = 0  # of the scene's, -1 for none
    time: Annotated[float, Meta(ge=0, le=1e6)] = 0.0  # seconds into it, to begin with
    speed: Annotated[float, Meta(ge=0, le=100)] = 1.0  # at which it plays, over and over
    camera: Annotated[int, Meta(ge=-1, le=65_535)] = -1  # of the scene's, -1 for one that fits
    turntable: Annotated[int, Meta(ge=0, le=1)] = 1  # turn slowly until the first input
    deadline_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    # What follows is for headsets, and whoever shows pictures from where the camera is by then:
    # docs/vr.md. width and height are of one view as looked at.
    view: Literal["mono", "stereo", "left", "right"] = "mono"
    ipd: Annotated[float, Meta(ge=0, le=1e4)] = 0.063  # metres of the scene
    cant: Annotated[float, Meta(ge=-0.8, le=0.8)] = (
        0.0  # radians that each eye's axis turns outwards
    )
    # Tangents of the angles from that axis to the edges at temple, nose, above and below.
    tan_out: Tangent = 1.2
    tan_in: Tangent = 0.9
    tan_up: Tangent = 1.0
    tan_down: Tangent = 1.1
    overscan: Annotated[float, Meta(ge=1, le=2)] = 1.0  # sides of what is drawn, to those
    depth: BlockOrNone = 0  # pixels along a block of the depth sent beside; 0: none
    # Squeezed edges: the shares of a view's sides that stay whole, how many pixels of the rest
    # become one, and where the middle lies from straight ahead (shares; to the nose, upwards).
    fovea_width: Annotated[float, Meta(gt=0, le=1)] = 1.0
    fovea_height: Annotated[float, Meta(gt=0, le=1)] = 1.0
    fovea_ratio: Annotated[float, Meta(ge=1, le=16)] = 2.0
    fovea_in: Annotated[float, Meta(ge=-0.5, le=0.5)] = 0.0
    fovea_up: Annotated[float, Meta(ge=-0.5, le=0.5)] = 0.0


class RenderWorkload:
    """Pictures of glTF scenes from a moving camera; see mesh.core.workload.Workload."""

    name = "render"

    def __init__(self, settings: RenderSettings) -> None:
        built_in: dict[str, str | Path] = {name: PROCEDURAL + name for name in SCENES}
        self._sources = built_in | {n: Path(p).expanduser() for n, p in settings.scenes.items()}
        self._environments = {n: Path(p).expanduser() for n, p in settings.environments.items()}
        self._packed: dict[str, _Packed] = {}
        self._packed_environments: dict[str, tuple[int, Asset]] = {}
        self._packing = Lock()

    def find_devices(self) -> Sequence[DeviceInfo]:
        """Every usable Vulkan device. Raises DeviceUnavailable."""
        # Loads libvulkan: a gateway that renders nothing itself must do without.
        from render.vulkan.instance import open_instance  # noqa: PLC0415

        with open_instance() as instance:
            devices = instance.physical_devices()
            usable = [device for device in devices if not device.lacks]
            if not usable:
                instance.choose()  # raises, saying what each one lacks
            return [
                DeviceInfo(
                    unit=CPU_UNIT if device.software else device.uuid,
                    api="vulkan",
                    name=device.name,
                    driver=device.driver,
                    index=device.index,
                    software=device.software,
                )
                for device in usable
            ]

    def preload(self) -> None:
        """See Preloading: what stands in for tiles that never came is compiled."""
        from render.reproject import warm_up  # noqa: PLC0415  (Numba)

        warm_up()

    def open_executor(self, device: DeviceInfo) -> RenderExecutor:
        """Exactly that device. Raises DeviceUnavailable."""
        from render.executor import RenderExecutor  # noqa: PLC0415  (libvulkan, as above)

        return RenderExecutor(device)

    def open_session(self, request: SessionRequest) -> RenderSession:
        """Check the options and pack the scene. Raises SessionRefused, ContentRefused."""
        try:
            options = msgspec.convert(dict(request.options), RenderOptions)
        except msgspec.ValidationError as problem:
            raise SessionRefused(
                what="the render session is not opened",
                why=str(problem),
                fix=f"Options are {', '.join(RenderOptions.__struct_fields__)}; sides are even.",
            ) from problem
        if options.scene not in self._sources:
            raise SessionRefused(
                what=f"no scene '{options.scene}'",
                why=f"this gateway shows {', '.join(sorted(self._sources))}",
                fix="Ask for one of these, or add it to [workloads.render] scenes.",
            )
        if options.environment and options.environment not in self._environments:
            raise SessionRefused(
                what=f"no environment '{options.environment}'",
                why=f"this gateway has {', '.join(sorted(self._environments)) or 'none'}",
                fix="Ask for one of these, or add it to [workloads.render] environments.",
            )
        views = _views(options)
        asset, facts = self._scene(options.scene)
        return RenderSession(
            asset,
            facts,
            width=options.width,
            height=options.height,
            fps=options.fps,
            tiles=options.tiles,
            exposure=options.exposure,
            ambient=options.ambient,
            environment=self._environment(options),
            tone_mapping=ToneMapping[options.tone_mapping.upper()],
            samples=options.samples if options.integrator == "pathtrace" else 0,
            bounces=options.bounces,
            turntable=bool(options.turntable),
            animation=options.animation,
            time=options.time,
            speed=options.speed,
            camera=options.camera,
            deadline_us=round(options.deadline_ms * 1000),
            eyes=views.eyes,
            foveas=views.foveas,
            overscan=views.overscan,
            block=options.depth,
            antialias=1 if options.integrator == "pathtrace" else options.antialias,
            shadows=0 if options.integrator == "pathtrace" else options.shadows,
        )

    def _environment(self, options: RenderOptions) -> Environment | None:
        """The environment asked for; a file that changed is read anew."""
        if not options.environment:
            return None
        path = self._environments[options.environment]
        changed_ns = _changed_ns(path)
        with self._packing:
            known = self._packed_environments.get(options.environment)
            if known is None or known[0] != changed_ns:
                known = (changed_ns, pack_environment(path))
                self._packed_environments[options.environment] = known
        return Environment(
            known[1],
            options.environment_intensity,
            options.environment_turn,
            bool(options.backdrop),
        )

    def _scene(self, name: str) -> tuple[Asset, SceneFacts]:
        """The packed scene with its facts; a file that changed is packed anew."""
        source = self._sources[name]
        changed_ns = _changed_ns(source) if isinstance(source, Path) else 0
        with self._packing:
            known = self._packed.get(name)
            if known is None or known.changed_ns != changed_ns:
                asset = pack(source)
                known = _Packed(changed_ns, asset, _facts(asset))
                self._packed[name] = known
            return known.asset, known.facts


@dataclass(frozen=True, slots=True)
class _Views:
    eyes: tuple[Eye, ...]
    foveas: tuple[Fovea, ...]
    overscan: Overscan


def _views(options: RenderOptions) -> _Views:
    """Whose eyes a session draws for, and how their views are squeezed. Raises SessionRefused."""
    eyes: tuple[Eye, ...] = ()
    if options.view != "mono":
        eyes = eyes_of(
            options.view,
            options.ipd,
            options.cant,
            outwards=options.tan_out,
            inwards=options.tan_in,
            up=options.tan_up,
            down=options.tan_down,
        )
    overscan = Overscan.of(options.width, options.height, options.overscan)
    foveas = tuple(_fovea(options, overscan, eye) for eye in eyes or (None,))
    width, height = foveas[0].sent
    result = result_bytes((width, height), len(foveas), options.depth)
    if options.depth and options.integrator == "pathtrace":
        why, fix = "what is path traced has no depth", "Ask for the raster pass, or for no depth."
    elif min(width, height) < MIN_SIDE:
        why = f"squeezed, a view is {width}x{height}, and sides are at least {MIN_SIDE}"
        fix = "Squeeze less, or ask for larger views."
    elif max(width * len(foveas), height) > MAX_SIDE:
        size = f"{width * len(foveas)}x{height}"
        why = f"its pictures would be {size}, and sides of at most {MAX_SIDE} are made"
        fix = "Ask for narrower views, or a session for each eye (view=left, view=right)."
    elif result > MAX_RESULT:
        why = f"with depth, a frame's result is {result} bytes, and at most {MAX_RESULT} travel"
        fix = "Ask for larger blocks of depth."
    else:
        return _Views(eyes, foveas, overscan)
    raise SessionRefused(what="the render session is not opened", why=why, fix=fix)


def _fovea(options: RenderOptions, overscan: Overscan, eye: Eye | None) -> Fovea:
    """How the view of an eye, or of an orbit camera, is squeezed."""
    across, down = (0.5, 0.5) if eye is None else eye.middle()
    inwards = -options.fovea_in if eye is not None and eye.right > 0 else options.fovea_in
    x, y = overscan.place(across + inwards, down - options.fovea_up)
    # Shares are of the view as looked at: where its edges are squeezed the margin is edge too.
    (width, height), (wider, higher) = overscan.drawn, overscan.factors
    return Fovea(
        Axis.squeeze(width, _share(options.fovea_width, wider), options.fovea_ratio, x),
        Axis.squeeze(height, _share(options.fovea_height, higher), options.fovea_ratio, y),
    )


def _share(of_looked_at: float, factor: float) -> float:
    """A share of a side as looked at, as one of that side as drawn; all of it stays all."""
    return of_looked_at / factor if of_looked_at < 1 else 1.0


@dataclass(frozen=True, slots=True)
class _Packed:
    changed_ns: int  # the file's modification time when it was packed
    asset: Asset
    facts: SceneFacts


def _changed_ns(path: Path) -> int:
    """0 for a file that is not there: packing says so."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _facts(asset: Asset) -> SceneFacts:
    scene = load_scene(asset.data)
    clusters = cluster_scene(scene)
    return SceneFacts(
        title=asset.name,
        low=as_vec3(scene.bounds_min),
        high=as_vec3(scene.bounds_max),
        light=None if scene.lights else DirectionalLight(),
        cameras=scene.cameras,
        triangles=scene.triangles,
        warnings=scene.warnings,
        poser=Poser(scene, clusters),
        box_triangles=clusters.triangles,
        animations=_animations(scene),
        outline=_outline(scene),
    )


def _outline(scene: Scene) -> NDArray[np.float64]:
    """Vertices enough to frame the scene by: float64 (n, 3), world frame."""
    now = None if scene.motion is None else stance(scene.motion, REST, 0.0)
    parts = []
    for draw in scene.draws:
        primitive = scene.primitives[draw.primitive]
        few = slice(None, None, 1 + len(primitive.positions) // OUTLINE_POINTS)
        parts.append(world_positions(draw, primitive, now, few))
    points = np.concatenate(parts)
    return points[:: 1 + len(points) // OUTLINE_POINTS]


def _animations(scene: Scene) -> tuple[tuple[str, float], ...]:
    found = () if scene.motion is None else scene.motion.animations
    return tuple((animation.name, animation.duration) for animation in found)


def create(settings: Settings) -> RenderWorkload:
    """The workload for a [workloads.render] table. Raises ConfigError."""
    try:
        return RenderWorkload(msgspec.convert(dict(settings), RenderSettings))
    except msgspec.ValidationError as problem:
        raise ConfigError(
            what="[workloads.render] cannot be used",
            why=str(problem),
            fix="docs/configuration.md lists its keys.",
        ) from problem
