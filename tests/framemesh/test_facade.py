from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from importlib.metadata import FileHash, PackagePath, version

import pytest

import framemesh
from framemesh._shadow import overwritten, refuse_foreign_packages

HEAVY = ("vulkan", "numba", "aiortc", "av", "aiohttp", "numpy", "zeroconf", "PIL")


def run_python(code: str, cwd) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", [n for n in dir(framemesh) if n not in ("Node", "open_node")])
def test_every_export_is_there(name):
    assert getattr(framemesh, name) is not None


def test_the_version_is_the_distributions():
    assert framemesh.__version__ == version("framemesh")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = framemesh.nonsense


def test_importing_it_loads_nothing_heavy(tmp_path):
    code = (
        "import framemesh, sys; framemesh.Workload, framemesh.MeshError;"
        f"print(*[m for m in {HEAVY} if m in sys.modules])"
    )
    answer = run_python(code, tmp_path)
    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr


def test_a_stray_file_of_a_packages_name_is_noticed_and_named(tmp_path):
    (tmp_path / "render.py").write_text("")
    answer = run_python("import framemesh", tmp_path)
    assert answer.returncode == 1
    assert f"`import render` finds {tmp_path / 'render.py'}" in answer.stderr


def test_packages_that_live_elsewhere_are_noticed(tmp_path):
    with pytest.raises(ImportError, match="`import mesh` finds"):
        refuse_foreign_packages(home=tmp_path)


def test_a_package_overwritten_in_place_is_noticed(repository):
    def record(name: str, value: str) -> PackagePath:
        path = PackagePath(name, "__init__.py")
        path.hash = FileHash(f"sha256={value}")
        return path

    content = (repository / "mesh/__init__.py").read_bytes()
    right = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    assert overwritten(repository, [record("mesh", right)]) == []
    assert overwritten(repository, [record("mesh", right), record("infer", right)]) == ["infer"]
