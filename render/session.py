"""The session half: camera state, frames cut into tiles, planes merged into the canvas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused, SessionRefused
from mesh.core.workload import (
    Asset,
    Contract,
    CutHint,
    PictureFormat,
    Piece,
    Rung,
    SessionSetup,
)
from render.camera import DEFAULT_FOV, Orbit, View, camera_view, frame_points, orbit_like
from render.cost import PATH, TILE, cost_map
from render.pieces import SessionSpec, TileSpec, ToneMapping, encode
from render.pose import REST, Pose, Poser
from render.scene import Camera, DirectionalLight, Vec3
from render.tiles import Rect, Tiler

TURN_RAD_PER_S = 0.25
MID_GREY = 128
BACKGROUND: Vec3 = (0.05, 0.06, 0.08)

_Coordinate: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]


class CameraInput(msgspec.Struct, frozen=True):
    """Where the client wants the camera: absolute state, see `render.camera.Orbit`."""

    yaw: Annotated[float, Meta(ge=-1e6, le=1e6)]
    pitch: Annotated[float, Meta(ge=-math.pi / 2, le=math.pi / 2)]
    distance: Annotated[float, Meta(ge=1e-4, le=1e6)]
    target: tuple[_Coordinate, _Coordinate, _Coordinate]
    fov: Annotated[float, Meta(ge=0.05, le=2.8)] = DEFAULT_FOV


class InputEvent(msgspec.Struct, frozen=True):
    """One input; `id` grows with each that a client sends.

    time: seconds into the animation, which is held there; without it the animation plays on.
    """

    id: Annotated[int, Meta(ge=0, le=2**53)]
    camera: CameraInput
    time: Annotated[float, Meta(ge=0, le=1e6)] | None = None


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """What the gateway knows of a scene: `low` and `high` bound it, metres, world frame.

    poser, box_triangles: its clusters' boxes at a time; int64 (n,) triangles in each box.
    animations: name and duration (seconds) of each. light: for a scene without any.
    outline: float64 (n, 3), metres, world frame: points that show where the scene lies.
    """

    title: str
    low: Vec3
    high: Vec3
    light: DirectionalLight | None
    triangles: int
    warnings: tuple[str, ...]
    poser: Poser
    box_triangles: NDArray[np.int64]
    animations: tuple[tuple[str, float], ...]
    outline: NDArray[np.float64]
    cameras: tuple[Camera, ...] = ()

    def middle(self) -> Vec3:
        """Of the box that bounds the scene."""
        (x, y, z), (far_x, far_y, far_z) = self.low, self.high
        return (x + far_x) / 2, (y + far_y) / 2, (z + far_z) / 2


@dataclass(frozen=True, slots=True)
class Environment:
    """What lights a session's scene from all around.

    turn: radians about +Y. shown: also as the background.
    """

    asset: Asset
    intensity: float = 1.0
    turn: float = 0.0
    shown: bool = False


class RenderFrame:
    """One frame's tiles and the canvas they go to; see mesh.core.workload.Frame."""

    def __init__(
        self,
        size: tuple[int, int],
        pieces: Sequence[Piece],
        canvas: memoryview,
        previous: memoryview,
    ) -> None:
        self.pieces = pieces
        self._planes = _planes(canvas, size)
        self._previous = _planes(previous, size) if len(previous) else None

    def accept(self, index: int, result: memoryview) -> None:
        """Copy a tile's packed I420 planes to their place. Raises ContentRefused on a bad size."""
        rect = Rect(*self.pieces[index].region)
        if len(result) != rect.i420_bytes:
            raise ContentRefused(
                what=f"tile {index} is refused",
                why=f"it has {len(result)} bytes and must have {rect.i420_bytes}",
                fix="Update the worker that made it.",
            )
        tile = Rect(0, 0, rect.width, rect.height)
        for plane, source in zip(
            _parts(self._planes, rect),
            _parts(_planes(result, (rect.width, rect.height)), tile),
            strict=True,
        ):
            plane[:] = source

    def fill(self, index: int) -> None:
        """Show what was there in the frame before; mid-grey if there was none."""
        rect = Rect(*self.pieces[index].region)
        if self._previous is None:
            for plane in _parts(self._planes, rect):
                plane[:] = MID_GREY
            return
        for plane, source in zip(
            _parts(self._planes, rect), _parts(self._previous, rect), strict=True
        ):
            plane[:] = source

    def finish(self) -> bytes:
        """The picture says it all."""
        return b""


class RenderSession:
    """One client's view of a scene; see mesh.core.workload.SessionWork."""

    def __init__(
        self,
        asset: Asset,
        facts: SceneFacts,
        *,
        width: int,
        height: int,
        fps: float,
        tiles: int,
        exposure: float,
        ambient: float,
        turntable: bool,
        deadline_us: int,
        animation: int = 0,
        time: float = 0.0,
        speed: float = 1.0,
        camera: int = -1,
        environment: Environment | None = None,
        tone_mapping: ToneMapping = ToneMapping.NONE,
        samples: int = 0,
        bounces: int = 8,
    ) -> None:
        """width, height: pixels, even. deadline_us: 0 for two periods. samples: of the path
        tracer, 0 for the raster pass. See RenderOptions.

        Raises SessionRefused if the scene has no such camera.
        """
        self._facts = facts
        self._tiles = tiles
        self._fps = fps
        self._exposure = exposure
        self._ambient = 0.0 if environment else ambient
        self._environment = environment
        self._tone_mapping = tone_mapping
        self._began_us: int | None = None
        self._turntable = turntable
        self._animation = animation if animation < len(facts.animations) else REST
        self._time, self._speed = time, speed
        self._held_at: float | None = None
        self._last_input = -1
        assets = (asset, environment.asset) if environment else (asset,)
        self._samples, self._bounces = samples, bounces
        integrator = "pathtrace" if samples else "raster"
        self._kind = "-".join([integrator, *(each.digest[:12] for each in assets)])
        period_us = round(1e6 / fps)
        self.picture = PictureFormat(width, height)
        lit_by = environment.asset.digest if environment else ""
        self.setup = SessionSetup(encode(SessionSpec(width, height, lit_by, samples > 0)), assets)
        self.contract = Contract(
            period_us, deadline_us or 2 * period_us, ladder=sample_ladder(samples)
        )
        self._camera = _pick_camera(facts, camera)
        self._pose = self._first_pose(width / height)
        self._tiler = Tiler(width, height, TILE)

    def describe(self) -> Mapping[str, Any]:
        """For the page: size, rate, the camera to start from, the scene's box."""
        pose = self._pose
        return {
            "title": self._facts.title,
            "width": self.picture.width,
            "height": self.picture.height,
            "fps": self._fps,
            "tiles": self._tiles,
            "triangles": self._facts.triangles,
            "warnings": list(self._facts.warnings),
            "bounds": {"low": list(self._facts.low), "high": list(self._facts.high)},
            "camera": {
                "yaw": pose.yaw,
                "pitch": pose.pitch,
                "distance": pose.distance,
                "target": list(pose.target),
                "fov": pose.fov,
            },
            "cameras": [camera.name for camera in self._facts.cameras],
            "controls": ["orbit", "fly"],
            "animations": [
                {"name": name, "duration": duration} for name, duration in self._facts.animations
            ],
            "animation": self._animation,
            "turntable": TURN_RAD_PER_S if self._turntable and self._camera is None else 0.0,
        }

    def apply_input(self, event: Mapping[str, Any], now_us: int) -> None:
        """One InputEvent; ids not above the last one's are ignored. Raises ContentRefused."""
        try:
            given = msgspec.convert(event, InputEvent)
        except msgspec.ValidationError as problem:
            raise ContentRefused(
                what="the input is refused",
                why=str(problem),
                fix='Send {"id": n, "camera": {"yaw", "pitch", "distance", "target"}}.',
            ) from problem
        if given.id <= self._last_input:
            return
        self._last_input = given.id
        camera, self._held_at = given.camera, given.time
        self._turntable, self._camera = False, None
        self._pose = Orbit(camera.yaw, camera.pitch, camera.distance, camera.target, camera.fov)

    def offer_input(self, stamp_us: int, data: memoryview) -> None:
        """Pictures are made from a scene alone. Raises ContentRefused."""
        raise ContentRefused(
            what="the input is refused",
            why="a render session takes no bulk inputs",
            fix="Open a session of a workload that does.",
        )

    def open_frame(
        self, frame_id: int, now_us: int, hint: CutHint, canvas: memoryview, previous: memoryview
    ) -> RenderFrame:
        """Sample the camera and cut into tiles that all devices finish together."""
        width, height = self.picture.width, self.picture.height
        if self._began_us is None:
            self._began_us = now_us
        since_s = (now_us - self._began_us) / 1e6
        time = self._time_at(since_s)
        pose = self._facts.poser.at(self._animation, time)
        view = self._view_at(since_s, pose, width / height)
        clip_from_world = view.clip_from_world
        samples = samples_at(self._samples, hint.rung)
        cost = cost_map(pose.boxes, self._facts.box_triangles, clip_from_world, width, height)
        if samples:
            cost = cost * (PATH * samples)
        towards_light, illuminance = _sunlight(None if self._environment else self._facts.light)
        template = TileSpec(
            rect=(0, 0, width, height),
            clip_from_world=tuple(clip_from_world.ravel().tolist()),
            eye=view.eye,
            parallel=view.parallel,
            towards_light=towards_light,
            illuminance=illuminance,
            ambient=(self._ambient,) * 3,
            exposure=self._exposure,
            background=BACKGROUND,
            animation=self._animation,
            time=time,
            tone_mapping=self._tone_mapping,
            samples=samples,
            bounces=self._bounces,
            **_sky(self._environment),
        )
        pieces = [
            Piece(
                index,
                self._kind,
                units,
                encode(msgspec.structs.replace(template, rect=tuple(rect))),
                rect.i420_bytes,
                region=tuple(rect),
            )
            for index, (rect, units) in enumerate(
                self._tiler.tiles(cost, hint, self._kind, self._tiles)
            )
        ]
        return RenderFrame((width, height), pieces, canvas, previous)

    def _first_pose(self, aspect: float) -> Orbit:
        """Where the client begins: as the scene's camera sees it, or so that everything fits."""
        if self._camera is None:
            return frame_points(self._facts.outline, aspect)
        pose = self._facts.poser.at(self._animation, self._time_at(0.0))
        placed = _place_of(self._camera, pose)
        return orbit_like(self._camera, placed, self._facts.middle())

    def _view_at(self, since_s: float, pose: Pose, aspect: float) -> View:
        """The client's view; before its first input the scene's camera, or a slow turn: functions
        of time alone."""
        if self._camera is not None:
            return camera_view(self._camera, _place_of(self._camera, pose), aspect)
        orbit = self._pose
        if self._turntable:
            orbit = replace(orbit, yaw=orbit.yaw + TURN_RAD_PER_S * since_s)
        return orbit.view(aspect)

    def _time_at(self, since_s: float) -> float:
        """Seconds into the animation: what the client holds it at, or playing round and round."""
        if self._animation == REST:
            return 0.0
        if self._held_at is not None:
            return self._held_at
        _, duration = self._facts.animations[self._animation]
        return (self._time + self._speed * since_s) % duration if duration > 0 else 0.0


def samples_at(samples: int, rung: int) -> int:
    """Paths per pixel at a rung of the ladder: half as many on each, at least one."""
    return max(samples >> rung, min(samples, 1))


def sample_ladder(samples: int) -> tuple[Rung, ...]:
    """The rungs of a path traced session; one for 0, the raster pass.

    Quality is what noise leaves: its deviation grows with the root of what is saved.
    """
    counts = [samples_at(samples, rung) for rung in range(max(samples.bit_length(), 1))]
    most = max(samples, 1)
    return tuple(Rung(max(count, 1) / most, math.sqrt(max(count, 1) / most)) for count in counts)


def _pick_camera(facts: SceneFacts, index: int) -> Camera | None:
    if index < 0:
        return None
    if index >= len(facts.cameras):
        raise SessionRefused(
            what=f"there is no camera {index}",
            why=f"{facts.title} has {len(facts.cameras)}",
            fix="Ask for one of these, counted from 0, or for -1.",
        )
    return facts.cameras[index]


def _place_of(camera: Camera, pose: Pose) -> NDArray[np.float64]:
    """world_from_camera, (3, 4)."""
    if camera.node < 0 or pose.stance is None:
        return camera.world_from_camera
    placed: NDArray[np.float64] = pose.stance.world_from_node[camera.node]
    return placed


def _sky(environment: Environment | None) -> Mapping[str, Any]:
    """The fields of a tile that say how the environment lights it."""
    if environment is None:
        return {}
    return {
        "sky": environment.intensity,
        "sky_turn": (math.cos(environment.turn), math.sin(environment.turn)),
        "sky_shown": environment.shown,
    }


def _sunlight(light: DirectionalLight | None) -> tuple[Vec3, Vec3]:
    """(towards it, its illuminance) of the light the session adds to the scene's, if any."""
    if light is None:
        return (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)
    red, green, blue = (channel * light.intensity for channel in light.color)
    return light.towards_light, (red, green, blue)


_Planes: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def _planes(picture: memoryview, size: tuple[int, int]) -> _Planes:
    """Y, U and V of an I420 picture, as views."""
    width, height = size
    flat = np.frombuffer(picture, np.uint8)
    luma, chroma = width * height, width * height // 4
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(height // 2, width // 2),
        flat[luma + chroma :].reshape(height // 2, width // 2),
    )


def _parts(planes: _Planes, rect: Rect) -> _Planes:
    """A rectangle (even sides and corner) of each plane, as views."""
    rows, columns = slice(rect.y, rect.y + rect.height), slice(rect.x, rect.x + rect.width)
    half_rows = slice(rect.y // 2, (rect.y + rect.height) // 2)
    half_columns = slice(rect.x // 2, (rect.x + rect.width) // 2)
    luma, blue, red = planes
    return luma[rows, columns], blue[half_rows, half_columns], red[half_rows, half_columns]
