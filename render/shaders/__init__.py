"""Shaders: GLSL and, beside it, the SPIR-V made from it by `python -m render.shaders.build`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def spirv(name: str) -> bytes:
    """The compiled shader of a source file's name ("raster.vert"), as shipped."""
    return (FOLDER / f"{name}.spv").read_bytes()
