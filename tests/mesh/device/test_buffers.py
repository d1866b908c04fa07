"""Arenas and leases: no two leases overlap, each is given back once, memory outlives its users."""

import fcntl
import mmap
import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse
from mesh.device.buffers import SLOT_ALIGN, Arena, sealed_asset

PAGES = 16


@pytest.fixture
def arena():
    made = Arena("test", PAGES * SLOT_ALIGN)
    yield made
    made.reaped()


@given(
    st.lists(
        st.one_of(st.integers(0, 5 * SLOT_ALIGN), st.integers(-8, -1)), min_size=1, max_size=60
    )
)
def test_leases_never_overlap_and_all_space_comes_back(steps):
    """A step >= 0 leases that many bytes; -k releases the k-th oldest lease, if there is one."""
    arena = Arena("test", PAGES * SLOT_ALIGN)
    held = []
    try:
        for step in steps:
            if step < 0:
                if len(held) >= -step:
                    lease, stamp = held.pop(-step - 1)
                    assert bytes(lease.view) == bytes([stamp]) * lease.nbytes
                    lease.release()
            elif (lease := arena.lease(step)) is not None:
                stamp = lease.generation % 251
                lease.view[:] = bytes([stamp]) * step
                held.append((lease, stamp))
            spans = sorted((lease.offset, lease.offset + lease.nbytes) for lease, _ in held)
            assert all(end <= start for (_, end), (start, _) in pairwise(spans))
            assert arena.leases == len(held)
        for lease, stamp in held:
            assert bytes(lease.view) == bytes([stamp]) * lease.nbytes
            lease.release()
        assert arena.leased_bytes == 0
        whole = arena.lease(PAGES * SLOT_ALIGN)
        assert whole is not None
        whole.release()
    finally:
        arena.reaped()
    assert arena.unmapped


def test_a_full_arena_leases_nothing_rather_than_waiting(arena):
    first = arena.lease((PAGES - 1) * SLOT_ALIGN)
    assert arena.lease(SLOT_ALIGN + 1) is None
    second = arena.lease(SLOT_ALIGN)
    assert second.offset == first.nbytes
    first.release()
    second.release()


def test_releasing_twice_gives_back_once(arena):
    lease = arena.lease(10)
    lease.release()
    other = arena.lease(10)
    assert other.offset == lease.offset
    lease.release()
    assert arena.leases == 1
    other.release()


def test_a_slot_is_not_given_back_under_a_stale_stamp(arena):
    lease = arena.lease(10)
    stale = lease.generation
    lease.release()
    other = arena.lease(10)
    with pytest.raises(Misuse, match="given back twice"):
        arena.give_back(other.offset, stale)
    assert arena.leases == 1
    other.release()


def test_a_taken_lease_is_dead_to_its_first_holder(arena):
    lease = arena.lease(3)
    lease.view[:] = b"abc"
    taken = lease.take()
    assert bytes(taken.view) == b"abc" and taken.generation != lease.generation
    lease.release()
    assert arena.leases == 1
    with pytest.raises(Misuse, match="released lease"):
        lease.take()
    taken.release()
    assert arena.leases == 0


def test_a_lease_shortens_only_within_itself(arena):
    lease = arena.lease(10)
    lease.shorten(4)
    assert len(lease.view) == 4
    with pytest.raises(Misuse, match="cannot shorten"):
        lease.shorten(11)
    lease.release()


def test_a_retired_arena_leases_nothing_and_is_unmapped_only_after_its_last_lease(arena):
    lease = arena.lease(4)
    lease.view[:] = b"kept"
    arena.retire()
    assert arena.lease(4) is None
    arena.reaped()
    assert not arena.unmapped and bytes(lease.view) == b"kept"
    lease.release()
    assert arena.unmapped


def test_an_arena_stays_mapped_until_its_writer_is_reaped(arena):
    arena.retire()
    assert not arena.unmapped
    arena.reaped()
    assert arena.unmapped


def test_a_view_kept_too_long_stays_valid_memory(arena):
    lease = arena.lease(4)
    kept = lease.view
    kept[:] = b"kept"
    lease.release()
    arena.reaped()
    assert arena.unmapped and bytes(kept) == b"kept"


def test_nobody_can_resize_an_arena(arena):
    for size in (0, PAGES * SLOT_ALIGN * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, size)


def test_nobody_can_change_a_sealed_asset():
    fd = sealed_asset("test", b"scene" * 1_000_000)
    try:
        assert os.pread(fd, 10, 0) == b"scenescene" and os.fstat(fd).st_size == 5_000_000
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 5, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0)
    finally:
        os.close(fd)
