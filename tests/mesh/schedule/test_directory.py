from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.cost import CostModel
from mesh.schedule.directory import SHARE_PER_SESSION, Directory
from mesh.schedule.ids import DeviceKey

BUDGET_US = 33_333


def device(number: int) -> DeviceKey:
    return DeviceKey(f"node-{number}", "gpu")


def directory(devices: int) -> Directory:
    known = Directory(CostModel())
    for number in range(devices):
        known.add(device(number), ["render"])
    return known


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.frozensets(st.sampled_from(["render", "infer"]))),
        max_size=60,
    )
)
def test_it_knows_exactly_who_serves_what_whatever_comes_and_goes(events) -> None:
    known, expected = Directory(CostModel()), dict[DeviceKey, frozenset[str]]()
    for number, workloads in events:
        if workloads:
            known.add(device(number), workloads)
            expected[device(number)] = workloads
        else:
            known.remove(device(number))
            expected.pop(device(number), None)
        for workload in ("render", "infer"):
            serving = {key for key, serves in expected.items() if workload in serves}
            assert set(known.all(workload)) == serving
            assert known.count(workload) == len(serving)
            assert all(known.serves(key, workload) for key in serving)
            drawn = known.draw(workload, 5, Random(0))
            assert set(drawn) <= serving
            assert len(set(drawn)) == len(drawn)


@given(st.integers(1, 40), st.integers(0, 30), st.sets(st.integers(0, 39)), st.integers())
def test_a_draw_takes_different_devices_and_none_that_are_excluded(
    devices: int, count: int, excluded: set[int], seed: int
) -> None:
    unfit = {device(number) for number in excluded}
    drawn = directory(devices).draw("render", count, Random(seed), unfit)
    assert len(drawn) == len(set(drawn)) <= count
    assert not unfit & set(drawn)


def test_every_device_has_the_same_chance() -> None:
    known, random = directory(10), Random(3)
    drawn = Counter(key for _ in range(2_000) for key in known.draw("render", 2, random))
    assert len(drawn) == 10
    assert max(drawn.values()) <= 1.25 * min(drawn.values())


def test_a_device_is_as_loaded_as_the_sessions_it_holds_of_all_gateways() -> None:
    known = directory(1)
    assert known.load(device(0)) == 0
    known.held(device(0), "render")
    known.said(device(0), sessions=3)  # ours included
    assert known.load(device(0)) == 3 * SHARE_PER_SESSION
    known.released(device(0))
    assert known.load(device(0)) == 2 * SHARE_PER_SESSION


def test_or_as_busy_as_frames_find_it() -> None:
    known = directory(1)
    known.held(device(0), "render")
    for _ in range(100):
        known.found(device(0), busy=True)
    assert known.load(device(0)) > 0.95
    for _ in range(100):
        known.found(device(0), busy=False)
    assert known.load(device(0)) == SHARE_PER_SESSION


def test_the_near_and_the_warm_are_cheaper() -> None:
    costs = CostModel()
    known = Directory(costs)
    for number in range(3):
        known.add(device(number), ["render"])
        for _ in range(10):
            costs.observe_transfer(device(number).node, 0, 10_000 if number == 1 else 300)
    near, far, warm = (device(number) for number in range(3))
    known.held(warm, "render")
    known.released(warm)
    prices = [known.price(key, "render", BUDGET_US) for key in (warm, near, far)]
    assert prices == sorted(prices)
    assert len(set(prices)) == 3
