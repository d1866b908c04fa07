"""A headset's session through two nodes: the bytes each eye gets, and the page that shows them."""

from __future__ import annotations

import asyncio
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
        page = await chromium.open_page(mesh.page_url(**opened, **asked))
        warped = await seen_at_rest(page)
        facts = (await page.evaluate("framemesh.take()"))["facts"]
        look = await page.evaluate("framemesh.look()")
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
