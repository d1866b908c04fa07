"""A seeded network between two sides of one machine: delay, loss, bursts, reorder, a narrow rate.

    link = Link(down=Line(delay_ms=10, loss=0.01), up=Line(delay_ms=10), seed=7)
    async with impaired(link) as relay:
        offer = without_candidates(browser_offer)   # so that all goes through the relay
        answer = await relay.answer(await stream.answer(offer))
        ...                                         # the browser gets this answer
        await relay.start()                         # second 0 of `rate_bps`; all counts from 0
        counts = await relay.counts()

`down` is what goes from the server to the client, `up` the other way. The relay stands between a
browser and a server's UDP ports on loopback: `answer` opens a port of its own for the server's
candidate in an SDP answer and announces that one instead; `open_port` does the same for any UDP
server. All ports of a relay share one line each way, so that several viewers share a bottleneck.
IPv4 only.

Where real TCP has to share it too, `joined_namespaces` joins two network namespaces by the same
lines, packet by packet (needs root and /dev/net/tun).

The same seed loses, holds back and delays the same packets by number, whenever they come. The
lines run in a process of their own that waits to the microsecond; `Counts.late_us_max` says how
far it fell behind, and a run in which that is long measured the machine.
"""

from bench.impair.line import Counts, Line, LineModel, Link
from bench.impair.relay import (
    Namespaces,
    Relay,
    impaired,
    joined,
    joined_namespaces,
    without_candidates,
)

__all__ = [
    "Counts",
    "Line",
    "LineModel",
    "Link",
    "Namespaces",
    "Relay",
    "impaired",
    "joined",
    "joined_namespaces",
    "without_candidates",
]
