import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.core.errors import Misuse
from mesh.core.workload import PictureFormat
from mesh.stream.canvas import SLOTS, CanvasPool

FORMAT = PictureFormat(32, 16)


def test_a_canvas_is_as_long_as_the_format_says_and_writable():
    canvas = CanvasPool(FORMAT).lease()
    assert len(canvas.view) == FORMAT.nbytes
    assert not canvas.view.readonly
    canvas.view[0] = 77
    assert canvas.picture[0, 0] == 77


def test_before_the_first_picture_there_is_nothing_to_fill_from():
    pool = CanvasPool(FORMAT)
    assert len(pool.previous) == len(pool.lease().previous) == 0


def test_the_previous_picture_is_the_last_finished_one_and_read_only():
    pool = CanvasPool(FORMAT)
    first = pool.lease()
    first.view[:] = b"\x01" * FORMAT.nbytes
    pool.finish(first)
    second = pool.lease()
    assert bytes(second.previous) == b"\x01" * FORMAT.nbytes
    assert second.previous.readonly


def test_a_released_canvas_never_becomes_the_previous_picture():
    pool = CanvasPool(FORMAT)
    given_up = pool.lease()
    pool.release(given_up)
    assert len(pool.previous) == 0


def test_giving_a_canvas_back_twice_is_refused():
    pool = CanvasPool(FORMAT)
    canvas = pool.lease()
    pool.finish(canvas)
    with pytest.raises(Misuse):
        pool.release(canvas)


class PoolMachine(RuleBasedStateMachine):
    """Each lent canvas is filled with its number; nobody's content may change under them."""

    def __init__(self):
        super().__init__()
        self.pool = CanvasPool(FORMAT)
        self.out = {}  # number -> (canvas, number of its previous)
        self.next = 1
        self.last = 0

    @rule()
    def lease(self):
        canvas = self.pool.lease()
        if canvas is None:
            beside = {previous for _, previous in self.out.values()} | {self.last}
            assert len(self.out) + len(beside - {0}) >= SLOTS
            return
        canvas.view[:] = bytes([self.next % 251 + 1]) * FORMAT.nbytes
        self.out[self.next] = canvas, self.last
        self.next += 1

    @precondition(lambda self: self.out)
    @rule(data=st.data(), finish=st.booleans())
    def give_back(self, data, finish):
        number = data.draw(st.sampled_from(sorted(self.out)))
        canvas, _ = self.out.pop(number)
        if finish:
            self.pool.finish(canvas)
            self.last = number
        else:
            self.pool.release(canvas)

    @invariant()
    def everybody_sees_what_they_should(self):
        for number, (canvas, previous) in self.out.items():
            assert set(canvas.view) == {number % 251 + 1}
            assert set(canvas.previous) == ({previous % 251 + 1} if previous else set())
        assert set(self.pool.previous) == ({self.last % 251 + 1} if self.last else set())


TestPool = PoolMachine.TestCase
