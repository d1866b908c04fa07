"""A tile that is broken off while it is recorded leaves nothing that the next would believe."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from render.camera import Orbit
from tests.render.bending import bending_scene

SIZE = (192, 128)
POSE = Orbit(0.6, 0.3, 6.0, (0.0, 1.2, 0.0))
SUN = {"towards_light": (0.48, 0.64, 0.6), "illuminance": (3.0,) * 3}


def broken(*_: object) -> None:
    raise KeyError


@pytest.mark.parametrize("traced", [False, True])
def test_the_next_tile_is_whole(studio, view_of: Callable, monkeypatch, traced: bool):
    how = {"samples": 2} if traced else {"shadows": 1024}
    view = view_of(POSE, SIZE, animation=0, time=1.0, **SUN, **how)
    expected = studio.shoot(bending_scene(), view, SIZE).i420
    scene = bending_scene()
    with monkeypatch.context() as patch:
        if traced:
            patch.setattr(studio.renderer._tracer, "_set_work", broken)
        else:
            patch.setattr(studio.renderer, "_show", broken)
        with pytest.raises(KeyError):
            studio.shoot(scene, view, SIZE)
    assert studio.shoot(scene, view, SIZE).i420 == expected
