"""When a device process is started again."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.device.restart import (
    FIRST_DELAY_US,
    FORGIVEN_AFTER_US,
    GIVE_UP_AFTER,
    LONGEST_DELAY_US,
    RestartPolicy,
)


def test_the_first_restart_is_immediate_and_the_next_ones_wait_twice_as_long():
    policy = RestartPolicy()
    waits = [policy.ended(now_us=1_000, served_since_us=0) for _ in range(4)]
    assert waits == [0, FIRST_DELAY_US, 2 * FIRST_DELAY_US, 4 * FIRST_DELAY_US]


def test_long_service_is_rewarded_with_an_immediate_restart():
    policy = RestartPolicy()
    for _ in range(5):
        policy.ended(now_us=1_000, served_since_us=0)
    assert policy.ended(now_us=FORGIVEN_AFTER_US, served_since_us=0) == 0


def test_a_process_that_never_comes_to_serve_is_given_up():
    policy = RestartPolicy()
    waits = [policy.ended(now_us=0, served_since_us=None) for _ in range(GIVE_UP_AFTER)]
    assert None not in waits[:-1] and waits[-1] is None


def test_coming_to_serve_once_starts_the_count_again():
    policy = RestartPolicy()
    for _ in range(GIVE_UP_AFTER - 1):
        policy.ended(now_us=0, served_since_us=None)
    assert policy.ended(now_us=1, served_since_us=0) is not None
    assert policy.ended(now_us=1, served_since_us=None) is not None


@given(st.lists(st.booleans(), max_size=200))
def test_no_wait_is_longer_than_the_longest(served):
    policy = RestartPolicy()
    for each in served:
        wait_us = policy.ended(now_us=1, served_since_us=0 if each else None)
        assert wait_us is None or 0 <= wait_us <= LONGEST_DELAY_US
