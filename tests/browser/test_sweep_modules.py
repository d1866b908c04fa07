"""The page's pure modules for sweeps, run in the browser beside our own Python."""

from __future__ import annotations

import base64
import random
import struct

import numpy as np
import pytest

from infer.codec import Boxes, Cloud, Counts, Result, StageTimes, decode_result, encode_result
from mesh.core.errors import ContentRefused, ProtocolViolation
from mesh.stream.parts import HEADER, PART_BYTES, Joiner, split

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BYTES = "const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));"


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- parts ----------------------------------------------------------------------------------

JOIN = (
    BYTES
    + """
    const joiner = new parts.Joiner();
    const seen = given[0].map((message) => {
      try {
        const joined = joiner.add(bytesOf(message).buffer);
        return joined && [joined.frame, btoa(String.fromCharCode(...joined.bytes))];
      } catch (error) {
        return error.problem.code;
      }
    });
    return [seen, joiner.givenUp];"""
)


def messages_of(chance: random.Random) -> list[bytes]:
    """Parts of a dozen results, some lost, some doubled, some damaged, in almost their order."""
    sent: list[tuple[float, bytes]] = []
    for place in range(12):
        frame = chance.choice([place, 2**53 - 20 + place])
        size = chance.choice([0, 1, 900, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES - 7])
        for message in split(frame, chance.randbytes(size)):
            copies = chance.choices([0, 1, 2], [1, 8, 1])[0]
            sent += [(place + chance.uniform(0, 3), message)] * copies
    for _ in range(4):
        place, message = chance.choice(sent)
        damaged = bytearray(message)
        damaged[chance.randrange(HEADER.size)] ^= 1 << chance.randrange(8)
        sent.append((place, bytes(damaged[: chance.choice([len(damaged), 15, 20])])))
    return [message for _, message in sorted(sent, key=lambda pair: pair[0])]


@pytest.mark.parametrize("seed", range(12))
async def test_parts_are_joined_as_the_sdk_joins_them_whatever_the_channel_does(run_js, seed):
    messages = messages_of(random.Random(seed))
    joiner, wanted = Joiner(), []
    for message in messages:
        try:
            joined = joiner.add(message)
        except ProtocolViolation as problem:
            wanted.append(problem.code)
        else:
            wanted.append([joined[0], text_of(joined[1])] if joined else None)
    seen, given_up = await run_js("parts", JOIN, [text_of(message) for message in messages])
    assert seen == wanted
    assert given_up == joiner.given_up
    assert any(isinstance(outcome, list) for outcome in seen)


# --- the result of a sweep ------------------------------------------------------------------

DECODE = (
    BYTES
    + """
    return given[0].map((message) => {
      try {
        const { boxes, cloud, ...rest } = fmbx.decodeSweep(bytesOf(message));
        const lists = (object) => object && Object.fromEntries(
          Object.entries(object).map(([name, of]) => [name, of.length >= 0 ? [...of] : of]));
        return { ...rest, boxes: lists(boxes), cloud: lists(cloud) };
      } catch (error) {
        return error.problem.code;
      }
    });"""
)


def result_of(rng: np.random.Generator, n: int, m: int | None) -> Result:
    """A result with n boxes and m points of arbitrary values."""
    boxes = Boxes(
        centres=rng.normal(0, 40, (n, 3)).astype(np.float32),
        sizes=rng.exponential(2, (n, 3)).astype(np.float32),
        yaws=rng.uniform(-1.57, 1.57, n).astype(np.float32),
        scores=rng.random(n).astype(np.float32),
        points=rng.integers(0, 2**32, n, dtype=np.uint32),
        classes=rng.integers(0, 5, n, dtype=np.uint8),
        flags=rng.integers(0, 2, n, dtype=np.uint8),
    )
    cloud = None
    if m is not None:
        positions = rng.integers(-(2**15), 2**15, (m, 3), dtype=np.int16)
        cloud = Cloud(positions, rng.integers(0, 256, m, dtype=np.uint8))
    counts = Counts(*rng.integers(0, 2**32, 7).tolist())
    times = StageTimes(*rng.integers(0, 2**32, 5).tolist())
    missing = int(rng.integers(0, 2**32))
    return Result(int(rng.integers(-(2**50), 2**50)), 16, missing, counts, times, boxes, cloud)


async def test_every_field_of_a_result_is_read_exactly(run_js):
    rng = np.random.default_rng(3)
    shapes = [(0, None), (1, None), (93, None), (0, 0), (7, 1), (120, 4096), (500, 8192)]
    results = [result_of(rng, n, m) for n, m in shapes]
    read = await run_js("fmbx", DECODE, [text_of(encode_result(result)) for result in results])
    for result, seen in zip(results, read, strict=True):
        assert (seen["stampUs"], seen["sectors"]) == (result.stamp_us, 16)
        assert sum(1 << bit for bit in seen["missing"]) == result.missing
        assert list(seen["counts"].values()) == [
            getattr(result.counts, name) for name in Counts.__dataclass_fields__
        ]
        assert seen["times"] == [
            [name, getattr(result.times, name)] for name in StageTimes.__dataclass_fields__
        ]
        for name in Boxes.__dataclass_fields__:
            wanted = getattr(result.boxes, name)
            np.testing.assert_array_equal(
                np.array(seen["boxes"][name], wanted.dtype), wanted.ravel()
            )
        if result.cloud is None:
            assert seen["cloud"] is None
        else:
            assert seen["cloud"]["positions"] == result.cloud.positions.ravel().tolist()
            assert seen["cloud"]["intensities"] == result.cloud.intensities.tolist()


async def test_what_the_sdk_refuses_the_page_refuses(run_js):
    chance = random.Random(5)
    rng = np.random.default_rng(5)
    whole = [encode_result(result_of(rng, n, m)) for n, m in ((3, None), (3, 5))]
    damaged = [b"", bytes(72), b"XXXX" + whole[0][4:]]
    for message in whole:
        damaged += [message[:cut] for cut in (1, 71, 72, len(message) - 1)]
        damaged += [message + b"x", message[:16] + struct.pack("<I", 2**32 - 1) + message[20:]]
        for at in (4, 5, 16, 17, 72 + 38 * 3 - 4, 72 + 38 * 3, 72 + 38 * 3 + 1):
            changed = bytearray(message)
            changed[at % len(message)] ^= 1 << chance.randrange(3, 8)
            damaged.append(bytes(changed))
    accepted = []
    for message in damaged:
        try:
            decode_result(message)
        except ContentRefused:
            accepted.append(False)
        else:
            accepted.append(True)
    read = await run_js("fmbx", DECODE, [text_of(message) for message in damaged])
    assert [not isinstance(seen, str) for seen in read] == accepted
    assert {seen for seen in read if isinstance(seen, str)} == {"content_refused"}


async def test_a_box_that_lies_nowhere_is_refused(run_js):
    message = bytearray(encode_result(result_of(np.random.default_rng(1), 2, None)))
    message[72:76] = struct.pack("<f", float("nan"))
    assert await run_js("fmbx", DECODE, [text_of(bytes(message))]) == ["content_refused"]


# --- where the map lies ---------------------------------------------------------------------

AREA = {"left": 10, "top": 20, "width": 800, "height": 600}


async def test_forward_is_up_and_left_is_left(run_js):
    body = """
        const view = viewport.fit(given[0], 50);
        const at = (x, y) => viewport.toScreen(view, given[0], x, y);
        return [view.scale, at(0, 0), at(10, 0), at(0, 10)];"""
    scale, middle, ahead, left = await run_js("viewport", body, AREA)
    assert scale == 6
    assert middle == [410, 320]
    assert ahead == [410, 260]
    assert left == [350, 320]


async def test_what_is_under_the_pointer_stays_there(run_js):
    body = """
        let [view, area] = [{ x: 3, y: -7, scale: 5 }, given[0]];
        const places = [];
        for (const [u, v, factor] of given[1]) {
          const before = viewport.toMap(view, area, u, v);
          view = viewport.zoom(view, area, u, v, factor, 1e6);
          places.push([before, viewport.toMap(view, area, u, v), view.scale]);
        }
        return places;"""
    steps = [[0, 0, 2], [500, 100, 0.3], [410, 320, 1.1], [90, 599, 50], [5, 5, 1e-9]]
    for before, after, scale in await run_js("viewport", body, AREA, steps):
        assert after == pytest.approx(before, abs=1e-6)
        assert 1.5 <= scale <= 120


async def test_nobody_slides_out_of_sight_of_the_sensor(run_js):
    body = """
        const view = { x: 0, y: 0, scale: 2 };
        return [viewport.slide(view, 30, -10, 100), viewport.slide(view, 1e6, 1e6, 100)];"""
    near, far = await run_js("viewport", body)
    assert (near["x"], near["y"]) == (-5, 15)
    assert (far["x"], far["y"]) == (100, 100)


# --- what is told of sweeps -----------------------------------------------------------------


async def test_misses_are_counted_once_whichever_comes_first(run_js):
    body = """
        const counter = new sweepfigures.MissCounter();
        const facts = (frame, filled, resultParts, resultBytes = 9) => ({
          frame, filled, resultParts, resultBytes,
        });
        counter.result(1);
        counter.facts(facts(1, 0, 1), 0);
        counter.facts(facts(2, 1, 1), 10);
        counter.result(2);
        counter.facts(facts(3, 0, 1), 20);      // its result is lost
        counter.facts(facts(4, 0, 0), 30);      // too long for the channel
        counter.facts(facts(5, 0, 0, 0), 40);   // there is none
        return [counter.read(100), counter.read(1020), counter.read(9000)];"""
    soon, later, at_last = await run_js("sweepfigures", body)
    assert soon == {"sweeps": 5, "late": 1, "lost": 1}
    assert later == at_last == {"sweeps": 5, "late": 1, "lost": 2}


async def test_classes_are_counted_the_known_ones_first(run_js):
    body = "return sweepfigures.countClasses({ boxes: { classes: [0, 1, 3, 1, 0] } })"
    assert [(c["name"], c["count"]) for c in await run_js("sweepfigures", body)] == [
        ("car", 2), ("truck", 0), ("pedestrian", 1), ("cyclist", 0), ("other", 2),
    ]  # fmt: skip
