"""The arrows of docs/architecture.md, asserted over the syntax tree of every source file."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WINGS = ("discovery", "render", "infer", "clients")
PACKAGES = ("framemesh", "mesh", *WINGS)

# Inside mesh every import between parts goes to a lower row.
LAYERS = (
    ("node",),
    ("serving",),
    ("clients", "company"),
    ("realmdesk", "relay", "control"),
    ("netcheck",),
    ("reach",),
    ("gateway", "worker"),
    ("session", "http", "rights"),
    ("hosting",),
    ("channel", "assets"),
    ("device", "sim"),
    ("link", "schedule", "stream", "peers"),
    ("core",),
)

# Files that decide: `now_us` comes in, decisions go out. docs/architecture.md says why.
PURE = (
    "mesh/stream/sctpgate.py",
    "discovery/dht/rendezvous.py",
    "mesh/assets.py",
    "mesh/core/errors.py",
    "mesh/core/identity.py",
    "mesh/core/membership.py",
    "mesh/core/bulletin.py",
    "mesh/core/plugins.py",
    "mesh/core/statement.py",
    "mesh/core/token.py",
    "mesh/core/trust.py",
    "mesh/core/turn.py",
    "mesh/core/wire.py",
    "mesh/link/clocksync.py",
    "mesh/rights.py",
    "mesh/device/restart.py",
    "mesh/link/framing.py",
    "mesh/link/handshake.py",
    "mesh/link/liveness.py",
    "mesh/link/sendqueue.py",
    "mesh/peers/*.py",
    "mesh/schedule/*.py",
    "mesh/sim/*.py",
    "mesh/stream/congestion.py",
    "mesh/stream/datagramgate.py",
    "mesh/stream/delaytrend.py",
    "mesh/stream/fec.py",
    "mesh/stream/fragment.py",
    "mesh/stream/inputs.py",
    "mesh/stream/offer.py",
    "mesh/stream/packets.py",
    "mesh/stream/parts.py",
    "mesh/stream/quantiser.py",
    "mesh/stream/ratecontrol.py",
    "mesh/stream/repair.py",
    "mesh/stream/transportcc.py",
    "infer/drives/*.py",
    "infer/frames/*.py",
    "infer/offload/cycles.py",
    "infer/offload/estimate.py",
    "infer/offload/homes.py",
    "infer/offload/situation.py",
    "infer/pipeline/facts.py",
    "infer/pipeline/perceived.py",
    "infer/pipeline/sinks/drawing.py",
    "infer/uplink/*.py",
    "render/beside.py",
    "render/clusters.py",
    "render/depth.py",
    "render/drawlist.py",
    "render/environment/distribution.py",
    "render/foveate.py",
    "render/headpose.py",
    "render/headset.py",
    "render/ladder.py",
    "render/lights.py",
    "render/motion.py",
    "render/overscan.py",
    "render/pathtrace/bvh.py",
    "render/pathtrace/geometry.py",
    "render/pathtrace/slices.py",
    "render/pathtrace/surfaces.py",
    "render/pose.py",
    "render/reproject.py",
    "render/tiles.py",
    "render/upscale.py",
    "render/warp.py",
    "render/viewresult.py",
    "render/workloads/enginetile.py",
    "render/workloads/i420.py",
    "render/workloads/picture.py",
    "render/workloads/push.py",
    "render/workloads/spirv.py",
)
IMPURE_MODULES = {"asyncio", "socket", "ssl", "select", "time", "datetime", "threading", "uvloop"}

TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "bench",
    "docs",
    "pyproject.toml",
    "tests",
    *PACKAGES,
}


def sources() -> list[Path]:
    return sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_package(path: Path) -> bool:
    return path.name == "__init__.py"


def imports(path: Path) -> set[str]:
    """Every module a file imports anywhere, absolute; `from x import y` counts as x and x.y."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = dotted(path) if is_package(path) else dotted(path).rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                module = f"{package}.{module}".rstrip(".")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def layer(module: str) -> tuple[int, str] | None:
    """(row from the top, part) of a module in mesh; None for `mesh` itself and for others."""
    parts = module.split(".")
    if parts[0] != "mesh" or len(parts) == 1:
        return None
    for row, names in enumerate(LAYERS):
        if parts[1] in names:
            return row, parts[1]
    return None


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_wings_import_only_mesh_and_mesh_imports_no_wing(path):
    mine = path.relative_to(ROOT).parts[0]
    allowed = {mine} | ({"mesh"} if mine in WINGS else set())
    if mine == "framemesh":
        allowed |= {"mesh", "clients"}  # the facade, and the command it starts
    used = {name.split(".")[0] for name in imports(path)} & set(PACKAGES)
    assert used <= allowed


@pytest.mark.parametrize("path", [p for p in sources() if layer(dotted(p))], ids=dotted)
def test_arrows_inside_mesh_point_down(path):
    row, part = layer(dotted(path))
    for name in imports(path):
        below = layer(name)
        if below is not None and below[1] != part:
            assert below[0] > row, f"{part} (row {row}) imports {name} (row {below[0]})"


def test_every_part_of_mesh_has_a_place_among_the_layers():
    parts = {
        path.stem
        for path in (ROOT / "mesh").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert parts == {name for names in LAYERS for name in names}


@pytest.mark.parametrize("pattern", PURE)
def test_what_decides_reads_no_clock_and_awaits_nothing(pattern):
    files = list(ROOT.glob(pattern))
    assert files, f"{pattern} names no file"
    for path in files:
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & IMPURE_MODULES, path
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), path


def test_what_decides_draws_only_from_seeded_chance():
    for path in (path for pattern in PURE for path in ROOT.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="random"), attr=attr):
                    assert attr == "Random", f"{path}:{node.lineno}: chance without a seed"
                case ast.Call(func=ast.Attribute(attr="Random"), args=arguments):
                    assert arguments, f"{path}:{node.lineno}: Random() without a seed"


def test_the_top_level_is_what_it_is_said_to_be():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert {name.split("/")[0] for name in listed} <= TOP_LEVEL


def test_the_arrow_test_sees_every_kind_of_import(tmp_path):
    file = ROOT / "mesh" / "core" / "errors.py"
    assert "msgspec" in imports(file)
    tree = "import a.b\nfrom c import d\ndef f():\n    from e.f import g\n"
    path = tmp_path / "x.py"
    path.write_text(tree)
    assert imports(path) == {"a.b", "c", "c.d", "e.f", "e.f.g"}
