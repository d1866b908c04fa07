"""Shaders from text to pixels: compiled, examined on both sides, drawn under validation."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mesh.core.errors import ConfigError, ContentRefused, SessionRefused
from mesh.core.workload import CutHint, DeviceInfo, SessionRequest
from render.tiles import Rect
from render.workloads.picture import PictureSession
from render.workloads.push import PUSH, pack_push
from render.workloads.shader import ShaderSession, create
from render.workloads.shadercode import MAX_TEXT, RINGS, compiled, examine, examine_inside
from render.workloads.shaderdevice import ShaderExecutor

SIZE = (208, 114)
NOTHING = memoryview(b"")


@pytest.fixture
def executor(device_info: DeviceInfo) -> Iterator[ShaderExecutor]:
    """Under validation, which must be silent to the end."""
    made = ShaderExecutor(device_info, validate=True)
    yield made
    made.close()
    assert made.messages == []


def opened(**options: object) -> ShaderSession:
    size = {"width": SIZE[0], "height": SIZE[1]}
    return create({}).open_session(SessionRequest("shader", size | options))


def prepare(executor: ShaderExecutor, session: PictureSession, name: str = "a") -> None:
    assets = {asset.digest: memoryview(asset.data) for asset in session.setup.assets}
    executor.prepare(name, session.setup.spec, assets)


def picture(executor: ShaderExecutor, rects: Sequence[Rect], name: str = "a") -> list[np.ndarray]:
    """Planes made tile by tile, at two seconds."""
    width, height = SIZE
    planes = [np.zeros((height // s, width // s), np.uint8) for s in (1, 2, 2)]
    for rect in rects:
        output = memoryview(bytearray(rect.i420_bytes))
        spec = pack_push(SIZE, rect, 2.0, 7, (0.0, 0.0))
        assert executor.run(name, spec, NOTHING, output) == rect.i420_bytes
        at = 0
        for plane, s in zip(planes, (1, 2, 2), strict=True):
            x, y, across, down = (value // s for value in rect)
            part = np.frombuffer(output, np.uint8)[at : at + across * down]
            plane[y : y + down, x : x + across] = part.reshape(down, across)
            at += across * down
    return planes


def test_the_built_in_shader_is_the_same_whatever_the_tiling(
    executor: ShaderExecutor, random_tiling: Callable[..., list[Rect]]
) -> None:
    prepare(executor, opened())
    whole = picture(executor, [Rect(0, 0, *SIZE)])
    assert np.ptp(whole[0]) > 80
    for seed in range(5):
        tiled = picture(executor, random_tiling(SIZE, 7, seed))
        assert all((one == other).all() for one, other in zip(whole, tiled, strict=True))


def test_a_shader_is_told_time_frame_size_and_where_it_draws(executor: ShaderExecutor) -> None:
    text = """void mainImage(out vec4 color, in vec2 pixel) {
        bool right = iTime == 2.0 && iFrame == 7 && iResolution.xy == vec2(208.0, 114.0);
        color = vec4(right && pixel.y > 57.0 ? 1.0 : 0.0);
    }"""
    prepare(executor, opened(glsl=text))
    luma, *_ = picture(executor, [Rect(0, 0, *SIZE)])
    assert (luma[:57] == 235).all()  # pixels count from the bottom, rows from the top
    assert (luma[57:] == 16).all()


def test_a_client_may_bring_a_module(executor: ShaderExecutor) -> None:
    module = base64.b64encode(compiled(RINGS)).decode()
    prepare(executor, opened(spirv=module))
    prepare(executor, opened(), "b")
    rects = [Rect(0, 0, *SIZE)]
    pairs = zip(picture(executor, rects), picture(executor, rects, "b"), strict=True)
    assert all((one == other).all() for one, other in pairs)


def test_the_owner_offers_shaders_by_name(tmp_path: Path) -> None:
    (tmp_path / "rings.frag").write_text(RINGS)
    (tmp_path / "rings.spv").write_bytes(compiled(RINGS))
    paths = {"text": str(tmp_path / "rings.frag"), "module": str(tmp_path / "rings.spv")}
    workload = create({"shaders": paths | {"gone": str(tmp_path / "gone.frag")}})
    opened = [workload.open_session(SessionRequest("shader", {"shader": name})) for name in paths]
    assert {session.setup.assets[0].data for session in opened} == {compiled(RINGS)}
    for name, reason in (("gone", "cannot be read"), ("other", "this gateway has gone, module")):
        with pytest.raises(SessionRefused, match=reason):
            workload.open_session(SessionRequest("shader", {"shader": name}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"glsl": "void mainImage(out vec4 color, in vec2 pixel) { colour = pixel; }"}, "colour"),
        ({"glsl": "#incl\\\nude </etc/passwd>\n" + RINGS}, "include"),
        ({"glsl": RINGS + "/" * MAX_TEXT}, "longer than"),
        ({"spirv": "not base64"}, "base64"),
        ({"spirv": "AAAA"}, "whole words"),
        ({"width": 63}, "width"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(
    options: dict[str, object], reason: str
) -> None:
    with pytest.raises((ContentRefused, SessionRefused), match=reason):
        opened(**options)


def test_a_module_that_only_spirv_val_sees_through_is_refused_on_both_sides(
    executor: ShaderExecutor,
) -> None:
    words = list(struct.unpack(f"<{len(compiled(RINGS)) // 4}I", compiled(RINGS)))
    words[3] = 5  # the bound on ids, below those in use
    spoilt = struct.pack(f"<{len(words)}I", *words)
    with pytest.raises(ContentRefused, match="spirv-val"):
        examine(spoilt)
    with pytest.raises(ContentRefused, match="not valid SPIR-V"):
        examine_inside(spoilt)
    with pytest.raises(ContentRefused, match="not valid SPIR-V"):
        executor.prepare("a", opened().setup.spec, {"digest": memoryview(spoilt)})


@pytest.mark.parametrize(
    "rect", [(0, 0, 0, 0), (0, 0, 210, 16), (200, 0, 16, 16), (-16, 0, 16, 16), (1, 0, 16, 16)]
)
def test_a_tile_outside_its_picture_is_refused(
    executor: ShaderExecutor, rect: tuple[int, ...]
) -> None:
    prepare(executor, opened())
    for spec in (pack_push(SIZE, Rect(*rect), 0.0, 0, (0.0, 0.0)), b"short"):
        with pytest.raises(ContentRefused, match="no tile of a picture"):
            executor.run("a", spec, NOTHING, memoryview(bytearray(1 << 16)))


def test_the_clients_camera_is_the_mouse() -> None:
    session = opened()
    canvas = memoryview(bytearray(session.picture.nbytes))
    camera = {"yaw": 0.5, "pitch": 0.25, "distance": 4, "target": [0, 0, 0]}
    session.apply_input({"id": 3, "camera": camera}, 0)
    session.apply_input({"id": 2, "camera": camera | {"yaw": 9.0}}, 0)  # late: passed over
    frame = session.open_frame(5, 1_000_000, CutHint(2), canvas, NOTHING)
    told = [np.frombuffer(piece.spec, PUSH)[0] for piece in frame.pieces]
    assert sum(int(push["tile"][2] * push["tile"][3]) for push in told) == SIZE[0] * SIZE[1]
    assert {(float(p["mouse"][0]), float(p["mouse"][1])) for p in told} == {(-57.0, 28.5)}
    with pytest.raises(ContentRefused, match="camera"):
        session.apply_input({"id": 4}, 0)
    with pytest.raises(ContentRefused, match="bulk"):
        session.offer_input(0, NOTHING)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="shader"):
        create({"shader": {}})
