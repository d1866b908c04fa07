from collections import Counter
from collections.abc import Mapping
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mesh.core.workload import Contract
from mesh.schedule.cost import CostModel
from mesh.schedule.directory import SHARE_PER_SESSION, Directory
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import ClosedFrame, PieceAccount
from mesh.schedule.pool import LEAST, MOST, REVIEW_US, SPARES, START, Release, SessionPool

PERIOD_US = 50_000
CONTRACT = Contract(PERIOD_US, PERIOD_US)
FRAMES = REVIEW_US // PERIOD_US  # between reviews


def device(number: int) -> DeviceKey:
    return DeviceKey(f"node-{number}", "gpu")


def directory(devices: int) -> Directory:
    known = Directory(CostModel())
    for number in range(devices):
        known.add(device(number), ["render"])
    return known


def pool(known: Directory, seed: int = 0, most: int = MOST) -> SessionPool:
    return SessionPool(known, "render", CONTRACT, Random(seed), most=most)


def frame(made: Mapping[DeviceKey, int], run_us: int, queue_us: int = 0, missing: int = 0):
    """A composed frame of pieces of `run_us` each, so many by device."""
    makers = [key for key, count in made.items() for _ in range(count)]
    pieces = [PieceAccount(PieceKey("s", 0, 0, i)) for i in range(len(makers) + missing)]
    for piece, maker in zip(pieces, makers, strict=False):
        piece.maker, piece.run_us, piece.queue_us = maker, run_us, queue_us
    lost = tuple(range(len(makers), len(pieces)))
    return ClosedFrame(0, lost, 0, PERIOD_US, PERIOD_US, tuple(pieces))


class Life:
    """A pool that is served as a gateway serves it."""

    def __init__(self, pool: SessionPool) -> None:
        self.pool = pool
        self.now_us = 0
        self.released: list[Release] = []
        self.fill()

    def fill(self) -> None:
        self.pool.take(self.pool.draw(), self.now_us)

    def review(self, made: ClosedFrame | None = None) -> None:
        """Half a second of such frames, and the review after it."""
        for _ in range(FRAMES if made is not None else 0):
            self.pool.composed(made)
        self.now_us += REVIEW_US
        self.released += self.pool.review(self.now_us)
        self.fill()

    def even(self, work_us: int, missing: int = 0) -> ClosedFrame:
        """A frame of that much work, spread evenly."""
        held = self.pool.held
        return frame(dict.fromkeys(held, 1), work_us // len(held), missing=missing)


@given(st.integers(0, MOST), st.integers(0, 5))
def test_a_session_of_a_small_mesh_holds_every_device_whatever_comes(devices: int, bad: int):
    life = Life(pool(directory(devices)))
    assert set(life.pool.held) == {device(number) for number in range(devices)}
    for _ in range(20):
        life.review(frame({}, 0, missing=bad))
    assert len(life.pool.held) == devices
    assert life.released == []


@given(st.integers(MOST + 1, 300), st.integers())
def test_in_a_large_one_it_begins_with_a_few(devices: int, seed: int) -> None:
    life = Life(pool(directory(devices), seed))
    assert len(life.pool.held) == START
    assert life.pool.wanted == 0


@given(st.integers(1_000, 400_000))
def test_it_comes_to_hold_what_its_work_needs_at_its_rate_and_spares(work_us: int) -> None:
    life = Life(pool(directory(200)))
    for _ in range(40):
        life.review(life.even(work_us))
    need = -(-work_us // round(SHARE_PER_SESSION * PERIOD_US)) + SPARES
    expected = min(max(need, LEAST), MOST)
    assert abs(len(life.pool.held) - expected) <= 1  # pieces are whole microseconds


def test_it_grows_when_frames_are_missed_and_calms_down_afterwards() -> None:
    life = Life(pool(directory(200)))
    for _ in range(10):
        life.review(life.even(8_000))
    small = len(life.pool.held)
    for _ in range(4):
        life.review(life.even(8_000, missing=1))
    assert len(life.pool.held) > small
    for _ in range(60):
        life.review(life.even(8_000))
    assert len(life.pool.held) == small


def test_an_idle_session_keeps_the_least() -> None:
    life = Life(pool(directory(200)))
    for _ in range(10):
        life.review(life.even(400_000))
    assert len(life.pool.held) == MOST
    for _ in range(40):
        life.review()
    assert len(life.pool.held) == LEAST


def test_a_lost_device_is_replaced_at_once() -> None:
    known = directory(200)
    life = Life(pool(known))
    gone = life.pool.held[3]
    known.remove(gone)
    life.pool.lost(gone)
    assert life.pool.wanted == 1
    life.fill()
    assert len(life.pool.held) == START
    assert gone not in life.pool


def test_one_that_could_not_open_the_session_is_not_asked_again() -> None:
    life = Life(pool(directory(MOST + 1), most=MOST))
    for _ in range(8):
        unfit = life.pool.held[0]
        life.pool.unfit(unfit)
        life.fill()
        assert unfit not in life.pool


def test_one_that_makes_next_to_nothing_gives_way_to_a_stranger() -> None:
    life = Life(pool(directory(200)))
    for _ in range(10):
        life.review(life.even(40_000))
    slow = life.pool.held[0]
    made = {key: 2 for key in life.pool.held if key != slow}
    for _ in range(5):
        life.review(frame(made, 40_000 // sum(made.values())))
    assert Release(slow, "it makes next to nothing") in life.released
    assert slow not in life.pool
    assert life.pool.wanted == 0


def test_one_that_others_keep_busy_gives_way_too() -> None:
    life = Life(pool(directory(200)))
    for _ in range(10):
        life.review(life.even(40_000))
    busy = life.pool.held[0]
    for _ in range(8):
        calm = frame(dict.fromkeys(life.pool.held, 1), 5_000)
        for piece in calm.pieces:
            piece.queue_us = 9_000 if piece.maker == busy else 0
        life.review(calm)
    assert [release.device for release in life.released if release.why.startswith("others")] == [
        busy
    ]


def test_choosing_among_a_few_keeps_the_fullest_device_far_below_blind_choice() -> None:
    """1,000 sessions on 10,000 devices, by a gateway that hears how many sessions each holds."""
    known, blind = directory(10_000), Counter[DeviceKey]()
    chosen, random = Counter[DeviceKey](), Random(1)
    for number in range(1_000):
        session = pool(known, seed=number)
        chosen.update(session.take(session.draw(), 0))
        blind.update(known.draw("render", START, random))
    assert sum(chosen.values()) == sum(blind.values()) == 1_000 * START
    assert max(chosen.values()) == 2
    assert max(blind.values()) >= 4


class Sessions(RuleBasedStateMachine):
    """Sessions open, run, lose devices and close: what the directory counts is what they hold."""

    @initialize(devices=st.integers(0, 60), most=st.integers(1, 20))
    def start(self, devices: int, most: int) -> None:
        self.known = directory(devices)
        self.most = most
        self.lives: list[Life] = []
        self.next_device = devices

    @rule(seed=st.integers())
    def opens(self, seed: int) -> None:
        self.lives.append(Life(pool(self.known, seed, self.most)))

    @rule(work_us=st.integers(0, 500_000), missing=st.integers(0, 2), data=st.data())
    def runs(self, work_us: int, missing: int, data) -> None:
        if self.lives:
            life = data.draw(st.sampled_from(self.lives))
            if life.pool.held:
                life.review(life.even(work_us, missing))

    @rule()
    def comes(self) -> None:
        self.known.add(device(self.next_device), ["render"])
        self.next_device += 1
        for life in self.lives:
            life.fill()

    @rule(data=st.data())
    def goes(self, data) -> None:
        everyone = self.known.all("render")
        if everyone:
            gone = data.draw(st.sampled_from(everyone))
            self.known.remove(gone)
            for life in self.lives:
                life.pool.lost(gone)
                life.fill()

    @rule(data=st.data())
    def closes(self, data) -> None:
        if self.lives:
            life = data.draw(st.sampled_from(self.lives))
            self.lives.remove(life)
            life.pool.close()
            assert life.pool.held == ()

    @invariant()
    def nobody_holds_too_many_or_what_is_gone(self) -> None:
        for life in self.lives:
            count = self.known.count("render")
            assert len(life.pool.held) <= self.most
            assert all(self.known.serves(key, "render") for key in life.pool.held)
            if count <= self.most:
                assert set(life.pool.held) == set(self.known.all("render"))
            else:
                assert len(life.pool.held) >= 1

    @invariant()
    def the_books_agree(self) -> None:
        held = Counter(key for life in self.lives for key in life.pool.held)
        for key in self.known.all("render"):
            floor = SHARE_PER_SESSION * held[key]
            assert self.known.load(key) >= floor - 1e-9


TestSessions = Sessions.TestCase
