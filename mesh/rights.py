"""What a client's token lets it open here, and how often. Pure: times come in."""

from __future__ import annotations

import math
from collections import OrderedDict

from mesh.core.errors import NotAuthorized
from mesh.core.token import ClientToken
from mesh.core.workload import SessionWork

BURST, PER_SECOND = 32, 1.0  # openings of one subject: so many at once, then so many a second
_SUBJECTS = 4096  # remembered; whoever is forgotten has a full bucket again


class OpeningRate:
    """A token bucket (ITU-T I.371, "leaky bucket as a meter") for each subject."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[bytes, str], tuple[float, float]] = OrderedDict()

    def take(self, token: ClientToken, now_s: float) -> None:
        """Count one opening. Raises NotAuthorized for one too many."""
        key = (token.signer, token.subject)
        level, filled_s = self._buckets.pop(key, (float(BURST), now_s))
        level = min(BURST, level + max(0.0, now_s - filled_s) * PER_SECOND)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, now_s)
        while len(self._buckets) > _SUBJECTS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise NotAuthorized(
                what="the session is not opened",
                why=f"'{token.subject}' opens more than {PER_SECOND:g} a second",
                fix="Wait a second; keep sessions open instead of opening new ones.",
            )


def check_limits(token: ClientToken, workload: str, work: SessionWork, region: str) -> None:
    """Raises NotAuthorized if the token's limits do not allow the session."""
    picture = work.picture
    token.require_session(
        workload,
        region=region,
        pixels=picture.width * picture.height if picture is not None else 0,
        hz=1e6 / work.contract.period_us,
    )


def longest_until_s(token: ClientToken, now_s: float) -> float:
    """In unix seconds, when a session that opens now must have ended."""
    return now_s + token.limits.session_s if token.limits.session_s else math.inf
