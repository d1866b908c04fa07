"""Who is near is known without asking everybody."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.peers.nearness import Coordinate, Position, choose_near

EARTH_KM, FIBRE_KM_PER_MS = 6371.0, 200.0
ANY = st.floats(allow_nan=True, allow_infinity=True)


class World:
    """Nodes on a globe, and round trips between them, in milliseconds.

    Each is at one of 20 cities (spread by 20 km); the way is the great circle at the speed of light
    in glass (200 km/ms), times 1.2 to 2.0 for each pair, which breaks the triangle inequality for
    many; both ends' access networks add 0.5 to 8 ms each.
    """

    def __init__(self, nodes, seed):
        draw = random.Random(seed)
        cities = [(draw.uniform(-60, 60), draw.uniform(-180, 180)) for _ in range(20)]
        self.places = []
        for _ in range(nodes):
            lat, lon = draw.choice(cities)
            self.places.append((lat + draw.gauss(0, 0.2), lon + draw.gauss(0, 0.2)))
        self.access = [draw.uniform(0.5, 8.0) for _ in range(nodes)]
        self._seed = seed

    def rtt_ms(self, one, other):
        detour = random.Random(f"{self._seed} {min(one, other)} {max(one, other)}").uniform(1.2, 2)
        way = self._great_circle_km(one, other) / FIBRE_KM_PER_MS * detour
        return 2 * way + self.access[one] + self.access[other]

    def _great_circle_km(self, one, other):
        (a, b), (c, d) = (tuple(map(math.radians, self.places[n])) for n in (one, other))
        across = math.sin((c - a) / 2) ** 2
        across += math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
        return 2 * EARTH_KM * math.asin(math.sqrt(across))


@pytest.fixture(scope="module", params=range(3))
def settled(request):
    """A world whose nodes have each learnt from 600 round trips with 16 others: half of them near,
    as far as they knew, half at random (as the paper advises, 4.2).
    """
    nodes, world, draw = range(200), World(200, request.param), random.Random(request.param)
    positions = [Position(number) for number in nodes]
    others = [[n for n in nodes if n != me] for me in nodes]
    friends = [draw.sample(others[me], 16) for me in nodes]
    for turn in range(600):
        for me, position in enumerate(positions):
            if turn % 40 == 39:
                heard_of = draw.sample(others[me], 100)
                heard_of.sort(key=lambda n: position.here.distance_ms(positions[n].here))
                friends[me] = heard_of[:8] + draw.sample(others[me], 8)
            there = draw.choice(friends[me])
            noisy = world.rtt_ms(me, there) * draw.uniform(1.0, 1.15)
            position.learn(noisy, positions[there].here)
    return world, positions


def test_of_200_nodes_the_chosen_eight_are_among_the_nearest_ten_by_16_probes(settled):
    world, positions = settled
    hits = []
    for gateway in range(0, 200, 4):
        known = {n: positions[n].here for n in range(200) if n != gateway}
        asked = []

        def probe(node, gateway=gateway, asked=asked):
            asked.append(node)
            return world.rtt_ms(gateway, node)

        position = Position(gateway, positions[gateway].here)
        chosen = choose_near(position, known, probe, wanted=8, probes=16)
        best = sorted(known, key=lambda n: world.rtt_ms(gateway, n))[:10]
        assert len(asked) == len(set(asked)) <= 16
        hits.append(len(set(chosen) & set(best)))
    enough = sum(hit >= 7 for hit in hits)
    assert enough >= 0.9 * len(hits), f"{sorted(hits)}"
    assert sorted(hits)[len(hits) // 2] == 8


@given(ANY, st.tuples(ANY, ANY, ANY, ANY, ANY))
def test_no_nonsense_moves_a_node_out_of_the_world(rtt_ms, there):
    position = Position(1)
    for _ in range(50):
        position.learn(rtt_ms, Coordinate(*there))
    assert position.here.believable


def test_two_nodes_come_to_expect_the_round_trip_that_they_measure():
    one, other = Position(1), Position(2)
    for _ in range(200):
        one.learn(20.0, other.here)
        other.learn(20.0, one.here)
    assert one.here.distance_ms(other.here) == pytest.approx(20.0, rel=0.05)
    assert one.here.error < 0.1
