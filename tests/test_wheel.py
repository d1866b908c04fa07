"""What is shipped: built once, looked into, and used from an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile

import pytest

TOP_LEVEL = {"framemesh", "mesh", "render", "infer", "discovery", "clients"}


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    """The wheel, built from the files git knows, so that leftovers cannot slip in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository, check=True, capture_output=True,
    ).stdout.split(b"\0")  # fmt: skip
    for name in filter(None, map(os.fsdecode, names)):
        if (repository / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((repository / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def shipped(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_only_our_packages_are_shipped(shipped):
    top = {name.split("/")[0] for name in shipped}
    assert {name for name in top if not name.endswith(".dist-info")} == TOP_LEVEL


def test_every_module_and_data_file_is_shipped(repository, shipped):
    code = {".py", ".c", ".h", ".js", ".html", ".css", ".svg"}
    kinds = code | {".spv", ".vert", ".frag", ".comp", ".glsl"}
    there = {
        str(path.relative_to(repository))
        for name in TOP_LEVEL
        for path in (repository / name).rglob("*")
        if path.suffix in kinds or path.name == "py.typed"
    }
    assert there - shipped == set()


def test_the_licence_is_shipped(shipped):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in shipped)


def test_the_wheel_works_away_from_the_checkout(wheel, tmp_path):
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The dependencies are those of the environment the tests run in; framemesh itself is not,
    # since an editable install comes in through a hook that `.pth` lines of a path do not run.
    outer = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(f"{outer}\n")
    code = (
        "import framemesh, mesh, render.shaders, clients, importlib.resources as r;"
        "print(framemesh.__version__, framemesh.Workload.__module__, mesh.__file__);"
        "assert (r.files('clients') / 'web' / 'index.html').is_file();"
        "assert any(f.name.endswith('.spv') for f in r.files('render.shaders').iterdir())"
    )
    python = home / "bin" / "python"
    answer = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert str(site) in answer.stdout
    for words in (["--version"], ["--help"], ["node", "--help"]):
        command = [python, "-m", "framemesh", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
