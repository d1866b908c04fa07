"""TLS 1.3 with both ends' node keys, by the standard library's `ssl`.

`ssl` shows a server its client's certificate only when it also verifies a chain, and cuts whoever
fails it before a reason can be given. So every leaf certificate is issued by one dummy authority
whose private key is published right here: the chain proves nothing. What counts is the leaf's
key, which the handshake proves the peer holds (RFC 8446, 4.4.3) and which is then compared with
the membership in its `Hello`; a refusal is a message, see `mesh.link.handshake`.

No session is ever resumed: each link proves its keys anew (a full handshake costs 2-3 ms).
"""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mesh.core.errors import ProtocolViolation
from mesh.core.identity import NodeIdentity

_ISSUER_KEY = Ed25519PrivateKey.from_private_bytes(b"framemesh's published dummy key.")
_ISSUER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "framemesh dummy issuer")])
# Validity is the membership's business; a node whose clock was never set must still be told why.
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5: no known end


class Contexts(NamedTuple):
    """One node's two ends of TLS."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def contexts(identity: NodeIdentity) -> Contexts:
    """TLS for a node: TLS 1.3 only, certificates required both ways, no tickets."""
    chain = _leaf(identity).public_bytes(Encoding.PEM) + identity.private_pem()
    issuer = _issuer().public_bytes(Encoding.PEM).decode("ascii")
    server = _context(ssl.PROTOCOL_TLS_SERVER, chain, issuer)
    server.num_tickets = 0
    return Contexts(server, _context(ssl.PROTOCOL_TLS_CLIENT, chain, issuer))


def peer_key(connection: ssl.SSLObject) -> bytes:
    """The Ed25519 key (32 raw bytes) whose possession the peer proved. Raises ProtocolViolation."""
    der = connection.getpeercert(binary_form=True)
    assert der is not None, "CERT_REQUIRED both ways"
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except ValueError as problem:
        raise _no_node_key(f"its certificate cannot be read: {problem}") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise _no_node_key("its certificate's key is not an Ed25519 key")
    return key.public_bytes_raw()


def _context(side: ssl._SSLMethod, chain: bytes, issuer: str) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=issuer)
    # `ssl` loads keys from files only; this one lives in memory and has no name.
    descriptor = os.memfd_create("framemesh-tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def _leaf(identity: NodeIdentity) -> x509.Certificate:
    key = Ed25519PublicKey.from_public_bytes(identity.public_key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id)])
    return _certificate(key, name, is_issuer=False)


def _issuer() -> x509.Certificate:
    return _certificate(_ISSUER_KEY.public_key(), _ISSUER_NAME, is_issuer=True)


def _certificate(key: Ed25519PublicKey, name: x509.Name, *, is_issuer: bool) -> x509.Certificate:
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(_ISSUER_KEY.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(_ISSUER_NAME)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINNING)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=is_issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(_ISSUER_KEY, None)
    )


def _no_node_key(why: str) -> ProtocolViolation:
    return ProtocolViolation(
        what="the peer proved no node key",
        why=why,
        fix="Check that the address is a framemesh node's link port.",
    )
