"""`framemesh realm create|request|sign|join|token`: who belongs, and who may look.

To admit a node: `realm request` there prints a line, `realm sign LINE` on the admin's machine
prints another, `realm join FILE` there installs it. Nothing secret travels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from clients.cli.options import add_state, home_of
from mesh.core.errors import IdentityError
from mesh.core.home import MEMBERSHIP, REQUEST, NodeHome, armor, unarmor
from mesh.core.identity import RealmKey, fingerprint, parse_node_id
from mesh.core.membership import Role, Scope, read_membership, sign_membership, sign_token

if TYPE_CHECKING:
    from clients.cli.options import Commands

DAY_S = 86_400
SKEW_S = 300  # clocks of two machines differ a little


def register(commands: Commands) -> None:
    """Add the command and its actions."""
    realm = commands.add_parser("realm", help="make a private mesh and admit nodes and viewers")
    actions = realm.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("create", help="make a realm; this node becomes its first member")
    create.add_argument("--name", default="first", help="this node's name (default: %(default)s)")
    create.set_defaults(run=run_create)

    request = actions.add_parser("request", help="print the line that asks for a membership")
    request.set_defaults(run=run_request)

    sign = actions.add_parser("sign", help="print a membership for another node")
    sign.add_argument("request", metavar="LINE", help="what `realm request` printed there")
    sign.add_argument(
        "--id", metavar="NODE_ID", help="what `framemesh id` prints there: refuse any other"
    )
    sign.add_argument("--name", default="node", help="a name for people (default: %(default)s)")
    sign.add_argument(
        "--role", action="append", choices=[*Role], type=Role, help="repeatable (default: worker)"
    )
    sign.add_argument("--days", type=float, default=365.0, help="valid for (default: %(default)s)")
    sign.set_defaults(run=run_sign)

    join = actions.add_parser("join", help="install a membership signed for this node")
    join.add_argument("membership", metavar="FILE", help="what `realm sign` printed; - for stdin")
    join.set_defaults(run=run_join)

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
    token.set_defaults(run=run_token)

    for action in (create, request, sign, join, token):
        add_state(action)


def run_create(arguments: argparse.Namespace) -> int:
    """Make the realm key and this node's membership in every role."""
    home = home_of(arguments)
    admit(home.create_realm_key(), home, arguments.name, (Role.GATEWAY, Role.WORKER, Role.ADMIN))
    print(f"realm created; its key is {home.path / 'realm.key'}: back it up, show it to nobody")
    return 0


def run_request(arguments: argparse.Namespace) -> int:
    """Print this node's public key as a line for `realm sign`."""
    sys.stdout.write(armor(REQUEST, home_of(arguments).identity().public_key))
    return 0


def run_sign(arguments: argparse.Namespace) -> int:
    """Print the membership line for a request; its node id on standard error, to compare."""
    now_s = int(time.time())
    node_public = unarmor(REQUEST, arguments.request)
    if arguments.id and parse_node_id(arguments.id) != fingerprint(node_public):
        raise IdentityError(
            what="nothing was signed",
            why=f"the request is of node {fingerprint(node_public)}, not of {arguments.id}",
            fix="Have the line from `framemesh realm request` sent again, by another way.",
        )
    blob = sign_membership(
        home_of(arguments).realm_key(),
        node_public=node_public,
        roles=arguments.role or (Role.WORKER,),
        not_before=now_s - SKEW_S,
        not_after=now_s + round(arguments.days * DAY_S),
        name=arguments.name,
    )
    print(f"for node {fingerprint(node_public)}: compare with `framemesh id`", file=sys.stderr)
    sys.stdout.write(armor(MEMBERSHIP, blob))
    return 0


def run_join(arguments: argparse.Namespace) -> int:
    """Verify and install a membership."""
    home = home_of(arguments)
    source = arguments.membership
    try:
        text = sys.stdin.read(16_384) if source == "-" else Path(source).read_text("ascii")
    except (OSError, UnicodeDecodeError) as problem:
        raise IdentityError(
            what=f"cannot read {source}", why=str(problem), fix="Give the file `realm sign` made."
        ) from problem
    blob = unarmor(MEMBERSHIP, text)
    member = read_membership(blob, home.identity().public_key, int(time.time()))
    home.install_membership(blob)
    print(
        f"joined realm {fingerprint(member.realm)} as {member.name}, "
        f"{', '.join(sorted(member.roles))}"
    )
    return 0


def run_token(arguments: argparse.Namespace) -> int:
    """Print a client token signed by the realm key."""
    print(
        viewer_token(
            home_of(arguments).realm_key(),
            subject=arguments.subject,
            lifetime_s=round(arguments.hours * 3600),
            scopes=arguments.scope or (Scope.VIEW, Scope.CONTROL),
        )
    )
    return 0


def viewer_token(
    realm: RealmKey,
    *,
    subject: str,
    lifetime_s: int,
    scopes: Collection[Scope] = (Scope.VIEW, Scope.CONTROL),
) -> str:
    """A client token that holds from now on."""
    now_s = int(time.time())
    return sign_token(
        realm,
        realm_public=realm.public_key,
        subject=subject,
        scopes=scopes,
        not_before=now_s - SKEW_S,
        not_after=now_s + lifetime_s,
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
        )
    )
