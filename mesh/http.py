"""A gateway's HTTP face: WHEP signalling (draft-ietf-wish-whep), status, and the viewer page.

Knows nothing of how sessions work; it vets what comes in, asks a `GatewayApi`, and turns every
error into a JSON `Problem` with a fitting status. The wire is described in
docs/protocol-browser.md.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import hdrs, web

from mesh.core.errors import (
    ContentRefused,
    DeviceLost,
    DeviceUnavailable,
    LinkLost,
    MeshError,
    NotAuthorized,
    SessionRefused,
)
from mesh.core.turn import IceServer
from mesh.core.workload import SessionRequest
from mesh.stream.fragment import (
    Fragment,
    FragmentRefused,
    RestartRefused,
    TagMissing,
    TagOutdated,
    read_fragment,
)
from mesh.stream.offer import OfferUnacceptable

log = logging.getLogger(__name__)

MAX_SDP = 64 * 1024
MAX_OPTIONS = 32
MAX_OPTION_VALUE = 4096  # characters; a request line has 8190 bytes
RETRY_AFTER_S = 2
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
RESUME = "Framemesh-Resume"  # a session's resume token, in answers and requests

_SDP_RANGES = (SDP, "application/*", "*/*")  # of an Accept header

VIEW, CONTROL = "view", "control"  # scopes: mesh.core.membership.Scope

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'{others}",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_EVERY_ANSWER = {
    "Access-Control-Allow-Origin": "*",  # no cookies: only a bearer token is ever believed
    "Access-Control-Expose-Headers": f"Accept-Patch, ETag, Link, Location, Retry-After, {RESUME}",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = web.AppKey("policy", str)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, If-Match, {RESUME}",
    "Access-Control-Max-Age": "3600",
    "Accept-Post": SDP,
    "Accept-Patch": FRAGMENT,
}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FILE = re.compile(r"(?=.{1,200}$)\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,14})")  # exact in JavaScript too
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?")

PrincipalT = TypeVar("PrincipalT")


class BadRequest(MeshError):
    """An HTTP request that cannot be understood. `status` says which way."""

    code = "bad_request"

    def __init__(self, what: str, why: str, fix: str, status: int = 400) -> None:
        super().__init__(what, why, fix)
        self.status = status


class UnknownSession(MeshError):
    """No session of that id is open here (or none that the asker may know of)."""

    code = "unknown_session"


class UnknownViewer(MeshError):
    """No viewer of that id looks on at the session."""

    code = "unknown_viewer"


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that was opened for its viewer."""

    session_id: str  # URL-safe, unguessable
    answer_sdp: str
    description: Mapping[str, Any]  # JSON-ready
    tag: str = ""  # of its viewer's ICE session
    resume: str = ""  # the token to resume it with; "": it cannot be


@dataclass(frozen=True, slots=True)
class JoinedSession:
    """A running session that one more viewer was admitted to."""

    viewer_id: str  # URL-safe, unguessable
    answer_sdp: str
    tag: str = ""  # of its ICE session


class GatewayApi(Protocol[PrincipalT]):
    """What the HTTP face needs of a gateway. A principal is whatever `authorize` returns."""

    def authorize(self, token: str, scope: str) -> PrincipalT:
        """Whose token it is. Raises NotAuthorized if it is bad or does not grant `scope`."""
        ...

    async def open_session(
        self, principal: PrincipalT, request: SessionRequest, offer_sdp: str
    ) -> OpenedSession:
        """Open a session for one viewer.

        Raises SessionRefused if it cannot be as asked, DeviceUnavailable if nothing can serve it
        now.
        """
        ...

    async def join_session(
        self, principal: PrincipalT, session_id: str, offer_sdp: str
    ) -> JoinedSession:
        """Let one more viewer look on. Raises UnknownSession, NotAuthorized, SessionRefused."""
        ...

    async def resume_session(
        self, principal: PrincipalT, session_id: str, resume: str, offer_sdp: str
    ) -> OpenedSession:
        """Go on with a session over a new connection.

        Raises UnknownSession, NotAuthorized (also if `resume` was used), SessionRefused.
        """
        ...

    async def trickle(
        self,
        principal: PrincipalT,
        session_id: str,
        viewer_id: str | None,
        if_match: str | None,
        fragment: Fragment,
    ) -> None:
        """Take a viewer's later ICE candidates; None: the viewer that the session was opened for.

        Raises UnknownSession, UnknownViewer, NotAuthorized, and what `check_session` does.
        """
        ...

    def leave_session(self, principal: PrincipalT, session_id: str, viewer_id: str) -> None:
        """End a viewer's part. Raises UnknownSession, UnknownViewer, NotAuthorized."""
        ...

    def sessions(self, principal: PrincipalT) -> Sequence[Mapping[str, Any]]:
        """What the principal may join, JSON-ready."""
        ...

    def describe_session(self, principal: PrincipalT, session_id: str) -> Mapping[str, Any]:
        """The session's description, JSON-ready. Raises UnknownSession, NotAuthorized."""
        ...

    async def close_session(self, principal: PrincipalT, session_id: str) -> None:
        """End the session. Raises UnknownSession, NotAuthorized."""
        ...

    def status(self) -> Mapping[str, Any]:
        """The gateway's state, JSON-ready."""
        ...


def create_app(
    gateway: GatewayApi[PrincipalT],
    static: Path | None,
    ice_servers: Sequence[IceServer] = (),
    others: Sequence[str] = (),
) -> web.Application:
    """The application to serve.

    static: the folder with the viewer page, index.html in it.
    ice_servers: what viewers are told of, by Link headers; only those with a token.
    others: origins of the realm's other gateways, likewise; the page may ask them too.
    """
    app = web.Application(middlewares=[_answer_properly], client_max_size=MAX_SDP)
    app[_POLICY] = _CONTENT_SECURITY_POLICY.format(others="".join(f" {at}" for at in others))
    face = _Face(gateway, ice_servers, others)
    app.add_routes(
        [
            web.post("/whep/{workload}", face.open_session),
            web.get("/whep/{workload}", _reserved),
            web.post("/whep/sessions/{session}", face.join_session),
            web.get("/whep/sessions/{session}", face.describe_session),
            web.patch("/whep/sessions/{session}", face.trickle),
            web.delete("/whep/sessions/{session}", face.close_session),
            web.get("/whep/sessions/{session}/viewers/{viewer}", face.describe_session),
            web.patch("/whep/sessions/{session}/viewers/{viewer}", face.trickle),
            web.delete("/whep/sessions/{session}/viewers/{viewer}", face.leave_session),
            web.get("/sessions", face.sessions),
            web.get("/status", face.status),
            web.options("/{path:.*}", face.preflight),
        ]
    )
    if static is not None:
        app.router.add_get("/{path:.*}", _Page(static).serve)
    return app


class _Face:
    """The handlers, beside the gateway they ask."""

    def __init__(
        self,
        gateway: GatewayApi[PrincipalT],
        ice_servers: Sequence[IceServer],
        others: Sequence[str],
    ) -> None:
        self._gateway: GatewayApi[Any] = gateway
        self._ice_servers = ice_servers
        self._others = others

    async def open_session(self, request: web.Request) -> web.Response:
        principal = self._gateway.authorize(_token(request), CONTROL)
        asked = SessionRequest(_workload(request), _options(request))
        return self._opened(
            await self._gateway.open_session(principal, asked, await _offer(request))
        )

    async def join_session(self, request: web.Request) -> web.Response:
        """Look on; or, with a resume token, go on in the place of who held the session."""
        session, resume = request.match_info["session"], request.headers.get(RESUME)
        if resume is not None:
            principal = self._gateway.authorize(_token(request), CONTROL)
            offer = await _offer(request)
            return self._opened(
                await self._gateway.resume_session(principal, session, resume, offer)
            )
        principal = self._gateway.authorize(_token(request), VIEW)
        joined = await self._gateway.join_session(principal, session, await _offer(request))
        where = f"/whep/sessions/{session}/viewers/{joined.viewer_id}"
        return self._created(where, joined.answer_sdp, joined.tag)

    async def trickle(self, request: web.Request) -> web.Response:
        viewer = request.match_info.get("viewer")
        principal = self._gateway.authorize(_token(request), VIEW if viewer else CONTROL)
        fragment = read_fragment(await _body(request, FRAGMENT))
        if_match = request.headers.get(hdrs.IF_MATCH)
        session = request.match_info["session"]
        await self._gateway.trickle(principal, session, viewer, if_match, fragment)
        return web.Response(status=204)

    async def preflight(self, request: web.Request) -> web.Response:
        """What may be asked of any path; with a token, also the ICE servers, to gather early."""
        answer = web.Response(status=204, headers=_PREFLIGHT)
        if hdrs.AUTHORIZATION in request.headers:
            self._gateway.authorize(_token(request), VIEW)
            self._link(answer)
        return answer

    def _opened(self, opened: OpenedSession) -> web.Response:
        where = f"/whep/sessions/{opened.session_id}"
        return self._created(where, opened.answer_sdp, opened.tag, opened.resume)

    def _created(self, where: str, answer_sdp: str, tag: str, resume: str = "") -> web.Response:
        answer = web.Response(status=201, text=answer_sdp, content_type=SDP)
        answer.headers[hdrs.LOCATION] = where
        answer.headers["Accept-Patch"] = FRAGMENT
        if tag:
            answer.headers[hdrs.ETAG] = f'"{tag}"'
        if resume:
            answer.headers[RESUME] = resume
        self._link(answer)
        return answer

    def _link(self, answer: web.Response) -> None:
        for server in self._ice_servers:
            answer.headers.add(hdrs.LINK, server.link(int(time.time())))
        for origin in self._others:
            answer.headers.add(hdrs.LINK, f'<{origin}/>; rel="alternate"')

    async def leave_session(self, request: web.Request) -> web.Response:
        principal = self._gateway.authorize(_token(request), VIEW)
        session, viewer = request.match_info["session"], request.match_info["viewer"]
        self._gateway.leave_session(principal, session, viewer)
        return web.Response()

    async def sessions(self, request: web.Request) -> web.Response:
        principal = self._gateway.authorize(_token(request), VIEW)
        return _json({"sessions": self._gateway.sessions(principal)})

    async def describe_session(self, request: web.Request) -> web.Response:
        principal = self._gateway.authorize(_token(request), VIEW)
        return _json(self._gateway.describe_session(principal, request.match_info["session"]))

    async def close_session(self, request: web.Request) -> web.Response:
        principal = self._gateway.authorize(_token(request), CONTROL)
        await self._gateway.close_session(principal, request.match_info["session"])
        return web.Response()

    async def status(self, request: web.Request) -> web.Response:
        self._gateway.authorize(_token(request), VIEW)
        return _json(self._gateway.status())


class _Page:
    """The viewer page's files: what lies in the folder, and no way out of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"] or "index.html"
        if not _FILE.fullmatch(name):
            raise web.HTTPNotFound
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)


async def _reserved(request: web.Request) -> web.Response:
    """WHEP keeps GET of its endpoint for later versions."""
    raise web.HTTPMethodNotAllowed(request.method, ["POST"])


# --- what comes in --------------------------------------------------------------------------


class _NoToken(NotAuthorized):
    """Nothing was presented at all: 401 rather than 403 (RFC 6750)."""


_STATUS: tuple[tuple[type[MeshError], int], ...] = (
    (_NoToken, 401),
    (NotAuthorized, 403),
    (UnknownSession, 404),
    (UnknownViewer, 404),
    (FragmentRefused, 400),
    (OfferUnacceptable, 406),
    (TagOutdated, 412),
    (RestartRefused, 422),
    (TagMissing, 428),
    (SessionRefused, 400),
    (ContentRefused, 400),
    (DeviceUnavailable, 503),
    (DeviceLost, 503),
    (LinkLost, 503),
)


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _NoToken(
            what="the client is not authorised",
            why="the request has no 'Authorization: Bearer' header",
            fix="Get a token from the gateway's owner (`framemesh realm token`) and send it along.",
        )
    return token.strip()


def _workload(request: web.Request) -> str:
    name = request.match_info["workload"]
    if not _NAME.fullmatch(name):
        raise BadRequest(
            what="the workload's name cannot be read",
            why="names are lower-case letters, digits, '_' and '-', at most 64",
            fix="POST to /whep/NAME, for example /whep/render.",
        )
    return name


def _options(request: web.Request) -> dict[str, int | float | str]:
    query = request.query
    if len(query) > MAX_OPTIONS:
        raise _bad_options(f"there are more than {MAX_OPTIONS}")
    options: dict[str, int | float | str] = {}
    for name, text in query.items():
        if not _NAME.fullmatch(name):
            raise _bad_options("a name is not lower-case letters, digits, '_' and '-'")
        if name in options:
            raise _bad_options(f"'{name}' is given twice")
        if len(text) > MAX_OPTION_VALUE:
            raise _bad_options(f"'{name}' is longer than {MAX_OPTION_VALUE} characters")
        options[name] = _value(text)
    return options


def _value(text: str) -> int | float | str:
    """A number if it is written as JSON writes one, with every digit meant; else the text."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _bad_options(why: str) -> BadRequest:
    return BadRequest(
        what="the session's options cannot be read",
        why=why,
        fix="Give each option once, as ?name=value&name=value.",
    )


async def _offer(request: web.Request) -> str:
    if not any(kind in request.headers.get(hdrs.ACCEPT, "*/*") for kind in _SDP_RANGES):
        raise BadRequest(
            what="no answer that is asked for can be given",
            why="the answer to an offer is SDP, and the Accept header leaves that out",
            fix=f"Leave the header out, or have {SDP} in it.",
            status=406,
        )
    return await _body(request, SDP)


async def _body(request: web.Request, kind: str) -> str:
    if request.content_type != kind:
        raise BadRequest(
            what="the request does not hold what it should",
            why=f"its Content-Type is {request.content_type[:64]}",
            fix=f"Send it as {kind}.",
            status=415,
        )
    try:
        return (await request.read()).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise BadRequest(
            what="the SDP cannot be read",
            why=f"it is not UTF-8 ({problem.reason} at byte {problem.start})",
            fix="Send the text of RTCPeerConnection.localDescription.sdp.",
        ) from problem


# --- what goes out --------------------------------------------------------------------------


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


@web.middleware
async def _answer_properly(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors become Problems, and every answer carries the same careful headers."""
    try:
        answer = await handler(request)
    except MeshError as problem:
        answer = _problem(problem, _status(problem))
    except web.HTTPException as refusal:
        answer = _refusal(request, refusal)
    except Exception:
        log.exception("answering %s %s failed", request.method, request.path)
        answer = _problem(
            MeshError(
                what="the gateway could not answer",
                why="something in it failed unexpectedly",
                fix="Its log has the details; please report them.",
            ),
            500,
        )
    if not answer.prepared:
        for name, value in _EVERY_ANSWER.items():
            answer.headers.setdefault(name, value)
        answer.headers.setdefault("Content-Security-Policy", request.config_dict[_POLICY])
    return answer


def _problem(problem: MeshError, status: int) -> web.Response:
    answer = web.Response(
        status=status,
        body=msgspec.json.encode(problem.to_problem()),
        content_type="application/json",
    )
    if status == 401:
        answer.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    elif status == 503:
        answer.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    return answer


def _status(problem: MeshError) -> int:
    if isinstance(problem, BadRequest):
        return problem.status
    for kind, status in _STATUS:
        if isinstance(problem, kind):
            return status
    log.error("a request failed: %s", problem)
    return 500


def _refusal(request: web.Request, refusal: web.HTTPException) -> web.Response:
    """aiohttp's own refusals, in our form."""
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        allowed = sorted({*refusal.allowed_methods, "OPTIONS"})
        why = f"{request.method} is not one of {', '.join(allowed)}"
        fix = "POST a new offer to open a session, DELETE a session's URL to end it."
        answer = _problem(BadRequest("the method is not allowed", why, fix), 405)
        answer.headers[hdrs.ALLOW] = ", ".join(allowed)
        return answer
    if isinstance(refusal, web.HTTPRequestEntityTooLarge):
        why = f"its body is over {MAX_SDP} bytes"
        return _problem(BadRequest("the request is too large", why, "Send an SDP offer."), 413)
    if isinstance(refusal, web.HTTPNotFound):
        why = f"{request.path[:200]} is nothing here"
        fix = "The page is at /; sessions open at /whep/WORKLOAD."
        return _problem(BadRequest("there is no such page", why, fix), 404)
    fix = "Read docs/protocol-browser.md."
    return _problem(BadRequest("the request was refused", refusal.reason, fix), refusal.status)
