"""Several pieces in one call of a real device process."""

import asyncio
import json

import pytest

from mesh.core.errors import ContentRefused, DeviceLost, PieceFailed
from mesh.core.workload import MAX_BATCH
from mesh.device.supervisor import BatchedPiece

LONG_US = 9_000_000


@pytest.fixture
async def device(open_tiny):
    async with open_tiny() as opened:
        for session in ("one", "two"):
            await opened.prepare(session, "tiny", b"batch model", {})
        await opened.prepare("alone", "tiny", b"", {})
        yield opened
        assert opened._arena.leases == 0, "a slot was not given back"


def piece(spec, session="one", nbytes=100, inputs=None):
    return BatchedPiece(session, spec, nbytes, inputs)


def taken(outcomes):
    """The results, released; errors as they are."""
    found = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            found.append(outcome)
        else:
            found.append(bytes(outcome.view))
            outcome.release()
    return found


async def test_the_executor_says_whose_pieces_may_run_together(device):
    assert device.batch_key("one") == device.batch_key("two") == "model"
    assert device.batch_key("alone") == device.batch_key("nobody") == ""


async def test_every_piece_of_a_batch_gets_its_own_result(device, ask):
    pieces = []
    for number in range(MAX_BATCH):
        lease = device.lease_input(8)
        lease.view[:] = bytes([number]) * 8
        pieces.append(piece(b"copy", ("one", "two")[number % 2], inputs=lease))
    outcomes, run_us = await device.run_batch("tiny", pieces, kill_after_us=LONG_US)
    assert taken(outcomes) == [bytes([number]) * 8 for number in range(MAX_BATCH)]
    assert run_us >= 0
    assert json.loads(await ask(device, "batches", session="one")) == [MAX_BATCH]


async def test_a_bad_piece_fails_by_itself(device):
    pieces = [piece(b"copy"), piece(b"refuse it is crooked", "two"), piece(b"stamp 7", nbytes=3)]
    outcomes, _ = await device.run_batch("tiny", pieces, kill_after_us=LONG_US)
    first, refusal, last = taken(outcomes)
    assert (first, last) == (b"", b"\7\7\7")
    assert isinstance(refusal, ContentRefused)
    assert "crooked" in refusal.why


async def test_a_result_that_does_not_fit_fails_by_itself(device):
    outcomes, _ = await device.run_batch(
        "tiny", [piece(b"claim"), piece(b"stamp 1", nbytes=1)], kill_after_us=LONG_US
    )
    claim, fine = taken(outcomes)
    assert isinstance(claim, PieceFailed)
    assert fine == b"\1"


@pytest.mark.parametrize("spec", [b"raise for all", b"answer for one"])
async def test_a_batch_that_fails_as_a_whole_says_so_and_the_device_lives_on(device, ask, spec):
    lease = device.lease_input(4)
    with pytest.raises(PieceFailed, match="batch"):
        await device.run_batch(
            "tiny", [piece(spec), piece(b"copy", inputs=lease)], kill_after_us=LONG_US
        )
    assert device.state == "ready"
    assert await ask(device, "noop", session="one") == b""


async def test_a_batch_without_room_for_all_results_is_refused_and_leaves_nothing_behind(device):
    lease = device.lease_input(4)
    with pytest.raises(PieceFailed, match="no room"):
        await device.run_batch(
            "tiny",
            [piece(b"copy", inputs=lease), piece(b"noop", nbytes=1 << 40)],
            kill_after_us=LONG_US,
        )


@pytest.mark.parametrize("spec", [b"die", b"lose"])
async def test_a_process_that_a_batch_ends_is_replaced(device, ask, spec):
    pieces = [piece(b"noop"), piece(spec, "two")]
    with pytest.raises(DeviceLost):
        await device.run_batch("tiny", pieces, kill_after_us=LONG_US)
    await device.ready()
    assert await ask(device, "noop", session="one") == b""
    assert device.batch_key("one") == "model"


async def test_who_gives_up_on_a_batch_leaves_nothing_behind(device, ask):
    gate = device.lease_input(1)
    opened = gate.view
    opened[0] = 0
    pieces = [piece(b"wait_for", inputs=gate), piece(b"noop", "two")]
    running = asyncio.create_task(device.run_batch("tiny", pieces, kill_after_us=LONG_US))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    opened[0] = 1
    assert await ask(device, "noop", session="one") == b""
