"""Which coding is chosen for a camera's pictures, and what is learnt of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.uplink.picture_policy import LEAST_VIDEO, QUALITIES, SHARE, Coding, PicturePolicy
from mesh.core.errors import Misuse

SIZE, PIXELS, RATE_HZ = (1242, 375), 1242 * 375, 10.0
AMPLE_US = 100_000

links = st.floats(1e3, 1e8)


def goodness(coding: Coding) -> tuple[int, bool, int]:
    return -coding.shrink, coding.codec == "jpeg", coding.quality


@given(links, st.integers(1, 1_000_000), st.floats(0.2, 5))
def test_what_is_chosen_fits_the_link_and_the_deadline(link, spare_us, richness):
    policy = PicturePolicy(SIZE, RATE_HZ)
    policy.learn(Coding("jpeg", 50, 10_000), round(10_000 * richness))
    coding = policy.choose(link, spare_us)
    least = LEAST_VIDEO * PIXELS / 8 / 16
    fits = SHARE * link * min(1 / RATE_HZ, spare_us / 1e6)
    assert coding.nbytes <= max(fits, least) + 1


@given(links, links, st.integers(10_000, 1_000_000))
def test_a_faster_link_never_means_worse_pictures(one, other, spare_us):
    slow, fast = sorted((one, other))
    worse = PicturePolicy(SIZE, RATE_HZ).choose(slow, spare_us)
    better = PicturePolicy(SIZE, RATE_HZ).choose(fast, spare_us)
    assert goodness(worse) <= goodness(better)


def test_from_ample_to_next_to_nothing():
    policy = PicturePolicy(SIZE, RATE_HZ)
    chosen = [policy.choose(link, AMPLE_US) for link in (1e7, 6e5, 3e5, 5e4, 2e4, 5e3, 0)]
    assert [(c.codec, c.quality, c.shrink) for c in chosen] == [
        ("jpeg", 90, 1), ("jpeg", 60, 1), ("h264", 0, 1), ("h264", 0, 1), ("h264", 0, 2),
        ("h264", 0, 4), ("h264", 0, 4),
    ]  # fmt: skip


def test_a_near_deadline_counts_as_a_slow_link_does():
    policy = PicturePolicy(SIZE, RATE_HZ)
    assert policy.choose(1e7, 100_000).quality == 90
    assert policy.choose(1e7, 6_000).quality == 60
    assert policy.choose(1e7, 1_000).codec == "h264"
    assert policy.choose(1e7, -5).shrink == 4


def test_video_is_kept_to_until_jpeg_fits_well():
    policy, enough = PicturePolicy(SIZE, RATE_HZ), 0.73 * PIXELS / 8 * RATE_HZ / SHARE * 1.01
    assert policy.choose(enough, AMPLE_US).codec == "jpeg"
    assert policy.choose(enough / 2, AMPLE_US).codec == "h264"
    assert policy.choose(enough, AMPLE_US).codec == "h264"
    assert policy.choose(enough * 1.3, AMPLE_US).codec == "jpeg"


@pytest.mark.parametrize("richness", [0.4, 3.0])
def test_it_learns_what_pictures_take(richness):
    policy, bits = PicturePolicy(SIZE, RATE_HZ), dict(QUALITIES)
    for _ in range(30):
        coding = policy.choose(2.2e6, AMPLE_US)
        assert coding.codec == "jpeg"
        policy.learn(coding, round(richness * bits[coding.quality] * PIXELS / 8))
    assert coding.nbytes == pytest.approx(richness * bits[coding.quality] * PIXELS / 8, rel=0.02)
    before = policy.choose(2.2e6, AMPLE_US)
    policy.learn(Coding("h264", 0, 1000), 10**9)
    assert policy.choose(2.2e6, AMPLE_US) == before


def test_pictures_that_are_none_are_refused():
    for size, rate_hz in (((0, 5), 10.0), ((5, 5), 0.0)):
        with pytest.raises(Misuse):
            PicturePolicy(size, rate_hz)
