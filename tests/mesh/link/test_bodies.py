import random

import pytest

from mesh.core.wire import AssetData, AssetWanted
from mesh.link.framing import CHUNK

SIZES = [0, 1, 2000, 4096, 4097, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 16, 5 * CHUNK, 3_000_000]


def digest(number):
    return f"{number:064x}"


async def test_bodies_of_many_sizes_arrive_whole_in_both_directions_at_once(linked):
    bodies = [random.Random(size).randbytes(size) for size in SIZES]
    async with linked() as pair:
        for number, body in enumerate(bodies):
            for link in (pair.here, pair.there):
                link.send(AssetData(digest(number)), body, due_us=number % 3)
        for handler in (pair.ours, pair.theirs):
            arrived = dict([await handler.messages.get() for _ in bodies])
            for number, body in enumerate(bodies):
                assert arrived[AssetData(digest(number))] == body


async def test_a_buffer_may_be_overwritten_as_soon_as_sent_is_called(linked):
    buffer, rounds = bytearray(300_000), 30
    async with linked() as pair:

        def send_next(number):
            if number < rounds:
                buffer[:] = bytes([number]) * len(buffer)
                message = AssetData(digest(number))
                pair.here.send(message, buffer, sent=lambda: send_next(number + 1))

        send_next(0)
        for number in range(rounds):
            message, body = await pair.theirs.messages.get()
            assert message == AssetData(digest(number))
            assert body == bytes([number]) * len(buffer)


async def test_a_burst_of_small_messages_arrives_in_order(linked):
    async with linked() as pair:
        for number in range(3000):
            pair.here.send(AssetWanted(digest(number)))
        for number in range(3000):
            assert (await pair.theirs.messages.get())[0] == AssetWanted(digest(number))


async def test_a_body_nobody_wants_is_dropped_and_the_next_one_arrives(linked):
    unwanted, wanted = AssetData(digest(1)), AssetData(digest(2))
    async with linked() as pair:
        take = pair.theirs.body_buffer
        pair.theirs.body_buffer = lambda link, message, size: (
            None if message == unwanted else take(link, message, size)
        )
        pair.here.send(unwanted, bytes(10 * CHUNK + 5))
        pair.here.send(wanted, b"x" * (2 * CHUNK + 5))
        message, body = await pair.theirs.messages.get()
        assert (message, len(body)) == (unwanted, 0)
        message, body = await pair.theirs.messages.get()
        assert (message, body) == (wanted, b"x" * (2 * CHUNK + 5))


@pytest.mark.parametrize("size", [10, 500_000])
async def test_the_body_arrives_in_the_handlers_own_buffer(linked, size):
    mine = bytearray(size)
    async with linked() as pair:
        pair.theirs.body_buffer = lambda link, message, size: memoryview(mine)
        pair.here.send(AssetData(digest(0)), b"x" * size)
        _, body = await pair.theirs.messages.get()
        assert body.obj is mine
        assert mine == b"x" * size
