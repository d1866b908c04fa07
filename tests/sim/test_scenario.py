"""Scenario files: what is read, and what is refused before anything runs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.errors import ConfigError
from mesh.core.workload import Criticality
from mesh.sim.scenario import MAX_TEXT, read_scenario

NODES = '[[nodes]]\nname = "desktop"\ncount = 2\n'
SESSIONS = (
    '[[sessions]]\nname = "viewer"\ncount = 1\nperiod_ms = 33.3\ndeadline_ms = 66.6\nwork_ms = 12\n'
)


def test_a_class_becomes_what_the_simulator_takes() -> None:
    scenario = read_scenario(
        NODES
        + "devices = 2\nspeed = 2\nrtt_ms = 3\nmbit_per_s = 80\n"
        + SESSIONS
        + 'pieces = 4\nbytes_out = 4_000\ncriticality = "interactive"\n'
    )
    node, session = scenario.nodes[0].model(), scenario.sessions[0].model()
    assert len(node.devices) == 2
    assert node.devices[0].us_per_unit == 500
    assert (node.link.delay_us, node.link.bytes_per_s) == (1_500, 1e7)
    assert (session.contract.period_us, session.contract.deadline_us) == (33_300, 66_600)
    assert session.contract.criticality is Criticality.INTERACTIVE
    assert (session.pieces, session.units, session.out_bytes) == (4, 3.0, 1_000)
    assert scenario.expected_pieces == round(4 * 12_000 / 33.3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes = [", "is not TOML"),
        (SESSIONS, "missing required field `nodes`"),
        (NODES, "missing required field `sessions`"),
        (NODES + SESSIONS + "colour = 1\n", "unknown field `colour`"),
        (NODES + "speed = 0\n" + SESSIONS, "$.nodes[0].speed"),
        (NODES + "noise = nan\n" + SESSIONS, "$.nodes[0].noise"),
        (NODES + "loss = 0.9\n" + SESSIONS, "$.nodes[0].loss"),
        (NODES + SESSIONS + "pieces = 1.5\n", "$.sessions[0].pieces"),
        (NODES + SESSIONS + 'criticality = "vital"\n', "$.sessions[0].criticality"),
        (NODES + NODES + SESSIONS, "two classes of nodes are named 'desktop'"),
        (NODES + SESSIONS + SESSIONS, "two classes of sessions are named 'viewer'"),
        (NODES + SESSIONS.replace("count = 1", "count = 10_001"), "10,001 sessions"),
        (NODES.replace("count = 2", "count = 20_000") * 2 + SESSIONS, "named 'desktop'"),
        ("duration_s = 3600\n" + NODES + SESSIONS.replace("1\n", "300\n"), "pieces"),
        ("#" * MAX_TEXT + "\n", "characters"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_scenario(text)
    assert says in str(refused.value)


@settings(max_examples=50)
@given(st.text(max_size=200) | st.builds(lambda extra: NODES + extra + SESSIONS, st.text()))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        scenario = read_scenario(text)
    except ConfigError:
        return
    assert scenario.nodes
    assert scenario.sessions


def test_another_count_is_bounded_too() -> None:
    scenario = read_scenario(NODES + SESSIONS)
    assert scenario.with_count("viewer", 7).sessions[0].count == 7
    with pytest.raises(ConfigError, match="at most 10,000"):
        scenario.with_count("viewer", 10_001)
    with pytest.raises(ConfigError, match="no sessions named 'vehicle'"):
        scenario.with_count("vehicle", 1)
