"""What a viewer may say: small JSON objects of absolute state, not too fast, newest wins. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

MAX_BYTES = 4096
MAX_PER_SECOND = 240
BURST = 120
MAX_ID = 2**53 - 1  # what a JavaScript number holds exactly
OFFENCES_FORGIVEN_PER_SECOND = 1
MAX_OFFENCES = 32

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Offence(Exception):
    """A message that should not have been sent; `args[0]` says why."""


class _LeakyBucket:
    """Fills by one a drop, leaks steadily (ITU-T I.371's leaky bucket as a meter)."""

    def __init__(self, leak_per_s: int, size: int) -> None:
        self._leak_per_s, self._size = leak_per_s, size
        self._level = 0.0
        self._at_us: int | None = None

    def drop_fits(self, now_us: int) -> bool:
        if self._at_us is not None:
            self._level -= (now_us - self._at_us) * self._leak_per_s / 1_000_000
        self._at_us = now_us
        self._level = max(0.0, self._level)
        if self._level + 1 > self._size:
            return False
        self._level += 1
        return True


class InputGate:
    """Decides which of one viewer's messages count, and when it has sent too much nonsense."""

    def __init__(self) -> None:
        self._rate = _LeakyBucket(MAX_PER_SECOND, BURST)
        self._offences = _LeakyBucket(OFFENCES_FORGIVEN_PER_SECOND, MAX_OFFENCES)
        self.last_id = -1

    def admit(self, message: str | bytes, now_us: int) -> Mapping[str, Any] | None:
        """The decoded state if it is news, None if a newer one was already seen.

        Raises Offence on what no honest client sends.
        """
        if not self._rate.drop_fits(now_us):
            raise Offence(f"more than {MAX_PER_SECOND} inputs a second")
        if len(message) > MAX_BYTES:  # cheap first look: characters are never fewer than bytes / 4
            raise Offence(f"an input over {MAX_BYTES} bytes")
        encoded = message.encode("utf-8", "replace") if isinstance(message, str) else message
        if len(encoded) > MAX_BYTES:
            raise Offence(f"an input over {MAX_BYTES} bytes")
        try:
            state = _decode(encoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise Offence(f"an input that is not a JSON object ({problem})") from problem
        input_id = state.get("id")
        if type(input_id) is not int or not 0 <= input_id <= MAX_ID:
            raise Offence("an input without an 'id' that counts up from 0")
        if input_id <= self.last_id:
            return None
        self.last_id = input_id
        return state

    def forgives(self, now_us: int) -> bool:
        """Note one offence; False when there were too many and the session must end."""
        return self._offences.drop_fits(now_us)
