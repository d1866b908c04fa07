from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.repair import (
    KEYFRAME_INTERVAL_US,
    RETRANSMIT_CREDIT,
    RETRANSMIT_GAP_US,
    RETRANSMIT_SHARE,
    KeyframeGate,
    RetransmitGate,
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


def test_what_was_missed_is_sent_again_but_not_before_the_last_attempt_can_have_arrived():
    gate = RetransmitGate()
    assert gate.allow([7, 8], 0) == [7, 8]
    assert gate.allow([7, 8, 9], RETRANSMIT_GAP_US - 1) == [9]
    assert gate.allow([7, 8, 9], RETRANSMIT_GAP_US) == [7, 8]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=300))
def test_retransmissions_never_outgrow_their_share(events):
    gate = RetransmitGate()
    sent = again = 0
    for now_us, (is_sent, number) in enumerate(events):
        if is_sent:
            gate.sent()
            sent += 1
        else:
            again += len(gate.allow(range(number, number + 20), now_us * RETRANSMIT_GAP_US))
    assert again <= RETRANSMIT_CREDIT + sent * RETRANSMIT_SHARE


def test_a_long_life_keeps_a_short_memory():
    gate = RetransmitGate()
    for number in range(20_000):
        for _ in range(4):
            gate.sent()
        gate.allow([number], number * 1000)
    assert len(gate._sent_us) <= 4 * RETRANSMIT_CREDIT + 1
