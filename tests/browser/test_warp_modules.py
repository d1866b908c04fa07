"""The late warp's modules, run in the browser beside the renderer's own arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from render.camera import Orbit
from render.foveate import Axis, Fovea
from render.headpose import HeadPose
from render.headset import Headset, eyes_of
from render.overscan import Overscan

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

EYES = eyes_of("stereo", 0.063, 0.1, outwards=1.2, inwards=0.9, up=1.0, down=1.1)
NEAR = 0.005
POSE = {"yaw": 0.7, "pitch": -0.3, "distance": 4.0, "target": [0.5, 1.0, -2.0]}
TURN = np.array([0.2, -0.4, 0.1, 0.8]) / np.linalg.norm([0.2, -0.4, 0.1, 0.8])
HEAD = HeadPose(1, (0.3, 1.6, -0.5), tuple(TURN.tolist()))
SIZE = (128, 96)


def described() -> dict:
    eyes = [{"right": eye.right, "turn": eye.turn, "tangents": eye.tangents} for eye in EYES]
    return {"eyes": eyes, "near": NEAR}


def head() -> dict:
    return {"position": HEAD.position, "orientation": HEAD.orientation}


def orbit(**changed) -> Orbit:
    pose = POSE | changed
    return Orbit(pose["yaw"], pose["pitch"], pose["distance"], tuple(pose["target"]))


# --- matrices -----------------------------------------------------------------------------------


async def test_products_inverses_and_transposes_are_numpys(run_js):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 4, 4))
    body = (
        "return [matrix.multiply(...given), matrix.inverse(given[0]), matrix.transpose(given[0])]"
    )
    product, inverse, transposed = await run_js(
        "matrix", body, a.ravel().tolist(), b.ravel().tolist()
    )
    assert np.reshape(product, (4, 4)) == pytest.approx(a @ b)
    assert np.reshape(inverse, (4, 4)) == pytest.approx(np.linalg.inv(a))
    assert np.reshape(transposed, (4, 4)) == pytest.approx(a.T)
    flat = [1.0, 0, 0, 0, 2.0, 0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]
    assert await run_js("matrix", "return matrix.inverse(given[0])", flat) is None


async def test_between_two_turns_and_beyond_them_the_speed_is_the_same(run_js):
    """About one axis, an angle that grows evenly; the shorter way, whichever sign b has."""
    body = "return given[0].map((share) => matrix.slerp(given[1], given[2], share))"
    shares = [-0.5, 0.0, 0.25, 1.0, 3.0]
    for sign in (1, -1):
        ends = [
            [0, math.sin(at / 2) * to, 0, math.cos(at / 2) * to]
            for at, to in ((0.2, 1), (0.5, sign))
        ]
        turns = await run_js("matrix", body, shares, *ends)
        yaws = [2 * math.atan2(y, w) for _, y, _, w in turns]
        assert yaws == pytest.approx([0.2 + 0.3 * share for share in shares])


# --- where the camera is now --------------------------------------------------------------------


async def test_the_pages_eyes_are_the_renderers(run_js):
    made = await run_js("viewpoint", "return viewpoint.eyeViews(...given)", described(), head())
    for its, view in zip(made, Headset(EYES, NEAR).views(HEAD), strict=True):
        assert np.reshape(its, (4, 4)) == pytest.approx(view.clip_from_world)


async def test_the_pages_orbit_view_is_the_renderers(run_js):
    made = await run_js("viewpoint", "return viewpoint.orbitView(given[0], 1.6)", POSE)
    assert np.reshape(made, (4, 4)) == pytest.approx(orbit().clip_from_world(1.6))


async def test_a_headsets_own_view_is_that_of_the_same_eye(run_js):
    """WebXR's matrices: columns first, y up, a depth of its own, here from 0.1 to 100 metres."""
    [left, _] = Headset(EYES, NEAR).views(HEAD)
    axes, eye = HEAD.axes() @ EYES[0].axes(), np.array(left.eye)
    view_from_world = np.eye(4)
    view_from_world[:3, :3], view_from_world[:3, 3] = axes.T, -axes.T @ eye
    west, east, up, down = EYES[0].tangents
    projection = np.array(
        [
            [2 / (east - west), 0, (east + west) / (east - west), 0],
            [0, 2 / (up - down), (up + down) / (up - down), 0],
            [0, 0, -100.1 / 99.9, -20 / 99.9],
            [0, 0, -1, 0],
        ]
    )
    given = [matrix.T.ravel().tolist() for matrix in (projection, view_from_world)]
    made = await run_js(
        "viewpoint matrix", "return viewpoint.xrView(...given, matrix.IDENTITY, 0.005)", *given
    )
    assert np.reshape(made, (4, 4)) == pytest.approx(left.clip_from_world)


async def test_sizes_are_of_a_view_before_its_edges_are_squeezed_and_of_what_is_looked_at(run_js):
    overscan = Overscan.of(320, 200, 1.25)
    fovea = Fovea(Axis.squeeze(400, 0.4, 2), Axis.squeeze(256, 0.4, 2))
    axes = [{"x": vars_of(fovea.x), "y": vars_of(fovea.y)}] * 2
    said = {
        "width": 2 * fovea.sent[0],
        "height": fovea.sent[1],
        "overscan": overscan.factors,
        "fovea": axes,
        **described(),
    }
    sizes = await run_js("viewpoint", "return viewpoint.sizesOf(given[0])", said)
    assert sizes == {"views": 2, "drawn": [400, 256], "lookedAt": [320, 200]}


def vars_of(axis: Axis) -> dict:
    return {"full": axis.full, "squeezed": axis.squeezed}


# --- where the camera will be -------------------------------------------------------------------

LOOKED = """
    const seen = new foresight.Foresight(foresight.poseBetween);
    let pose = given[0];
    for (let ms = 0; ms <= given[1]; ms += 10) {
      if (ms > 0) pose = camera.look(pose, ms <= given[2] ? 0.02 : 0, 0);
      seen.add(pose, ms);
    }
    const ahead = seen.after(100);
    return [pose, ahead, camera.eyeOf(pose), camera.eyeOf(ahead)];"""


async def test_who_turns_evenly_is_foreseen_where_they_stand(run_js):
    pose, ahead, eye, eye_ahead = await run_js("foresight camera", LOOKED, POSE, 500, 500)
    assert ahead["yaw"] - pose["yaw"] == pytest.approx(0.2)
    assert eye_ahead == pytest.approx(eye)


async def test_who_stopped_is_soon_foreseen_at_rest(run_js):
    pose, ahead, *_ = await run_js("foresight camera", LOOKED, POSE, 400, 300)
    assert ahead["yaw"] == pytest.approx(pose["yaw"])


async def test_who_orbits_keeps_the_target_and_crosses_half_a_turn(run_js):
    body = """
        const seen = new foresight.Foresight(foresight.poseBetween);
        let pose = { ...given[0], yaw: 3.1 };
        for (let ms = 0; ms <= 100; ms += 10) {
          pose = camera.orbit(pose, 0.01, 0);
          seen.add(pose, ms);
        }
        return [pose, seen.after(50)];"""
    pose, ahead = await run_js("foresight camera", body, POSE)
    assert ahead["target"] == POSE["target"]
    assert math.remainder(ahead["yaw"] - pose["yaw"], 2 * math.pi) == pytest.approx(0.05)


async def test_a_turning_head_is_foreseen_and_one_that_begins_to_move_is_not_guessed_at(run_js):
    body = """
        const seen = new foresight.Foresight(foresight.headBetween);
        const none = seen.after(100);
        const at = (ms) => ({ position: [ms / 1000, 0, 0],
          orientation: [0, Math.sin(ms / 1000), 0, Math.cos(ms / 1000)] });
        seen.add(at(0), 0);
        const first = seen.after(100);
        for (let ms = 1000; ms <= 1100; ms += 11) seen.add(at(ms), ms);
        return [none, first, seen.after(50), seen.after(1e9)];"""
    none, first, ahead, far = await run_js("foresight", body)
    assert none is None
    assert first["position"] == [0, 0, 0]
    assert ahead["position"][0] == pytest.approx(1.099 + 0.05)
    x, y, z, w = ahead["orientation"]
    assert (x, z) == (0, 0)
    assert math.atan2(y, w) == pytest.approx(1.099 + 0.05)
    assert far["position"][0] < 1.5  # there is an end to it


# --- drawing ------------------------------------------------------------------------------------

# A picture whose red and green say where its pixels are, drawn as `given` says; the canvas, RGBA.
DRAWN = """
    const [size, shown, layout, views, warp, view] = given;
    const picture = new OffscreenCanvas(...size);
    const context = picture.getContext("2d");
    const image = context.createImageData(...size);
    for (let y = 0; y < size[1]; y++) for (let x = 0; x < size[0]; x++) {
      image.data.set([x, y, 100, 255], 4 * (y * size[0] + x));
    }
    context.putImageData(image, 0, 0);
    const canvas = new OffscreenCanvas(...shown);
    const gl = canvas.getContext("webgl2", { antialias: false });
    if (gl === null) return null;
    const drawing = new latewarp.LateWarp(gl);
    const serial = drawing.take(picture, -1);
    const depth = views && { ...views, depth: views.depth.map((map) => Uint16Array.from(map)) };
    drawing.clear(null);
    drawing.draw(serial, view, layout, depth, warp, [0, 0, ...shown]);
    const pixels = new Uint8Array(4 * shown[0] * shown[1]);
    gl.readPixels(0, 0, ...shown, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return [...pixels];"""


@pytest.fixture
def drawn(run_js):
    """What the late warp makes of the picture: uint8 (height, width, 4), first row on top."""

    async def draw(layout, warp, views=None, view=0, size=SIZE, shown=SIZE) -> np.ndarray:
        pixels = await run_js("latewarp", DRAWN, size, shown, layout, views, warp, view)
        assert pixels is not None, "this Chromium has no WebGL2"
        return np.array(pixels, np.uint8).reshape(shown[1], shown[0], 4)[::-1]

    return draw


def expected_places(warp: np.ndarray, depth: float, shown=SIZE) -> np.ndarray:
    """Which place of the picture's each pixel shows, of a picture all of one depth: (h, w, 2)."""
    width, height = shown
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    plane = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, depth, 1]]).T  # (x, y, 1) -> clip then
    to_shown = np.delete(warp @ plane, 2, axis=0)
    there = np.stack([2 * x - 1, 2 * y - 1, np.ones_like(x)], axis=-1) @ np.linalg.inv(to_shown).T
    return (there[..., :2] / there[..., 2:] + 1) / 2 * [width, height]


def check(pixels: np.ndarray, places: np.ndarray) -> None:
    """Every pixel well inside the picture shows its place; those well outside show nothing."""
    width, height = SIZE
    inside = ((places > 1) & (places < [width - 1, height - 1])).all(axis=-1)
    outside = ((places < -1) | (places > [width + 1, height + 1])).any(axis=-1)
    assert inside.mean() > 0.3
    assert (pixels[inside][:, 3] == 255).all()
    assert (pixels[outside] == 0).all()
    off = pixels[inside][:, :2] + 0.5 - places[inside]
    assert np.abs(off).max() < 1


async def test_a_turn_is_drawn_exactly(drawn):
    then, now = orbit(), orbit(yaw=POSE["yaw"] + 0.15, pitch=POSE["pitch"] + 0.05)
    # About the eye: it stays where it was.
    now = Orbit(now.yaw, now.pitch, 4.0, tuple(np.subtract(then.eye(), back(now) * 4.0).tolist()))
    aspect = SIZE[0] / SIZE[1]
    warp = now.clip_from_world(aspect) @ np.linalg.inv(then.clip_from_world(aspect))
    pixels = await drawn({"count": 1, "sent": SIZE}, warp.ravel().tolist())
    places = expected_places(warp, 0.0)
    check(pixels, places)
    assert (pixels[..., 3] == 0).any()  # it looks past the picture's edge
    middle = orbit().view_from_world()[:3, :3] @ -back(now)
    tangent = math.tan(math.radians(20))
    assert places[SIZE[1] // 2, SIZE[0] // 2, 0] / SIZE[0] * 2 - 1 == pytest.approx(
        middle[0] / -middle[2] / tangent / aspect, abs=0.02
    )


def back(pose: Orbit) -> np.ndarray:
    return np.array(pose.view_from_world()[2, :3])


@pytest.mark.parametrize("block", [8, 16])
async def test_a_step_moves_what_is_near_as_far_as_its_depth_says(drawn, block):
    then = orbit()
    step = orbit(target=list(np.add(POSE["target"], then.view_from_world()[0, :3] * 0.4)))
    aspect = SIZE[0] / SIZE[1]
    warp = step.clip_from_world(aspect) @ np.linalg.inv(then.clip_from_world(aspect))
    near, distance = POSE["distance"] * 1e-3, 3.0
    depth = np.float16(near / distance)
    cells = SIZE[0] // block * (SIZE[1] // block)
    views = {"block": block, "size": SIZE, "depth": [[int(depth.view(np.uint16))] * cells]}
    pixels = await drawn({"count": 1, "sent": SIZE}, warp.ravel().tolist(), views)
    places = expected_places(warp, float(depth))
    check(pixels, places)
    shift = 0.4 / distance / math.tan(math.radians(20)) / aspect * SIZE[0] / 2
    assert places[0, 0, 0] - 0.5 == pytest.approx(shift, rel=1e-2)


async def test_what_never_came_and_what_is_not_there_stay_where_a_turn_puts_them(drawn):
    step = orbit(target=[0.9, 1.0, -2.0])
    warp = step.clip_from_world(1.5) @ np.linalg.inv(orbit().clip_from_world(1.5))
    unknown = [int(np.float16(value).view(np.uint16)) for value in (np.nan, 0.0)] * 24
    views = {"block": 16, "size": SIZE, "depth": [unknown]}
    pixels = await drawn({"count": 1, "sent": SIZE}, warp.ravel().tolist(), views)
    check(pixels, expected_places(warp, 0.0))


async def test_what_is_nearer_hides_what_is_behind_it(drawn):
    """The left half is near, the right half far: a step to the left slides one over the other."""
    then = orbit()
    step = orbit(target=list(np.add(POSE["target"], then.view_from_world()[0, :3] * -0.5)))
    warp = step.clip_from_world(1.5) @ np.linalg.inv(then.clip_from_world(1.5))
    near = POSE["distance"] * 1e-3
    values = [near / 2.0] * 4 + [0.0] * 4
    depth = [int(np.float16(value).view(np.uint16)) for value in values] * 6
    views = {"block": 16, "size": SIZE, "depth": [depth]}
    pixels = await drawn({"count": 1, "sent": SIZE}, warp.ravel().tolist(), views)
    places = expected_places(warp, float(np.float16(near / 2.0)))
    foreground = ((places > 1) & (places < [63, 95])).all(axis=-1)
    assert (foreground[:, 66:]).any()  # over what was the background
    assert np.abs(pixels[foreground][:, :2] + 0.5 - places[foreground]).max() < 1


async def test_squeezed_edges_are_put_back_and_each_eye_sees_its_own_view(drawn):
    axes = Axis.squeeze(128, 0.4, 2), Axis.squeeze(96, 0.4, 2)
    sent = Fovea(*axes).sent
    fovea = [{"x": vars_of(axes[0]), "y": vars_of(axes[1])}] * 2
    layout = {"count": 2, "sent": sent, "fovea": fovea}
    size = (2 * sent[0], sent[1])
    unmoved = np.eye(4).ravel().tolist()
    for view in range(2):
        pixels = await drawn(layout, unmoved, view=view, size=size, shown=SIZE)
        across = axes[0].shrink(np.arange(128) + 0.5)
        down = axes[1].shrink(np.arange(96) + 0.5)
        wanted = np.stack(np.meshgrid(across, down), axis=-1) + np.array([view * sent[0], 0])
        off = np.abs(pixels[..., :2] + 0.5 - wanted)
        assert (pixels[..., 3] == 255).all()
        assert np.median(off) < 0.5
        assert off.max() <= 1  # at a knot the rate changes within a pixel


async def test_a_picture_that_comes_smaller_than_it_was_made_fills_the_same_place(drawn):
    layout = {"count": 1, "sent": [256, 192]}
    pixels = await drawn(layout, np.eye(4).ravel().tolist())
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    assert (pixels[..., 0] == x).all()
    assert (pixels[..., 1] == y).all()


async def test_a_picture_on_the_screen_is_never_given_up_for_a_newer_one(run_js):
    body = """
        const gl = new OffscreenCanvas(8, 8).getContext("webgl2");
        if (gl === null) return null;
        const drawing = new latewarp.LateWarp(gl);
        const picture = new OffscreenCanvas(8, 8);
        picture.getContext("2d").fillRect(0, 0, 8, 8);
        const shown = drawing.take(picture, -1);
        const serials = [...Array(20)].map(() => drawing.take(picture, shown));
        return [shown, drawing.has(shown), serials.filter((serial) => drawing.has(serial))];"""
    shown, kept, others = await run_js("latewarp", body)
    assert (shown, kept) == (0, True)
    assert others == list(range(16, 21))


# --- headsets -----------------------------------------------------------------------------------


async def test_a_headsets_space_begins_upright_where_the_camera_does(run_js):
    body = """
        const space = headset.spaceAt(given[0], camera.eyeOf(given[0]));
        return headset.inWorld(space, { position: [0, 0.5, -1], orientation: [0, 0, 0, 1] });"""
    placed = await run_js("headset camera", body, POSE)
    ahead = np.array([math.sin(POSE["yaw"]), 0.0, math.cos(POSE["yaw"])])
    assert placed["position"] == pytest.approx(orbit().eye() + np.array([0, 0.5, 0]) - ahead)
    level = HeadPose(0, (0, 0, 0), tuple(placed["orientation"]))
    assert level.axes()[:, 2] == pytest.approx(ahead)
    assert level.axes()[:, 1] == pytest.approx([0, 1, 0])
