"""Results and facts are brought together whatever is lost or late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.sdk.resultbook import ResultBook
from mesh.stream.parts import split


def facts_of(frame: int) -> dict[str, int]:
    return {"frame": frame, "input": frame + 100}


def tell(book: ResultBook, event: tuple[str, int]) -> list[tuple[int, int, bytes]]:
    """Either message of a frame; returns (frame, number, data) of what is complete now."""
    kind, frame = event
    if kind == "facts":
        results = book.add_facts(facts_of(frame))
    else:
        [message] = split(frame, str(frame).encode())
        results = book.add_part(message)
    assert all(not r.facts or r.facts == facts_of(r.frame) for r in results)
    return [(r.frame, r.number, bytes(r.data)) for r in results]


def test_either_may_come_first():
    book = ResultBook()
    assert tell(book, ("result", 1)) == []
    assert tell(book, ("facts", 1)) == [(1, 101, b"1")]
    assert tell(book, ("facts", 2)) == []
    assert tell(book, ("result", 2)) == [(2, 102, b"2")]


def test_a_result_whose_facts_are_lost_waits_for_the_next_frames_only():
    book = ResultBook()
    assert tell(book, ("result", 1)) == []
    assert tell(book, ("result", 2)) == []
    assert tell(book, ("facts", 2)) == [(1, -1, b"1"), (2, 102, b"2")]


def test_without_any_facts_the_oldest_result_is_handed_out_at_last():
    book = ResultBook()
    came = [tell(book, ("result", frame)) for frame in range(10)]
    assert came == [[]] * 8 + [[(0, -1, b"0")], [(1, -1, b"1")]]


@given(st.lists(st.tuples(st.sampled_from(["facts", "result"]), st.integers(0, 200))))
def test_each_result_is_handed_out_at_most_once_and_with_its_own_facts(events):
    book, seen = ResultBook(), []
    for event in events:
        for frame, number, data in tell(book, event):
            assert data == str(frame).encode()
            assert number in (-1, frame + 100)
            seen.append(frame)
    assert len(seen) == len(set(seen))
    assert len(book._waiting) <= 8
    assert len(book._facts) <= 64


def test_facts_that_name_no_frame_are_ignored():
    assert ResultBook().add_facts({"frame": "7"}) == []
