"""`framemesh invite`: a line that admits whoever runs `framemesh realm join` with it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import TYPE_CHECKING

from clients.cli.options import add_state, home_of
from clients.cli.realm import add_grants
from mesh.core.admission import DAY_S, INVITE, SKEW_S, make_invite, read_invite
from mesh.core.errors import ConfigError
from mesh.core.home import armor
from mesh.core.identity import fingerprint
from mesh.core.membership import Role, open_membership

if TYPE_CHECKING:
    from clients.cli.options import Commands

_UNITS = {"m": 60, "h": 3600, "d": DAY_S}


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("invite", help="print a line that admits nodes, to be sent to one")
    add_grants(parser)
    parser.add_argument(
        "--expires", default="30d", help="when it ends, and what it admits: 30d, 12h, 90m"
    )
    parser.add_argument(
        "--at", action="append", metavar="HOST:PORT", help="of a member's links, to begin with"
    )
    add_state(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the invitation; on standard error, how to take it back."""
    home, now_s = home_of(arguments), int(time.time())
    signer, trust = home.signer(now_s), home.trust(now_s)
    blob = make_invite(
        signer,
        trust,
        roles=arguments.role or (Role.WORKER,),
        not_before=now_s - SKEW_S,
        not_after=now_s + lifetime_s(arguments.expires),
        contacts=arguments.at or home.contacts(),
        capabilities=arguments.capability or (),
        region=arguments.region,
    )
    made = read_invite(blob)
    # What this key may not grant is found out here, and not by whoever is invited.
    invited = open_membership(made.membership, signer.realm_public, now_s, "no invitation is made")
    print(
        "whoever has this line may join; to take it back, and all that it admitted:"
        f" framemesh realm revoke {fingerprint(invited.node)}",
        file=sys.stderr,
    )
    sys.stdout.write(armor(INVITE, blob))
    return 0


def lifetime_s(text: str) -> int:
    """Seconds, of "30d", "12h" or "90m". Raises ConfigError."""
    match = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    if match is None:
        raise ConfigError(
            what=f"'{text}' is no span of time",
            why="it is not a number with m, h or d",
            fix="Say 30d, 12h or 90m.",
        )
    return int(match[1]) * _UNITS[match[2]]
