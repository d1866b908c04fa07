"""Errors that say what happened, why, and what to do; each class is one thing a caller may handle.

Every class has a stable `code`, so that a problem can cross a link or an HTTP answer and be
raised on the other side as the same class (`to_problem`, `from_problem`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

ShortText = Annotated[str, msgspec.Meta(max_length=1000)]


class Problem(msgspec.Struct, frozen=True):
    """An error as it travels: in a link message, an HTTP body or a data channel."""

    code: Annotated[str, msgspec.Meta(max_length=64)]
    what: ShortText
    why: ShortText
    fix: ShortText


class MeshError(Exception):
    """Base of every error framemesh raises on purpose."""

    code: ClassVar[str] = "error"

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what}: {why}. {fix}")
        self.what, self.why, self.fix = what, why, fix

    def to_problem(self) -> Problem:
        """This error in its wire form, texts cut to the wire's bound."""
        return Problem(self.code, self.what[:1000], self.why[:1000], self.fix[:1000])


class Misuse(MeshError):
    """Our own caller broke a documented rule."""

    code = "misuse"


class ConfigError(MeshError):
    """A configuration file or option cannot be used."""

    code = "config"


class IdentityError(MeshError):
    """A key, membership or token on this machine is missing or unusable."""

    code = "identity"


class PeerRefused(MeshError):
    """A peer answered, and declined the link (its reason is in `why`)."""

    code = "peer_refused"


class ProtocolViolation(MeshError):
    """A peer sent what the protocol forbids; its link is closed."""

    code = "protocol"


class LinkLost(MeshError):
    """A link ended or fell silent while something was waiting on it."""

    code = "link_lost"


class NotAuthorized(MeshError):
    """A membership or client token does not allow the operation."""

    code = "not_authorized"


class SessionRefused(MeshError):
    """A session cannot be opened as asked."""

    code = "session_refused"


class WrongRoad(SessionRefused):
    """A session's inputs or results cannot travel the way it was asked for; another way can."""

    code = "wrong_road"


class ContentRefused(MeshError):
    """Content from outside (scene, texture, sweep, model) is malformed or over a stated limit."""

    code = "content_refused"


class DeviceUnavailable(MeshError):
    """A device, driver or the library for it is not there."""

    code = "device_unavailable"


class DeviceLost(MeshError):
    """A device process crashed, hung past its kill limit, or lost its GPU."""

    code = "device_lost"


class PieceOverran(DeviceLost):
    """A piece held its device past the kill limit, and its process was killed with it."""

    code = "piece_overran"


class PieceFailed(MeshError):
    """A piece raised inside its executor; the device lives on."""

    code = "piece_failed"


class PieceAbandoned(MeshError):
    """A piece was not run to its end, because nobody wanted it any more.

    run_us: how long its device had been at it, where that is known.
    """

    code = "piece_abandoned"
    run_us = 0


_BY_CODE: dict[str, type[MeshError]] = {
    cls.code: cls
    for cls in (
        Misuse,
        ConfigError,
        IdentityError,
        PeerRefused,
        ProtocolViolation,
        LinkLost,
        NotAuthorized,
        SessionRefused,
        WrongRoad,
        ContentRefused,
        DeviceUnavailable,
        DeviceLost,
        PieceOverran,
        PieceFailed,
        PieceAbandoned,
    )
}


def from_problem(problem: Problem) -> MeshError:
    """The error `problem` describes; an unknown code (a newer peer's) becomes a `MeshError`."""
    return _BY_CODE.get(problem.code, MeshError)(problem.what, problem.why, problem.fix)
