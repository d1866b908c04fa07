"""The session half as the gateway uses it, and the executor's and workload's refusals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from infer.codec import decode_result
from infer.pieces import SectorSpec, encode
from infer.sweep import encode_sweep
from infer.workload import create
from mesh.core.errors import (
    ConfigError,
    ContentRefused,
    DeviceUnavailable,
    Misuse,
    PieceFailed,
    SessionRefused,
)
from mesh.core.workload import Contract, CutHint, DeviceInfo, Lane, SessionRequest

NOTHING = memoryview(b"")
CPU = DeviceInfo(unit="cpu", api="cpu", name="any", driver="any", index=0, software=True)


@pytest.fixture
def session():
    return create({}).open_session(SessionRequest("infer", {}))


@pytest.fixture
def data(clip):
    return encode_sweep(clip[0][::50])


def open_frame(session, devices=2):
    return session.open_frame(0, 0, CutHint(devices), NOTHING, NOTHING)


def test_a_sweep_opens_one_frame(session, data):
    session.offer_input(2, data)
    assert decode_result(open_frame(session).finish()).stamp_us == 2
    with pytest.raises(Misuse, match="no sweep has come"):
        open_frame(session)


def test_an_older_sweep_never_comes_after_a_newer(session, data):
    session.offer_input(5, data)
    open_frame(session)
    for stamp_us in (5, 4):
        with pytest.raises(ContentRefused, match="not above the last one's"):
            session.offer_input(stamp_us, data)


def test_a_refused_sweep_changes_nothing(session, data):
    session.offer_input(1, data)
    with pytest.raises(ContentRefused):
        session.offer_input(2, data[:-1])
    assert decode_result(open_frame(session).finish()).stamp_us == 1
    session.offer_input(2, data)
    assert decode_result(open_frame(session).finish()).stamp_us == 2


@pytest.mark.parametrize("stamp", [1 << 63, -(1 << 63) - 1])
def test_a_stamp_that_does_not_fit_the_answer_is_refused(session, data, stamp):
    with pytest.raises(ContentRefused, match="does not fit 64 bits"):
        session.offer_input(stamp, data)


def test_two_frames_may_be_open_at_once(bench, clip, same):
    """A late first frame is finished after the second was cut."""
    one, two = bench.open(clip[0], 3), bench.open(clip[1], 3)
    results = []
    for frame in (two, one):
        for index in range(3):
            frame.accept(index, memoryview(bench.answer(frame, index)))
        results.append(decode_result(frame.finish()))
    same(results[1], bench(clip[0]))
    same(results[0], bench(clip[1]))


def test_pieces_say_where_they_are_and_what_they_cost(session, clip):
    session.offer_input(1, encode_sweep(clip[0]))
    pieces = open_frame(session, 4).pieces
    assert [piece.index for piece in pieces] == [0, 1, 2, 3]
    assert pieces[0].region[0] == -180
    assert pieces[-1].region[1] == 180
    assert all(one.region[1] == two.region[0] for one, two in pairwise(pieces))
    # The points within the grid, and a fixed cost per piece.
    assert sum(piece.units for piece in pieces) == pytest.approx(78_000 + 4 * 4_000, rel=0.05)
    assert {piece.kind for piece in pieces} == {"sweep-8-512"}
    assert all(len(piece.spec) < 100 for piece in pieces)


def test_as_many_sectors_as_devices_unless_said_otherwise(clip):
    data = encode_sweep(clip[0])
    for options, devices, wanted in (({}, 3, 3), ({"sectors": 5}, 2, 5), ({}, 40, 16)):
        session = create({}).open_session(SessionRequest("infer", options))
        session.offer_input(1, data)
        assert len(open_frame(session, devices).pieces) == wanted


def test_no_sector_is_longer_than_a_quantum(session, clip):
    """114,000 points at 0.1 us each, quanta of 2 ms: six sectors for two devices."""
    session.offer_input(1, encode_sweep(clip[0]))
    hint = CutHint(2, quantum_us=2_000, lanes=[Lane(0.0, {"sweep-8-512": 0.1})] * 2)
    assert len(session.open_frame(0, 0, hint, NOTHING, NOTHING).pieces) == 6


def test_a_session_takes_no_other_input(session):
    with pytest.raises(ContentRefused, match="takes no such input"):
        session.apply_input({"id": 1, "camera": {}}, 0)


def test_the_contract_is_the_clients(session):
    assert session.contract == Contract(100_000, 100_000, trigger="input")
    assert session.picture is None
    assert session.describe()["result"] == "FMBX/1"
    shown = create({}).open_session(SessionRequest("infer", {"points": 8192}))
    assert (shown.describe()["result"], shown.describe()["points"]) == ("FMBX/2", 8192)
    asked = create({}).open_session(SessionRequest("infer", {"rate_hz": 20, "deadline_ms": 30}))
    assert (asked.contract.period_us, asked.contract.deadline_us) == (50_000, 30_000)


@pytest.mark.parametrize(
    "options",
    [
        {"rate_hz": 0},
        {"rate_hz": float("nan")},
        {"sectors": 17},
        {"sectors": -1},
        {"api": "vulkan"},
        {"cell_m": 0.3},
        {"cell_m": 0.125, "reach_m": 128},
        {"reach_m": 1 << 40},
        {"deadline_ms": 1e9},
        {"min_points": 0},
        {"near_m": -1},
        {"points": -1},
        {"points": 8193},
        {"unheard_of": 1},
    ],
    ids=str,
)
def test_options_out_of_bounds_are_refused(options):
    with pytest.raises(SessionRefused):
        create({}).open_session(SessionRequest("infer", options))


@pytest.mark.parametrize(
    "options", [{"cell_m": 0.125, "reach_m": 64}, {"cell_m": 0.5, "reach_m": 100}], ids=str
)
def test_other_grids_merge_exactly_too(make_bench, clip, same, options):
    bench = make_bench(**options)
    whole = bench(clip[0])
    assert len(whole.boxes.yaws) > 30
    same(whole, bench(clip[0], 4))


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="cannot be used"):
        create({"api": "vulkan"})
    with pytest.raises(ConfigError, match="cannot be used"):
        create({"speed": 1})


# --- the executor --------------------------------------------------------------------------------


@pytest.fixture
def executor(session):
    made = create({}).open_executor(CPU)
    made.prepare("s", session.setup.spec, {})
    yield made
    made.close()


def run(executor, spec, inputs=b"", room=1 << 20, session="s"):
    return executor.run(session, spec, memoryview(inputs), memoryview(bytearray(room)))


def test_cuda_asked_for_is_never_the_cpu(session):
    foreign = DeviceInfo(unit="cpu", api="vulkan", name="lavapipe", driver="llvm", index=0)
    with pytest.raises(DeviceUnavailable, match="its api is vulkan"):
        create({}).open_executor(foreign)
    with pytest.raises(DeviceUnavailable, match="asks for cuda, and it is cpu"):
        create({"api": "cuda"}).open_executor(CPU)
    simulator = DeviceInfo(unit="cpu", api="cuda", name="s", driver="n", index=0, software=True)
    for api in ("auto", "cpu", "cuda"):
        with pytest.raises(DeviceUnavailable, match=f"asks for {api}, and it is cuda-simulator"):
            create({"api": api}).open_executor(simulator)
    asked = create({}).open_session(SessionRequest("infer", {"api": "cuda"}))
    with pytest.raises(ContentRefused, match="asks for cuda, and this is cpu"):
        create({}).open_executor(CPU).prepare("s", asked.setup.spec, {})


def test_no_cuda_here_is_said_with_its_remedy():
    workload = create({"api": "cuda"})
    try:
        found = workload.find_devices()
    except DeviceUnavailable as problem:
        assert "driver" in problem.fix
    else:
        assert {info.api for info in found} == {"cuda"}


def test_the_cpu_is_always_there():
    assert create({}).find_devices()[0].api == "cpu"
    assert [info.unit for info in create({"api": "cpu"}).find_devices()] == ["cpu"]


def test_a_session_that_was_not_prepared_cannot_run(executor):
    with pytest.raises(Misuse, match="no infer session other"):
        run(executor, encode(SectorSpec(0, 1024, 0, 0)), session="other")
    executor.forget("s")
    executor.forget("s")
    with pytest.raises(Misuse, match="no infer session s"):
        run(executor, encode(SectorSpec(0, 1024, 0, 0)))


@pytest.mark.parametrize(
    ("spec", "inputs"),
    [
        (b"", b""),
        (b"\xc1", b""),
        (encode({"lo": 0, "hi": 2048, "points": 0, "halo": 0}), b""),
        (encode(SectorSpec(5, 5, 0, 0)), b""),
        (encode(SectorSpec(0, 1024, 2, 0)), bytes(31)),
        (encode(SectorSpec(0, 1024, 0, 1)), np.array([1 << 20, 0], np.int32).tobytes()),
        (encode(SectorSpec(0, 1024, 0, 1)), np.array([-1, 0], np.int32).tobytes()),
    ],
)
def test_a_malformed_sector_is_refused(executor, spec, inputs):
    with pytest.raises(ContentRefused, match="a sector is refused"):
        run(executor, spec, inputs)


def test_a_malformed_session_spec_is_refused(executor):
    for spec in (b"", encode({"shift": 30}), b"\xc1"):
        with pytest.raises(ContentRefused, match="a sector is refused"):
            executor.prepare("t", spec, {})
    with pytest.raises(ContentRefused, match="cannot be prepared"):
        asset = {"00": memoryview(b"")}
        executor.prepare(
            "t", create({}).open_session(SessionRequest("infer", {})).setup.spec, asset
        )


def test_an_answer_without_room_fails_its_piece(executor, clip):
    inputs = clip[0].tobytes()
    with pytest.raises(PieceFailed, match="has no room"):
        run(executor, encode(SectorSpec(0, 1024, len(clip[0]), 0)), inputs, room=200)
    # The device lives on, and nothing of the failed piece is left in its grids.
    assert run(executor, encode(SectorSpec(0, 1024, len(clip[0]), 0)), inputs) > 1000


def test_preparing_again_changes_the_grid(executor, clip, session):
    other = create({}).open_session(SessionRequest("infer", {"reach_m": 32}))
    spec = encode(SectorSpec(0, 1024, len(clip[0]), 0))
    far = run(executor, spec, clip[0].tobytes())
    executor.prepare("s", other.setup.spec, {})
    assert run(executor, spec, clip[0].tobytes()) < far
