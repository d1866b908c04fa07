"""Pictures drawn by the render workload show things where rays and the calibration have them."""

from dataclasses import replace

import numpy as np
import pytest

from infer.drives.camera import pixel_owners, seen
from infer.drives.photographs import BELOW, HORIZON, ZENITH, Photographer, rgb, sky_hdr
from infer.drives.rays import NOBODY, Placed
from infer.drives.rig import PICTURE, calibration, pinhole
from render.environment.radiance import read

PLAIN = {"antialias": 1, "shadows": 0, "environment": "", "backdrop": 0}  # quick, no shadows


@pytest.fixture(scope="module")
def photographer(tmp_path_factory):
    with Photographer(tmp_path_factory.mktemp("street"), **PLAIN) as made:
        yield made


def only(scene, actors):
    """The scene with some of its actors, and nothing else but the street."""
    placed = scene.placed
    count = len(actors)
    some = Placed(
        placed.rows[actors], placed.models[actors], np.arange(count, dtype=np.int32), count
    )
    chosen = replace(
        scene.actors,
        **{name: getattr(scene.actors, name)[actors] for name in scene.actors.__slots__},
    )
    return replace(scene, actors=chosen, placed=some)


def test_a_picture_shows_things_at_the_pixels_that_rays_say(photographer, drive, drive_scene):
    """What two pictures differ by, with some things and without, is those things' silhouettes."""
    shown = seen(drive_scene)
    whole = np.flatnonzero((shown.visible > 0.5) & (shown.pixels > 800))
    assert {"car", "pedestrian"} <= set(drive_scene.actors.classes[whole])
    scene = only(drive_scene, whole)
    full, empty = (photographer.picture(drive, each) for each in (scene, only(scene, [])))
    assert (full.size, full.frame) == (PICTURE, "camera")
    apart = np.abs(full.pixels().astype(int) - empty.pixels()).max(axis=2) > 12
    owners = pixel_owners(scene, 1)[0].T
    there = owners != NOBODY
    assert (apart & there).sum() > 0.93 * there.sum()  # some have the street's own colour
    assert (apart & ~there).sum() < 0.03 * there.sum()  # chroma is of two by two pixels
    camera = calibration().pose("camera", "ego") @ scene.ego.inverse()
    for k, box in enumerate(scene.actors.boxes):
        rows, columns = np.nonzero(owners == k)
        (middle,), (inside,) = pinhole().project(camera.apply(box[None, :3]))
        assert apart[rows, columns].mean() > 0.7
        if inside:
            assert columns.min() - 1 <= middle[0] <= columns.max() + 1


def test_planes_become_the_colours_they_were_made_of():
    """Grey 126 and BT.709's limited-range red, by hand."""
    grey = np.concatenate((np.full(16, 16 + 219 / 2), np.full(8, 128)))
    assert np.ptp(rgb(grey.astype(np.uint8), (4, 4))) == 0
    red = np.concatenate((np.full(4, 63), [102], [240])).astype(np.uint8)
    np.testing.assert_allclose(rgb(red, (2, 2))[0, 0], (255, 0, 0), atol=2)


def test_the_sky_is_blue_above_and_dark_below():
    light = read(memoryview(sky_hdr()))
    assert light.shape == (32, 64, 3)
    np.testing.assert_allclose(light[0, 0], ZENITH, rtol=0.02)
    np.testing.assert_allclose(light[15, 5], HORIZON, rtol=0.15)
    np.testing.assert_allclose(light[-1, 63], BELOW, rtol=0.02)
