"""A device lost in the middle of a frame: the process is replaced, the scene comes back by itself.

Real device processes draw with the real driver; what fails is the driver's answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import render
from bench.quality_scenes import alpha_modes
from mesh.core.errors import DeviceLost
from mesh.core.workload import CutHint, SessionRequest
from mesh.device.launch import DeviceLimits, Plugins
from mesh.device.supervisor import Device, open_device
from render.workload import create

PLUGINS = Plugins({"render": "losing_workload:create"}, (Path(__file__).parent / "plugins",))
MINUTE_US = 60_000_000
OPTIONS = {"scene": "cards", "width": 64, "height": 64, "tiles": 1}


class Drawing:
    """A device process with one session; draws its first frame, over and over."""

    def __init__(self, device: Device, changed: asyncio.Event, scene: Path) -> None:
        self.device, self._changed = device, changed
        workload = create({"scenes": {"cards": str(scene)}})
        self.work = workload.open_session(SessionRequest("render", OPTIONS))

    async def prepare(self) -> None:
        assets = {asset.digest: asset.data for asset in self.work.setup.assets}
        await self.device.prepare("s", "render", self.work.setup.spec, assets)

    async def draw(self, inputs: bytes = b"") -> str:
        """The picture's digest."""
        assert self.work.picture is not None
        canvas = memoryview(bytearray(self.work.picture.nbytes))
        [piece] = self.work.open_frame(0, 0, CutHint(1), canvas, memoryview(b"")).pieces
        lease = None
        if inputs:
            lease = self.device.lease_input(len(inputs))
            assert lease is not None
            lease.view[:] = inputs
        result = await self.device.run(
            "s", "render", piece.spec, piece.output_bytes, inputs=lease, kill_after_us=MINUTE_US
        )
        try:
            return hashlib.sha256(result.lease.view).hexdigest()
        finally:
            result.lease.release()

    async def until_ready_again(self) -> None:
        while self.device.state != "ready":
            self._changed.clear()
            await self._changed.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drawing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drawing]:
    changed, scene = asyncio.Event(), tmp_path_factory.mktemp("scene") / "cards.glb"
    scene.write_bytes(alpha_modes())
    async with open_device(
        "losing",
        create({}).find_devices()[:1],
        {"render": {}},
        limits=DeviceLimits(
            cache_dir=tmp_path_factory.mktemp("cache"), readable=(Path(render.__file__).parent,)
        ),
        changed=lambda _: changed.set(),
        plugins=PLUGINS,
    ) as device:
        drawing = Drawing(device, changed, scene)
        await drawing.prepare()
        yield drawing


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (b"lost at submission", "VK_ERROR_DEVICE_LOST"),
        (b"hung", "did not finish"),
        (b"killed mid-frame", "SIGKILL"),
    ],
)
async def test_the_next_frame_comes_from_a_new_process_with_the_scene_reloaded(
    drawing: Drawing, failure: bytes, why: str
) -> None:
    before, pid = await drawing.draw(), drawing.device.pid
    with pytest.raises(DeviceLost, match=why):
        await drawing.draw(failure)
    await drawing.until_ready_again()
    assert drawing.device.pid != pid
    assert await drawing.draw() == before  # and nobody has prepared it again
