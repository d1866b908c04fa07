"""LiDAR sweeps through a real mesh, looked at from a real browser and from the SDK.

A program feeds a gateway and two workers over a link; a page joins the session with a token of
its own and reads results off the data channel. What it decoded is compared, byte for byte, with
what one node alone says of the same sweeps, computed here.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

import framemesh
from clients.chromium import Page
from clients.cli.demo import DemoMesh
from clients.cli.realm import viewer_token
from clients.sdk.session import Session
from infer.codec import Boxes, Cloud, decode_result
from infer.readers.kitti import list_sweeps, read_points
from infer.sweep import encode_sweep
from infer.synthetic import drive
from infer.workload import create
from mesh.core.home import NodeHome, Signer
from mesh.core.token import Scope
from mesh.core.workload import CutHint, SessionRequest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PERIOD_US = 100_000
POINTS = 4096
# Sweeps have long enough that only a fault can cost a sector, not the load of whatever else runs.
OPTIONS = {"points": POINTS, "rate_hz": 100, "deadline_ms": 5000}
ROUNDS = 8  # a data channel may lose a result: then the sweeps are sent again
COLLECT = """
    globalThis.seen = [];
    framemesh.onSweep(({ stampUs, missing, boxes, cloud }, frame) => {
      const lists = (of) => Object.fromEntries(
        Object.entries(of).map(([name, array]) => [name, Array.from(array)]));
      seen.push({ frame, stampUs, missing, boxes: lists(boxes), cloud: lists(cloud) });
    });
    0"""


@dataclass(frozen=True)
class Wanted:
    """A sweep as it travels, and the arrays of its result as one node alone makes them."""

    data: bytes
    arrays: Mapping[str, bytes]


def arrays_of(boxes: Mapping[str, Any], cloud: Mapping[str, Any]) -> dict[str, bytes]:
    """The bytes of a result's arrays, in the wire's types."""
    kinds = {"classes": np.uint8, "flags": np.uint8, "points": np.uint32}
    kinds |= {"positions": np.int16, "intensities": np.uint8}
    return {
        name: np.asarray(of[name], kinds.get(name, np.float32)).tobytes()
        for of, fields in ((boxes, Boxes), (cloud, Cloud))
        for name in fields.__dataclass_fields__
    }


def arrays_in(message: bytes | memoryview) -> dict[str, bytes]:
    """The same of a result as it travels."""
    result = decode_result(message)
    names = (Boxes.__dataclass_fields__, Cloud.__dataclass_fields__)
    boxes, cloud = (
        {name: getattr(of, name) for name in fields}
        for of, fields in zip((result.boxes, result.cloud), names, strict=True)
    )
    return arrays_of(boxes, cloud)


def on_one_node(sweeps: list[np.ndarray]) -> list[Wanted]:
    """Run them here, each in one piece."""
    workload = create({"api": "cpu"})
    session = workload.open_session(SessionRequest("infer", {"points": POINTS, "sectors": 1}))
    executor = workload.open_executor(workload.find_devices()[0])
    executor.prepare("s", session.setup.spec, {})
    wanted, nothing = [], memoryview(b"")
    for index, points in enumerate(sweeps):
        data = encode_sweep(points)
        session.offer_input(index, data)
        frame = session.open_frame(index, 0, CutHint(1), nothing, nothing)
        [piece] = frame.pieces
        output = memoryview(bytearray(piece.output_bytes))
        size = executor.run("s", piece.spec, memoryview(piece.inputs).toreadonly(), output)
        frame.accept(0, output[:size])
        wanted.append(Wanted(data, arrays_in(frame.finish())))
    executor.close()
    return wanted


@pytest.fixture(scope="module")
def kitti(data_dir: Path) -> list[Wanted]:
    """The eight sweeps of the KITTI clip."""
    return on_one_node([read_points(path) for path in list_sweeps(data_dir / "kitti_raw_clip")])


@pytest.fixture(scope="module")
def made_up() -> list[Wanted]:
    """Sweeps of a drive that needs no data."""
    return on_one_node([drive(index) for index in range(3)])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    """A gateway and two workers that serve sweeps."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    folder = tmp_path_factory.mktemp("sweeps")
    laid_out = DemoMesh.lay_out(folder, workers=2, port=port, workloads=("infer",))
    async with laid_out.running():
        await laid_out.ready()
        yield laid_out


@pytest.fixture
def fed(mesh):
    """Open a session to feed."""
    return lambda road="link": framemesh.connect(mesh.page_url(), "infer", results=road, **OPTIONS)


@pytest.fixture
def look_on(chromium, mesh):
    """Open the page of a session with a token that may look and nothing else."""

    @asynccontextmanager
    async def opened(session: Session) -> AsyncIterator[Page]:
        realm = NodeHome(mesh.folder / "admin").realm_key()
        token = viewer_token(
            Signer.of(realm), subject="onlooker", lifetime_s=600, scopes=(Scope.VIEW,)
        )
        page = await chromium.open_page(
            f"http://127.0.0.1:{mesh.port}/?session={session.id}#token={token}"
        )
        await page.until("globalThis.framemesh?.look().state === 'live'")
        await page.evaluate(COLLECT)
        yield page
        assert page.errors == []
        await page.close()

    return opened


async def feed(
    session: Session, sweeps: list[Wanted], enough: Callable[[], Awaitable[bool]]
) -> dict[int, int]:
    """Send all sweeps, in order and again, until `enough()`; returns their numbers' stamps."""
    sent: dict[int, int] = {}
    for _ in range(ROUNDS):
        for sweep in sweeps:
            stamp_us = len(sent) * PERIOD_US
            sent[await send(session, sweep.data, stamp_us)] = stamp_us
        if await enough():
            return sent
    raise AssertionError(f"not enough came of {len(sent)} sweeps")


async def send(session: Session, data: bytes, stamp_us: int) -> int:
    """Send a sweep, again if it comes too soon for the contract; returns its number when done."""
    while True:
        number = await session.send(data, stamp_us=stamp_us)
        facts = asyncio.ensure_future(anext(session.facts))
        refusal = asyncio.ensure_future(anext(session.refusals))
        told, waiting = await asyncio.wait((facts, refusal), return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if facts in told:
            assert facts.result()["input"] == number
            return number


def index_of(stamp_us: int, sweeps: list[Wanted]) -> int:
    return stamp_us // PERIOD_US % len(sweeps)


async def all_seen(page: Page, sweeps: list[Wanted]) -> bool:
    """Whether the page has shown each sweep once."""
    stamps = await page.evaluate("seen.map(({ stampUs }) => stampUs)")
    return {index_of(stamp, sweeps) for stamp in stamps} == set(range(len(sweeps)))


async def check_page(page: Page, sweeps: list[Wanted]) -> None:
    """Everything the page decoded is what one node says, and came in order."""
    seen = await page.evaluate("seen")
    frames = [result["frame"] for result in seen]
    assert frames == sorted(set(frames))
    for result in seen:
        assert result["missing"] == []
        wanted = sweeps[index_of(result["stampUs"], sweeps)].arrays
        assert arrays_of(result["boxes"], result["cloud"]) == wanted


@pytest.mark.parametrize("road", ["link", "webrtc"])
@pytest.mark.parametrize("which", ["kitti", "made_up"])
async def test_page_and_sdk_are_told_what_one_node_says(fed, look_on, request, which, road):
    sweeps: list[Wanted] = request.getfixturevalue(which)
    async with fed(road) as session:
        heard: list[Any] = []

        async def listen() -> None:
            async for result in session.results:
                heard.append(result)

        listening = asyncio.create_task(listen())
        async with look_on(session) as page:

            async def enough() -> bool:
                stamps = [decode_result(result.data).stamp_us for result in heard]
                told = {index_of(stamp, sweeps) for stamp in stamps}
                return len(told) == len(sweeps) and await all_seen(page, sweeps)

            sent = await feed(session, sweeps, enough)
            await check_page(page, sweeps)
            look = await page.evaluate("framemesh.look()")
            assert look["view"] == "map"
            assert look["description"]["result"] == "FMBX/2"
            assert look["misses"]["late"] == 0
        for result in heard:
            stamp_us = decode_result(result.data).stamp_us
            assert arrays_in(result.data) == sweeps[index_of(stamp_us, sweeps)].arrays
            assert result.frame == result.facts["frame"] >= 0
            assert sent[result.number] == stamp_us
        listening.cancel()
        await asyncio.wait([listening])


CLASS_PIXELS = """(() => {
  const canvas = document.getElementById("map");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const close = (at, colour) => colour.every((part, i) => Math.abs(part - data[at + i]) < 24);
  let cars = 0;
  for (let at = 0; at < data.length; at += 4) if (close(at, [74, 222, 128])) cars += 1;
  return cars;
})()"""


async def test_a_sweep_is_drawn_from_above_and_can_be_gone_nearer_to(fed, look_on, made_up):
    async with fed() as session, look_on(session) as page:
        await page.resize(1280, 720, 2.0)
        await feed(session, made_up, lambda: all_seen(page, made_up))
        await page.until(f"{CLASS_PIXELS} > 2000")  # some thirty cars
        size = await page.evaluate(
            "(({ width, clientWidth }) => [width, clientWidth])(document.getElementById('map'))"
        )
        assert size == [2560, 1280]
        start = (await page.evaluate("framemesh.look()"))["map"]
        await page.wheel((400, 300), -600)
        near = (await page.evaluate("framemesh.look()"))["map"]
        assert near["scale"] > 1.3 * start["scale"]
        await page.drag([(400, 300), (450, 380)])
        slid = (await page.evaluate("framemesh.look()"))["map"]
        assert slid["x"] - near["x"] == pytest.approx(80 / near["scale"])
        assert slid["y"] - near["y"] == pytest.approx(50 / near["scale"])
        await page.key("keyDown", "r", "KeyR")
        assert (await page.evaluate("framemesh.look()"))["map"] == start


TWO_DISPLAY_FRAMES = "new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))"
SIZES = [(1280, 720), (960, 600), (844, 390), (390, 844), (320, 568)]


async def test_the_panel_tells_of_sweeps_and_covers_nothing_that_matters(
    fed, look_on, made_up, cards_of
):
    async with fed() as session, look_on(session) as page:
        await page.resize(1280, 720)
        await page.until("document.getElementById('status').innerText === 'Nothing yet'")
        sent = await feed(session, made_up, lambda: all_seen(page, made_up))
        await page.until("document.querySelectorAll('#makers li').length > 0")
        text = {
            name: await page.evaluate(f"document.getElementById('{name}').innerText")
            for name in ("title", "points", "late", "found", "stages", "sector-stages", "help")
        }
        assert text["title"] == "LiDAR sweeps"
        assert text["late"] == f"0 of {len(sent)}"
        assert int(text["points"].replace(",", "")) > 50_000
        assert text["found"].split()[::2] == [
            "car", "truck", "pedestrian", "cyclist", "other",
        ]  # fmt: skip
        assert [w for w in text["stages"].split() if w.isalpha() and w != "ms"][:3] == [
            "open", "pieces", "compose",
        ]  # fmt: skip
        assert text["sector-stages"].split()[::3] == ["columns", "clusters", "boxes"]
        assert "orbit" not in text["help"]
        for size in SIZES:
            await page.resize(*size)
            await page.evaluate(TWO_DISPLAY_FRAMES)  # sizes are observed with the first
            cards = await cards_of(page, size)
            # The middle of the map is the middle of what no card covers.
            look = await page.evaluate("framemesh.look()")
            area, panel = look["map"]["area"], cards["panel"]
            right, bottom = area["left"] + area["width"], area["top"] + area["height"]
            assert right <= panel["left"] or bottom <= panel["top"], size
            assert min(area["width"], area["height"]) > 150, size
        await page.resize(*SIZES[0])
        await page.until("document.getElementById('status').innerText.startsWith('No sweep')")


async def test_whoever_looks_on_leaves_the_session_as_it_was_and_hears_of_its_end(
    mesh, fed, look_on, made_up, chromium
):
    async with fed() as session:
        async with look_on(session) as page:
            await feed(session, made_up, lambda: all_seen(page, made_up))
            await page.goto("about:blank")
            while (await mesh.status())["sessions"][0]["viewers"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        result = await session.ask(made_up[0].data, stamp_us=10**9)
        assert arrays_in(result.data) == made_up[0].arrays
        page = await chromium.open_page(mesh.page_url(session=session.id))
        await page.until("globalThis.framemesh?.look().state === 'live'")
    await page.until("framemesh.look().state === 'refused'")
    assert (await page.evaluate("framemesh.look()"))["problem"]["code"] == "session_ended"
    await page.close()


async def test_the_picture_of_real_sweeps(fed, look_on, kitti, repository):
    """For people to look at: out/sweeps.png."""
    async with fed() as session, look_on(session) as page:
        await page.resize(1280, 720)
        await feed(session, kitti, lambda: all_seen(page, kitti))
        await page.until(f"{CLASS_PIXELS} > 300")
        picture = await page.screenshot()
    (repository / "out").mkdir(exist_ok=True)
    (repository / "out" / "sweeps.png").write_bytes(picture)
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.float64)
    assert pixels[:, :900].std() > 8
