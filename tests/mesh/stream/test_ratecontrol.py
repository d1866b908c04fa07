from hypothesis import given
from hypothesis import strategies as st

from mesh.core.workload import PictureFormat
from mesh.stream.ratecontrol import (
    HIGHEST_BPS,
    KEYFRAME_INTERVAL_US,
    LOWEST_BPS,
    STALE_US,
    BitrateControl,
    KeyframeGate,
    default_bitrate,
)


def test_a_stream_starts_at_its_most():
    assert BitrateControl(4_000_000).bitrate(0) == 4_000_000


def test_the_weakest_viewer_sets_the_bitrate_and_its_leaving_frees_it():
    control = BitrateControl(8_000_000)
    control.estimated("strong", 6_000_000, 0)
    control.estimated("weak", 1_000_000, 0)
    assert control.bitrate(0) == 850_000
    control.forget("weak")
    assert control.bitrate(0) == 5_100_000


def test_an_old_estimate_says_nothing_any_more():
    control = BitrateControl(8_000_000)
    control.estimated("viewer", 1_000_000, 0)
    assert control.bitrate(STALE_US) == 850_000
    assert control.bitrate(STALE_US + 1) == 8_000_000


def test_small_moves_do_not_touch_the_encoder():
    control = BitrateControl(8_000_000)
    control.estimated("viewer", 2_000_000, 0)
    settled = control.bitrate(0)
    control.estimated("viewer", 2_050_000, 1)
    assert control.bitrate(1) == settled


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**63)), max_size=20), st.integers())
def test_the_bitrate_never_leaves_its_bounds(estimates, most_bps):
    control = BitrateControl(most_bps)
    for now_us, (viewer, bps) in enumerate(estimates):
        control.estimated(viewer, bps, now_us)
        assert LOWEST_BPS <= control.bitrate(now_us) <= max(LOWEST_BPS, min(most_bps, HIGHEST_BPS))


def test_larger_and_faster_pictures_are_worth_more_bits():
    small = default_bitrate(PictureFormat(640, 360), 30)
    large = default_bitrate(PictureFormat(1280, 720), 30)
    fast = default_bitrate(PictureFormat(1280, 720), 60)
    assert LOWEST_BPS < small < large < fast < HIGHEST_BPS


def test_requests_for_keyframes_are_merged_and_spaced():
    gate = KeyframeGate()
    assert not gate.take(0)
    gate.request()
    gate.request()
    assert gate.take(1)
    assert not gate.take(2)
    gate.request()
    assert not gate.take(KEYFRAME_INTERVAL_US)
    assert gate.take(KEYFRAME_INTERVAL_US + 1)
