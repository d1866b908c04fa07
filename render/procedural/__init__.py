"""Built-in scenes, made from seeds and formulas, so that a first picture needs no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from render.procedural.courtyard import courtyard

SCENES: Mapping[str, Callable[[], bytes]] = {"courtyard": courtyard}


def procedural_glb(name: str) -> bytes:
    """The built-in scene `name` (a key of SCENES) as a GLB; equal bytes on every call.

    Bytes may differ between machines in a texel's last bit (numpy's FFT), which changes nothing:
    a scene travels to devices by content.
    """
    return SCENES[name]()
