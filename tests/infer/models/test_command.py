import argparse

import pytest

from clients.cli.main import main
from infer.models.command import register
from mesh.core.errors import ContentRefused


def run(*arguments):
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["models", *map(str, arguments)])
    return parsed.run(parsed)


def test_models_are_added_listed_warmed_and_removed(build, tmp_path, capsys):
    file = tmp_path / "double.onnx"
    file.write_bytes(build().SerializeToString())
    state = ("--state", tmp_path / "state")
    for action in ("add", file), ("list",), ("warm", "double"):
        assert run(*action, *state) == 0
    added, listed, warmed = capsys.readouterr().out.splitlines()
    assert added.startswith("double  ") and "x[-1, 3] -> y[-1, 3]" in listed
    assert "CPUExecutionProvider  ready in" in warmed
    assert run("remove", "double", *state) == run("list", *state) == 0
    assert capsys.readouterr().out == ""


def test_what_is_no_model_is_not_kept(tmp_path):
    file = tmp_path / "text.onnx"
    file.write_text("no model")
    with pytest.raises(ContentRefused, match="not taken"):
        run("add", file, "--state", tmp_path)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("source", ["nowhere.onnx", "http://127.0.0.1:9/a.onnx", "file:///a.onnx"])
def test_a_source_that_cannot_be_read_is_said(tmp_path, source):
    with pytest.raises(ContentRefused, match="no model was read"):
        run("add", source, "--state", tmp_path)


def test_the_command_is_part_of_framemesh(capsys):
    with pytest.raises(SystemExit):
        main(["models", "--help"])
    assert "check a model and keep it" in capsys.readouterr().out
