"""`framemesh pair` shows a code; `framemesh join CODE` on another machine makes it a member."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from discovery.mdns import announced, local_addresses
from discovery.pairing.exchange import Code, Request, new_code, read_code
from discovery.pairing.nearby import SHOWS, WAITS, around
from discovery.pairing.talk import CODE_S, Host, ask
from mesh.control import ask_to_reread
from mesh.core.admission import Admission, accept, open_admission, sign_for
from mesh.core.config import default_state_dir
from mesh.core.errors import LinkLost, MeshError, NotAuthorized
from mesh.core.home import NodeHome
from mesh.core.identity import fingerprint
from mesh.core.membership import Role

if TYPE_CHECKING:
    from typing import TypeAlias

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

SEEK_S = 15.0  # for the machine that shows the code


def register(commands: Commands) -> None:
    """Add both commands."""
    pair = commands.add_parser("pair", help="show a code that admits one other machine")
    pair.add_argument(
        "--role",
        action="append",
        choices=[Role.WORKER, Role.GATEWAY, Role.RELAY, Role.CLIENT],
        type=Role,
        help="what it may be; repeatable (default: worker)",
    )
    pair.add_argument("--days", type=float, default=365.0, help="valid for (default: %(default)s)")
    pair.add_argument("--listen", default="0.0.0.0:0", metavar="IP:PORT", help="TCP, for the guest")
    pair.set_defaults(run=run_pair)
    join = commands.add_parser("join", help="become a member by a code that another machine shows")
    join.add_argument("code", help="as `framemesh pair` shows it there")
    join.add_argument("--at", metavar="HOST:PORT", help="where, if not on this local network")
    join.add_argument("--name", default="", help="this node's name (default: the machine's)")
    join.set_defaults(run=run_join)
    for command in (pair, join):
        command.add_argument(
            "--state",
            type=Path,
            metavar="DIR",
            default=default_state_dir(),
            help="where keys and memberships live (default: %(default)s)",
        )


def run_pair(arguments: argparse.Namespace) -> int:
    """Show a code for ten minutes, or until it is used."""
    return asyncio.run(_pair(arguments))


def run_join(arguments: argparse.Namespace) -> int:
    """Find who shows the code, and install what it admits with."""
    return asyncio.run(_join(arguments))


async def _pair(arguments: argparse.Namespace) -> int:
    home, code = NodeHome(arguments.state), new_code()
    home.signer(int(time.time()))  # raises here rather than when the guest has come
    contacts = await _contacts(home)

    def admit(request: Request) -> bytes:
        blob = sign_for(
            home,
            request.public,
            roles=arguments.role or (Role.WORKER,),
            days=arguments.days,
            name=request.name,
            now_s=int(time.time()),
        )
        trust = home.trust(int(time.time()))
        return Admission.make(blob, request.public, trust, contacts).encode()

    host = Host(code, admit)
    ip, _, port = arguments.listen.rpartition(":")
    server = await asyncio.start_server(host.serve, ip.strip("[]"), int(port))
    async with server, around(WAITS, _show_waiting) as announcer:
        port = server.sockets[0].getsockname()[1]
        with contextlib.suppress(OSError):  # without multicast there is still --at
            await announcer.say(SHOWS, port, channel=code.channel)
        where = announced([address for _, address in local_addresses()])[0]
        print(f"\n  code  {code}\n")
        print(f"On the other machine, within ten minutes:  framemesh join {code}")
        print(f"(from another network: --at {where}:{port}, or its address there)", flush=True)
        try:
            async with asyncio.timeout(CODE_S):
                request, words = await host.paired
        except TimeoutError:
            raise NotAuthorized(
                what="nobody was admitted",
                why="the code has expired",
                fix="Run `framemesh pair` again.",
            ) from None
    print(f"admitted {request.name} ({fingerprint(request.public)}); both say: {words}")
    return 0


def _show_waiting(addresses: list[str], port: int, text: dict[str, str]) -> None:
    at = addresses[0] if addresses else "?"
    print(f"waiting to join: {text.get('name', '?')} at {at}, {text.get('id', '?')}", flush=True)


async def _contacts(home: NodeHome) -> list[str]:
    """Where the node that runs here takes links, for a guest that no multicast reaches."""
    with contextlib.suppress(LinkLost):
        known = await ask_to_reread(home.path)
        if known.link_port:
            local = announced([address for _, address in local_addresses()])
            return [f"[{a}]:{known.link_port}" if ":" in a else f"{a}:{known.link_port}"
                    for a in local][:4]  # fmt: skip
    return home.contacts()


async def _join(arguments: argparse.Namespace) -> int:
    home, code = NodeHome(arguments.state), read_code(arguments.code)
    name = arguments.name or _machine()
    request = Request(home.identity().public_key, name)
    if arguments.at:
        host, _, port = arguments.at.rpartition(":")
        sealed, words = await ask(host.strip("[]"), int(port), code, request)
    else:
        sealed, words = await _ask_around(code, request)
    member = accept(home, open_admission([home.identity()], sealed), int(time.time()))
    roles = ", ".join(sorted(member.roles))
    print(f"joined realm {fingerprint(member.realm)} as {member.name}, {roles}; both say: {words}")
    print("now run: framemesh node")
    return 0


async def _ask_around(code: Code, request: Request) -> tuple[bytes, str]:
    """Ask whoever on the local network shows a code of this channel, at its first address."""
    hosts: asyncio.Queue[tuple[list[str], int]] = asyncio.Queue()

    def seen(addresses: list[str], port: int, text: dict[str, str]) -> None:
        if text.get("channel") == code.channel:
            hosts.put_nowait((addresses, port))

    problem: MeshError | None = None
    async with around(SHOWS, seen) as announcer:
        await announcer.say(WAITS, 9, name=request.name, id=fingerprint(request.public))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEK_S):
                while True:
                    addresses, port = await hosts.get()
                    for address in addresses:
                        try:
                            return await ask(address, port, code, request)
                        except LinkLost as unreached:
                            problem = unreached  # at this address; there may be others
    raise problem or LinkLost(
        what="nobody near shows this code",
        why=f"in {SEEK_S:.0f} s no machine of this network announced it",
        fix="Run `framemesh pair` there, or name its address: --at HOST:PORT.",
    )


def _machine() -> str:
    """This machine's name, as nodes may be called."""
    return re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32] or "node"
