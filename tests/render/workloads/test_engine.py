"""Engines that draw, and engines that misbehave; each a real process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mesh.core.errors import (
    ConfigError,
    ContentRefused,
    DeviceLost,
    DeviceUnavailable,
    PieceFailed,
    SessionRefused,
)
from mesh.core.workload import CutHint, SessionRequest
from render.tiles import Rect
from render.workloads.engine import FRAME, MAX_SESSIONS, EngineExecutor
from render.workloads.enginetile import encode_engine_tile
from render.workloads.external import ExternalSession, create
from render.workloads.picture import HOME, Moment

NOTHING = memoryview(b"")
SIZE = (128, 96)
# What an engine does with a request, as a function `respond(memory, asked, answer)`.
MISBEHAVIOUR = """
import os, sys, time
import engine_sample as sample

def respond(memory, asked, answer):
    {what}

memory_fd, request_bell, answer_bell = map(int, os.environ["FRAMEMESH_FDS"].split(","))
memory = sample.mmap.mmap(memory_fd, 0)

def answer(asked, status=0, message=b""):
    memory[1216 : 1216 + len(message)] = message
    sample.struct.pack_into("<II", memory, sample.ANSWERED_AT, asked, status)
    os.eventfd_write(answer_bell, 1)

{first}
while os.eventfd_read(request_bell):
    asked = sample.WORDS.unpack_from(memory)[4]
    if asked == sample.END:
        break
    respond(memory, asked, answer)
"""


@pytest.fixture
def folder(tmp_path: Path, repository: Path) -> Path:
    shutil.copy(repository / "render/workloads/engine_sample.py", tmp_path)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., EngineExecutor]]:
    """start(what it does at a request, pixels=..., first=...): its executor."""
    running: list[EngineExecutor] = []

    def started(what: str = "", pixels: str = "i420", first: str = "answer(0)") -> EngineExecutor:
        script = folder / "engine_sample.py"
        if what:
            script = folder / "engine.py"
            script.write_text(MISBEHAVIOUR.format(what=what, first=first))
        running.append(EngineExecutor([sys.executable, str(script)], pixels, 10.0))
        return running[-1]

    yield started
    for executor in running:
        executor.close()


def opened(words: str = "") -> ExternalSession:
    size = {"width": SIZE[0], "height": SIZE[1]}
    return create({}).open_session(SessionRequest("external", size | {"words": words}))


def draw(executor: EngineExecutor, rect: Rect, time_s: float = 0.0, session: str = "a") -> bytes:
    executor.prepare(session, opened("the client's").setup.spec, {})
    output = memoryview(bytearray(rect.i420_bytes))
    executor.run(session, encode_engine_tile(rect, Moment(4, time_s, HOME)), NOTHING, output)
    return bytes(output)


def test_the_engine_in_python_draws_by_time(start: Callable[..., EngineExecutor]) -> None:
    executor = start()
    for time_s in (0.0, 3.0):
        planes = draw(executor, Rect(16, 32, 48, 16), time_s)
        assert planes == bytes([16 + int(20 * time_s)]) * (48 * 16) + b"\x80" * (48 * 8)


def test_an_engine_is_told_all_that_the_header_promises(
    start: Callable[..., EngineExecutor], folder: Path
) -> None:
    told = folder / "told"
    executor = start(f"open({str(told)!r}, 'wb').write(memory[:1472]); answer(asked)", "rgba8")
    draw(executor, Rect(16, 32, 48, 16), 1.5)
    [frame] = np.frombuffer(told.read_bytes(), FRAME)
    tile = [int(frame[name]) for name in ("x", "y", "tile_width", "tile_height", "stride")]
    assert tile == [14, 32, 50, 16, 200]  # two columns more, for chroma
    assert (int(frame["width"]), int(frame["height"])) == SIZE
    assert (int(frame["frame"]), float(frame["time_s"]), int(frame["asked"])) == (4, 1.5, 1)
    assert bytes(frame["options"]).rstrip(b"\0") == b"the client's"
    matrix = HOME.clip_from_world(SIZE[0] / SIZE[1]).astype(np.float32)
    np.testing.assert_array_equal(frame["clip_from_world"].reshape(4, 4).T, matrix)
    np.testing.assert_allclose(frame["eye"], HOME.eye())


def test_the_header_in_c_and_in_python_are_one(tmp_path: Path, repository: Path) -> None:
    if not shutil.which("cc"):
        pytest.skip("no C compiler (apt install gcc libc6-dev)")
    fields = FRAME.fields or {}
    prints = "".join(
        f'printf("%zu ", offsetof(struct framemesh_frame, {name}));' for name in FRAME.names or ()
    )
    (tmp_path / "layout.c").write_text(
        '#include <stddef.h>\n#include "framemesh_frame.h"\n'
        f"int main(void) {{ {prints} framemesh_open(); return sizeof(struct framemesh_frame) != "
        f"{FRAME.itemsize} || FRAMEMESH_MAGIC != {int.from_bytes(b'FMSH', 'little')}u; }}"
    )
    include = f"-I{repository / 'render/workloads'}"
    strict = ["-std=c99", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    binary = tmp_path / "layout"
    command = ["cc", *strict, "-Wno-unused-function", include, "-o", binary, tmp_path / "layout.c"]
    subprocess.run(command, check=True)
    printed = subprocess.run([binary], check=True, capture_output=True, text=True).stdout
    assert [int(word) for word in printed.split()] == [offset for _, offset in fields.values()]


@pytest.mark.parametrize(
    ("what", "kind", "reason"),
    [
        ("answer(asked, 1, b'no such level\\n\\xff')", PieceFailed, "no such level"),
        ("answer(asked, 9)", PieceFailed, "its status is 9"),
        ("sys.exit(3)", DeviceLost, "ended with status 3"),
        ("os.abort()", DeviceLost, "ended with status -"),
        ("answer(asked + 1)", DeviceLost, "answered request 2, and was asked 1"),
    ],
)
def test_an_engine_that_fails_is_a_failure_by_name(
    start: Callable[..., EngineExecutor], what: str, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        draw(start(what), Rect(0, 0, 16, 16))


def test_one_failure_is_not_the_next_tiles(start: Callable[..., EngineExecutor]) -> None:
    executor = start("answer(asked, asked % 2, b'odd')")
    with pytest.raises(PieceFailed, match="odd"):
        draw(executor, Rect(0, 0, 16, 16))
    draw(executor, Rect(0, 0, 16, 16))


def test_the_memory_keeps_its_size_whatever_the_engine_does(
    start: Callable[..., EngineExecutor],
) -> None:
    executor = start("""
    try:
        os.ftruncate(memory_fd, 0)
    except PermissionError:
        answer(asked, 1, b'sealed')""")
    with pytest.raises(PieceFailed, match="sealed"):
        draw(executor, Rect(0, 0, 16, 16))


def test_an_engine_that_does_not_start_is_said_to(folder: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="cannot be started"):
        EngineExecutor([str(folder / "nothing")], "rgba8", 1.0)
    with pytest.raises(DeviceLost, match="ended with status 0"):
        EngineExecutor([sys.executable, "-c", "pass"], "rgba8", 10.0)
    with pytest.raises(DeviceLost, match=r"not ready within 0\.05 s"):
        EngineExecutor([sys.executable, "-c", "import signal; signal.pause()"], "rgba8", 0.05)


def test_what_comes_with_a_session_is_bounded(start: Callable[..., EngineExecutor]) -> None:
    executor = start()
    spec = opened().setup.spec
    with pytest.raises(ContentRefused, match="1 assets"):
        executor.prepare("a", spec, {"digest": NOTHING})
    with pytest.raises(ContentRefused, match="spec"):
        executor.prepare("a", msgspec.msgpack.encode({"width": 1, "height": 64}), {})
    for index in range(MAX_SESSIONS):
        executor.prepare(str(index), spec, {})
    with pytest.raises(ContentRefused, match="64 sessions are open"):
        executor.prepare("one more", spec, {})
    executor.forget("0")
    executor.prepare("one more", spec, {})


@pytest.mark.parametrize("rect", [(0, 0, 130, 16), (64, 90, 16, 16), (1, 0, 16, 16), (0, 0, 0, 0)])
def test_a_tile_outside_its_picture_is_refused(
    start: Callable[..., EngineExecutor], rect: tuple[int, int, int, int]
) -> None:
    with pytest.raises(ContentRefused, match="has a tile"):
        draw(start(), Rect(*rect))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"command": "x"}, "array"), ({"pixels": "png"}, "png"), ({"start_s": 60}, "25")],
)
def test_settings_are_checked(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        create(settings)


def test_without_an_engine_there_is_no_device() -> None:
    for settings, reason in (({}, "no command"), ({"command": ["/nowhere"]}, "cannot be run")):
        with pytest.raises(DeviceUnavailable, match=reason):
            create(settings).find_devices()


def test_a_session_says_where_its_camera_is() -> None:
    with pytest.raises(SessionRefused, match="words"):
        opened("x" * 251)
    session = opened()
    canvas = memoryview(bytearray(session.picture.nbytes))
    frame = session.open_frame(0, 0, CutHint(1), canvas, NOTHING)
    assert sum(piece.output_bytes for piece in frame.pieces) == session.picture.nbytes
    assert session.describe()["camera"]["distance"] == HOME.distance
