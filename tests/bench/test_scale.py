"""That the benchmark of scale is of the scale it says."""

from bench.scale import FULL, QUICK, scenario


def test_it_has_ten_thousand_nodes_a_thousand_sessions_and_a_million_pieces() -> None:
    full = scenario(*FULL)
    assert sum(group.count for group in full.nodes) == 10_000
    assert sum(group.count for group in full.sessions) >= 1_000
    assert full.expected_pieces >= 1_100_000


def test_in_small_it_is_the_same_mesh() -> None:
    full, quick = scenario(*FULL), scenario(*QUICK)
    assert sum(group.count for group in quick.nodes) == 500
    assert sum(group.count for group in quick.sessions) >= 50
    work = [
        sum(s.count * s.work_ms / s.period_ms for s in one.sessions)
        / sum(node.count * node.speed for node in one.nodes)
        for one in (full, quick)
    ]
    assert abs(work[0] - work[1]) < 0.02 * work[0]
