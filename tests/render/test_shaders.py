"""The shaders that ship are the ones in the sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.core.errors import ConfigError
from render.shaders import FOLDER, build, spirv

SPIRV_MAGIC = bytes.fromhex("03022307")


def test_every_shipped_shader_is_what_its_source_compiles_to(capsys: pytest.CaptureFixture[str]):
    assert build.main(["--check"]) == 0, capsys.readouterr().out
    assert len(build.sources()) >= 3
    assert all(spirv(source.name)[:4] == SPIRV_MAGIC for source in build.sources())


def test_nothing_ships_that_has_no_source():
    sources = {f"{source.name}.spv" for source in build.sources()}
    assert {path.name for path in FOLDER.glob("*.spv")} == sources


def test_a_stale_shader_is_named_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    source = tmp_path / "pass.vert"
    source.write_text("#version 460\nvoid main() { gl_Position = vec4(0); }\n")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    assert build.main([]) == 0
    fresh = (tmp_path / "pass.vert.spv").read_bytes()
    assert build.main(["--check"]) == 0
    source.write_text("#version 460\nvoid main() { gl_Position = vec4(1); }\n")
    assert build.main(["--check"]) == 1
    assert "pass.vert.spv is stale" in capsys.readouterr().out
    assert (tmp_path / "pass.vert.spv").read_bytes() == fresh


def test_a_shader_that_does_not_compile_is_refused_with_the_compilers_words(tmp_path: Path):
    source = tmp_path / "bad.frag"
    source.write_text("#version 460\nvoid main() { colour = 1; }\n")
    with pytest.raises(ConfigError, match=r"glslangValidator refused (?s:.*)colour"):
        build.compile_shader(source)
