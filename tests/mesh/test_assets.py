"""Assets a worker keeps: the quota, who goes first, and what comes in ranges."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.assets import AssetCache, Partial
from mesh.core.errors import ContentRefused, ProtocolViolation


def test_the_quota_takes_what_was_used_longest_ago_and_never_what_is_pinned() -> None:
    cache = AssetCache(10)
    cache.pin("a")
    for digest in "abc":
        cache.store(digest, b"123")
    assert bytes(cache.get("b")) == b"123"
    cache.store("d", b"1234")
    assert [digest in cache for digest in "abcd"] == [True, True, False, True]
    assert cache.held_bytes == 10
    with pytest.raises(ContentRefused, match="8 bytes asked"):
        cache.make_room(8)
    assert "a" in cache
    cache.unpin("a")
    cache.make_room(10)
    assert cache.held_bytes == 0


def test_what_is_on_its_way_counts_from_its_first_byte_and_goes_first() -> None:
    cache = AssetCache(10)
    cache.store("whole", b"1234")
    cache.begin_partial("gateway", "half", 6)
    assert cache.held_bytes == 10
    cache.pin("whole")
    with pytest.raises(ContentRefused):
        cache.begin_partial("gateway", "another", 7)
    cache.begin_partial("gateway", "another", 2)
    assert cache.partial("gateway", "half") is None
    assert cache.held_bytes == 6


def test_partials_are_by_sender_and_by_size() -> None:
    cache = AssetCache(100)
    first = cache.begin_partial("one", "a", 6)
    assert cache.begin_partial("one", "a", 6) is first
    assert cache.begin_partial("two", "a", 6) is not first
    assert cache.begin_partial("one", "a", 7) is not first
    cache.drop_partial("one", "a")
    cache.drop_partial("two", "a")
    assert cache.held_bytes == 0


def test_of_lost_senders_partials_only_so_many_are_kept() -> None:
    cache = AssetCache(1000)
    cache.pin("0")
    for number in range(100):
        cache.begin_partial("gone", str(number), 2)
    cache.sender_lost("gone")
    kept = [number for number in range(100) if cache.partial("gone", str(number)) is not None]
    assert kept == [0, *range(36, 100)]


@given(st.data(), st.integers(1, 60))
def test_ranges_in_any_order_make_the_whole(data: st.DataObject, size: int) -> None:
    content = bytes(range(size))
    cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size)))})
    ranges = list(pairwise(cuts))
    partial = Partial(size)
    for start, end in data.draw(st.permutations(ranges)):
        assert partial.prefix < size
        partial.begin(start, end - start)[:] = content[start:end]
        partial.end(start)
    assert partial.prefix == size
    assert partial.data == content


@given(st.integers(0, 12), st.integers(1, 12))
def test_no_byte_is_received_twice(offset: int, nbytes: int) -> None:
    partial = Partial(10)
    partial.begin(4, 3)
    free = offset + nbytes <= 4 or 7 <= offset <= offset + nbytes <= 10
    if free:
        assert len(partial.begin(offset, nbytes)) == nbytes
    else:
        with pytest.raises(ProtocolViolation):
            partial.begin(offset, nbytes)


def test_ranges_are_few() -> None:
    partial = Partial(5000)
    for offset in range(1024):
        partial.begin(offset, 1)
    with pytest.raises(ProtocolViolation, match="more than 1024 ranges"):
        partial.begin(1024, 1)


def test_a_broken_link_keeps_what_came_without_a_gap() -> None:
    partial = Partial(10)
    for start in (0, 3, 8):
        partial.begin(start, 2 if start else 3)
        partial.end(start)
    partial.begin(5, 1)  # and does not come
    partial.broken()
    assert partial.prefix == 5
    partial.begin(5, 5)
    partial.end(5)
    assert partial.prefix == 10
