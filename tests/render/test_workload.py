"""What the entry point makes: scenes by name, options within bounds, packs kept."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesh.core.errors import ConfigError, ContentRefused, SessionRefused
from mesh.core.workload import CutHint, DeviceInfo, SessionRequest
from render import workload
from render.gltf.writer import GlbWriter
from render.pieces import ToneMapping, decode_session, decode_tile
from render.procedural import SCENES
from render.session import RenderSession
from render.workload import RenderWorkload, create


def ask(made: RenderWorkload, **options: Any):
    return made.open_session(SessionRequest("render", options))


@pytest.fixture
def scene_file(tmp_path: Path) -> Path:
    path = tmp_path / "scene.glb"
    write_scene(path, 1.0)
    return path


def write_scene(path: Path, size: float) -> None:
    glb = GlbWriter()
    points = np.float32([[0, 0, 0], [size, 0, 0], [0, size, 0]])
    glb.add("nodes", {"mesh": glb.mesh([{"attributes": {"POSITION": glb.accessor(points)}}])})
    path.write_bytes(glb.glb())


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every scene packed from here on."""
    seen: list[object] = []
    pack = workload.pack

    def noted(source: object):
        seen.append(source)
        return pack(source)

    monkeypatch.setattr(workload, "pack", noted)
    return seen


def test_the_entry_point_names_it():
    (entry,) = entry_points(group="framemesh.workloads", name="render")
    assert entry.load() is create
    assert create({}).name == entry.name


def test_devices_are_named_so_that_they_can_be_opened(device_info: DeviceInfo):
    found = create({}).find_devices()
    assert device_info in found
    for device in found:
        assert device.api == "vulkan"
        assert device.driver
        assert (device.unit == "cpu") == device.software
    executor = create({}).open_executor(found[0])
    executor.close()


def test_the_session_half_needs_no_vulkan_library(repository: Path):
    """A gateway that renders nothing itself has none."""
    ask_for_one = (
        "import sys; sys.modules['vulkan'] = None\n"
        "from mesh.core.workload import SessionRequest\n"
        "from render.workload import create\n"
        "print(create({}).open_session(SessionRequest('render', {})).picture)"
    )
    said = subprocess.run(
        [sys.executable, "-c", ask_for_one],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "PictureFormat(width=640, height=360)"


def test_every_built_in_scene_and_every_configured_one_can_be_shown(scene_file: Path):
    made = create({"scenes": {"mine": str(scene_file)}})
    for name in SCENES:
        assert ask(made, scene=name).describe()["triangles"] > 0
    assert ask(made, scene="mine").describe()["triangles"] == 1


def test_options_have_defaults_and_are_obeyed(scene_file: Path):
    made = create({"scenes": {"mine": str(scene_file)}})
    plain = ask(made, scene="mine")
    assert (plain.picture.width, plain.picture.height) == (640, 360)
    chosen = ask(
        made, scene="mine", width=320, height=180, fps=60, tiles=2, deadline_ms=20, turntable=0
    )
    assert (chosen.picture.width, chosen.picture.height) == (320, 180)
    assert chosen.contract.period_us == 16_667
    assert chosen.contract.deadline_us == 20_000
    assert chosen.describe()["tiles"] == 2
    assert chosen.describe()["turntable"] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"width": 62},
        {"width": 641},
        {"width": 4098},
        {"height": 0},
        {"height": -360},
        {"height": "360"},
        {"width": 640.5},
        {"fps": 0},
        {"fps": 241},
        {"fps": float("nan")},
        {"tiles": 0},
        {"tiles": 65},
        {"exposure": 0},
        {"exposure": float("inf")},
        {"ambient": -0.1},
        {"turntable": 2},
        {"animation": -2},
        {"time": -0.5},
        {"speed": 101},
        {"camera": -2},
        {"environment": "../studio.exr"},
        {"environment_intensity": 0},
        {"backdrop": 2},
        {"tone_mapping": "filmic"},
        {"deadline_ms": -1},
        {"scene": "../../etc/passwd"},
        {"scene": ""},
        {"scene": 7},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_options_out_of_bounds_are_refused_with_the_name_of_the_option(options: dict[str, Any]):
    with pytest.raises(SessionRefused, match="the render session is not opened") as caught:
        ask(create({}), **options)
    (name,) = options
    assert name in caught.value.why
    assert "width, height" in caught.value.fix


def test_an_unknown_scene_is_refused_with_the_ones_there_are(scene_file: Path):
    with pytest.raises(SessionRefused, match=r"no scene 'attic': .*courtyard.*mine"):
        ask(create({"scenes": {"mine": str(scene_file)}}), scene="attic")


def test_a_scene_is_packed_once_and_anew_when_its_file_changes(
    scene_file: Path, packs: list[object]
):
    made = create({"scenes": {"mine": str(scene_file)}})
    first, second = (ask(made, scene="mine").setup.assets[0] for _ in range(2))
    assert first is second
    assert len(packs) == 1
    write_scene(scene_file, 2.0)
    os.utime(scene_file, ns=(1, 1))
    third = ask(made, scene="mine").setup.assets[0]
    assert third.digest != first.digest
    assert len(packs) == 2


def write_environment(path: Path, exponent: int) -> None:
    """Two grey pixels."""
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\n"
    path.write_bytes(head + bytes((128, 128, 128, exponent)) * 2)


def test_an_environment_travels_beside_the_scene(tmp_path: Path):
    path = tmp_path / "grey.hdr"
    write_environment(path, 128)
    made = create({"environments": {"grey": str(path)}})
    plain = ask(made)
    lit = ask(made, environment="grey", environment_turn=0.5, backdrop=1, tone_mapping="aces")
    scene, environment = lit.setup.assets
    assert scene is plain.setup.assets[0]
    assert environment.data == path.read_bytes()
    assert decode_session(lit.setup.spec).environment == environment.digest
    assert ask(made, environment="grey").setup.assets[1] is environment
    write_environment(path, 129)
    os.utime(path, ns=(1, 1))
    assert ask(made, environment="grey").setup.assets[1].digest != environment.digest
    tile = decode_tile(open_pieces(lit)[0].spec, decode_session(lit.setup.spec))
    assert (tile.sky, tile.sky_shown, tile.tone_mapping) == (1.0, True, ToneMapping.ACES)
    assert tile.sky_turn == (math.cos(0.5), math.sin(0.5))
    assert tile.ambient == tile.illuminance == (0.0, 0.0, 0.0)
    assert len({p.kind for s in (plain, lit) for p in open_pieces(s)}) == 2


def open_pieces(session: RenderSession):
    canvas = memoryview(bytearray(session.picture.nbytes))
    return session.open_frame(0, 0, CutHint(1), canvas, memoryview(b"")).pieces


def test_an_environment_that_is_not_there_is_refused(tmp_path: Path):
    made = create({"environments": {"lost": str(tmp_path / "lost.hdr")}})
    with pytest.raises(SessionRefused, match="no environment 'found': this gateway has lost"):
        ask(made, environment="found")
    with pytest.raises(ContentRefused, match="cannot be read"):
        ask(made, environment="lost")


def test_a_file_that_is_missing_or_broken_is_refused_until_it_is_there(
    scene_file: Path, tmp_path: Path
):
    made = create({"scenes": {"lost": str(tmp_path / "lost.glb"), "mine": str(scene_file)}})
    with pytest.raises(ContentRefused, match=r"lost\.glb cannot be opened"):
        ask(made, scene="lost")
    write_scene(tmp_path / "lost.glb", 1.0)
    assert ask(made, scene="lost")
    good = scene_file.read_bytes()
    scene_file.write_bytes(good[:40])
    with pytest.raises(ContentRefused):
        ask(made, scene="mine")
    scene_file.write_bytes(good)
    assert ask(made, scene="mine")


@pytest.mark.parametrize(
    "settings",
    [{"scenes": {"Bad Name": "a.glb"}}, {"scenes": []}, {"scenes": {"a": 1}}, {"scene": {}}],
    ids=str,
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"\[workloads.render\] cannot be used"):
        create(settings)
