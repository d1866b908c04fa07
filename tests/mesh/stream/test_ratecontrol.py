from hypothesis import given
from hypothesis import strategies as st

from mesh.core.workload import PictureFormat
from mesh.stream.ratecontrol import (
    HIGHEST_BPS,
    LOSS_HOLD_US,
    LOSS_STEP_US,
    LOWEST_BPS,
    STALE_US,
    BitrateControl,
    default_bitrate,
)


def test_a_stream_starts_at_its_most():
    assert BitrateControl(4_000_000).bitrate(0) == 4_000_000


def send(control: BitrateControl, bps: int, until_us: int) -> None:
    """A second of pictures at that bitrate."""
    for n in range(30):
        control.sent(bps // 8 // 30, until_us - 1_000_000 + n * 33_000)


def fallen_to(bps: int, viewer: str = "viewer") -> BitrateControl:
    """A control at full rate whose viewer's estimate fell at time 0."""
    control = BitrateControl(8_000_000)
    send(control, 8_000_000, 0)
    control.estimated(viewer, 20_000_000, 0)
    control.estimated(viewer, bps, 0)
    return control


def test_an_estimate_that_falls_limits_the_bitrate_at_once():
    assert fallen_to(2_000_000).bitrate(0) == 1_700_000


def test_an_estimate_that_stays_short_of_what_was_sent_limits_it_too():
    control = BitrateControl(8_000_000)
    send(control, 8_000_000, 1_000_000)
    control.estimated("viewer", 5_000_000, 1_000_000)
    assert control.bitrate(1_000_000) == 4_250_000


def test_a_still_picture_is_not_taken_for_a_narrow_path():
    control = BitrateControl(8_000_000)
    send(control, 240_000, 1_000_000)
    control.estimated("viewer", 238_000, 990_000)  # all that was sent, and all that arrived
    control.estimated("viewer", 240_000, 1_000_000)
    assert control.bitrate(1_000_000) == 8_000_000


def test_an_estimate_that_rises_behind_a_picture_that_starts_to_move_limits_nothing():
    control = BitrateControl(8_000_000)
    control.estimated("viewer", 500_000, 0)  # the picture stood still
    send(control, 8_000_000, 1_000_000)
    control.estimated("viewer", 540_000, 1_000_000)
    assert control.bitrate(1_000_000) == 8_000_000


def test_a_fall_while_hardly_anything_is_sent_halves_the_bitrate_and_no_more():
    control = BitrateControl(8_000_000)
    send(control, 100_000, 0)
    control.estimated("viewer", 150_000, 0)
    control.estimated("viewer", 80_000, 0)
    assert control.bitrate(0) == 4_000_000


def test_an_estimate_that_rises_is_followed_and_one_that_stands_still_is_kept():
    control = fallen_to(1_000_000)
    control.estimated("viewer", 3_000_000, 1_000)
    assert control.bitrate(1_000) == 2_550_000
    send(control, 2_550_000, 1_000_000)
    control.estimated("viewer", 3_000_000, 1_000_000)
    assert control.bitrate(1_000_000) == 2_550_000


def test_heavy_loss_lowers_the_bitrate_and_its_absence_raises_it_after_a_while():
    control = BitrateControl(8_000_000)
    control.lost("viewer", 0.5, 0)
    assert control.bitrate(0) == 6_000_000
    for now_us, share in ((1_000_000, 0.05), (LOSS_HOLD_US - 1, 0.0), (LOSS_HOLD_US, 0.05)):
        control.lost("viewer", share, now_us)
        assert control.bitrate(now_us) == 6_000_000
    for second in range(5, 12):
        control.lost("viewer", 0.0, second * 1_000_000)
    assert control.bitrate(11_000_000) == 8_000_000


def test_reports_of_one_trouble_lower_the_bitrate_once():
    control = BitrateControl(8_000_000)
    for n in range(10):
        control.lost("viewer", 0.5, n * LOSS_STEP_US // 10)
        assert control.bitrate(n) == 6_000_000
    control.lost("viewer", 0.5, LOSS_STEP_US)
    assert control.bitrate(LOSS_STEP_US) == 4_500_000


def test_the_weakest_viewer_sets_the_bitrate_and_its_leaving_frees_it():
    control = fallen_to(1_000_000, "weak")
    control.estimated("strong", 7_000_000, 0)
    control.estimated("strong", 6_000_000, 0)
    assert control.bitrate(0) == 850_000
    control.forget("weak")
    assert control.bitrate(0) == 5_100_000


def test_what_a_viewers_own_controller_allows_is_taken_while_it_is_fresh():
    control = BitrateControl(8_000_000)
    control.allowed("viewer", 3_000_000, 0)
    assert control.bitrate(0) == 3_000_000
    control.allowed("viewer", 7_000_000, 50_000)
    assert control.bitrate(50_000) == 7_000_000
    assert control.bitrate(STALE_US + 50_001) == 8_000_000


def test_an_old_report_says_nothing_any_more():
    control = fallen_to(1_000_000)
    assert control.bitrate(STALE_US) == 850_000
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
        control.lost(viewer, bps % 257 / 256, now_us)
        assert LOWEST_BPS <= control.bitrate(now_us) <= max(LOWEST_BPS, min(most_bps, HIGHEST_BPS))


def test_larger_and_faster_pictures_are_worth_more_bits():
    small = default_bitrate(PictureFormat(640, 360), 30)
    large = default_bitrate(PictureFormat(1280, 720), 30)
    fast = default_bitrate(PictureFormat(1280, 720), 60)
    assert LOWEST_BPS < small < large < fast < HIGHEST_BPS
