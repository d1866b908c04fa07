"""A headset's session through two nodes: the bytes each eye gets, and the page that shows them."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import framemesh
from bench.workernode import WorkerNode, worker_node
from clients.cli.demo import DemoMesh
from mesh.core.workload import CutHint, DeviceInfo, SessionRequest
from render.camera import Orbit
from render.executor import RenderExecutor
from render.foveate import Axis, Fovea
from render.headpose import HeadPose
from render.session import RenderSession
from render.viewresult import NAME, ViewResult, decode_result
from render.workload import RenderWorkload, create

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZE = {"scene": "yours", "width": 320, "height": 320}
SQUEEZED = {"fovea_width": 0.5, "fovea_height": 0.5, "fovea_ratio": 2}
POSE = {
    "id": 17,
    "position": [0.3, 0.2, 5.5],
    "orientation": [math.sin(-0.06), 0.0, 0.0, math.cos(0.06)],
}


@pytest.fixture
def workload(confetti: Path) -> RenderWorkload:
    return create({"scenes": {"yours": str(confetti)}})


@pytest.fixture
def device(workload: RenderWorkload) -> DeviceInfo:
    return workload.find_devices()[0]


@pytest.fixture
def drawn_here(workload: RenderWorkload, device: DeviceInfo):
    """A session's next frame by one device of this process alone: the whole picture, I420."""
    executor = RenderExecutor(device)

    def draw(session: RenderSession) -> bytes:
        assets = {asset.digest: memoryview(asset.data) for asset in session.setup.assets}
        executor.prepare("s", session.setup.spec, assets)
        canvas = bytearray(session.picture.nbytes)
        frame = session.open_frame(0, 0, CutHint(1), memoryview(canvas), memoryview(b""))
        for piece in frame.pieces:
            output = memoryview(bytearray(piece.output_bytes))
            executor.run("s", piece.spec, memoryview(b""), output)
            frame.accept(piece.index, output)
        return bytes(canvas)

    yield draw
    executor.close()


def luma_of(session: RenderSession, picture: bytes) -> NDArray[np.uint8]:
    width, height = session.picture.width, session.picture.height
    return np.frombuffer(picture, np.uint8, width * height).reshape(height, width)


def planes_of(session: RenderSession, picture: bytes) -> list[NDArray[np.uint8]]:
    width, height = session.picture.width, session.picture.height
    chroma = np.frombuffer(picture, np.uint8, offset=width * height)
    return [luma_of(session, picture), *chroma.reshape(2, height // 2, width // 2)]


async def test_through_two_nodes_each_eye_gets_the_bytes_of_its_mono_picture(workload, drawn_here):
    session = workload.open_session(
        SessionRequest("render", SIZE | SQUEEZED | {"view": "stereo", "depth": 8})
    )
    session.apply_input({"id": 0, "pose": POSE}, 0)
    canvas = bytearray(session.picture.nbytes)
    frame = session.open_frame(0, 0, CutHint(2), memoryview(canvas), memoryview(b""))
    left = iter(frame.pieces)
    made = []

    async def take(node: WorkerNode) -> None:
        for piece in left:
            _, tile = await node.run(piece)
            frame.accept(piece.index, tile)
            made.append(node)

    async with AsyncExitStack() as stack:
        starting = (stack.enter_async_context(worker_node(session)) for _ in range(2))
        nodes = await asyncio.gather(*starting)
        await asyncio.gather(*map(take, nodes))
    assert set(made) == set(nodes)
    result = decode_result(frame.finish())
    assert result.pose.id == POSE["id"]
    assert not np.isnan(result.depth).any()
    for number, view in enumerate(("left", "right")):
        alone = workload.open_session(SessionRequest("render", SIZE | SQUEEZED | {"view": view}))
        alone.apply_input({"id": 0, "pose": POSE}, 0)
        wanted = planes_of(alone, drawn_here(alone))
        for both, plane in zip(planes_of(session, bytes(canvas)), wanted, strict=True):
            width = plane.shape[1]
            np.testing.assert_array_equal(both[:, number * width : (number + 1) * width], plane)
        assert wanted[0].std() > 15


SEEN = """new Promise((resolve) => {
  const read = () => {
    const warped = framemesh.look().warp;
    const canvas = document.getElementById(warped ? "warped" : "unsqueezed");
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    const luma = new Uint8Array(width * height).map((_, i) =>
      0.2126 * data[4 * i] + 0.7152 * data[4 * i + 1] + 0.0722 * data[4 * i + 2]);
    resolve({ warped, width, height, luma: [...luma], echo: framemesh.look().echo });
  };
  // What WebGL drew may be read until the display has taken it.
  if (framemesh.look().warp) framemesh.onPresented(read);
  else read();
})"""
STILL = "framemesh.look().echo?.answered.id === framemesh.look().input"


# No headset is here: a stand-in for the browser's WebXR devices, whose wearer holds still. Its eyes
# are the session's own. After each frame `xrSeen` gets what both see, as luma.
HEADSET = {"position": [0.1, 0.05, -0.3], "orientation": [0.0, math.sin(0.05), 0.0, math.cos(0.05)]}
FAKE_XR = """
class FakeSession extends EventTarget {
  updateRenderState({ baseLayer }) { this.layer = baseLayer; }
  async requestReferenceSpace(kind) { return kind === "local" ? {} : null; }
  requestAnimationFrame(told) {
    this.told = told;
    this.timer = setTimeout(() => {
      told(performance.now(), { getViewerPose: () => viewerPose() });
      globalThis.xrSeen = read(this.layer.gl.canvas);
    }, 16);
  }
  end() {
    clearTimeout(this.timer);
    this.dispatchEvent(new Event("end"));
  }
}
globalThis.XRWebGLLayer = class {
  constructor(session, gl) { [this.gl, this.framebuffer] = [gl, null]; }
  getViewport({ eye }) { return { x: eye === "left" ? 0 : 320, y: 0, width: 320, height: 320 }; }
};
WebGL2RenderingContext.prototype.makeXRCompatible = async () => {};
Object.defineProperty(navigator, "xr", { value: {
  isSessionSupported: async (mode) => mode === "immersive-vr",
  requestSession: async () => (globalThis.xrSession = new FakeSession()),
} });
const viewerPose = () => {
  const [[x, y, z], [qx, qy, qz, qw]] = [HEADSET.position, HEADSET.orientation];
  const transform = new DOMMatrix()
    .translate(x, y, z).rotate(0, (2 * Math.atan2(qy, qw) * 180) / Math.PI, 0);
  const views = framemesh.look().description.eyes.map(({ right, tangents }, i) => {
    const [w, e, u, d] = tangents;
    return {
      eye: i === 0 ? "left" : "right",
      projectionMatrix: new Float32Array([
        2 / (e - w), 0, 0, 0, 0, 2 / (u - d), 0, 0,
        (e + w) / (e - w), (u + d) / (u - d), -1, -1, 0, 0, -0.2, 0]),
      transform: {
        inverse: { matrix: transform.translate(right, 0, 0).inverse().toFloat32Array() },
      },
    };
  });
  const [position, orientation] = [{ x, y, z }, { x: qx, y: qy, z: qz, w: qw }];
  return { transform: { position, orientation }, views };
};
const read = (canvas) => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d");
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  return Array.from({ length: width * height }, (_, i) =>
    0.2126 * data[4 * i] + 0.7152 * data[4 * i + 1] + 0.0722 * data[4 * i + 2]);
};
""".replace("HEADSET.", f"({json.dumps(HEADSET)}).")


async def worn(page) -> tuple[dict, NDArray[np.float64]]:
    """Enter VR and leave it: the head that frames were drawn for, and what both eyes saw."""
    await page.until("!document.getElementById('headset').hidden")
    await page.evaluate("document.getElementById('headset').click()")
    before = (await page.evaluate("framemesh.look()"))["echo"]["answered"]["id"]
    await page.until(f"framemesh.look().echo.answered.id > {before} + 8 && globalThis.xrSeen")
    answered = (await page.evaluate("framemesh.look()"))["echo"]["answered"]
    seen = await page.evaluate("xrSeen.map(Math.round)")
    await page.evaluate("xrSession.end()")
    return answered, np.array(seen, float).reshape(320, 640)


async def posed_result(url: str) -> ViewResult:
    """What a program is told of the first frame that is drawn from its pose."""
    async with framemesh.connect(url) as session:
        assert session.description["result"] == NAME
        number = session.steer(pose=POSE)
        async for result in session.results:
            came = decode_result(result.data)
            if came.posed:
                assert result.number in {number, -1}  # -1: the frame's facts were lost
                return came
    raise AssertionError("the session ended")


def wanted_eyes(workload, drawn_here, head, **options) -> list[NDArray[np.float64]]:
    """What each eye should be shown for a head: full-range luma as looked at."""
    eyes = []
    for view in ("left", "right"):
        alone = workload.open_session(SessionRequest("render", SIZE | SQUEEZED | {"view": view}))
        alone.apply_input({"id": 0, "pose": head}, 0)
        [said] = alone.describe()["fovea"]
        fovea = Fovea(**{name: Axis(**axis) for name, axis in said.items()})
        sent = luma_of(alone, drawn_here(alone))
        wanted = fovea.unsqueeze(sent[..., None])[..., 0]
        eyes.append((wanted.astype(float) - 16) * 255 / 219)
    return eyes


def in_space(camera: Orbit, position: list[float]) -> list[float]:
    """A place of the headset's space in the world: it begins where the camera does, upright."""
    cos, sin = math.cos(camera.yaw), math.sin(camera.yaw)
    x, y, z = position
    eye = camera.eye()
    return [eye[0] + cos * x + sin * z, eye[1] + y, eye[2] - sin * x + cos * z]


async def seen_at_rest(page) -> dict:
    """Turn the head a little; what the page shows when it is still again."""
    await page.until("globalThis.framemesh?.look().counts.matched > 3")
    assert await page.evaluate("framemesh.look().echo") is None  # nobody moved yet
    await page.drag([(300.0, 300.0), (315.0, 305.0), (330.0, 310.0)])
    await page.until(f"framemesh.look().input > 0 && {STILL}")
    shown = (await page.evaluate("framemesh.look()"))["counts"]["pictures"]
    await page.until(f"framemesh.look().counts.pictures > {shown + 4} && {STILL}")
    return await page.evaluate(SEEN)


@pytest.mark.browser
async def test_the_page_shows_both_eyes_in_their_shape_and_knows_their_pose(
    chromium, tmp_path, confetti, workload, drawn_here
):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    mesh = DemoMesh.lay_out(tmp_path, workers=2, port=port, scene=confetti)
    asked = SIZE | SQUEEZED | {"view": "stereo", "depth": 16}
    opened = {"fps": 8, "deadline_ms": 600, "tiles": 4}
    async with mesh.running():
        await mesh.ready()
        page = await chromium.open_page("about:blank")
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=FAKE_XR)
        await page.goto(mesh.page_url(**opened, **asked))
        warped = await seen_at_rest(page)
        facts = (await page.evaluate("framemesh.take()"))["facts"]
        look = await page.evaluate("framemesh.look()")
        head, both = await worn(page)
        assert page.errors == []
        await page.close()
        # Without WebGL2 the page copies parts to their places; here with a margin to cut off.
        wide = mesh.page_url(**opened, **asked, overscan=1.2, warp=0)
        page = await chromium.open_page(wide)
        copied = await seen_at_rest(page)
        assert page.errors == []
        await page.close()
        came = await posed_result(mesh.page_url(fps=8, deadline_ms=600, **asked))
    assert [depth.shape for depth in came.depth] == [(15, 15)] * 2
    assert came.pose == msgspec.convert(POSE, HeadPose).normalised()
    assert {maker.partition("@")[0] for *_, made in facts for maker in made} == {
        "worker-1",
        "worker-2",
    }
    assert look["counts"]["oddities"] == 0
    home = look["description"]["camera"]
    level = Orbit(home["yaw"], home["pitch"], home["distance"], tuple(home["target"]))
    assert head["position"] == pytest.approx(in_space(level, HEADSET["position"]))
    for number, wanted in enumerate(wanted_eyes(workload, drawn_here, head | {"id": 1})):
        eye = both[:, number * 320 : (number + 1) * 320]
        assert np.corrcoef(eye.ravel(), wanted.ravel())[0, 1] > 0.95
    assert (warped["warped"], copied["warped"]) == (True, False)
    for seen in (warped, copied):
        asked_for, answered = seen["echo"]["asked"], seen["echo"]["answered"]
        assert answered["position"] == asked_for["position"]
        assert answered["orientation"] == pytest.approx(asked_for["orientation"])
        assert seen["echo"]["ms"] > 0
        assert (seen["width"], seen["height"]) == (640, 320)
        luma = np.array(seen["luma"], np.uint8).reshape(320, 640)
        head = {"id": 1, "position": answered["position"], "orientation": answered["orientation"]}
        for number, wanted in enumerate(wanted_eyes(workload, drawn_here, head)):
            eye = luma[:, number * 320 : (number + 1) * 320].astype(float)
            # Through the encoder, and put in its place by the page.
            assert np.abs(eye - wanted).mean() < 4
            assert np.corrcoef(eye.ravel(), wanted.ravel())[0, 1] > 0.95
