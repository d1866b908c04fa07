from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.cost import HIGH, CostModel, RunCost
from mesh.schedule.ids import DeviceKey

GPU, OTHER = DeviceKey("far", "gpu"), DeviceKey("near", "gpu")


def test_the_unknown_costs_the_optimistic_prior_until_more_than_the_warm_up_was_seen() -> None:
    costs = CostModel(prior_run_us=1_000)
    assert costs.predict_us(GPU, "tile", 5.0) == 1_000
    costs.observe(GPU, "tile", 1.0, 150_000)  # compiled its shaders
    assert costs.predict_us(GPU, "tile", 5.0) == 1_000
    assert costs.run_cost(GPU, "tile") is None
    costs.observe(GPU, "tile", 1.0, 8_000)
    assert costs.predict_us(GPU, "tile", 2.0) == pytest.approx(16_000, rel=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.2, 0.6])
def test_a_promised_95_percent_covers_95_percent(noise: float) -> None:
    random, costs, covered, runs = Random(4), CostModel(), 0, 6_000
    for _ in range(runs):
        units = random.uniform(0.5, 3.0)
        run_us = round(5_000 * units * random.lognormvariate(0.0, noise))
        covered += run_us <= costs.predict_us(GPU, "tile", units, HIGH)
        costs.observe(GPU, "tile", units, run_us)
    assert 0.93 <= covered / runs <= 0.97


def test_a_device_that_halves_its_speed_is_believed_within_four_pieces() -> None:
    costs = CostModel()
    for _ in range(50):
        costs.observe(GPU, "tile", 1.0, 5_000)
    for _ in range(4):
        costs.observe(GPU, "tile", 1.0, 10_000)
    run = costs.run_cost(GPU, "tile")
    assert run is not None
    assert run.level == 10_000
    assert run.high <= 12_000, "the jump itself is not expected again"


def test_an_answer_is_expected_to_be_as_large_as_the_largest_of_the_last_ones() -> None:
    costs = CostModel()
    assert costs.answer_bytes("sweep", 5_000_000) == 5_000_000, "before the first, the bound"
    for nbytes in (15_000, 20_000, 14_000):
        costs.observe_answer("sweep", nbytes, 5_000_000)
    assert costs.answer_bytes("sweep", 1_000_000) == 4_000
    assert costs.answer_bytes("tile", 1_000) == 1_000, "each kind for itself"
    for _ in range(16):
        costs.observe_answer("sweep", 10_000, 5_000_000)
    assert costs.answer_bytes("sweep", 5_000_000) == 10_000


def test_the_first_run_after_a_restart_is_not_held_against_the_device() -> None:
    costs = CostModel()
    for _ in range(5):
        costs.observe(GPU, "tile", 1.0, 5_000)
    before = costs.predict_us(GPU, "tile", 1.0, HIGH)
    costs.restarted(GPU)
    costs.observe(GPU, "tile", 1.0, 70_000)
    assert costs.predict_us(GPU, "tile", 1.0, HIGH) == before


def test_one_straggler_changes_neither_the_level_nor_the_promise() -> None:
    random, costs = Random(1), CostModel()
    for _ in range(60):
        costs.observe(GPU, "tile", 1.0, round(5_000 * random.lognormvariate(0.0, 0.05)))
    before = costs.predict_us(GPU, "tile", 1.0, HIGH)
    costs.observe(GPU, "tile", 1.0, 500_000)
    assert costs.predict_us(GPU, "tile", 1.0, HIGH) == pytest.approx(before, rel=0.1)


def test_a_stall_among_the_first_runs_does_not_pass_for_the_rule() -> None:
    costs = CostModel()
    for run_us in (5_000, 5_000, 5_100, 50_000, 4_900):
        costs.observe(GPU, "tile", 1.0, run_us)
    assert costs.predict_us(GPU, "tile", 1.0, HIGH) <= 6_500


def test_kinds_and_devices_are_kept_apart_and_can_be_forgotten() -> None:
    costs = CostModel(prior_run_us=7)
    for device, kind, run_us in ((GPU, "a", 100), (GPU, "b", 200), (OTHER, "a", 300)):
        costs.observe(device, kind, 1.0, run_us)
        costs.observe(device, kind, 1.0, run_us)
    slowest = costs.slowest([GPU, OTHER])
    assert 300 <= slowest["a"] <= 400
    assert 200 <= slowest["b"] <= 270
    costs.forget(GPU)
    assert costs.predict_us(GPU, "a", 1.0) == 7
    assert costs.predict_us(OTHER, "a", 1.0) == pytest.approx(300, rel=0.01)


@given(
    units=st.floats(),
    run_us=st.integers(-(2**53), 2**53),
    nbytes=st.integers(-(2**53), 2**53),
)
def test_nonsense_from_a_peer_yields_a_number(units: float, run_us: int, nbytes: int) -> None:
    costs = CostModel()
    for _ in range(3):
        costs.observe(GPU, "tile", units, run_us)
        costs.observe_transfer("far", nbytes, run_us)
    assert costs.predict_us(GPU, "tile", units) >= 0
    assert costs.transfer_us("far", 100) >= 0


def test_names_invented_by_a_peer_do_not_grow_the_model_without_end() -> None:
    costs = CostModel()
    for index in range(10_000):
        costs.observe(GPU, f"kind-{index}", 1.0, 5)
        costs.observe(DeviceKey(f"node-{index}", "gpu"), "tile", 1.0, 5)
        costs.observe_transfer(f"node-{index}", 1, 5)
    assert sum(len(kinds) for kinds in costs._runs.values()) <= 4_096 + 256
    assert len(costs._links) <= 4_096


def test_the_local_node_is_free_and_a_remote_one_is_not_until_measured() -> None:
    costs = CostModel("here", prior_link_us=1_000)
    assert costs.transfer_us("here", 0) == 0
    assert costs.transfer_us("far", 0) == 1_000


def test_delay_and_bandwidth_are_told_apart_once_sizes_differ() -> None:
    random, costs = Random(3), CostModel()
    for _ in range(300):
        nbytes = random.choice([1_000, 50_000, 400_000])
        costs.observe_transfer("far", nbytes, round(600 + nbytes * 0.02 + random.gauss(0, 20)))
    assert costs.transfer_us("far", 0) == pytest.approx(600, abs=150)
    assert costs.transfer_us("far", 1_000_000) == pytest.approx(20_600, rel=0.05)


def test_a_link_that_began_badly_is_set_right_by_a_few_probes() -> None:
    """With a mean, forty were needed; at one in two seconds the node had no work for a minute."""
    costs = CostModel(prior_link_us=1_000)
    for _ in range(5):
        costs.observe_transfer("far", 600_000, 60_000)
    for _ in range(6):
        costs.observe_transfer("far", 600_000, 6_000)
    assert costs.transfer_us("far", 600_000) == pytest.approx(6_000, rel=0.1)


def test_a_peer_that_slept_does_not_spoil_its_link_but_a_slow_link_is_learnt() -> None:
    costs = CostModel()
    for _ in range(50):
        costs.observe_transfer("far", 10_000, 1_000)
    costs.observe_transfer("far", 10_000, 400_000)
    assert costs.transfer_us("far", 10_000) < 1_500
    for _ in range(60):
        costs.observe_transfer("far", 10_000, 50_000)
    assert costs.transfer_us("far", 10_000) == pytest.approx(50_000, rel=0.1)


def test_how_long_results_are_held_by_others_in_their_batches_is_the_most_of_the_last_few() -> None:
    run = RunCost()
    for held_us in (0, 5_000, 2_000):
        run.observe(1_000.0, held_us)
    assert run.held_us == 5_000
    for _ in range(7):
        run.observe(1_000.0)
    assert run.held_us == 0


def test_an_abandoned_run_teaches_only_that_it_took_longer_than_it_should() -> None:
    costs = CostModel()
    device = DeviceKey("n", "d")
    costs.observe_at_least(device, "tile", 1.0, 9_000)
    assert costs.run_cost(device, "tile") is None, "nothing to compare it with"
    for _ in range(30):
        costs.observe(device, "tile", 1.0, 1_000)
    for _ in range(10):
        costs.observe_at_least(device, "tile", 1.0, 500)
    assert costs.predict_us(device, "tile", 1.0) == 1_000
    for _ in range(4):
        costs.observe_at_least(device, "tile", 1.0, 5_000)
    assert costs.predict_us(device, "tile", 1.0) == 5_000
