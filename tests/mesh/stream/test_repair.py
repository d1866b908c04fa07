from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.repair import (
    KEYFRAME_INTERVAL_US,
    LATE_US,
    MAX_REPORTS,
    MAX_TRIP_US,
    REMEMBERED,
    RETRANSMIT_CREDIT,
    RETRANSMIT_GAP_US,
    RETRANSMIT_SHARE,
    KeyframeGate,
    RetransmitGate,
    RoundTrip,
)


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


def sending(*numbers, now_us=0):
    gate = RetransmitGate()
    for number in numbers:
        gate.sent(number, now_us)
    return gate


def test_what_was_missed_is_sent_again_but_not_before_the_last_attempt_can_have_arrived():
    gate = sending(7, 8, 9)
    assert gate.allow([7, 8], 0) == [7, 8]
    assert gate.allow([7, 8, 9], RETRANSMIT_GAP_US - 1) == [9]
    assert gate.allow([7, 8, 9], RETRANSMIT_GAP_US) == [7, 8]


def test_a_repeat_is_repeated_after_a_round_trip():
    gate = sending(7)
    gate.round_trip(20_000)
    assert gate.allow([7], 0) == [7]
    assert gate.allow([7], 19_999) == []
    assert gate.allow([7], 20_000) == [7]


def test_what_would_come_too_late_is_left_to_a_keyframe():
    gate = sending(7)
    gate.round_trip(100_000)
    last_us = LATE_US - 50_000
    assert not gate.hopeless([7], last_us)
    assert gate.allow([7], last_us) == [7]
    assert gate.hopeless([7], last_us + 1)
    assert gate.allow([7], last_us + 100_001) == []


def test_what_went_before_a_keyframe_is_needed_no_more():
    gate = sending(7)
    gate.whole_picture(1)
    gate.sent(8, 1)
    assert gate.allow([7, 8], 2) == [8]
    assert not gate.hopeless([7], LATE_US + 1)
    assert gate.hopeless([8], LATE_US + 2)


def test_what_was_never_sent_is_not_sent_again():
    gate = sending(7)
    assert gate.allow([6, 8], 1) == []
    assert not gate.hopeless([6, 8], LATE_US * 2)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=300))
def test_retransmissions_never_outgrow_their_share(events):
    gate = RetransmitGate()
    sent = again = 0
    for i, (is_sent, number) in enumerate(events):
        now_us = i * RETRANSMIT_GAP_US
        if is_sent:
            gate.sent(number, now_us)
            sent += 1
        else:
            again += len(gate.allow(range(number, number + 20), now_us))
    assert again <= RETRANSMIT_CREDIT + sent * RETRANSMIT_SHARE


def test_a_long_life_keeps_a_short_memory():
    gate = RetransmitGate()
    for n in range(3 * 65536):
        gate.sent(n % 65536, n * 1000)
        if n % 4 == 0:
            gate.allow([n % 65536], n * 1000)
    assert len(gate._sent_us) <= REMEMBERED
    assert len(gate._again_us) <= REMEMBERED


def test_the_round_trip_is_what_the_viewers_own_delay_leaves():
    trip = RoundTrip()
    trip.report_sent(0xABCD, 1_000_000)
    assert trip.report_received(0xABCD, 65536 // 2, 1_540_000)
    assert trip.us == 40_000
    trip.report_sent(0xABCE, 2_000_000)
    assert trip.report_received(0xABCE, 0, 2_120_000)
    assert trip.us == 50_000  # an eighth of the way


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2**32 - 1), st.booleans())))
def test_no_report_makes_a_round_trip_absurd(events):
    trip = RoundTrip()
    for i, (middle, delay, ours) in enumerate(events):
        if ours:
            trip.report_sent(middle, i)
        else:
            trip.report_received(middle, delay, i * 10**9)
        assert trip.us is None or 0 <= trip.us <= MAX_TRIP_US
        assert len(trip._reports) <= MAX_REPORTS


def test_a_report_is_answered_once():
    trip = RoundTrip()
    trip.report_sent(5, 0)
    assert not trip.report_received(6, 0, 10)
    assert trip.report_received(5, 0, 10)
    assert not trip.report_received(5, 0, 20)
