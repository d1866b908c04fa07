"""Views drawn with a margin: what is looked at stays where, and as large as, it was."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import SessionRefused
from mesh.core.workload import CutHint, SessionRequest
from render.camera import Orbit
from render.overscan import Overscan
from render.session import RenderSession
from render.tiles import GRID
from render.viewresult import ViewResult, decode_result
from render.workload import RenderWorkload, create

VIEW = Orbit(0.4, 0.2, 5.0, (0.0, 1.0, 0.0))
sides = st.integers(32, 1024).map(lambda half: 2 * half)


@given(sides, sides, st.floats(1.001, 2))
def test_sides_grow_to_the_grid_and_by_at_least_what_was_asked(width, height, factor):
    overscan = Overscan.of(width, height, factor)
    for side, drawn, grown in zip((width, height), overscan.drawn, overscan.factors, strict=True):
        assert drawn % GRID == 0
        assert drawn / side == grown
        assert factor * side <= drawn < factor * side + GRID + 1e-6


@given(sides, sides, st.floats(1, 2), st.floats(-1, 1), st.floats(-1, 1), st.floats(0.01, 0.5))
def test_what_is_looked_at_stays_pixel_for_pixel_in_the_middle(width, height, factor, x, y, z):
    overscan = Overscan.of(width, height, factor)
    view = VIEW.view(width / height)
    point = np.linalg.inv(view.clip_from_world) @ [x, y, z, 1.0]
    seen = overscan.widen(view).clip_from_world @ point
    offsets = []
    for clip, size in (((x, y), overscan.looked_at), (seen[:2] / seen[3], overscan.drawn)):
        offsets.append([at * side / 2 for at, side in zip(clip, size, strict=True)])
    assert offsets[1] == pytest.approx(offsets[0], abs=1e-6)
    assert seen[2] / seen[3] == pytest.approx(z)  # depth is as it was
    place = overscan.place((x + 1) / 2, (y + 1) / 2)
    assert place == pytest.approx((seen[:2] / seen[3] + 1) / 2, abs=1e-9)


def test_without_a_margin_nothing_changes():
    overscan = Overscan.of(322, 200, 1.0)
    view = VIEW.view(1.6)
    assert overscan.drawn == (322, 200)
    assert overscan.widen(view) is view


# --- sessions -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workload(confetti: Path) -> RenderWorkload:
    return create({"scenes": {"confetti": str(confetti)}})


@pytest.fixture(scope="module")
def opened(workload: RenderWorkload):
    """A session, 320 x 192 a view as looked at."""

    def made(**options: object) -> RenderSession:
        size = {"scene": "confetti", "width": 320, "height": 192}
        return workload.open_session(SessionRequest("render", size | options))

    return made


def result_of(session: RenderSession) -> ViewResult:
    canvas = memoryview(bytearray(session.picture.nbytes))
    return decode_result(session.open_frame(0, 0, CutHint(2), canvas, memoryview(b"")).finish())


@pytest.mark.parametrize("view", ["mono", "stereo"])
def test_a_session_draws_more_and_says_how_much(opened, view):
    plain, wide = opened(view=view, depth=16), opened(view=view, depth=16, overscan=1.25)
    views = 2 if view == "stereo" else 1
    assert (wide.picture.width, wide.picture.height) == (400 * views, 240)
    assert wide.describe()["overscan"] == (1.25, 1.25)
    assert "overscan" not in plain.describe()
    shrink = np.diag([0.8, 0.8, 1, 1])
    drawn, looked_at = result_of(wide), result_of(plain)
    assert drawn.size == (400, 240)
    for its, seen in zip(drawn.views, looked_at.views, strict=True):
        np.testing.assert_allclose(its, shrink @ seen)


def test_an_orbit_cameras_frames_then_say_what_they_were_drawn_from(opened):
    session = opened(overscan=1.25)
    assert session.describe()["result"] == "FMVR/1"
    assert session.describe()["depth"] == 0
    session.apply_input(
        {"id": 0, "camera": {"yaw": 0.4, "pitch": 0.2, "distance": 5, "target": [0, 1, 0]}}, 0
    )
    [its] = result_of(session).views
    wanted = np.diag([0.8, 0.8, 1, 1]) @ VIEW.clip_from_world(320 / 192)
    np.testing.assert_allclose(its, wanted)


def test_squeezed_edges_keep_the_same_pixels_of_what_is_looked_at_whole(opened):
    squeezed = {"view": "left", "fovea_width": 0.5, "fovea_height": 0.5}
    [plain] = opened(**squeezed).describe()["fovea"]
    [wide] = opened(**squeezed, overscan=1.5).describe()["fovea"]
    for axis, side, drawn in (("x", 320, 480), ("y", 192, 288)):
        full, wider = plain[axis]["full"], wide[axis]["full"]
        assert wider[-1] == drawn
        assert wider[2] - wider[1] == full[2] - full[1]
        margin = (drawn - side) / 2
        assert math.isclose(wider[1], full[1] + margin, abs_tol=GRID)


def test_whoever_squeezes_nothing_gets_the_margin_whole(opened):
    assert "fovea" not in opened(overscan=1.5).describe()


def test_what_would_be_too_large_with_its_margin_is_refused(opened):
    with pytest.raises(SessionRefused, match="5120x"):
        opened(width=2560, overscan=2)
    with pytest.raises(SessionRefused, match="x5120"):
        opened(height=2560, overscan=2)
