import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.inputs import BURST, MAX_BYTES, MAX_OFFENCES, MAX_PER_SECOND, InputGate, Offence


def text(**state) -> str:
    return json.dumps(state)


def test_a_new_state_is_admitted_as_it_was_sent():
    gate = InputGate()
    assert gate.admit(text(id=0, camera={"yaw": 1.5}), 0) == {"id": 0, "camera": {"yaw": 1.5}}
    assert gate.admit(text(id=3).encode(), 0) == {"id": 3}


def test_a_state_that_comes_late_is_ignored_without_offence():
    gate = InputGate()
    gate.admit(text(id=5), 0)
    assert gate.admit(text(id=5), 0) is None
    assert gate.admit(text(id=4), 0) is None
    assert gate.last_id == 5


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "null",
        "[1]",
        "{",
        "\ud800",
        '{"id": -1}',
        '{"id": 1.0}',
        '{"id": true}',
        '{"id": 9007199254740992}',
        '{"camera": {}}',
        b"\xff\xfe",
        '{"id": 1, "x": ' + "[" * 1500 + "]" * 1500 + "}",
        '{"id": 1, "x": NaN}',
        text(id=1, pad="x" * MAX_BYTES),
        text(id=1, pad="€" * (MAX_BYTES // 2)).replace("\\u20ac", "€"),
    ],
)
def test_nonsense_is_an_offence(nonsense):
    with pytest.raises(Offence):
        InputGate().admit(nonsense, 0)


@given(st.text() | st.binary(max_size=5000))
def test_anything_at_all_is_admitted_ignored_or_an_offence(message):
    gate = InputGate()
    try:
        state = gate.admit(message, 0)
    except Offence:
        assert gate.last_id == -1
    else:
        assert state["id"] == gate.last_id


def test_a_steady_stream_at_the_limit_is_admitted_for_ever():
    gate = InputGate()
    for n in range(5 * MAX_PER_SECOND):
        assert gate.admit(text(id=n), n * 1_000_000 // MAX_PER_SECOND + n) is not None


def test_a_flood_is_an_offence_once_the_burst_is_spent():
    gate = InputGate()
    for n in range(BURST):
        gate.admit(text(id=n), 0)
    with pytest.raises(Offence):
        gate.admit(text(id=BURST), 0)
    assert gate.admit(text(id=BURST), 10_000) is not None


def test_offences_are_forgiven_at_one_a_second_and_no_faster():
    gate = InputGate()
    assert all(gate.forgives(n * 1_000_000) for n in range(3 * MAX_OFFENCES))
    burst = [gate.forgives(200_000_000) for _ in range(MAX_OFFENCES + 1)]
    assert burst == [True] * MAX_OFFENCES + [False]
