"""The SDK and its commands against the demo's own mesh: a gateway, two workers, real rendering."""

from __future__ import annotations

import asyncio
import json
import socket

import av
import pytest

import framemesh
from clients.cli.demo import DemoMesh
from clients.cli.main import main
from mesh.core.errors import LinkLost
from mesh.stream import barcode

OPTIONS = {
    "scene": "courtyard",
    "width": 400,
    "height": 224,
    "fps": 10,
    "tiles": 2,
    "deadline_ms": 400,
}


@pytest.fixture
async def mesh(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    mesh = DemoMesh.lay_out(tmp_path, workers=2, port=port)
    async with mesh.running():
        await mesh.ready()
        yield mesh


async def test_the_demo_is_watched_steered_and_looked_at(mesh, capsys, tmp_path):
    async with framemesh.connect(mesh.page_url(**OPTIONS), barcode=True) as session:
        assert session.description["workload"] == "render"
        assert (session.description["width"], session.fed) == (400, False)
        drawn, told = [], 0
        async for frame in session.frames:
            luma = frame.to_ndarray()[:224]
            drawn.append(barcode.read(luma))
            assert frame.rgb().shape == (224, 400, 3)
            if frame.id is not None:
                assert frame.id == drawn[-1]
                told += 1
            if len(drawn) >= 15 and told >= 3:
                break
        assert None not in drawn
        assert drawn == sorted(set(drawn))
        makers = set()
        async for facts in session.facts:
            makers |= {maker.partition("@")[0] for maker in facts["makers"]}
            if makers == {"worker-1", "worker-2"}:
                break

        with pytest.raises(framemesh.Misuse, match="takes no bulk inputs"):
            await session.send(b"sweep")
        number = session.steer(camera=session.description["camera"])
        while (await anext(session.facts))["input"] != number:
            pass

        film = tmp_path / "film.mp4"
        words = ["view", mesh.page_url(**OPTIONS), "--frames", "12", "--out", str(film)]
        said = await command(capsys, *words)
        with av.open(str(film)) as recorded:
            pictures = [picture.to_ndarray(format="gray") for picture in recorded.decode(video=0)]
        assert f"{len(pictures)} pictures recorded" in said
        assert pictures[0].shape == (224, 400)
        assert pictures[0].std() > 20
        assert "fps  400x224" in said
        assert "worker-1" in said or "worker-2" in said
        said = await command(capsys, "status", mesh.page_url())
        assert "2 workers" in said
        assert f"{session.id}: render for demo" in said
        status = json.loads(await command(capsys, "status", mesh.page_url(), "--json"))
        assert [s["session"] for s in status["sessions"]] == [session.id]
        said = await command(capsys, "peers", mesh.page_url())
        ids = {worker["node"] for worker in status["workers"]}
        assert {line.split()[0] for line in said.splitlines()} == ids

        mesh.processes["gateway"].terminate()
        with pytest.raises((framemesh.SessionEnded, LinkLost)):
            async for _ in session.frames:
                pass


async def command(capsys, *words: str) -> str:
    capsys.readouterr()
    assert await asyncio.to_thread(main, words) == 0
    return capsys.readouterr().out
