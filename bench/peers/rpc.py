"""What a senior engineer would take instead of a link: gRPC, ZeroMQ, Zenoh, all encrypted.

Each has a server that answers a question (how many bytes are wanted back, then a body) and a client
that asks it, with mutual authentication where the library has it: gRPC with TLS and client
certificates (ECDSA: it refuses Ed25519), ZeroMQ with CURVE, Zenoh with mutual TLS.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import zenoh
import zmq
import zmq.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Ask = Callable[[int, int], Awaitable[None]]

HERE = "127.0.0.1"
LENGTH = 8  # bytes that say how many are wanted back
DATA = os.urandom(16 * 1000 * 1000)


def asked(size: int, wanted: int) -> bytes:
    return wanted.to_bytes(LENGTH, "little") + DATA[:size]


def answered(question: Any) -> bytes:
    return DATA[: int.from_bytes(bytes(memoryview(question)[:LENGTH]), "little")]


# --- certificates -----------------------------------------------------------------------------


def make_certificates(folder: Path) -> None:
    """An authority, and a certificate of its for each end: ECDSA, P-256."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    root = _certificate(authority.public_key(), name, authority, name, is_authority=True)
    (folder / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    for end in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, end)])
        leaf = _certificate(key.public_key(), own, authority, name, is_authority=False)
        (folder / f"{end}.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        (folder / f"{end}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _certificate(
    key: ec.EllipticCurvePublicKey,
    name: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HERE))])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _read(folder: Path, *names: str) -> list[bytes]:
    return [(folder / name).read_bytes() for name in names]


# --- gRPC ---------------------------------------------------------------------------------------

_UNBOUNDED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


async def serve_grpc(folder: Path) -> int:
    async def answer(question: bytes, context: object) -> bytes:
        return answered(question)

    handler = grpc.method_handlers_generic_handler(
        "bench", {"Ask": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.aio.server(options=_UNBOUNDED)
    server.add_generic_rpc_handlers((handler,))
    key, own, authority = _read(folder, "server.key", "server.pem", "ca.pem")
    credentials = grpc.ssl_server_credentials([(key, own)], authority, require_client_auth=True)
    port: int = server.add_secure_port(f"{HERE}:0", credentials)
    await server.start()
    _kept.append(server)
    return port


@asynccontextmanager
async def ask_grpc(folder: Path, port: int) -> AsyncIterator[Ask]:
    key, own, authority = _read(folder, "client.key", "client.pem", "ca.pem")
    credentials = grpc.ssl_channel_credentials(authority, key, own)
    async with grpc.aio.secure_channel(f"{HERE}:{port}", credentials, _UNBOUNDED) as channel:
        call = channel.unary_unary("/bench/Ask")

        async def ask(size: int, wanted: int) -> None:
            assert len(await call(asked(size, wanted))) == wanted

        yield ask


# --- ZeroMQ -------------------------------------------------------------------------------------


async def serve_zmq(folder: Path) -> int:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)
    public, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_publickey, socket.curve_server = public, True
    (folder / "zmq").write_bytes(public)
    port: int = socket.bind_to_random_port(f"tcp://{HERE}")

    async def answer() -> None:
        while True:
            who, number, question = await socket.recv_multipart(copy=False)
            await socket.send_multipart([who, number, answered(question.buffer)], copy=False)

    _kept.extend((context, asyncio.ensure_future(answer())))
    return port


@asynccontextmanager
async def ask_zmq(folder: Path, port: int) -> AsyncIterator[Ask]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = (folder / "zmq").read_bytes()
    socket.connect(f"tcp://{HERE}:{port}")
    waiting: dict[bytes, asyncio.Future[int]] = {}

    async def receive() -> None:
        while True:
            number, body = await socket.recv_multipart(copy=False)
            waiting.pop(number.bytes).set_result(len(body))

    receiving = asyncio.ensure_future(receive())
    count = 0

    async def ask(size: int, wanted: int) -> None:
        nonlocal count
        count += 1
        number = count.to_bytes(8, "little")
        waiting[number] = answer = asyncio.get_running_loop().create_future()
        await socket.send_multipart([number, asked(size, wanted)], copy=False)
        assert await answer == wanted

    yield ask
    receiving.cancel()
    context.destroy(linger=0)


# --- Zenoh --------------------------------------------------------------------------------------


async def serve_zenoh(folder: Path) -> int:
    port = int(os.environ.get("BENCH_ZENOH_PORT", "17447"))
    session = zenoh.open(_zenoh(folder, "server", listen=f"tls/{HERE}:{port}"))

    def answer(query: Any) -> None:
        query.reply(query.key_expr, answered(query.payload.to_bytes()))

    _kept.extend((session, session.declare_queryable("bench/ask", answer)))
    return port


@asynccontextmanager
async def ask_zenoh(folder: Path, port: int) -> AsyncIterator[Ask]:
    loop = asyncio.get_running_loop()
    session = zenoh.open(_zenoh(folder, "client", connect=f"tls/{HERE}:{port}"))

    async def ask(size: int, wanted: int) -> None:
        answer: asyncio.Future[int] = loop.create_future()

        def came(reply: Any) -> None:
            count = len(reply.ok.payload.to_bytes())
            loop.call_soon_threadsafe(answer.set_result, count)

        session.get("bench/ask", came, payload=asked(size, wanted), timeout=30.0)
        assert await answer == wanted

    yield ask
    session.close()


def _zenoh(folder: Path, end: str, *, listen: str = "", connect: str = "") -> Any:
    tls = {
        "root_ca_certificate": str(folder / "ca.pem"),
        "enable_mtls": True,
        "verify_name_on_connect": True,
        "listen_private_key": str(folder / f"{end}.key"),
        "listen_certificate": str(folder / f"{end}.pem"),
        "connect_private_key": str(folder / f"{end}.key"),
        "connect_certificate": str(folder / f"{end}.pem"),
    }
    return zenoh.Config.from_json5(
        json.dumps(
            {
                "mode": "peer",
                "scouting": {"multicast": {"enabled": False}},
                "listen": {"endpoints": [listen] if listen else []},
                "connect": {"endpoints": [connect] if connect else []},
                "transport": {"link": {"tls": tls}},
            }
        )
    )


# --- all of them --------------------------------------------------------------------------------

_kept: list[object] = []  # what must live as long as the server's process
SERVERS = {"grpc.aio": serve_grpc, "zmq curve": serve_zmq, "zenoh tls": serve_zenoh}
CLIENTS = {"grpc.aio": ask_grpc, "zmq curve": ask_zmq, "zenoh tls": ask_zenoh}
