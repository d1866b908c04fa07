"""The session half: camera state, frames cut into tiles, planes merged into the canvas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias, TypeVar

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
    SessionSetup,
)
from render.beside import Beside
from render.camera import (
    DEFAULT_FOV,
    NEAR_FRACTION,
    Matrix,
    Orbit,
    View,
    camera_view,
    frame_points,
    orbit_like,
)
from render.cost import TILE, FrameCost, cost_map
from render.depth import BlockOrNone, depth_bytes
from render.foveate import Fovea
from render.headpose import Coordinate, HeadPose, head_of
from render.headset import Eye, Headset
from render.ladder import cost_at, ladder, qualities
from render.overscan import Overscan
from render.pieces import (
    Antialias,
    SessionSpec,
    Shadows,
    TileSpec,
    ToneMapping,
    encode,
)
from render.pose import REST, Pose, Poser
from render.reproject import Reprojection
from render.scene import Camera, DirectionalLight, Vec3
from render.tiles import Rect, Tile, Tiler
from render.viewresult import NAME as FMVR

TURN_RAD_PER_S = 0.25
MID_GREY = 128
BACKGROUND: Vec3 = (0.05, 0.06, 0.08)
MOST_CANVASES = 16  # whose views are remembered

_Time: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]


class CameraInput(msgspec.Struct, frozen=True):
    """Where the client wants the camera: absolute state, see `render.camera.Orbit`."""

    yaw: Annotated[float, Meta(ge=-1e6, le=1e6)]
    pitch: Annotated[float, Meta(ge=-math.pi / 2, le=math.pi / 2)]
    distance: Annotated[float, Meta(ge=1e-4, le=1e6)]
    target: tuple[Coordinate, Coordinate, Coordinate]
    fov: Annotated[float, Meta(ge=0.05, le=2.8)] = DEFAULT_FOV


class InputEvent(msgspec.Struct, frozen=True):
    """One input of a session without a headset; `id` grows with each that a client sends.

    time: seconds into the animation, which is held there; without it the animation plays on.
    """

    id: Annotated[int, Meta(ge=0, le=2**53)]
    camera: CameraInput
    time: _Time | None = None


class PoseEvent(msgspec.Struct, frozen=True):
    """One input of a session for a headset, likewise."""

    id: Annotated[int, Meta(ge=0, le=2**53)]
    pose: HeadPose
    time: _Time | None = None


_Event = TypeVar("_Event", InputEvent, PoseEvent)


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
        beside: Beside | None = None,
        *,
        reprojection: Reprojection | None = None,
    ) -> None:
        """size: of the picture. beside: what is said beside it, and gathers the tiles' depth.

        reprojection: from what `previous` shows, where that is known.
        """
        self.pieces = pieces
        self._reprojection = reprojection
        self._beside = beside
        self._planes = _planes(canvas, size)
        self._previous = _planes(previous, size) if len(previous) else None

    def accept(self, index: int, result: memoryview) -> None:
        """Copy a tile's packed I420 planes to their place, and its depth if it has any.

        Raises ContentRefused on a bad size.
        """
        rect, wanted = Rect(*self.pieces[index].region), self.pieces[index].output_bytes
        if len(result) != wanted:
            raise ContentRefused(
                what=f"tile {index} is refused",
                why=f"it has {len(result)} bytes and must have {wanted}",
                fix="Update the worker that made it.",
            )
        if self._beside is not None:
            self._beside.accept(rect, result[rect.i420_bytes :])
            result = result[: rect.i420_bytes]
        tile = Rect(0, 0, rect.width, rect.height)
        for plane, source in zip(
            _parts(self._planes, rect),
            _parts(_planes(result, (rect.width, rect.height)), tile),
            strict=True,
        ):
            plane[:] = source

    def fill(self, index: int) -> None:
        """Show the picture before, as it is seen from where the camera is now; else mid-grey."""
        rect = Rect(*self.pieces[index].region)
        if self._previous is None:
            for plane in _parts(self._planes, rect):
                plane[:] = MID_GREY
            return
        if self._reprojection is not None and self._reprojection.take(rect):
            self._reprojection.fill(self._planes, self._previous, rect)
            return
        for plane, source in zip(
            _parts(self._planes, rect), _parts(self._previous, rect), strict=True
        ):
            plane[:] = source

    def finish(self) -> bytes:
        """FMVR/1 (render.viewresult) if it was asked for; else the picture says it all."""
        return self._beside.message() if self._beside is not None else b""


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
        eyes: Sequence[Eye] = (),
        foveas: Sequence[Fovea] = (),
        block: BlockOrNone = 0,
        antialias: Antialias = 1,
        shadows: Shadows = 0,
        overscan: Overscan | None = None,
    ) -> None:
        """width, height: of a view, pixels, even. deadline_us: 0 for two periods. samples: of the
        path tracer, 0 for the raster pass. eyes: of a headset; none for an orbit camera. foveas:
        of each view, all sent in one size. block: of the depth to send (`render.depth`), 0 for
        none. overscan: of such a view, none to draw just what is looked at. antialias, shadows: of
        the raster pass, samples of a pixel and texels along a side of its shadow map. See
        RenderOptions.

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
        self._shown: dict[int, Matrix] = {}  # canvas -> the view drawn into it
        self._turntable = turntable
        self._animation = animation if animation < len(facts.animations) else REST
        self._time, self._speed = time, speed
        self._held_at: float | None = None
        self._last_input = -1
        assets = (asset, environment.asset) if environment else (asset,)
        self._bounces = bounces
        integrator = "pathtrace" if samples else "raster"
        self._kind = "-".join([integrator, *(each.digest[:12] for each in assets)])
        period_us = round(1e6 / fps)
        self._overscan = overscan or Overscan.of(width, height, 1.0)
        self._aspect, self._size, self._block = width / height, self._overscan.drawn, block
        count = max(len(eyes), 1)
        foveas = foveas or [Fovea.none(*self._size)] * count
        self._sent, self._parts = foveas[0].sent, [fovea.parts() for fovea in foveas]
        self._cells = [np.ix_(*fovea.cells()) for fovea in foveas]
        self._foveas = foveas
        self.picture = PictureFormat(count * self._sent[0], self._sent[1])
        lit_by = environment.asset.digest if environment else ""
        self.setup = SessionSetup(
            encode(SessionSpec(*self._sent, lit_by, samples > 0, block, antialias, shadows)), assets
        )
        self._camera = _pick_camera(facts, camera)
        self._pose = self._first_pose(self._aspect)
        self._headset = Headset(tuple(eyes), self._pose.distance * NEAR_FRACTION) if eyes else None
        self._head, self._posed = head_of(self._pose), False
        rects = [[part.rect for part in parts] for parts in self._parts]
        self._tiler = Tiler(*self._sent, TILE, parts=rects)
        sunless = environment is not None and facts.light is not None  # no lamp but that sky
        choices = qualities(samples, 0 if sunless else shadows)
        self._qualities, steps = ladder(choices, self._first_cost(), tiles)
        self.contract = Contract(
            period_us,
            deadline_us or 2 * period_us,
            ladder=steps,
            stand_in=not eyes,  # a headset shows the last picture itself, where it looks now
        )

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
            "turntable": TURN_RAD_PER_S
            if self._turntable and self._camera is None and self._headset is None
            else 0.0,
            **self._describe_views(),
        }

    def _describe_views(self) -> Mapping[str, Any]:
        """What a client needs to show the picture as it is meant to be seen (docs/vr.md)."""
        said: dict[str, Any] = {}
        if self._headset is not None:
            said["eyes"] = [msgspec.to_builtins(eye) for eye in self._headset.eyes]
            said["near"] = self._headset.near
        if self._sent != self._size:
            said["fovea"] = [msgspec.to_builtins(fovea) for fovea in self._foveas]
        if self._overscanned:
            said["overscan"] = self._overscan.factors
        if self._says_views:
            said |= {"result": FMVR, "depth": self._block}
        return said

    @property
    def _overscanned(self) -> bool:
        return self._overscan.drawn != self._overscan.looked_at

    @property
    def _says_views(self) -> bool:
        """Whether frames say what they were drawn from: whoever shows them again needs it."""
        return self._headset is not None or self._block > 0 or self._overscanned

    def apply_input(self, event: Mapping[str, Any], now_us: int) -> None:
        """One InputEvent, or PoseEvent where there is a headset; ids not above the last one's are
        ignored. Raises ContentRefused.
        """
        if self._headset is not None:
            posed = _read(event, PoseEvent, '"pose": {"id", "position", "orientation"}')
            head = posed.pose.normalised()
            if posed.id > self._last_input:
                self._last_input, self._held_at = posed.id, posed.time
                self._head, self._posed = head, True
            return
        given = _read(event, InputEvent, '"camera": {"yaw", "pitch", "distance", "target"}')
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
        if self._began_us is None:
            self._began_us = now_us
        since_s = (now_us - self._began_us) / 1e6
        time = self._time_at(since_s)
        pose = self._facts.poser.at(self._animation, time)
        views = self._views_at(since_s, pose)
        quality = self._qualities[hint.rung]
        cost = cost_at(quality, self._cost(pose, views))
        towards_light, illuminance = _sunlight(None if self._environment else self._facts.light)
        template = TileSpec(
            rect=(0, 0, *self._sent),
            clip_from_world=(0.0,) * 16,
            eye=views[0].eye,
            parallel=views[0].parallel,
            towards_light=towards_light,
            illuminance=illuminance,
            ambient=(self._ambient,) * 3,
            exposure=self._exposure,
            background=BACKGROUND,
            animation=self._animation,
            time=time,
            tone_mapping=self._tone_mapping,
            samples=quality.samples,
            scale=quality.scale,
            bounces=self._bounces,
            shadows=quality.shadows,
            **_sky(self._environment),
        )
        tiles = self._tiler.tiles(cost, hint, self._kind, self._tiles)
        pieces = [
            Piece(
                index,
                self._kind,
                tile.units,
                encode(self._tile_spec(template, tile, views[tile.view])),
                tile.rect.i420_bytes + depth_bytes(tile.rect, self._block),
                region=(tile.view * self._sent[0] + tile.rect.x, *tile.rect[1:]),
            )
            for index, tile in enumerate(tiles)
        ]
        size = self.picture.width, self.picture.height
        reprojection = self._reprojection(pose, views[0], canvas, previous)
        return RenderFrame(
            size, pieces, canvas, previous, self._beside(views), reprojection=reprojection
        )

    def _reprojection(
        self, pose: Pose, view: View, canvas: memoryview, previous: memoryview
    ) -> Reprojection | None:
        """From the picture before to this one. Headsets do it themselves, with real depth."""
        squeezed = self._sent != self._size  # its pixels lie elsewhere than the view's
        if self._headset is not None or view.parallel or squeezed:
            return None
        then = self._shown.get(_address(previous))
        # Canvases are lent again and again: each holds what was drawn into it last.
        self._shown[_address(canvas)] = view.clip_from_world
        while len(self._shown) > MOST_CANVASES:
            del self._shown[next(iter(self._shown))]
        if then is None:
            return None
        return Reprojection(pose.boxes, view.clip_from_world, then, self._size)

    def _tile_spec(self, template: TileSpec, tile: Tile, view: View) -> TileSpec:
        """A tile as its device sees it: of a frame that is its view alone."""
        part = self._parts[tile.view][tile.part]
        matrix = part.sent_from_clip @ view.clip_from_world
        return msgspec.structs.replace(
            template,
            rect=tuple(tile.rect),
            clip_from_world=tuple(matrix.ravel().tolist()),
            eye=view.eye,
        )

    def _cost(self, pose: Pose, views: Sequence[View]) -> FrameCost:
        """Of the grid's cells in the views as sent, side by side."""
        boxes, triangles = pose.boxes, self._facts.box_triangles
        return FrameCost.beside(
            cost_map(boxes, triangles, view.clip_from_world, *self._size).at(cells)
            for view, cells in zip(views, self._cells, strict=True)
        )

    def _beside(self, views: Sequence[View]) -> Beside | None:
        """What is to be said of the frame beside its picture."""
        if not self._says_views:
            return None
        matrices = [view.clip_from_world for view in views]
        return Beside(self._head, self._posed, self._sent, matrices, self._block)

    def _first_pose(self, aspect: float) -> Orbit:
        """Where the client begins: as the scene's camera sees it, or so that everything fits."""
        if self._camera is None:
            return frame_points(self._facts.outline, aspect)
        pose = self._facts.poser.at(self._animation, self._time_at(0.0))
        placed = _place_of(self._camera, pose)
        return orbit_like(self._camera, placed, self._facts.middle())

    def _views_at(self, since_s: float, pose: Pose) -> list[View]:
        """What the frame draws, from the left: a headset's eyes, or one view."""
        if self._headset is not None:
            views = self._headset.views(self._head)
        else:
            views = [self._view_at(since_s, pose, self._aspect)]
        return [self._overscan.widen(view) for view in views]

    def _view_at(self, since_s: float, pose: Pose, aspect: float) -> View:
        """The client's view; before its first input the scene's camera, or a slow turn: functions
        of time alone."""
        if self._camera is not None:
            return camera_view(self._camera, _place_of(self._camera, pose), aspect)
        orbit = self._pose
        if self._turntable:
            orbit = replace(orbit, yaw=orbit.yaw + TURN_RAD_PER_S * since_s)
        return orbit.view(aspect)

    def _first_cost(self) -> FrameCost:
        """Of the picture that the client begins with."""
        pose = self._facts.poser.at(self._animation, self._time_at(0.0))
        return self._cost(pose, self._views_at(0.0, pose))

    def _time_at(self, since_s: float) -> float:
        """Seconds into the animation: what the client holds it at, or playing round and round."""
        if self._animation == REST:
            return 0.0
        if self._held_at is not None:
            return self._held_at
        _, duration = self._facts.animations[self._animation]
        return (self._time + self._speed * since_s) % duration if duration > 0 else 0.0


def _read(event: Mapping[str, Any], kind: type[_Event], example: str) -> _Event:
    """A client's input as what this session takes. Raises ContentRefused."""
    try:
        return msgspec.convert(event, kind)
    except msgspec.ValidationError as problem:
        raise ContentRefused(
            what="the input is refused",
            why=str(problem),
            fix=f'Send {{"id": n, {example}}}.',
        ) from problem


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


def _address(canvas: memoryview) -> int:
    """Where its bytes are: a canvas that is lent again is the same one. 0 for an empty one."""
    return np.frombuffer(canvas, np.uint8).ctypes.data if len(canvas) else 0


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
