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


def fallen_to(bps: int, viewer: str = "viewer") -> BitrateControl:
    """A control that saw one viewer's estimate fall at time 0."""
    control = BitrateControl(8_000_000)
    control.estimated(viewer, 20_000_000, 0)
    control.estimated(viewer, bps, 0)
    return control


def test_an_estimate_that_falls_limits_the_bitrate_at_once():
    assert fallen_to(2_000_000).bitrate(0) == 1_700_000


def test_an_estimate_short_of_what_was_sent_limits_it_too():
    control = BitrateControl(8_000_000)
    for n in range(30):
        control.sent(8_000_000 // 8 // 30, n * 33_000)
    control.estimated("viewer", 5_000_000, 990_000)
    assert control.bitrate(990_000) == 4_250_000


def test_a_still_picture_is_not_taken_for_a_narrow_path():
    control = BitrateControl(8_000_000)
    for n in range(30):
        control.sent(1000, n * 33_000)
    control.estimated("viewer", 238_000, 990_000)  # all that was sent, and all that arrived
    control.estimated("viewer", 240_000, 1_000_000)
    assert control.bitrate(1_000_000) == 8_000_000


def test_an_estimate_that_rises_behind_a_picture_that_starts_to_move_limits_nothing():
    control = BitrateControl(8_000_000)
    control.estimated("viewer", 500_000, 0)  # the picture stood still
    for n in range(30):
        control.sent(8_000_000 // 8 // 30, n * 33_000)
    control.estimated("viewer", 540_000, 990_000)
    assert control.bitrate(990_000) == 8_000_000


def test_a_limit_grows_back_until_the_next_one():
    control = fallen_to(2_000_000)
    rates = [control.bitrate(second * 1_000_000) for second in range(6)]
    assert rates == sorted(rates)
    assert 1_700_000 * 1.08**4 < rates[-1] <= 1_700_000 * 1.08**5
    control.estimated("viewer", 1_000_000, 5_000_000)
    assert control.bitrate(5_000_000) == 850_000


def test_an_estimate_that_rises_above_the_limit_lifts_it():
    control = fallen_to(1_000_000)
    control.estimated("viewer", 3_000_000, 1_000)
    assert control.bitrate(1_000) == 2_550_000


def test_the_weakest_viewer_sets_the_bitrate_and_its_leaving_frees_it():
    control = fallen_to(1_000_000, "weak")
    control.estimated("strong", 7_000_000, 0)
    control.estimated("strong", 6_000_000, 0)
    assert control.bitrate(0) == 850_000
    control.forget("weak")
    assert control.bitrate(0) == 5_100_000


def test_an_old_estimate_says_nothing_any_more():
    control = fallen_to(1_000_000)
    assert control.bitrate(STALE_US) < 2_000_000
    assert control.bitrate(STALE_US + 1) == 8_000_000


def test_small_moves_do_not_touch_the_encoder():
    control = fallen_to(2_000_000)
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
