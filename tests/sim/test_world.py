from random import Random

from mesh.sim.link import LinkModel, SimLink
from mesh.sim.world import World


def test_events_happen_in_order_of_time_then_of_asking() -> None:
    world, seen = World(0), []
    world.at(20, lambda: seen.append(("b", world.now_us)))
    world.at(10, lambda: seen.append(("a", world.now_us)))
    world.at(20, lambda: seen.append(("c", world.now_us)))
    world.run(15)
    assert (seen, world.now_us) == ([("a", 10)], 15)
    world.run(20)
    assert seen == [("a", 10), ("b", 20), ("c", 20)]


def test_what_happens_may_plan_more_even_for_the_past() -> None:
    world, seen = World(0), []
    world.at(10, lambda: world.at(5, lambda: seen.append(world.now_us)))
    world.run(10)
    assert seen == [10]


def test_parts_draw_from_streams_of_their_own() -> None:
    one, other = World(3), World(3)
    other.random("somebody else").random()
    assert one.random("link").random() == other.random("link").random()
    assert World(3).random("link").random() != World(4).random("link").random()


def test_the_trace_hash_tells_worlds_apart() -> None:
    one, same, other = World(0), World(0), World(0)
    one.note("x", 1)
    same.note("x", 1)
    other.note("x", 2)
    assert one.trace_hash == same.trace_hash != other.trace_hash


def arrivals(model: LinkModel, sizes: list[int]) -> list[tuple[int, int]]:
    world, seen = World(0), []
    link = SimLink(world, model, Random(1))
    for index, nbytes in enumerate(sizes):
        link.send(nbytes, lambda index=index: seen.append((index, world.now_us)))
    world.run(10**9)
    return seen


def test_a_link_takes_its_delay_and_its_bandwidth() -> None:
    model = LinkModel(delay_us=300, jitter_us=0, bytes_per_s=1e6)
    assert arrivals(model, [1_000, 1_000]) == [(0, 1_300), (1, 2_300)]


def test_a_lossy_jittery_link_keeps_the_order() -> None:
    model = LinkModel(delay_us=300, jitter_us=400, loss=0.3, bytes_per_s=0)
    seen = arrivals(model, [10] * 200)
    assert [index for index, _ in seen] == list(range(200))
    assert seen[-1][1] >= 20_300
