"""Bad sweeps through a whole mesh of real processes: one clear answer each, and life goes on.

In each test one client sends what it should not while another asks for sweep after sweep.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

import framemesh
from clients.cli.demo import DemoMesh
from clients.cli.realm import viewer_token
from infer.codec import Counts, decode_result
from infer.sweep import MAX_POINTS, encode_sweep
from infer.synthetic import scan, street
from mesh.core.errors import ContentRefused, MeshError, Misuse, SessionRefused
from mesh.core.home import NodeHome, Signer
from mesh.core.token import Scope

RATE_HZ = 100
PATIENT = {"rate_hz": RATE_HZ, "deadline_ms": 10_000}
POINTS = scan(street())[::5]
GOOD = encode_sweep(POINTS)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def header(count: int, *, magic: bytes = b"FMSW", version: int = 1, dtype: int = 0) -> bytes:
    return struct.pack("<4sHBBII", magic, version, 0, dtype, count, 0)


def sized(count: int) -> bytes:
    return header(count) + bytes(16 * count)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    folder = tmp_path_factory.mktemp("mesh")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    extra = 'api = "cpu"\n'  # the last table is [workloads.infer]
    mesh = DemoMesh.lay_out(folder, workers=1, port=port, workloads=["infer"], extra=extra)
    async with mesh.running():
        await mesh.ready()
        yield mesh
        assert all(process.poll() is None for process in mesh.processes.values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(mesh: DemoMesh) -> Any:
    """What is said of the good sweep while nobody misbehaves."""
    async with framemesh.connect(mesh.page_url(), "infer", **PATIENT) as session:
        said = content(await session.ask(GOOD))
    assert said[0].points == len(POINTS)
    assert len(said[1]) > 10
    return said


@asynccontextmanager
async def beside(mesh: DemoMesh, known: Any, rate_hz: float = RATE_HZ) -> AsyncIterator[Any]:
    """A session to misuse, while another client's is used; then both must be well."""
    options = PATIENT | {"rate_hz": rate_hz}
    token = viewer_token(
        Signer.of(NodeHome(mesh.folder / "admin").realm_key()),
        subject="bystander",
        lifetime_s=3600,
        scopes=(Scope.VIEW, Scope.INFER),
    )
    url = f"http://127.0.0.1:{mesh.port}/#token={token}"
    over = asyncio.Event()
    async with (
        framemesh.connect(mesh.page_url(), "infer", **options) as session,
        framemesh.connect(url, "infer", **PATIENT) as other,
        asyncio.TaskGroup() as tasks,
    ):
        answers = tasks.create_task(sweep_after_sweep(other, over))
        try:
            yield session
            assert content(await in_time(session, GOOD)) == known
        finally:
            over.set()
        assert all(answer == known for answer in await answers)


async def sweep_after_sweep(session: Any, over: asyncio.Event) -> list[Any]:
    """What is said of the good sweep, at least three times. Raises if one is refused."""
    answers: list[Any] = []
    while not over.is_set() or len(answers) < 3:
        answers.append(content(await session.ask(GOOD)))
        await asyncio.sleep(1 / RATE_HZ)  # the rate that it has promised
    return answers


async def in_time(session: Any, sweep: bytes) -> Any:
    """Its answer; it is sent again for as long as it comes too soon after others."""
    while True:
        try:
            return await session.ask(sweep)
        except SessionRefused:
            continue


def content(result: Any) -> tuple[Counts, bytes]:
    """All that a whole answer says, but for the times."""
    decoded = decode_result(result.data)
    assert decoded.missing == 0
    boxes = decoded.boxes
    arrays = (getattr(boxes, name).tobytes() for name in boxes.__dataclass_fields__)
    return decoded.counts, b"".join(arrays)


@pytest.mark.parametrize(
    ("sweep", "why"),
    [
        (b"", "0 bytes do not hold its header"),
        (GOOD[:7], "7 bytes do not hold its header"),
        (GOOD[:-7], f"take {len(GOOD)} bytes, and it has {len(GOOD) - 7}"),
        (GOOD + bytes(16), f"take {len(GOOD)} bytes, and it has {len(GOOD) + 16}"),
        (POINTS.tobytes(), "does not begin as a sweep"),
        (header(0, magic=b"PCAP"), "does not begin as a sweep"),
        (header(0, version=2), "does not begin as a sweep of version 1"),
        (header(8, dtype=1) + bytes(8 * 32), "dtype 1 are not known"),
        (header(8) + bytes(8 * 32), "8 points take 144 bytes, and it has 272"),
        (header(8) + bytes(8 * 20), "8 points take 144 bytes, and it has 176"),
        (sized(MAX_POINTS + 1), f"it has {MAX_POINTS + 1} points"),
        (header(10 * MAX_POINTS) + GOOD[16:], f"it has {10 * MAX_POINTS} points"),
    ],
    ids=[
        "nothing", "half a header", "truncated", "too long", "no header", "magic", "version",
        "float64 said", "float64", "five floats", "a point too many", "claims 10x",
    ],
)  # fmt: skip
async def test_a_malformed_sweep_costs_its_sender_one_clear_answer(
    mesh: DemoMesh, known: Any, sweep: bytes, why: str
) -> None:
    async with beside(mesh, known) as session:
        with pytest.raises(ContentRefused) as refused:
            await session.ask(sweep)
        clear(refused.value, why)
        number = await session.send(sweep)
        refusal = await anext(session.refusals)
        assert refusal.number == number
        clear(refusal.problem, why)


def clear(problem: MeshError, why: str) -> None:
    assert problem.what == "the sweep is refused"
    assert why in problem.why
    assert problem.fix


async def test_ten_times_too_large_is_noticed_by_the_sender(mesh: DemoMesh, known: Any) -> None:
    async with beside(mesh, known) as session:
        with pytest.raises(Misuse, match="48000016 bytes, and 16777216 are taken"):
            await session.ask(sized(10 * MAX_POINTS))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5000.0])
async def test_points_that_are_no_measurements_are_masked_and_counted(
    mesh: DemoMesh, known: Any, bad: float
) -> None:
    points = np.repeat(POINTS, 2, axis=0)
    points[1::2, 0] = bad
    async with beside(mesh, known) as session:
        counts, boxes = content(await session.ask(encode_sweep(points)))
    assert (counts.points, counts.masked) == (2 * len(POINTS), len(POINTS))
    assert boxes == known[1]


@pytest.mark.parametrize("count", [0, 1000])
async def test_a_sweep_of_nothing_is_answered_with_nothing(
    mesh: DemoMesh, known: Any, count: int
) -> None:
    async with beside(mesh, known) as session:
        said = await session.ask(encode_sweep(np.full((count, 4), np.nan, np.float32)))
        assert content(said) == (Counts(points=count, masked=count), b"")


async def test_sweeps_faster_than_the_contract_are_answered_one_by_one(
    mesh: DemoMesh, known: Any
) -> None:
    async with beside(mesh, known, rate_hz=5) as session:
        outcomes = await asyncio.gather(
            *(session.ask(GOOD, stamp_us=stamp_us) for stamp_us in range(25)),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, SessionRefused)]
        answered = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert len(refused) + len(answered) == 25
        assert 2 <= len(answered) < 25
        assert all(content(answer) == known for answer in answered)
        assert {problem.fix for problem in refused} == {
            "Send at the rate the session was opened with, and drop what is refused."
        }


@pytest.mark.parametrize("stamp_us", [7, 6, -(1 << 53)])
async def test_a_stamp_that_does_not_advance_is_told_to_the_sender(
    mesh: DemoMesh, known: Any, stamp_us: int
) -> None:
    async with beside(mesh, known) as session:
        assert content(await session.ask(GOOD, stamp_us=7)) == known
        with pytest.raises(ContentRefused) as refused:
            await session.ask(GOOD, stamp_us=stamp_us)
        clear(refused.value, f"its stamp {stamp_us} is not above the last one's, 7")


async def test_a_session_that_no_device_here_serves_is_refused_with_the_reason(
    mesh: DemoMesh,
) -> None:
    with pytest.raises(ContentRefused, match="it asks for cuda, and this is cpu"):
        async with framemesh.connect(mesh.page_url(), "infer", api="cuda"):
            pass
