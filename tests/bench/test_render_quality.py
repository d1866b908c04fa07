"""How pictures are compared; `python -m bench.render_quality` draws and compares them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("flip_evaluator", reason="needs the 'bench' extra")

from bench import render_quality as quality
from bench.peers.gltf_bsdf import reflected_once
from bench.peers.threejs import Reference
from bench.quality_scenes import SCENES
from bench.quality_sheet import Row, contact_sheet
from render.package import load_scene


@pytest.fixture
def picture() -> np.ndarray:
    """A grey background with a patch of noise in it."""
    picture = np.full((90, 120, 3), 124, np.uint8)
    picture[20:70, 30:90] = np.random.default_rng(5).integers(30, 220, (50, 60, 1))
    return picture


def reference_of(picture: np.ndarray) -> Reference:
    return Reference(picture, (picture != 124).any(axis=2), "drawn by hand")


def test_equal_pictures_do_not_differ(picture: np.ndarray) -> None:
    outcome = quality.compare(picture, reference_of(picture))
    assert outcome.mean == pytest.approx(0.0, abs=1e-6)
    assert outcome.silhouette == pytest.approx(50 * 60 / (90 * 120), rel=0.02)


def test_what_only_one_picture_shows_counts_and_the_background_does_not(
    picture: np.ndarray,
) -> None:
    empty = np.full_like(picture, 124)
    one, other = (
        quality.compare(picture, reference_of(empty)),
        quality.compare(empty, reference_of(picture)),
    )
    assert one.mean > quality.MOST
    assert one.mean == pytest.approx(other.mean, rel=0.1)
    assert one.mean > 2 * one.flip.mean()


def test_samples_are_averaged_as_light_not_as_codes() -> None:
    checks = np.zeros((4, 4, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    assert (quality.averaged(checks, 2) == 188).all()  # half the light
    assert (quality.averaged(checks, 1) == checks).all()


def test_a_pixel_is_the_scenes_where_one_sample_is() -> None:
    inside = np.zeros((4, 4), bool)
    inside[1, 2] = True
    shrunk = quality.shrunk(Reference(np.zeros((4, 4, 3), np.uint8), inside, ""), 2)
    np.testing.assert_array_equal(shrunk.silhouette, [[False, True], [False, False]])


@pytest.mark.parametrize("name", SCENES)
def test_every_written_scene_is_read_without_a_warning(name: str) -> None:
    scene = load_scene(SCENES[name]())
    assert scene.warnings == ()
    assert scene.triangles > 0


def test_the_quick_run_is_a_part_of_the_full_one() -> None:
    keys = [shot.key for shot in quality.SHOTS]
    assert len(keys) == len(set(keys))
    assert 1 <= sum(shot.quick for shot in quality.SHOTS) < len(keys)


def test_the_sheet_holds_every_scene(picture: np.ndarray) -> None:
    flip = np.zeros(picture.shape[:2], np.float32)
    rows = [Row(name, picture, picture, flip, 0.0) for name in ("a", "b", "c")]
    one, three = contact_sheet(rows[:1]), contact_sheet(rows)
    assert three.height == 2 * one.height
    assert (np.asarray(three)[16:196, 480:720] == np.asarray(one)[16:196, 480:720]).all()


def test_the_peers_facets_lose_more_light_the_rougher_they_are() -> None:
    table = reflected_once()
    assert (table > 0.3).all()
    assert (table <= 1.0).all()
    assert table[-1, 0] == pytest.approx(1.0, abs=0.01)
    assert table[-1, -1] < table[-1, len(table) // 2] < table[-1, 0]
