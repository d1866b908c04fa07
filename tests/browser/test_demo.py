"""The demo's own mesh (a gateway and two workers, real rendering) steered from its page."""

from __future__ import annotations

import io
import socket

import numpy as np
import pytest
from PIL import Image

from clients.cli.demo import DemoMesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


async def picture(page) -> np.ndarray:
    """The scene as the page shows it, float64 (height, width, 3), nothing drawn over it."""
    await page.evaluate("framemesh.showOverlay(false); 0")
    x, y, width, height = (await page.evaluate("framemesh.look()"))["picture"]["box"]
    shot = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    middle = (x + width * 0.2, y + height * 0.2, x + width * 0.8, y + height * 0.8)
    return np.asarray(shot.crop(tuple(map(round, middle))), np.float64)


async def test_steering_shows_the_scene_from_another_side(chromium, port, tmp_path):
    mesh = DemoMesh.lay_out(tmp_path, workers=2, port=port)
    async with mesh.running():
        await mesh.ready()
        page = await chromium.open_page(
            mesh.page_url(
                scene="courtyard",
                width=320,
                height=180,
                fps=10,
                tiles=2,
                deadline_ms=400,
                turntable=0,
            )
        )
        await page.until("globalThis.framemesh?.look().counts.matched > 3")
        before = await picture(page)
        look = await page.evaluate("framemesh.look()")
        assert look["description"]["bounds"].keys() == {"low", "high"}
        await page.drag([(300.0, 300.0), (450.0, 300.0), (600.0, 320.0)])
        pose = (await page.evaluate("framemesh.look()"))["pose"]
        assert pose["yaw"] != look["pose"]["yaw"]
        answered = "framemesh.take().facts.some(([, , input]) => input === framemesh.look().input)"
        await page.until(f"framemesh.look().input >= 0 && {answered}")
        shown = (await page.evaluate("framemesh.look()"))["counts"]["pictures"]
        await page.until(f"framemesh.look().counts.pictures > {shown + 1}")
        after = await picture(page)
        assert before.std() > 20
        assert np.abs(after - before).mean() > 5
        assert page.errors == []
        await page.close()
