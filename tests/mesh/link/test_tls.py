import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mesh.core.identity import NodeIdentity
from mesh.link import tls

ME, OTHER = NodeIdentity.generate(), NodeIdentity.generate()


@asynccontextmanager
async def connected(client, server):
    """The client's end of a TLS connection, and what the server saw (a future)."""
    seen = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        seen.set_result(writer.get_extra_info("ssl_object"))
        writer.write(b"x")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as service:
        port = service.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=""
        )
        try:
            await reader.readexactly(1)  # the server's verdict comes after the client's handshake
            yield writer.get_extra_info("ssl_object"), seen
        finally:
            writer.transport.abort()


async def test_both_ends_prove_their_keys_over_tls_1_3_without_tickets():
    async with connected(tls.contexts(ME).client, tls.contexts(OTHER).server) as (mine, seen):
        theirs = await seen
        assert tls.peer_key(mine) == OTHER.public_key
        assert tls.peer_key(theirs) == ME.public_key
        assert mine.version() == theirs.version() == "TLSv1.3"
        assert not mine.session_reused
        assert mine.session is None or not mine.session.has_ticket


def with_certificate(key, *, issuer_key, tmp_path):
    """A client context with a leaf for `key` that `issuer_key` signed in the issuer's name."""
    leaf = tls._certificate(key.public_key(), tls._ISSUER_NAME, is_issuer=False)
    builder = tls.x509.CertificateBuilder(
        leaf.issuer,
        leaf.subject,
        key.public_key(),
        1,
        leaf.not_valid_before_utc.replace(tzinfo=None),
        leaf.not_valid_after_utc.replace(tzinfo=None),
    )
    path = tmp_path / "chain.pem"
    path.write_bytes(
        builder.sign(issuer_key, None).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = tls.contexts(ME).client
    context.load_cert_chain(path)
    return context


async def test_a_certificate_with_another_kind_of_key_proves_no_node(tmp_path):
    client = with_certificate(
        ec.generate_private_key(ec.SECP256R1()), issuer_key=tls._ISSUER_KEY, tmp_path=tmp_path
    )
    async with connected(client, tls.contexts(OTHER).server) as (_, seen):
        with pytest.raises(tls.ProtocolViolation, match="not an Ed25519 key"):
            tls.peer_key(await seen)


def without_certificate(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def of_a_private_authority(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    return with_certificate(key, issuer_key=key, tmp_path=tmp_path)


def of_an_old_version(tmp_path):
    context = tls.contexts(ME).client
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("make", [without_certificate, of_a_private_authority, of_an_old_version])
async def test_what_cannot_prove_a_key_gets_no_connection(tmp_path, make):
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        async with connected(make(tmp_path), tls.contexts(OTHER).server):
            pass
