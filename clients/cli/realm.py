"""`framemesh realm create|request|sign|join|token|revoke|renew|rotate`: who belongs, who may look.

To admit a node: `realm request` there prints a line, `realm sign LINE` on an admin's machine
prints another, `realm join FILE` there installs it. Nothing secret travels. `framemesh pair` and
`framemesh invite` do it in one step each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING

from clients.cli.options import add_state, home_of
from mesh.control import ask_to_reread
from mesh.core.admission import (
    ADMISSION,
    DAY_S,
    INVITE,
    SKEW_S,
    Admission,
    accept,
    open_admission,
    read_invite,
    sign_for,
    use_invite,
)
from mesh.core.bulletin import SECRET_BYTES, Renewal, Revocation, Says, Secret, Successor
from mesh.core.errors import IdentityError, LinkLost
from mesh.core.home import MEMBERSHIP, REQUEST, NodeHome, Signer, armor, unarmor
from mesh.core.identity import RealmKey, fingerprint, parse_node_id
from mesh.core.membership import (
    GRANTED_BY_ADMINS,
    Membership,
    Role,
    read_membership,
    sign_membership,
)
from mesh.core.token import Limits, Scope, read_token, sign_token

if TYPE_CHECKING:
    from clients.cli.options import Commands

REVOKED_FOR_S = 400 * DAY_S  # longer than any membership that this command signs
TOKEN_ID_HEX = 32


def register(commands: Commands) -> None:
    """Add the command and its actions."""
    realm = commands.add_parser("realm", help="make a private mesh and admit nodes and viewers")
    actions = realm.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("create", help="make a realm; this node becomes its first member")
    create.add_argument("--name", default="first", help="this node's name (default: %(default)s)")
    create.set_defaults(run=run_create)

    request = actions.add_parser("request", help="print the line that asks for a membership")
    request.add_argument(
        "--new-key",
        action="store_true",
        help="for a new key, which takes the place of the node's when its membership is joined",
    )
    request.set_defaults(run=run_request)

    sign = actions.add_parser("sign", help="print a membership for another node")
    sign.add_argument("request", metavar="LINE", help="what `realm request` printed there")
    sign.add_argument(
        "--id", metavar="NODE_ID", help="what `framemesh id` prints there: refuse any other"
    )
    sign.add_argument("--name", default="node", help="a name for people (default: %(default)s)")
    add_grants(sign)
    sign.add_argument("--days", type=float, default=365.0, help="valid for (default: %(default)s)")
    sign.set_defaults(run=run_sign)

    join = actions.add_parser("join", help="install a membership signed for this node, or invited")
    join.add_argument(
        "membership", metavar="FILE", help="what `realm sign` or `invite` printed; - for stdin"
    )
    join.add_argument("--name", default="node", help="with an invitation: this node's name")
    join.set_defaults(run=run_join)

    revoke = actions.add_parser("revoke", help="throw out nodes, or tokens, by their ids")
    revoke.add_argument("ids", nargs="+", metavar="ID", help="a node's id, or a token's")
    revoke.set_defaults(run=run_revoke)

    renew = actions.add_parser("renew", help="give every known node another year")
    renew.add_argument("--days", type=float, default=365.0, help="from now (default: %(default)s)")
    renew.set_defaults(run=run_renew)

    rotate = actions.add_parser("rotate", help="replace the realm's key by a new one")
    rotate.add_argument(
        "--overlap", type=float, default=30.0, metavar="DAYS",
        help="for so long the old one is good as well (default: %(default)s)",
    )  # fmt: skip
    rotate.set_defaults(run=run_rotate)

    token = actions.add_parser("token", help="print a client token")
    token.add_argument("--subject", default="viewer", help="whom it is for, for the logs")
    token.add_argument(
        "--scope",
        action="append",
        choices=[*Scope],
        type=Scope,
        help="repeatable (default: view and control)",
    )
    token.add_argument("--hours", type=float, default=12.0, help="valid for (default: %(default)s)")
    token.add_argument("--workload", action="append", help="only these; repeatable")
    token.add_argument("--region", default="", help="only at gateways there")
    token.add_argument("--pixels", type=int, default=0, help="the most in a picture")
    token.add_argument("--hz", type=float, default=0.0, help="the most frames a second")
    token.add_argument("--minutes", type=float, default=0.0, help="the longest that sessions last")
    token.set_defaults(run=run_token)

    for action in (create, request, sign, join, revoke, renew, rotate, token):
        add_state(action)


def add_grants(parser: argparse.ArgumentParser) -> None:
    """The options that say what a node may do."""
    nodes = [role for role in Role if role is not Role.INVITATION]
    parser.add_argument(
        "--role", action="append", choices=nodes, type=Role, help="repeatable (default: worker)"
    )
    parser.add_argument(
        "--capability", action="append", metavar="WORKLOAD", help="only these; repeatable"
    )
    parser.add_argument("--region", default="", help="where the node is, in your own words")


def run_create(arguments: argparse.Namespace) -> int:
    """Make the realm key and this node's membership in every role."""
    home = home_of(arguments)
    roles = (Role.GATEWAY, Role.WORKER, Role.RELAY, Role.ADMIN)
    admit(home.create_realm_key(), home, arguments.name, roles)
    publish(home, [Secret(token_bytes(SECRET_BYTES))], quietly=True)
    print(f"realm created; its key is {home.path / 'realm.key'}: back it up, show it to nobody")
    return 0


def run_request(arguments: argparse.Namespace) -> int:
    """Print this node's public key as a line for `realm sign`."""
    home = home_of(arguments)
    identity = home.next_identity() if arguments.new_key else home.identity()
    sys.stdout.write(armor(REQUEST, identity.public_key))
    return 0


def run_sign(arguments: argparse.Namespace) -> int:
    """Print the membership line for a request; its node id on standard error, to compare."""
    home, now_s = home_of(arguments), int(time.time())
    node_public = unarmor(REQUEST, arguments.request)
    if arguments.id and parse_node_id(arguments.id) != fingerprint(node_public):
        raise IdentityError(
            what="nothing was signed",
            why=f"the request is of node {fingerprint(node_public)}, not of {arguments.id}",
            fix="Have the line from `framemesh realm request` sent again, by another way.",
        )
    blob = sign_for(
        home,
        node_public,
        roles=arguments.role or (Role.WORKER,),
        days=arguments.days,
        name=arguments.name,
        capabilities=arguments.capability or (),
        region=arguments.region,
        now_s=now_s,
    )
    print(f"for node {fingerprint(node_public)}: compare with `framemesh id`", file=sys.stderr)
    admission = Admission.make(blob, node_public, home.trust(now_s))
    sys.stdout.write(armor(ADMISSION, admission.encode()))
    return 0


def run_join(arguments: argparse.Namespace) -> int:
    """Verify and install a membership."""
    home = home_of(arguments)
    source = arguments.membership
    try:
        text = sys.stdin.read(32_768) if source == "-" else Path(source).read_text("ascii")
    except (OSError, UnicodeDecodeError) as problem:
        raise IdentityError(
            what=f"cannot read {source}", why=str(problem), fix="Give the file `realm sign` made."
        ) from problem
    print(joined(join_by(home, text, arguments.name)))
    return 0


def join_by(home: NodeHome, text: str, name: str) -> Membership:
    """Install what a line says: a membership, an admission or an invitation. Raises MeshError."""
    now_s, identity = int(time.time()), home.identity()
    if text.strip().startswith(INVITE):
        invite = read_invite(unarmor(INVITE, text))
        return use_invite(home, invite, name, now_s)
    if text.strip().startswith(ADMISSION):
        return accept(home, open_admission(home.identities(), unarmor(ADMISSION, text)), now_s)
    blob = unarmor(MEMBERSHIP, text)
    member = read_membership(blob, identity.public_key, now_s)
    home.install_membership(blob)
    return member


def joined(member: Membership) -> str:
    """What people are told."""
    return (
        f"joined realm {fingerprint(member.realm)} as {member.name}, "
        f"{', '.join(sorted(member.roles))}"
    )


def run_revoke(arguments: argparse.Namespace) -> int:
    """Say that these are thrown out, and change what members find each other by."""
    home, now_s = home_of(arguments), int(time.time())
    before = home.trust(now_s).revocation_of(home.signer(now_s).key.public_key)
    nodes = {node: until for node, until in before.nodes.items() if until > now_s}
    tokens = {token: until for token, until in before.tokens.items() if until > now_s}
    for given in arguments.ids:
        if len(given) == TOKEN_ID_HEX and "-" not in given:
            tokens[_token_id(given)] = now_s + REVOKED_FOR_S
        else:
            nodes[parse_node_id(given)] = now_s + REVOKED_FOR_S
    publish(home, [Revocation(nodes, tokens), Secret(token_bytes(SECRET_BYTES))])
    return 0


def _token_id(text: str) -> str:
    try:
        return bytes.fromhex(text).hex()
    except ValueError as problem:
        raise IdentityError(
            what=f"'{text}' is no token's id",
            why=str(problem),
            fix="Give the 32 hexadecimal digits that `realm token` printed beside it.",
        ) from problem


def run_renew(arguments: argparse.Namespace) -> int:
    """Sign every known node's membership again; they take it up where they are."""
    home, now_s = home_of(arguments), int(time.time())
    publish(home, _renewals(home, home.signer(now_s), arguments.days, now_s))
    return 0


def run_rotate(arguments: argparse.Namespace) -> int:
    """Name a successor, by the old key; by the new one, sign all that is needed again."""
    home, now_s = home_of(arguments), int(time.time())
    old, new = home.signer(now_s), RealmKey.generate()
    if old.proof:
        home.realm_key()  # raises: only the realm's own key names its successor
    retires = now_s + round(arguments.overlap * DAY_S)
    publish(home, [Successor(new.public_key, retires)], quietly=True)
    home.retire_realm_key(new)
    signer = Signer.of(new)
    said = home.trust(now_s).revocation_of(old.key.public_key)
    again: list[Says] = [said] if said.nodes or said.tokens else []
    secret = Secret(token_bytes(SECRET_BYTES))
    publish(home, [*again, secret, *_renewals(home, signer, 365.0, now_s)])
    print(f"the realm is now {new.fingerprint}; back up {home.path / 'realm.key'}")
    return 0


def _renewals(home: NodeHome, signer: Signer, days: float, now_s: int) -> list[Says]:
    """A membership for each node that is known here, this one included, as it was otherwise."""
    trust = home.trust(now_s)
    own = trust.membership(home.membership(), home.identity().public_key, now_s)
    members = home.issued() | {fingerprint(own.node): own}
    return [
        Renewal(
            node,
            sign_membership(
                signer.key,
                node_public=member.node,
                roles=[Role(role) for role in member.roles if role in [*Role]],
                not_before=now_s - SKEW_S,
                not_after=now_s + round(days * DAY_S),
                name=member.name,
                admits=GRANTED_BY_ADMINS if member.has(Role.ADMIN) and not signer.proof else (),
                capabilities=member.capabilities,
                region=member.region,
                realm_public=signer.realm_public,
                proof=signer.proof,
            ),
        )
        for node, member in members.items()
        if not trust.is_revoked(member.node)
        and not (signer.proof and member.has(Role.ADMIN))  # whom only the realm's key appoints
    ]


def publish(home: NodeHome, sayings: Iterable[Says], *, quietly: bool = False) -> None:
    """Put bulletins into the state directory, and have the node that runs here spread them."""
    now_s, now_ms = int(time.time()), time.time_ns() // 1_000_000
    signer = home.signer(now_s)
    blobs = [signer.bulletin(says, now_ms + at) for at, says in enumerate(sayings)]
    home.keep_bulletins(blobs, now_s)
    try:
        known = asyncio.run(ask_to_reread(home.path))
    except LinkLost:
        if not quietly:
            print("no node runs here: members are told when it links with one", file=sys.stderr)
    else:
        print(f"said to {known.links} linked nodes, who pass it on")


def run_token(arguments: argparse.Namespace) -> int:
    """Print a client token signed by the realm key, and on standard error its id."""
    text = viewer_token(
        home_of(arguments).signer(int(time.time())),
        subject=arguments.subject,
        lifetime_s=round(arguments.hours * 3600),
        scopes=arguments.scope or (Scope.VIEW, Scope.CONTROL),
        limits=Limits(
            workloads=frozenset(arguments.workload or ()),
            region=arguments.region,
            pixels=arguments.pixels,
            hz=arguments.hz,
            session_s=round(arguments.minutes * 60),
        ),
    )
    token = read_token(text, int(time.time()))
    print(f"its id, to revoke it by: {token.id.hex()}", file=sys.stderr)
    print(text)
    return 0


def viewer_token(
    signer: Signer,
    *,
    subject: str,
    lifetime_s: int,
    scopes: Collection[Scope] = (Scope.VIEW, Scope.CONTROL),
    limits: Limits = Limits(),  # noqa: B008  frozen
) -> str:
    """A client token that holds from now on."""
    now_s = int(time.time())
    return sign_token(
        signer.key,
        realm_public=signer.realm_public,
        subject=subject,
        scopes=scopes,
        not_before=now_s - SKEW_S,
        not_after=now_s + lifetime_s,
        membership=signer.proof,
        limits=limits,
    )


def admit(realm: RealmKey, home: NodeHome, name: str, roles: Collection[Role]) -> None:
    """Sign and install a year's membership for the node in `home`."""
    now_s = int(time.time())
    home.install_membership(
        sign_membership(
            realm,
            node_public=home.identity().public_key,
            roles=roles,
            not_before=now_s - SKEW_S,
            not_after=now_s + 365 * DAY_S,
            name=name,
            admits=GRANTED_BY_ADMINS if Role.ADMIN in roles else (),
        )
    )
