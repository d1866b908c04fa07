"""The STUN and TURN servers that viewers are told of: Link headers (RFC 9725, section 4.6).

A TURN server's credentials are made for each viewer and end by themselves: the username says when,
and the password proves that whoever made it shares the server's secret. That is what coturn calls
`use-auth-secret` (draft-uberti-behave-turn-rest).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated

import msgspec
from msgspec import Meta

LIFETIME_S = 12 * 3600  # of a viewer's credentials; they are asked for again every few minutes


class IceServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of [[gateway.ice_servers]]."""

    # stun:, turn: or turns:, as in RTCIceServer.urls (RFC 7064, RFC 7065).
    url: Annotated[str, Meta(pattern=r"^(stuns?|turns?):[A-Za-z0-9.:\[\]?=_-]{1,256}$")]
    # Shared with the TURN server; "": it asks for no credentials.
    secret: Annotated[str, Meta(max_length=256)] = ""

    def link(self, now_s: int) -> str:
        """The value of a Link header. now_s: unix seconds."""
        values = {"rel": "ice-server"}
        if self.secret:
            username, password = credentials(self.secret, now_s + LIFETIME_S)
            values |= {"username": username, "credential": password}
            values |= {"credential-type": "password"}
        return "; ".join([f"<{self.url}>", *(f'{name}="{v}"' for name, v in values.items())])


def credentials(secret: str, until_s: int) -> tuple[str, str]:
    """A username and password that the server takes until then, unix seconds."""
    username = f"{until_s}:viewer"
    code = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return username, base64.b64encode(code).decode()
