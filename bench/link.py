"""What a link costs beside plain TCP, and beside what one would take instead of it.

Two processes on loopback for each road, which have nothing else to do; the same questions over all
of them in turn, some at a time: a link (TLS 1.3, frames, send queue), the least a uvloop program
can do (a length, then the bytes, received in place, in clear), and encrypted gRPC, ZeroMQ and Zenoh
(bench.peers.rpc). "Behind 16 MB" is a small question asked while a 16 MB body is on its way: a link
lets it overtake, plain TCP puts it behind. CPU is both processes', for four tiles at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import uvloop

from bench.peers.rpc import CLIENTS, SERVERS, make_certificates
from bench.report import Report, arguments
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import Role, read_membership, sign_membership
from mesh.core.wire import AssetData, Message
from mesh.link.endpoint import dial, listen
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming
from mesh.link.transport import Link

TILE = 700 * 1024
SMALL = 1024
BULK = 16 * 1000 * 1000
PATIENT = LinkTiming(silent_us=10_000_000)
LENGTHS = struct.Struct("<QQ")  # of this message, of the answer wanted
WARM_UP, AT_A_TIME = 20, 20  # questions
RATE = "rate"
ROADS = ("link", "plain", *SERVERS)

# One question of `size` bytes and its answer of `wanted` bytes.
Ask = Callable[[int, int], Awaitable[None]]

DATA = memoryview(os.urandom(BULK))


class LinkEnd:
    """A question is an AssetData whose digest says its number and the size wanted back."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self._buffers = {size: memoryview(bytearray(size)) for size in (SMALL, TILE, BULK)}
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._asked = 0

    def opened(self, link: Link) -> None:
        pass

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview:
        return self._buffers[size]

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        assert isinstance(message, AssetData)
        number, wanted = int(message.digest[:32], 16), int(message.digest[32:], 16)
        if self._answers:
            link.send(labelled(number, 0), DATA[:wanted], due_us=wanted)
        else:
            self._waiting.pop(number).set_result(None)

    def closed(self, link: Link, why: object) -> None:
        pass

    def asker(self, link: Link) -> Ask:
        async def ask(size: int, wanted: int) -> None:
            self._asked += 1
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[self._asked] = answer
            link.send(labelled(self._asked, wanted), DATA[:size], due_us=size)
            await answer

        return ask


def labelled(number: int, wanted: int) -> AssetData:
    return AssetData(f"{number:032x}{wanted:032x}")


class PlainEnd(asyncio.BufferedProtocol):
    """The same over TCP as it comes."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self._prefix, self._body = bytearray(LENGTHS.size), memoryview(bytearray(BULK))
        self._have, self._size, self._wanted = 0, -1, 0
        self._waiting: list[asyncio.Future[None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._size < 0:
            return memoryview(self._prefix)[self._have :]
        return self._body[self._have : self._size]

    def buffer_updated(self, count: int) -> None:
        self._have += count
        if self._size < 0 and self._have == LENGTHS.size:
            self._size, self._wanted = LENGTHS.unpack(self._prefix)
            self._have = 0
        elif self._have == self._size:
            self._have, self._size = 0, -1
            if self._answers:
                self.say(self._wanted, 0)
            else:
                self._waiting.pop(0).set_result(None)

    def say(self, size: int, wanted: int) -> None:
        self._transport.write(LENGTHS.pack(size, wanted))
        self._transport.write(DATA[:size])

    async def ask(self, size: int, wanted: int) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self.say(size, wanted)
        await answer


async def serve(folder: Path, road: str) -> None:
    """The other process: answers on one road until it is killed."""
    loop = asyncio.get_running_loop()
    if road in SERVERS:
        print(await SERVERS[road](folder), flush=True)
        await loop.create_future()
    if road == "plain":
        plain = await loop.create_server(lambda: PlainEnd(answers=True), "127.0.0.1", 0)
        print(plain.sockets[0].getsockname()[1], flush=True)
        await loop.create_future()
    handler = LinkEnd(answers=True)
    async with listen(
        "127.0.0.1", 0, credentials(folder, "server"), handler, tuple, timing=PATIENT
    ) as listener:
        print(listener.port, flush=True)
        await loop.create_future()


def credentials(folder: Path, name: str) -> Credentials:
    identity, blob = NodeIdentity.load(folder / name), (folder / f"{name}.member").read_bytes()
    realm = read_membership(blob, identity.public_key, int(time.time())).realm
    return Credentials(identity, realm, blob)


def make_realm(folder: Path) -> None:
    realm, now_s = RealmKey.generate(), int(time.time())
    for name in ("server", "client"):
        blob = sign_membership(
            realm,
            node_public=NodeIdentity.create(folder / name).public_key,
            roles=[Role.WORKER],
            not_before=now_s - 60,
            not_after=now_s + 3600,
        )
        (folder / f"{name}.member").write_bytes(blob)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def server(folder: Path, road: str) -> AsyncIterator[tuple[int, int]]:
    """A road's other process: its port and its id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.link", "--serve", str(folder), road),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def open_road(folder: Path, road: str, port: int) -> AsyncIterator[Ask]:
    if road in CLIENTS:
        async with CLIENTS[road](folder, port) as ask:
            yield ask
    elif road == "plain":
        _, plain = await asyncio.get_running_loop().create_connection(
            lambda: PlainEnd(answers=False), "127.0.0.1", port
        )
        yield plain.ask
    else:
        handler = LinkEnd(answers=False)
        me = credentials(folder, "client")
        link = await dial("127.0.0.1", port, me, handler, tuple, timing=PATIENT)
        yield handler.asker(link)
        await link.close()


class Asker:
    """A road's asking process, as the benchmark sees it. Each call names a question and a count."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, question: str, count: float) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([question, count]).encode() + b"\n")
        told: list[float] = json.loads(await self._process.stdout.readline())
        return told


@asynccontextmanager
async def roads() -> AsyncIterator[dict[str, Asker]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_realm(folder)
        make_certificates(folder)
        ways = {}
        for road in ROADS:
            port, pid = await stack.enter_async_context(server(folder, road))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.link", "--ask", str(folder), road),
                *(str(port), str(pid)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
            stack.push_async_callback(process.wait)
            stack.callback(process.kill)
            ways[road] = Asker(process)
        yield ways


async def answer_calls(folder: Path, road: str, port: int, server_pid: int) -> None:
    """An asking process: questions come in lines, what they took goes out."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with open_road(folder, road, port) as ask:
        while line := await reader.readline():
            question, count = json.loads(line)
            if question == RATE:
                told = await throughput(ask, server_pid, count)
            else:
                told = [await QUESTIONS[question](ask) for _ in range(round(count))]
            print(json.dumps(told), flush=True)


async def timed(ask: Ask, size: int, wanted: int) -> float:
    began = time.perf_counter()
    await ask(size, wanted)
    return (time.perf_counter() - began) * 1000


async def urgent(ask: Ask) -> float:
    """From the moment 16 MB begin to be sent until a small question right after is answered."""
    began = time.perf_counter()
    bulk = asyncio.ensure_future(ask(BULK, SMALL))
    for _ in range(4):  # turns of the loop: both roads have begun to write
        await asyncio.sleep(0)
    await ask(SMALL, SMALL)
    took = (time.perf_counter() - began) * 1000
    await bulk
    return took


async def throughput(ask: Ask, server_pid: int, seconds: float) -> list[float]:
    """MB/s, and both processes' CPU milliseconds per MB, four tiles on their way at any time."""
    began, count = time.perf_counter(), 0
    used = time.process_time() + cpu_of(server_pid)

    async def keep_asking() -> None:
        nonlocal count
        while time.perf_counter() - began < seconds:
            await ask(TILE, SMALL)
            count += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(keep_asking())
    size_mb = count * TILE / 1e6
    cpu_s = time.process_time() + cpu_of(server_pid) - used
    return [size_mb / (time.perf_counter() - began), cpu_s * 1000 / size_mb]


QUESTIONS: dict[str, Callable[[Ask], Awaitable[float]]] = {
    "1 KB there and back": lambda ask: timed(ask, SMALL, SMALL),
    "700 KB there, 1 KB back": lambda ask: timed(ask, TILE, SMALL),
    "1 KB there, 700 KB back": lambda ask: timed(ask, SMALL, TILE),
    "1 KB behind 16 MB": urgent,
}


async def measure(
    rounds: int,
) -> tuple[dict[tuple[str, str], list[float]], dict[str, list[float]]]:
    times: dict[tuple[str, str], list[float]] = {}
    async with roads() as ways:
        for question in QUESTIONS:
            for asker in ways.values():
                await asker.call(question, WARM_UP)
            for _ in range(rounds // AT_A_TIME):
                for name, asker in ways.items():
                    taken = await asker.call(question, AT_A_TIME)
                    times.setdefault((question, name), []).extend(taken)
        rates = {name: await asker.call(RATE, rounds / 100) for name, asker in ways.items()}
    return times, rates


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        uvloop.run(serve(Path(sys.argv[2]), sys.argv[3]))
        return
    if sys.argv[1:2] == ["--ask"]:
        folder, road, port, pid = sys.argv[2:]
        uvloop.run(answer_calls(Path(folder), road, int(port), int(pid)))
        return
    options = arguments(__doc__)
    rounds = 60 if options.quick else 400
    times, rates = uvloop.run(measure(rounds))
    report = Report("link", config={"rounds": rounds, "tile": TILE, "bulk": BULK})
    rows: list[list[str | float]] = []
    for question in QUESTIONS:
        for road in ROADS:
            taken = times[question, road]
            ratio = to_ours(times, question, road)
            rows.append([question, road, statistics.median(taken), p99(taken), ratio])
    report.table(["question", "road", "p50 ms", "p99 ms", "p50 to ours"], rows)
    report.table(["road", "MB/s", "CPU ms per MB"], [[road, *rate] for road, rate in rates.items()])
    keys = ("small", "tile_there", "tile_back", "urgent")
    for key, question in zip(keys, QUESTIONS, strict=True):
        ours = times[question, "link"]
        report.figure(f"{key}_ms_p50", statistics.median(ours))
        report.figure(f"{key}_ms_p99", p99(ours))
        report.figure(f"{key}_of_plain", 1 / to_ours(times, question, "plain"))
    tile = "700 KB there, 1 KB back"
    report.figure("ours_700k_ms_p50", statistics.median(times[tile, "link"]))
    report.figure("ours_700k_ms_p99", p99(times[tile, "link"]))
    for key, road in (("grpc", "grpc.aio"), ("zmq", "zmq curve"), ("zenoh", "zenoh tls")):
        report.figure(f"{key}_to_ours_p50", to_ours(times, tile, road))
        report.figure(f"{key}_to_ours_p99", p99(times[tile, road]) / p99(times[tile, "link"]))
    report.figure("mb_per_s", rates["link"][0])
    report.figure("cpu_ms_per_mb", rates["link"][1])
    report.figure("throughput_of_plain", rates["link"][0] / rates["plain"][0])
    report.finish(options)


def to_ours(times: dict[tuple[str, str], list[float]], question: str, road: str) -> float:
    return statistics.median(times[question, road]) / statistics.median(times[question, "link"])


if __name__ == "__main__":
    main()
