"""A viewer's later ICE candidates: SDP fragments (RFC 8840), vetted and bounded.

Pure. A fragment comes in the body of an HTTP PATCH, and names the ICE session that it belongs to
twice: by the username fragment in it, and by the entity tag of the request (If-Match).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiortc import RTCIceCandidate

from mesh.core.errors import MeshError
from mesh.stream.offer import MAX_CANDIDATES, may_be_asked

MAX_BYTES = 16 * 1024
MAX_LINES = 256
_CREDENTIAL = re.compile(r"[A-Za-z0-9+/]{4,256}")  # ice-ufrag (RFC 8839, section 5.4)
_LINE = re.compile(r"[a-z]=.{0,1022}", re.ASCII)
_CANDIDATE = re.compile(
    r"(?P<foundation>[A-Za-z0-9+/]{1,32}) (?P<component>\d{1,3}) (?P<protocol>[A-Za-z]{1,16})"
    r" (?P<priority>\d{1,10}) (?P<ip>[^ ]{1,256}) (?P<port>\d{1,5})"
    r" typ (?P<type>host|srflx|prflx|relay)( .*)?",
    re.ASCII,
)


class FragmentRefused(MeshError):
    """An SDP fragment that cannot be used."""

    code = "fragment_refused"


class TagMissing(MeshError):
    """It cannot be told which ICE session a fragment belongs to."""

    code = "precondition_required"


class TagOutdated(MeshError):
    """A fragment belongs to an ICE session that is over."""

    code = "precondition_failed"


class RestartRefused(MeshError):
    """An ICE restart, which is not done here."""

    code = "ice_restart_refused"


@dataclass(frozen=True, slots=True)
class Fragment:
    """What of a fragment is used."""

    ufrag: str
    candidates: tuple[RTCIceCandidate, ...]  # at most MAX_CANDIDATES, of UDP, at literal addresses
    ended: bool  # no more will come


def read_fragment(text: str) -> Fragment:
    """Vet a fragment. Raises FragmentRefused saying what is wrong with it."""
    lines = text.splitlines()
    if len(text.encode("utf-8", "replace")) > MAX_BYTES or len(lines) > MAX_LINES:
        raise _refused(f"it is over {MAX_BYTES} bytes or {MAX_LINES} lines")
    if not all(_LINE.fullmatch(line) for line in lines):
        raise _refused("it holds a line that is none of SDP")
    ufrags = _values(lines, "a=ice-ufrag:")
    if len(set(ufrags)) != 1 or not _CREDENTIAL.fullmatch(ufrags[0]):
        raise _refused("it does not name one ICE session (a=ice-ufrag)")
    read = [_candidate(value) for value in _values(lines, "a=candidate:")]
    usable = [candidate for candidate in read if candidate is not None]
    return Fragment(
        ufrag=ufrags[0],
        candidates=tuple(usable[:MAX_CANDIDATES]),
        ended="a=end-of-candidates" in lines,
    )


def check_session(fragment: Fragment, if_match: str | None, *, tag: str, ufrag: str) -> None:
    """Whether a fragment belongs to the ICE session of that entity tag and username fragment.

    if_match: the request's header. A client that never learned to keep tags leaves it out; the
        username fragment then says as much.
    Raises TagMissing, TagOutdated or RestartRefused.
    """
    same = fragment.ufrag == ufrag
    if if_match is None:
        if not same:
            raise TagMissing(
                what="the fragment is not taken",
                why="it has another ice-ufrag than the viewer's offer, and no If-Match says why",
                fix="Send the ETag of the answer that opened the session as If-Match.",
            )
    elif if_match.strip() != "*" and f'"{tag}"' not in (t.strip() for t in if_match.split(",")):
        raise TagOutdated(
            what="the fragment is not taken",
            why="it belongs to an ICE session that another has replaced",
            fix="Use the ETag of the newest answer, or POST a new offer.",
        )
    elif not same:
        raise RestartRefused(
            what="ICE is not restarted",
            why="this gateway takes more candidates, but restarts no ICE session",
            fix="POST a new offer; with a resume token it continues the same session.",
        )


def _values(lines: list[str], name: str) -> list[str]:
    return [line.removeprefix(name) for line in lines if line.startswith(name)]


def _candidate(text: str) -> RTCIceCandidate | None:
    """None for one of a kind that is not used, though well-formed."""
    read = _CANDIDATE.fullmatch(text)
    if read is None or not 0 < int(read["port"]) < 65536 or int(read["priority"]) >= 2**32:
        raise _refused("it holds a candidate that cannot be read")
    used = read["protocol"].lower() == "udp" and read["component"] == "1"
    if not (used and may_be_asked(read["ip"])):
        return None
    return RTCIceCandidate(
        component=1,
        foundation=read["foundation"],
        ip=read["ip"],
        port=int(read["port"]),
        priority=int(read["priority"]),
        protocol="udp",
        type=read["type"],
    )


def _refused(why: str) -> FragmentRefused:
    return FragmentRefused(
        what="the ICE fragment cannot be used",
        why=why,
        fix="Send a=ice-ufrag of the offer, and each RTCIceCandidate's text after 'a='.",
    )
