"""How the picture comparison judges; `python -m bench.render_reference` makes the comparison."""

from __future__ import annotations

import numpy as np
import pytest

reference = pytest.importorskip("bench.render_reference", reason="needs the 'bench' extra")

from bench.peers.threejs import Reference  # noqa: E402


@pytest.fixture
def picture() -> np.ndarray:
    """A grey background with a patch of noise around mid-grey in it."""
    picture = np.full((120, 160, 3), 60, np.uint8)
    patch = np.random.default_rng(5).integers(90, 170, (80, 100, 1))
    picture[20:100, 30:130] = patch
    return picture


def reference_of(picture: np.ndarray) -> Reference:
    return Reference(picture, (picture != 60).any(axis=2), "drawn by hand")


def test_equal_pictures_agree_fully(picture: np.ndarray) -> None:
    result = reference.compare(picture, reference_of(picture))
    assert result.ssim == pytest.approx(1.0)
    assert result.silhouette == pytest.approx(80 * 100 / (120 * 160))
    assert result.mean_difference == 0.0
    assert reference.holds(result)


def test_a_silhouette_that_only_one_picture_has_counts(picture: np.ndarray) -> None:
    shifted = np.roll(picture, 40, axis=1)
    result = reference.compare(picture, reference_of(shifted))
    assert result.silhouette == pytest.approx(80 * 140 / (120 * 160))
    assert not reference.holds(result)


def test_agreement_in_the_background_does_not_help(picture: np.ndarray) -> None:
    noise = np.random.default_rng(6).integers(90, 170, (80, 100, 3), dtype=np.uint8)
    other = picture.copy()
    other[20:100, 30:130] = noise
    assert reference.compare(picture, reference_of(other)).ssim < 0.5


def test_a_picture_too_dark_to_judge_does_not_hold(picture: np.ndarray) -> None:
    dark = np.where(picture == 60, picture, picture // 5)
    result = reference.compare(dark, reference_of(dark))
    assert result.ssim == pytest.approx(1.0)
    assert not reference.holds(result)


def test_every_scene_of_the_comparison_is_also_in_the_quick_one() -> None:
    quick = {view.scene for view in reference.VIEWS if view.quick}
    assert quick == {view.scene for view in reference.VIEWS}
