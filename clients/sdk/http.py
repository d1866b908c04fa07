"""A gateway's HTTP face, seen from a client (docs/protocol-browser.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from clients.sdk.address import Address, Option
from clients.sdk.messages import json_object
from mesh.core.errors import LinkLost, MeshError, Problem, ProtocolViolation, from_problem
from mesh.core.wire import MALFORMED

SDP = "application/sdp"
SESSIONS = "/whep/sessions/"
MAX_ANSWER = 1 << 20  # bytes
# Opening a session includes loading its content on a device, which the gateway allows 30 s.
_TIMEOUT = aiohttp.ClientTimeout(total=45, sock_connect=10)


class GatewayHttp:
    """Requests to one gateway. Every method raises what the gateway answers, or LinkLost."""

    def __init__(self, address: Address, http: aiohttp.ClientSession) -> None:
        self.address = address
        self._http = http

    async def status(self) -> dict[str, Any]:
        """The gateway's state. Needs the scope `view`."""
        return json_object((await self._ask("GET", "/status")).body)

    async def open(
        self, workload: str, options: Mapping[str, Option], offer_sdp: str
    ) -> tuple[str, str]:
        """Open a session: (its path, the SDP answer). Needs the scope `control`."""
        return self._created(
            await self._ask("POST", f"/whep/{workload}", params=dict(options), offer=offer_sdp)
        )

    async def join(self, path: str, offer_sdp: str) -> tuple[str, str]:
        """Look on at a session: (the path of one's part in it, the SDP answer).

        Needs the scope `view`.
        """
        return self._created(await self._ask("POST", path, offer=offer_sdp))

    async def describe(self, path: str) -> dict[str, Any]:
        """What the gateway says of a session. Needs the scope `view`."""
        return json_object((await self._ask("GET", path)).body)

    async def close(self, path: str) -> None:
        """End a session, which needs the scope `control`, or one's part in it."""
        await self._ask("DELETE", path)

    def _created(self, answer: _Answer) -> tuple[str, str]:
        path = answer.headers.get("Location", "")
        if not path.startswith(SESSIONS):
            raise _no_gateway(self.address.base, "its answer does not say where the session is")
        return path, answer.text

    async def _ask(
        self, method: str, path: str, *, params: Mapping[str, Option] | None = None, offer: str = ""
    ) -> _Answer:
        headers = {"Authorization": f"Bearer {self.address.token}"}
        if offer:
            headers["Content-Type"] = SDP
        url = self.address.base + path
        try:
            async with self._http.request(
                method,
                url,
                params=params,
                data=offer or None,
                headers=headers,
                allow_redirects=False,  # the token is for this gateway alone
            ) as answer:
                body = await _read(answer, self.address.base)
                if 200 <= answer.status < 300:
                    return _Answer(body, dict(answer.headers))
                raise _refusal(body, self.address.base, answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise LinkLost(
                what=f"no answer from {self.address.base}",
                why=str(problem) or type(problem).__name__,
                fix="Check the address, and that the gateway (`framemesh node`) runs there.",
            ) from problem


class _Answer:
    """A good answer."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.body, self.headers = body, headers

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@asynccontextmanager
async def open_http(address: Address) -> AsyncIterator[GatewayHttp]:
    """Connections to the gateway at `address`, closed at the end."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
        yield GatewayHttp(address, http)


async def _read(answer: aiohttp.ClientResponse, base: str) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise _no_gateway(base, f"its answer is over {MAX_ANSWER} bytes")
    return bytes(body)


def _refusal(body: bytes, base: str, status: int) -> MeshError:
    try:
        return from_problem(msgspec.json.decode(body, type=Problem))
    except MALFORMED:
        return _no_gateway(base, f"it answers {status}, and gives no reason as they do")


def _no_gateway(where: str, why: str) -> ProtocolViolation:
    return ProtocolViolation(
        what=f"{where} is no framemesh gateway",
        why=why,
        fix="Check the host and the port, and that no proxy answers in between.",
    )
