"""What leaves first, what can be taken back, and what a slow receiver costs."""

import asyncio

import pytest

from mesh.core.errors import LinkLost, Misuse
from mesh.core.wire import MAX_BODY, AssetData, AssetWanted, Cancel, Ping
from mesh.link.framing import CHUNK
from mesh.link.liveness import LinkTiming

TILE = AssetData("1" * 64)
CANCEL = Cancel("session", 1, 2)


async def test_an_urgent_message_overtakes_a_tile_in_flight(linked):
    body = bytes(MAX_BODY)
    async with linked() as pair:
        begun = asyncio.get_running_loop().create_future()
        pair.theirs.body_buffer = lambda link, message, size: (
            begun.set_result(None) or memoryview(bytearray(size))
        )
        tile = pair.here.send(TILE, body, due_us=10**9)
        await begun  # the receiver has its first bytes, most of it still waits here
        assert tile.active
        pair.here.send(CANCEL)
        assert (await pair.theirs.messages.get())[0] == CANCEL
        message, arrived = await pair.theirs.messages.get()
        assert (message, len(arrived)) == (TILE, len(body))


async def test_bodies_leave_by_deadline_not_by_order_of_sending(linked):
    async with linked() as pair:
        for due_us in (3000, 1000, 2000):
            pair.here.send(AssetData(f"{due_us:064x}"), bytes(3 * CHUNK), due_us=due_us)
        arrived = [(await pair.theirs.messages.get())[0] for _ in range(3)]
        assert [int(message.digest, 16) for message in arrived] == [1000, 2000, 3000]


async def test_what_is_cancelled_before_it_left_never_arrives_and_frees_its_buffer(linked):
    released = []
    async with linked() as pair:
        pair.here.send(CANCEL)  # leaves at once; what comes after it waits for the next turn
        sending = pair.here.send(TILE, bytes(1000), sent=lambda: released.append("tile"))
        assert sending.cancel()
        assert released == ["tile"]
        assert pair.here.queued_bytes == 0
        pair.here.send(CANCEL)
        for _ in range(2):
            assert (await pair.theirs.messages.get())[0] == CANCEL
        assert pair.theirs.messages.empty()


async def test_the_first_message_of_a_turn_leaves_at_once_if_it_is_small(linked):
    async with linked() as pair:
        assert not pair.here.send(TILE, bytes(1000)).active
        assert pair.here.send(TILE, bytes(1000)).active
    async with linked() as pair:
        assert pair.here.send(TILE, bytes(100_000)).active


async def test_sent_is_never_called_from_inside_send(linked):
    async with linked() as pair:
        released = asyncio.Event()
        pair.here.send(TILE, b"x", sent=released.set)
        assert not released.is_set()
        await released.wait()
        await pair.here.close()
        released.clear()
        pair.here.send(TILE, b"x", sent=released.set)
        assert not released.is_set()
        await released.wait()


async def test_a_dying_link_releases_every_buffer_once(linked):
    released = []
    async with linked() as pair:
        for number in range(50):
            pair.here.send(
                AssetData(f"{number:064x}"),
                bytes(MAX_BODY if number == 0 else 100_000),
                due_us=number,
                sent=lambda number=number: released.append(number),
            )
        pair.there._transport.abort()
        assert isinstance(await pair.ours.ends.get(), LinkLost)
        await pair.here.gone
        await asyncio.sleep(0)
    assert sorted(released) == list(range(50))
    assert pair.here.queued_bytes == 0


async def test_a_receiver_that_does_not_read_costs_the_sender_little_memory(linked):
    count, size = 40, 1_000_000
    body = bytes(size)
    async with linked() as pair:
        pair.there._transport.pause_reading()
        for number in range(count):
            pair.here.send(AssetData(f"{number:064x}"), body, due_us=1)
        for _ in range(1000):  # turns of the loop; unbounded, each would take 256 KiB
            await asyncio.sleep(0)
            assert pair.here._transport.get_write_buffer_size() <= 512 * 1024
        assert pair.here.queued_bytes > count * size // 2  # the rest is in the kernel's buffers
        pair.there._transport.resume_reading()
        for number in range(count):
            message, arrived = await pair.theirs.messages.get()
            assert message.digest == f"{number:064x}" and len(arrived) == size
        assert pair.here.queued_bytes == 0


async def test_a_large_body_never_holds_up_the_loop_nor_waits_for_the_next_ping(linked):
    no_pings = LinkTiming(ping_us=600_000_000)
    async with linked(no_pings) as pair:
        pair.here.send(TILE, bytes(MAX_BODY))
        waiting = pair.here.queued_bytes
        while waiting:
            await asyncio.sleep(0)
            before, waiting = waiting, pair.here.queued_bytes
            assert before - waiting <= 256 * 1024 + 2 * CHUNK  # encrypted in one turn
        assert len((await pair.theirs.messages.get())[1]) == MAX_BODY


@pytest.mark.parametrize(
    ("message", "body", "why"),
    [
        (AssetWanted("0" * 64), b"body", "has no body"),
        (Ping(0), b"body", "has no body"),
        (TILE, bytes(MAX_BODY + 1), "its body 67108865"),
    ],
)
async def test_our_own_misuse_is_raised_here_and_costs_the_link_nothing(linked, message, body, why):
    async with linked() as pair:
        with pytest.raises(Misuse, match=why):
            pair.here.send(message, body)
        pair.here.send(CANCEL)
        assert (await pair.theirs.messages.get())[0] == CANCEL
