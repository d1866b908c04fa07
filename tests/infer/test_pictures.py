"""Pictures packed and unpacked: real ones of a drive, and garbage."""

from __future__ import annotations

import random

import numpy as np
import pytest

from bench.fuzz.bytework import spoil
from infer.readers.kitti_frames import read_frames
from infer.uplink.picture_policy import Coding, PicturePolicy
from infer.uplink.pictures import LEAST_SIDE, MAX_SIDE, PicturePacker, PictureUnpacker
from mesh.core.errors import ContentRefused

JPEG = Coding("jpeg", 80, 0)


@pytest.fixture(scope="module")
def street(data_dir):
    """Five pictures, 375 by 1242, of one camera."""
    frames = read_frames(data_dir / "kitti_raw_clip")
    return [next(frames).cameras[0].pixels() for _ in range(5)]


@pytest.fixture
def smooth():
    """A made-up picture of odd sides."""
    y, x = np.mgrid[:67, :101]
    return np.stack((2 * x, 3 * y, x + y), axis=-1).astype(np.uint8)


def decibels(one, other) -> float:
    """PSNR."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("coding", [JPEG, Coding("h264", 0, 40_000)], ids=["jpeg", "h264"])
def test_a_drive_comes_back_as_it_was(street, coding):
    packer, unpacker = PicturePacker(10), PictureUnpacker()
    for picture in street:
        back = unpacker.unpack(packer.pack(picture, coding))
        assert back.shape == picture.shape
        assert decibels(back, picture) > 28


def test_video_takes_much_less_for_about_the_same_error(street):
    packer, unpacker = PicturePacker(10), PictureUnpacker()
    packed = [packer.pack(picture, Coding("h264", 0, 28_000)) for picture in street]
    files = [packer.pack(picture, Coding("jpeg", 40, 0)) for picture in street]
    assert max(map(len, packed)) <= 28_000, "the first as well"
    assert sum(map(len, packed)) < 0.67 * sum(map(len, files))
    back = np.array([unpacker.unpack(data) for data in packed])
    alone = np.array([unpacker.unpack(data) for data in files])
    assert decibels(back, np.array(street)) > decibels(alone, np.array(street)) - 0.3


def test_the_policy_brings_a_drive_over_a_slow_link(street):
    height, width, _ = street[0].shape
    policy, packer, unpacker = (
        PicturePolicy((width, height), 10),
        PicturePacker(10),
        PictureUnpacker(),
    )
    links = (2e6, 2e6, 3e5, 3e5, 2e6)
    codecs = []
    for picture, link in zip(street, links, strict=True):
        coding = policy.choose(link, 80_000)
        data = packer.pack(picture, coding)
        policy.learn(coding, len(data))
        codecs.append(coding.codec)
        assert decibels(unpacker.unpack(data), picture) > 24
    assert codecs == ["jpeg", "jpeg", "h264", "h264", "jpeg"]


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
@pytest.mark.parametrize("shrink", [1, 2, 4])
def test_any_size_comes_back_at_that_size(smooth, codec, shrink):
    packer, unpacker = PicturePacker(10), PictureUnpacker()
    for _ in range(2):
        data = packer.pack(smooth, Coding(codec, 90 if codec == "jpeg" else 0, 20_000, shrink))
        back = unpacker.unpack(data)
        assert back.shape == smooth.shape
        assert decibels(back, smooth) > 25


def test_video_needs_what_it_builds_on(smooth):
    packer, unpacker = PicturePacker(10), PictureUnpacker()
    video = Coding("h264", 0, 5_000)
    first, second = packer.pack(smooth, video), packer.pack(smooth, video)
    with pytest.raises(ContentRefused, match="did not come"):
        unpacker.unpack(second)
    unpacker.unpack(first)
    unpacker.unpack(second)
    with pytest.raises(ContentRefused):
        unpacker.unpack(second[:12] + b"garbage")
    with pytest.raises(ContentRefused, match="did not come"):
        unpacker.unpack(second)
    packer.pack(smooth, JPEG)
    unpacker.unpack(packer.pack(smooth, video))  # after JPEG it begins anew


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_garbage_is_an_error_and_never_a_crash(smooth, codec):
    data = PicturePacker(10).pack(smooth, Coding(codec, 60 if codec == "jpeg" else 0, 3_000))
    rng, refused = random.Random(5), 0
    for _ in range(150):
        try:
            assert PictureUnpacker().unpack(spoil(rng, data)).shape[2] == 3
        except ContentRefused:
            refused += 1
    assert refused > 20


def test_a_file_that_is_larger_than_it_says_is_refused(smooth):
    packer, large = PicturePacker(10), np.zeros((512, 512, 3), np.uint8)
    for coding in (JPEG, Coding("h264", 0, 5_000)):
        head = packer.pack(smooth, coding)[:12]
        with pytest.raises(ContentRefused):
            PictureUnpacker().unpack(head + PicturePacker(10).pack(large, coding)[12:])


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((LEAST_SIDE - 1, 100, 3), np.uint8),
        np.zeros((20, MAX_SIDE + 1, 3), np.uint8),
        np.zeros((100, 100), np.uint8),
        np.zeros((100, 100, 3), np.float32),
    ],
    ids=["low", "wide", "grey", "floats"],
)
def test_what_is_no_picture_is_not_packed(pixels):
    with pytest.raises(ContentRefused):
        PicturePacker(10).pack(pixels, JPEG)
