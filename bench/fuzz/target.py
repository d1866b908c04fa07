"""What can be fuzzed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Code that takes any bytes: it reads them or raises ContentRefused, and nothing else.

    seeds: sound inputs. spoil: makes one a little wrong. take: reads it, or refuses it.
    """

    seeds: Callable[[], list[bytes]]
    spoil: Callable[[random.Random, bytes], bytes]
    take: Callable[[bytes], None]

    def mutate(self, data: bytes, seed: int) -> bytes:
        """The same for the same arguments."""
        return self.spoil(random.Random(seed), data)
