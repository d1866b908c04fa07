"""Every message that crosses a link between nodes: one frozen type each, decoded once at the edge.

A message is a header (one of these, MessagePack) and an optional raw body that is never copied
into it. Bounds are part of the types: a field over its bound is a `ProtocolViolation`, not an
allocation. Fields added later get defaults, so that version N-1 still decodes.
All `_us` instants are on the sender's monotonic clock; durations have no clock.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, get_args

import msgspec
from msgspec import Meta

from mesh.core.errors import Problem
from mesh.core.workload import DeviceInfo, Passes

PROTOCOL_VERSION = 2
OLDEST_VERSION = 1

MAX_HEADER = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
MAX_INPUT_BYTES = 16 * 1024 * 1024  # of one bulk input of a client

Id: TypeAlias = Annotated[str, Meta(max_length=64, min_length=1)]
Name: TypeAlias = Annotated[str, Meta(max_length=64)]
Digest: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]
Index: TypeAlias = Annotated[int, Meta(ge=0, lt=4096)]
Instant: TypeAlias = Annotated[int, Meta(ge=-(2**53), lt=2**53)]
Address: TypeAlias = Annotated[str, Meta(max_length=64)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
SmallBytes: TypeAlias = Annotated[bytes, Meta(max_length=16 * 1024)]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First message each way. The TLS handshake has proved the key; this proves the membership."""

    version: Annotated[int, Meta(ge=0, lt=65536)]
    oldest_version: Annotated[int, Meta(ge=0, lt=65536)]
    membership: Annotated[bytes, Meta(max_length=4096)]  # b"" when the node has none
    software: Name = ""
    # A client's proof instead of a membership: see mesh.core.membership.ClientToken.
    token: Annotated[str, Meta(max_length=4096)] = ""
    # The sender will serve or use these; a gateway learns a worker's devices from them.
    devices: Annotated[tuple[DeviceOffer, ...], Meta(max_length=64)] = ()
    # Bulletins that say how the realm's key came to be another: for who was away meanwhile.
    lineage: Annotated[tuple[Annotated[bytes, Meta(max_length=512)], ...], Meta(max_length=8)] = ()


class Refuse(msgspec.Struct, frozen=True, tag="refuse"):
    """The link will be closed by the sender, for this reason."""

    problem: Problem


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Liveness and clock sample (RFC 5905 four-timestamp exchange): sent at `t0_us`."""

    t0_us: Instant


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """`t1_us` received, `t2_us` answered, both on the answerer's clock."""

    t0_us: Instant
    t1_us: Instant
    t2_us: Instant


class RealmNews(msgspec.Struct, frozen=True, tag="realm_news"):
    """What an admin of the realm says to all of it: see mesh.core.bulletin. To members only."""

    bulletin: Annotated[bytes, Meta(max_length=36 * 1024)]


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """The sender's membership from now on, in place of the one in its hello."""

    membership: Annotated[bytes, Meta(max_length=4096)]


class Observed(msgspec.Struct, frozen=True, tag="observed"):
    """The "ip:port" at which the sender sees the receiver."""

    address: Address


class PeerSeen(msgspec.Struct, frozen=True):
    """Another node: its advert, and where it was found."""

    advert: Annotated[bytes, Meta(max_length=400)]
    addresses: Annotated[tuple[Address, ...], Meta(max_length=8)]


class PeersSeen(msgspec.Struct, frozen=True, tag="peers_seen"):
    """Nodes that the sender knows of. Adverts prove themselves; the addresses are tried."""

    peers: Annotated[tuple[PeerSeen, ...], Meta(max_length=16)]


class RelayAsk(msgspec.Struct, frozen=True, tag="relay_ask"):
    """To a relay: put me through to this node. `call` names the answer."""

    call: Id
    node: Id


class RelayCall(msgspec.Struct, frozen=True, tag="relay_call"):
    """From a relay: `node`, which it sees at `address`, calls. Connect there now; or come to the
    relay's `port` and say `ticket` first."""

    call: Id
    node: Id
    address: Address
    port: Port
    ticket: Annotated[bytes, Meta(min_length=32, max_length=32)]


class RelayReady(msgspec.Struct, frozen=True, tag="relay_ready"):
    """From a relay: the node that was asked for is told, and seen at `address`. As RelayCall."""

    call: Id
    address: Address
    port: Port
    ticket: Annotated[bytes, Meta(min_length=32, max_length=32)]


class RelayRefused(msgspec.Struct, frozen=True, tag="relay_refused"):
    """From a relay: the call is not put through."""

    call: Id
    problem: Problem


class ReachAsk(msgspec.Struct, frozen=True, tag="reach_ask"):
    """To a relay: try to connect to this port of mine, from a port that I do not know."""

    call: Id
    port: Port


class ReachTold(msgspec.Struct, frozen=True, tag="reach_told"):
    """From a relay: whether it could."""

    call: Id
    reachable: bool


class DeviceOffer(msgspec.Struct, frozen=True, tag="device"):
    """One device queue of the sender, named by `device` within the node."""

    device: Id
    infos: Annotated[tuple[DeviceInfo, ...], Meta(max_length=8)]
    workloads: Annotated[tuple[Name, ...], Meta(max_length=32)]


class DevicesChanged(msgspec.Struct, frozen=True, tag="devices"):
    """The complete list of what the sender offers now (after a crash, a recovery, a drain)."""

    devices: Annotated[tuple[DeviceOffer, ...], Meta(max_length=64)]
    # The sender is about to go: it takes no new pieces, and still answers those that it has.
    leaving: bool = False


class AssetRef(msgspec.Struct, frozen=True):
    """An asset by content."""

    digest: Digest
    size: Annotated[int, Meta(ge=0, le=MAX_BODY)]
    name: Name = ""


class SessionOpen(msgspec.Struct, frozen=True, tag="session_open"):
    """Prepare `device` for a session. A higher epoch of the same session replaces a lower one."""

    session: Id
    epoch: Count
    workload: Name
    device: Id
    spec: Annotated[bytes, Meta(max_length=48 * 1024)]
    assets: Annotated[tuple[AssetRef, ...], Meta(max_length=64)] = ()


class SessionReady(msgspec.Struct, frozen=True, tag="session_ready"):
    """`device` holds everything; pieces may come."""

    session: Id
    epoch: Count
    device: Id


class SessionFailed(msgspec.Struct, frozen=True, tag="session_failed"):
    """`device` cannot serve the session."""

    session: Id
    epoch: Count
    device: Id
    problem: Problem


class SessionClose(msgspec.Struct, frozen=True, tag="session_close"):
    """Forget the session on every device."""

    session: Id
    epoch: Count


class AssetWanted(msgspec.Struct, frozen=True, tag="asset_wanted"):
    """Send me this asset's bytes from `offset` on: the rest came before a link broke."""

    digest: Digest
    offset: Annotated[int, Meta(ge=0, le=MAX_BODY)] = 0


class AssetData(msgspec.Struct, frozen=True, tag="asset_data"):
    """A range of the asset, in the body; all that was asked for comes, each byte once."""

    digest: Digest
    offset: Annotated[int, Meta(ge=0, le=MAX_BODY)] = 0


class AssetMissing(msgspec.Struct, frozen=True, tag="asset_missing"):
    """The sender does not have it, or will not give it."""

    digest: Digest


class PieceRun(msgspec.Struct, frozen=True, tag="piece_run"):
    """Run one piece on `device`; the body is its inputs."""

    session: Id
    epoch: Count
    frame: Count
    piece: Index
    device: Id
    kind: Name
    units: float
    deadline_us: Instant  # sender's clock: when the result must have left the device
    output_bytes: Annotated[int, Meta(ge=0, le=MAX_BODY)]
    spec: SmallBytes
    # Who gives way when the device cannot serve all: see mesh.core.workload.Criticality, and the
    # frame's value per second of the work it still needs.
    criticality: Annotated[int, Meta(ge=0, le=15)] = 1
    density: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    # The longest that it should hold the device together with others; 0 for no bound.
    quantum_us: Count = 0


class PieceDone(msgspec.Struct, frozen=True, tag="piece_done"):
    """A result; the body is what the executor wrote."""

    session: Id
    epoch: Count
    frame: Count
    piece: Index
    device: Id
    queue_us: Count  # received until started
    run_us: Count  # inside the executor; of a batch, this piece's share
    backlog_us: Count = 0  # predicted work still queued on the device
    held_us: Count = 0  # inside the executor, by the others of its batch
    passes_us: Passes = {}  # what `run_us` went into, where the executor says so


class PieceRefused(msgspec.Struct, frozen=True, tag="piece_refused"):
    """The piece was not, or will not be, run; an answer, so that it can be placed again at once."""

    session: Id
    epoch: Count
    frame: Count
    piece: Index
    device: Id
    # "late", "unknown_session", "overran", "failed", "cancelled"
    reason: Annotated[str, Meta(max_length=32)]
    problem: Problem | None = None
    backlog_us: Count = 0
    run_us: Count = 0  # cancelled: for so long the device had been at it


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Drop a piece; `piece` None means the whole frame, `device` "" every device of the node.

    answer: say so with a PieceRefused, as soon as the device is free of it; without, in silence.
    straggler: only if the device is at it and can be stopped; otherwise its result is still of use.
    """

    session: Id
    epoch: Count
    frame: Count
    piece: Index | None = None
    device: Annotated[str, Meta(max_length=64)] = ""
    answer: bool = False
    straggler: bool = False


class ClientOpen(msgspec.Struct, frozen=True, tag="client_open"):
    """A client asks the gateway for a session. `request` names the answer; options are JSON."""

    request: Count
    workload: Name
    options: Annotated[bytes, Meta(max_length=16 * 1024)]
    offer_sdp: Annotated[str, Meta(max_length=60 * 1024)] = ""  # "": no WebRTC for this client


class ClientOpened(msgspec.Struct, frozen=True, tag="client_opened"):
    """The session is open; the description is JSON."""

    request: Count
    session: Id
    description: Annotated[bytes, Meta(max_length=32 * 1024)]
    answer_sdp: Annotated[str, Meta(max_length=30 * 1024)] = ""


class ClientFailed(msgspec.Struct, frozen=True, tag="client_failed"):
    """The session was not opened."""

    request: Count
    problem: Problem


class ClientInput(msgspec.Struct, frozen=True, tag="client_input"):
    """A bulk input in the body; `stamp_us` is when it was sensed, on the client's clock."""

    session: Id
    number: Count  # the client's own, names the answer
    stamp_us: Instant


class ClientSteer(msgspec.Struct, frozen=True, tag="client_steer"):
    """A small input: a JSON object with an `id`, absolute state."""

    session: Id
    event: Annotated[bytes, Meta(max_length=4096)]


class InputRefused(msgspec.Struct, frozen=True, tag="input_refused"):
    """No frame was opened for the input, and why."""

    session: Id
    number: Count
    problem: Problem


class ClientResult(msgspec.Struct, frozen=True, tag="client_result"):
    """A frame's outcome: facts as JSON, and in the body the workload's result unless the session
    was opened with an offer: then the result goes over WebRTC."""

    session: Id
    frame: Count
    number: Annotated[int, Meta(ge=-1, lt=2**53)]  # the input it answers, -1 for none
    facts: Annotated[bytes, Meta(max_length=48 * 1024)]


class ClientClose(msgspec.Struct, frozen=True, tag="client_close"):
    """The client leaves."""

    session: Id


class ClientClosed(msgspec.Struct, frozen=True, tag="client_closed"):
    """The session has ended."""

    session: Id
    reason: Annotated[str, Meta(max_length=1000)]


class ClientRehome(msgspec.Struct, frozen=True, tag="client_rehome"):
    """This gateway will be gone in so long: open the session at another, then close it here."""

    session: Id
    within_us: Count


Message: TypeAlias = (
    Hello
    | Refuse
    | Ping
    | Pong
    | RealmNews
    | Renewed
    | Observed
    | PeersSeen
    | RelayAsk
    | RelayCall
    | RelayReady
    | RelayRefused
    | ReachAsk
    | ReachTold
    | DevicesChanged
    | SessionOpen
    | SessionReady
    | SessionFailed
    | SessionClose
    | AssetWanted
    | AssetData
    | AssetMissing
    | PieceRun
    | PieceDone
    | PieceRefused
    | Cancel
    | ClientOpen
    | ClientOpened
    | ClientFailed
    | ClientInput
    | ClientSteer
    | InputRefused
    | ClientResult
    | ClientClose
    | ClientClosed
    | ClientRehome
)

# Types that came later, with the version that brought them: none is sent to an older peer. A type
# that this version does not know is passed over, so that a newer peer need not think of it either.
ADDED: dict[type, int] = dict.fromkeys(
    (
        *(RealmNews, Renewed, Observed, PeersSeen, RelayAsk, RelayCall, RelayReady, RelayRefused),
        *(ReachAsk, ReachTold),
    ),
    2,
)


class _Tagged(msgspec.Struct):
    """What every message has."""

    type: Annotated[str, Meta(max_length=64)]


# What msgspec raises for bytes from outside that are no message: beside its own error, these two
# come through for text that is not UTF-8 and for nesting deeper than the stack.
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

encode_message = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
_decode_tag = msgspec.msgpack.Decoder(_Tagged).decode
_TAGS = {kind.__struct_config__.tag for kind in get_args(Message)}


def is_of_unknown_type(header: bytes) -> bool:
    """Whether a header that `decode_message` refuses is a message of a type added later."""
    try:
        return _decode_tag(header).type not in _TAGS
    except MALFORMED:
        return False
