import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse
from mesh.core.wire import MAX_BODY, MAX_HEADER
from mesh.link.framing import CHUNK, MAX_PARTIAL, SLOTS
from mesh.link.sendqueue import SendQueue


class Sender:
    """Pushes named messages and notes when each is finished."""

    def __init__(self):
        self.queue = SendQueue()
        self.finished = []

    def push(self, name, size, due_us):
        return self.queue.push(
            name.encode(), bytes(size), due_us, lambda: self.finished.append(name)
        )

    def write(self, frames=1_000_000):
        for _ in range(frames):
            frame = self.queue.next_frame()
            if frame is None:
                return
            if frame.last:
                frame.sending.finish()


def test_the_earliest_deadline_leaves_first_and_equals_keep_their_order():
    sender = Sender()
    for name, due_us in [("late", 9), ("b", 5), ("a", 5), ("control", 0), ("soon", 1)]:
        sender.push(name, 100, due_us)
    sender.write()
    assert sender.finished == ["control", "soon", "b", "a", "late"]


def test_an_urgent_message_overtakes_a_tile_between_two_of_its_chunks():
    sender = Sender()
    sender.push("tile", 10 * CHUNK, due_us=1000)
    sender.write(frames=3)
    sender.push("cancel", 0, due_us=0)
    sender.push("sooner tile", 2 * CHUNK, due_us=500)
    sender.write(frames=1)
    assert sender.finished == ["cancel"]
    sender.write()
    assert sender.finished == ["cancel", "sooner tile", "tile"]


def test_no_more_messages_are_under_way_than_there_are_slots():
    sender = Sender()
    for number in range(SLOTS + 3):  # each more urgent than all before it
        sender.push(f"tile {number}", 3 * CHUNK, due_us=1000 - number)
        sender.write(frames=1)
    sender.push("small", 10, due_us=2000)
    most_urgent_started = SLOTS - 1
    sender.write(frames=1)
    assert sender.finished[:1] == [f"tile {most_urgent_started}"]
    sender.write()
    assert len(sender.finished) == SLOTS + 4
    assert sender.finished[-1] == "small"


def test_no_more_bytes_are_under_way_than_the_other_end_allows():
    queue = SendQueue()
    body = bytes(MAX_BODY)
    for number in range(MAX_PARTIAL // MAX_BODY + 1):
        queue.push(b"asset", body, 1000 - number, None)
        queue.next_frame()
    started = [queue.next_frame().sending.key for _ in range(10)]
    assert set(started) == {(999, 1)}


def test_cancelling_takes_back_only_what_was_not_begun():
    sender = Sender()
    tile = sender.push("tile", 3 * CHUNK, due_us=1)
    waiting = sender.push("waiting", 3 * CHUNK, due_us=2)
    sender.write(frames=1)
    assert not tile.cancel()
    assert waiting.cancel()
    assert not waiting.cancel()
    assert sender.finished == ["waiting"]
    assert sender.queue.queued_bytes == 2 * CHUNK
    sender.write()
    assert not tile.cancel()
    assert sender.finished == ["waiting", "tile"]


def test_cancelled_messages_do_not_pile_up():
    sender = Sender()
    sender.push("kept", 10, due_us=5)
    for number in range(10_000):
        sender.push(f"{number}", 10, due_us=10**9).cancel()
    assert len(sender.queue._whole) < 200
    sender.write()
    assert sender.finished[-1] == "kept"


@pytest.mark.parametrize(
    ("header", "body", "why"),
    [
        (b"", b"", "header has 0 bytes"),
        (bytes(MAX_HEADER + 1), b"", "header has 65537 bytes"),
        (b"x", bytes(MAX_BODY + 1), "body 67108865"),
        (b"x", np.zeros((4, 4))[:, 1].data, "not one contiguous block"),
    ],
)
def test_what_the_other_end_would_refuse_is_our_own_misuse(header, body, why):
    queue = SendQueue()
    with pytest.raises(Misuse, match=why):
        queue.push(header, body, 0, None)
    assert queue.next_frame() is None


def test_arrays_are_sent_as_their_bytes():
    queue = SendQueue()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    queue.push(b"x", array.data, 0, None)
    assert bytes(queue.next_frame().chunk) == array.tobytes()


@given(
    st.lists(
        st.tuples(st.sampled_from(["push", "write", "cancel", "clear"]), st.integers(0, 2**30)),
        max_size=60,
    )
)
def test_every_body_is_released_exactly_once_and_the_bytes_add_up(steps):
    sender, all_of_them = Sender(), []
    for step, number in steps:
        rng = random.Random(number)
        if step == "push":
            size = rng.choice([0, 10, CHUNK, CHUNK + 1, 5 * CHUNK])
            name = str(len(all_of_them))
            all_of_them.append(sender.push(name, size, rng.randrange(5)))
        elif step == "write":
            sender.write(frames=rng.randrange(8))
        elif step == "cancel" and all_of_them:
            rng.choice(all_of_them).cancel()
        elif step == "clear" and number % 4 == 0:
            for sending in sender.queue.clear():
                sending.finish()
        waiting = [sending for sending in all_of_them if sending.active]
        assert sender.queue.queued_bytes == sum(sending.size for sending in waiting)
        assert len(sender.finished) == len(all_of_them) - len(waiting)
    sender.write()
    assert sorted(sender.finished, key=int) == [str(i) for i in range(len(all_of_them))]
