from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.ids import DeviceKey
from mesh.schedule.quantum import LEAST_US, SHARE, Quanta, longest_us

A, B, C = (DeviceKey(name, "gpu") for name in "abc")
HEADSET_US, SWEEP_US = 11_100, 100_000


def test_who_is_alone_or_has_the_tightest_deadline_cuts_as_it_likes() -> None:
    quanta = Quanta()
    quanta.hold("sweeps", SWEEP_US, [A, B])
    assert quanta.quantum_us("sweeps", SWEEP_US) == 0
    quanta.hold("headset", HEADSET_US, [B])
    assert quanta.quantum_us("headset", HEADSET_US) == 0
    assert quanta.quantum_us("sweeps", SWEEP_US) == HEADSET_US // SHARE


def test_only_those_on_the_same_devices_count() -> None:
    quanta = Quanta()
    quanta.hold("sweeps", SWEEP_US, [A, B])
    quanta.hold("headset", HEADSET_US, [C])
    assert quanta.quantum_us("sweeps", SWEEP_US) == 0
    quanta.hold("sweeps", SWEEP_US, [A, C])
    assert quanta.quantum_us("sweeps", SWEEP_US) > 0
    quanta.hold("headset", HEADSET_US, [B])
    assert quanta.quantum_us("sweeps", SWEEP_US) == 0


def test_when_the_tight_one_ends_pieces_may_be_long_again() -> None:
    quanta = Quanta()
    quanta.hold("sweeps", SWEEP_US, [A])
    quanta.hold("headset", HEADSET_US, [A])
    quanta.drop("headset")
    quanta.drop("headset")
    assert quanta.quantum_us("sweeps", SWEEP_US) == 0
    assert quanta.quantum_us("headset", HEADSET_US) == 0


def test_no_deadline_however_tight_asks_for_pieces_that_cost_more_than_they_do() -> None:
    assert longest_us(SWEEP_US, 1) == LEAST_US


deadlines = st.integers(1_000, 200_000)
pools = st.sets(st.sampled_from([A, B, C]))
steps = st.lists(
    st.tuples(st.sampled_from("pqrs"), st.none() | st.tuples(deadlines, pools)), max_size=30
)


@given(steps)
def test_the_bound_is_that_of_the_tightest_deadline_met_on_any_device(steps) -> None:
    quanta = Quanta()
    held: dict[str, tuple[int, set[DeviceKey]]] = {}
    for session, holds in steps:
        if holds is None:
            quanta.drop(session)
            held.pop(session, None)
        else:
            quanta.hold(session, *holds)
            held[session] = holds
    for session, (deadline_us, devices) in held.items():
        met = [us for us, others in held.values() if devices & others]
        tightest_us = min(met, default=deadline_us)
        assert quanta.quantum_us(session, deadline_us) == longest_us(deadline_us, tightest_us)
