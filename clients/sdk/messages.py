"""The JSON a gateway sends to clients, checked (docs/protocol-browser.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mesh.core.errors import ProtocolViolation
from mesh.core.wire import MALFORMED

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is about to end."""

    reason: str


def json_object(text: str | bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises ProtocolViolation."""
    try:
        return _decode(text)
    except MALFORMED as problem:
        raise ProtocolViolation(
            what="the gateway's message cannot be read",
            why=f"it is no JSON object ({problem})",
            fix="Check that a framemesh gateway answers there, and update it.",
        ) from problem


def parse_message(text: str) -> Mapping[str, Any] | Closed:
    """One text message of the frames channel: a frame's facts, or the end."""
    said = json_object(text)
    reason = said.get("closed")
    return Closed(reason[:1000]) if isinstance(reason, str) else said
