"""docs/extending.md as printed, its second half: the workloads that ship with framemesh."""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import framemesh
from clients.check import LEAST_CONTRAST
from clients.check import watch as look
from mesh.core.config import DeviceConfig
from mesh.core.loop import monotonic_us
from render.camera import DEFAULT_FOV

pytest.importorskip("vulkan", reason="no Vulkan binding")

PYTHON = str(Path(sys.executable).resolve())
ENDLESS = """
void mainImage(out vec4 color, in vec2 pixel) {
    for (float a = 0.0; a < 1e9; a++)
        for (float b = 0.0; b < 1e9; b++) color.rg = sin(color.gr + pixel / (a + b + iTime + 1.0));
}
"""


def block(repository: Path, section: str, language: str, index: int = 0) -> str:
    """The code in one language under a heading of the document."""
    text = (repository / "docs" / "extending.md").read_text("utf-8")
    [part] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return str(re.findall(rf"^```{language}\n(.*?)^```", part, re.DOTALL | re.MULTILINE)[index])


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """Entry points as pyproject.toml has them, whatever was installed when."""
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    entries = project["entry-points"]["framemesh.workloads"]
    metadata = tmp_path / "shipped" / "shipped-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shipped\nVersion: 1\n")
    lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
    (metadata / "entry_points.txt").write_text(f"[framemesh.workloads]\n{lines}\n")
    monkeypatch.syspath_prepend(str(metadata.parent))


# --- the shader -----------------------------------------------------------------------------------

SHADER = "A client's own shader"


def test_the_shader_workload_is_printed_as_it_ships_and_is_short(repository: Path) -> None:
    code = block(repository, SHADER, "python")
    assert code == (repository / "render/workloads/shader.py").read_text("utf-8")
    assert len(code.splitlines()) < 80


@pytest.fixture
def watch(repository: Path) -> Callable[..., Any]:
    module: dict[str, Any] = {}
    exec(compile(block(repository, SHADER, "python", 1), "docs/extending.md", "exec"), module)
    watch: Callable[..., Any] = module["watch"]
    return watch


async def test_a_clients_shader_is_drawn_as_printed(
    open_host: Any, shipped: None, watch: Callable[..., Any]
) -> None:
    matched = [False]
    across, up = np.linspace(0, 255, 320), np.linspace(255, 0, 180)[:, None]

    def see(picture: np.ndarray) -> bool:
        """Red grows to the right, green upwards; what has not come yet is grey."""
        assert picture.shape == (180, 320, 3)
        red, green = (picture[:, :, channel].astype(int) for channel in (0, 1))
        matched.append(bool(np.abs(red - across).mean() < 8 and np.abs(green - up).mean() < 8))
        return matched[-1]

    async with open_host(shader={}) as host:
        await watch(host.url(), see)
    assert matched[-1]


async def test_an_endless_shader_costs_its_process_and_the_other_session_goes_on(
    open_host: Any, shipped: None
) -> None:
    async with (
        open_host(DeviceConfig(kill_ms=500), shader={}) as host,
        framemesh.connect(host.url(), "shader", width=128, height=128, fps=10) as other,
    ):
        await complete(other)
        assert troubles(host) == ""
        async with framemesh.connect(
            host.url(), "shader", glsl=ENDLESS, width=1280, height=720, fps=5
        ):
            async with asyncio.timeout(60):
                while "within 500 ms" not in troubles(host):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        await complete(other)


def troubles(host: Any) -> str:
    """What broke off its sessions' pieces."""
    return "; ".join(why for session in host.sessions for why in session["troubles"].values())


async def complete(session: Any) -> None:
    """Until a frame comes that was opened after this call, with nothing missing."""
    now_us = monotonic_us()
    async for facts in session.facts:
        if facts["opened_us"] > now_us and facts["filled"] == 0:
            return
    raise AssertionError("the session ended")


async def test_a_shader_that_reads_memory_is_refused_with_the_reason(
    open_host: Any, shipped: None
) -> None:
    reads = (
        "layout(set = 0, binding = 0) uniform sampler2D film;\n"
        "void mainImage(out vec4 color, in vec2 pixel) { color = texture(film, pixel); }"
    )
    async with open_host(shader={}) as host:
        with pytest.raises(framemesh.ContentRefused, match=r"storage class|instruction|decoration"):
            async with framemesh.connect(host.url(), "shader", glsl=reads):
                pass


# --- the engine -----------------------------------------------------------------------------------

ENGINE = "An engine of your own"


def test_the_engine_is_printed_as_it_ships_and_is_short(repository: Path) -> None:
    code = block(repository, ENGINE, "c")
    assert code == (repository / "render/workloads/engine_sample.c").read_text("utf-8")
    assert len(code.splitlines()) < 80


@pytest.fixture
def engine(tmp_path: Path, repository: Path) -> tuple[DeviceConfig, dict[str, Any]]:
    """The printed engine, built by the printed commands; the printed tables for where it is."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler (apt install gcc libc6-dev)")
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "engine_sample.c").write_text(block(repository, ENGINE, "c"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["/bin/sh", "-ec", block(repository, ENGINE, "sh")],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(repository)},
        check=True,
    )
    tables = tomllib.loads(block(repository, ENGINE, "toml").replace("/opt/engine", str(folder)))
    return msgspec.convert(tables["device"], DeviceConfig), tables["workloads"]


async def test_the_printed_engine_draws_what_the_clients_camera_sees(
    open_host: Any, shipped: None, engine: tuple[DeviceConfig, dict[str, Any]]
) -> None:
    device, workloads = engine
    async with (
        open_host(device, **workloads) as host,
        framemesh.connect(host.url(), "external", width=320, height=180) as session,
    ):
        assert session.description["title"] == "Sphere"
        await until_as_high(session, 4.0)
        session.steer(camera={"yaw": 1.0, "pitch": 0.2, "distance": 8.0, "target": [0, 0, 0]})
        await until_as_high(session, 8.0)


async def until_as_high(session: Any, metres: float) -> None:
    """Until the middle column shows a unit sphere as high as it is so many metres away."""
    wanted = 180 * math.tan(math.asin(1 / metres)) / math.tan(DEFAULT_FOV / 2)
    async for frame in session.frames:
        column = frame.rgb()[:, 160].astype(int)
        background = (column[:, 0] < 60) & (column[:, 2] < 90)  # what did not come is grey
        if abs(180 - background.sum() - wanted) < 5 and background[0] and background[-1]:
            return
    raise AssertionError("the session ended")


@pytest.mark.parametrize("does", ["time.sleep(3600)", "os._exit(3)"])
async def test_an_engine_that_is_lost_is_started_anew_and_the_other_session_goes_on(
    open_host: Any, shipped: None, tmp_path: Path, repository: Path, does: str
) -> None:
    sample = (repository / "render/workloads/engine_sample.py").read_text("utf-8")
    asked = "        planes = draw("
    assert asked in sample
    does = f"        if b'spoilt' in memory[192:1216]:\n            import time; {does}\n"
    (tmp_path / "engine.py").write_text(sample.replace(asked, does + asked))
    engine = {"command": [sys.executable, str(tmp_path / "engine.py")], "pixels": "i420"}
    device = DeviceConfig(kill_ms=500, programs=(PYTHON, str(tmp_path / "engine.py")))
    small = {"width": 64, "height": 64, "fps": 10}
    async with (
        open_host(device, external=engine) as host,
        framemesh.connect(host.url(), "external", **small) as other,
    ):
        await complete(other)
        async with framemesh.connect(host.url(), "external", words="spoilt", **small):
            async with asyncio.timeout(60):
                while not troubles(host):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await complete(other)


async def test_an_engine_that_the_owner_has_not_allowed_is_not_started(
    open_host: Any, shipped: None, engine: tuple[DeviceConfig, dict[str, Any]]
) -> None:
    _, workloads = engine
    with pytest.raises(framemesh.DeviceUnavailable, match=r"cannot be started.*not permitted"):
        async with open_host(**workloads):
            pass


# --- both, in a browser ---------------------------------------------------------------------------


@pytest.mark.browser
async def test_the_page_shows_both_like_any_session(
    open_host: Any,
    shipped: None,
    engine: tuple[DeviceConfig, dict[str, Any]],
    tmp_path: Path,
) -> None:
    device, workloads = engine
    async with open_host(device, shader={}, **workloads) as host:
        for asked in ("shader", "external"):
            size = "width=320&height=180&fps=10"
            url = host.url(query=f"workload={asked}&{size}")
            seen = await look(url, screenshot=tmp_path / f"{asked}.png", seconds=1.0)
            assert seen.counts["pictures"] > 0
            assert seen.contrast > LEAST_CONTRAST
            assert seen.errors == ()
