"""What the HTTP face makes of requests, against a gateway that only takes notes."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import DeviceUnavailable, NotAuthorized, SessionRefused
from mesh.core.turn import IceServer
from mesh.core.workload import SessionRequest
from mesh.http import (
    FRAGMENT,
    MAX_OPTION_VALUE,
    MAX_OPTIONS,
    MAX_SDP,
    JoinedSession,
    OpenedSession,
    UnknownSession,
    UnknownViewer,
    _value,
    create_app,
)
from mesh.stream.fragment import RestartRefused, TagMissing, TagOutdated
from mesh.stream.offer import OfferUnacceptable

SCOPES = {"viewer": {"view"}, "owner": {"view", "control"}}


class NotedGateway:
    """Believes two tokens and notes what it is asked; `refuse` is raised instead of opening."""

    def __init__(self) -> None:
        self.opened: list[tuple[SessionRequest, str]] = []
        self.viewers: list[tuple[str, str]] = []
        self.closed: list[str] = []
        self.trickled: list[tuple] = []
        self.refuse: Exception | None = None

    def authorize(self, token: str, scope: str) -> str:
        if scope not in SCOPES.get(token, ()):
            raise NotAuthorized(what="no", why=f"the token grants no {scope}", fix="Get another.")
        return token

    async def open_session(self, principal, request, offer_sdp) -> OpenedSession:
        if self.refuse is not None:
            raise self.refuse
        self.opened.append((request, offer_sdp))
        return OpenedSession("abc", "v=0 answer", {}, tag="ice1")

    async def join_session(self, principal, session_id, offer_sdp) -> JoinedSession:
        self._known(session_id)
        self.viewers.append((principal, offer_sdp))
        return JoinedSession(f"v{len(self.viewers)}", "v=0 answer", tag="ice2")

    async def trickle(self, principal, session_id, viewer_id, if_match, fragment) -> None:
        self._known(session_id)
        self.trickled.append((viewer_id, if_match, [c.ip for c in fragment.candidates]))
        if self.refuse is not None:
            raise self.refuse

    def leave_session(self, principal, session_id, viewer_id) -> None:
        self._known(session_id)
        if viewer_id != f"v{len(self.viewers)}":
            raise UnknownViewer(what="no", why="no such viewer", fix="Join.")
        self.viewers.pop()

    def sessions(self, principal) -> list[dict]:
        return [{"session": "abc", "for": principal}]

    def describe_session(self, principal, session_id) -> dict:
        self._known(session_id)
        return {"workload": "render", "by": principal}

    async def close_session(self, principal, session_id) -> None:
        self._known(session_id)
        self.closed.append(session_id)

    def status(self) -> dict:
        return {"sessions": len(self.opened)}

    def _known(self, session_id: str) -> None:
        if session_id != "abc":
            raise UnknownSession(what="no", why="no such session", fix="Open one.")


@pytest.fixture
def gateway():
    return NotedGateway()


@pytest.fixture
async def http(gateway, tmp_path):
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html>page")
    (page / "app.js").write_text("export {}")
    (page / "sub").mkdir()
    (tmp_path / "secret.txt").write_text("secret content")
    (page / "link.txt").symlink_to(tmp_path / "secret.txt")
    servers = [IceServer("stun:192.0.2.1:3478"), IceServer("turn:192.0.2.1:3478", "north")]
    async with TestClient(TestServer(create_app(gateway, page, servers))) as client:
        yield client


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp", **headers}


async def problem(answer, status: int) -> dict:
    """The answer's Problem, with the status it must have."""
    assert answer.status == status
    assert answer.content_type == "application/json"
    body = await answer.json()
    assert set(body) == {"code", "what", "why", "fix"}
    assert all(body.values())
    return body


# --- opening --------------------------------------------------------------------------------


async def test_an_offer_is_passed_on_with_its_options_and_the_answer_comes_back(gateway, http):
    url = "/whep/render?width=640&exposure=1.5&scene=helmet&codec=vp8"
    answer = await http.post(url, data="v=0 offer", headers=bearer("owner"))
    assert answer.status == 201
    assert answer.headers["Location"] == "/whep/sessions/abc"
    assert answer.headers["ETag"] == '"ice1"'
    assert answer.headers["Accept-Patch"] == FRAGMENT
    assert answer.content_type == "application/sdp"
    assert await answer.text() == "v=0 answer"
    options = {"width": 640, "exposure": 1.5, "scene": "helmet", "codec": "vp8"}
    assert gateway.opened == [(SessionRequest("render", options), "v=0 offer")]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc"])
async def test_without_a_token_it_is_401_and_says_how(http, header):
    headers = {"Content-Type": "application/sdp"} | ({"Authorization": header} if header else {})
    answer = await http.post("/whep/render", data="v=0", headers=headers)
    assert "Authorization" in (await problem(answer, 401))["why"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["viewer", "stranger"])
async def test_a_token_that_does_not_grant_it_is_403(gateway, http, token):
    answer = await http.post("/whep/render", data="v=0", headers=bearer(token))
    assert (await problem(answer, 403))["code"] == "not_authorized"
    assert not gateway.opened


async def test_another_content_type_is_415(http):
    headers = bearer("owner", **{"Content-Type": "text/plain"})
    answer = await http.post("/whep/render", data="v=0", headers=headers)
    assert "text/plain" in (await problem(answer, 415))["why"]


async def test_an_offer_over_the_bound_is_413(gateway, http):
    answer = await http.post("/whep/render", data="x" * (MAX_SDP + 1), headers=bearer("owner"))
    await problem(answer, 413)
    assert not gateway.opened


async def test_an_offer_that_is_not_utf8_is_400(http):
    answer = await http.post("/whep/render", data=b"v=0\xff", headers=bearer("owner"))
    assert "byte 3" in (await problem(answer, 400))["why"]


@pytest.mark.parametrize(
    "query",
    ["a=1&a=2", "Upper=1", "=1", "a" * 65 + "=1", f"a={'x' * (MAX_OPTION_VALUE + 1)}",
     "&".join(f"n{i}=1" for i in range(MAX_OPTIONS + 1))],
)  # fmt: skip
async def test_options_that_cannot_be_read_are_400(gateway, http, query):
    answer = await http.post(f"/whep/render?{query}", data="v=0", headers=bearer("owner"))
    assert "options" in (await problem(answer, 400))["what"]
    assert not gateway.opened


async def test_a_workload_name_that_cannot_be_one_is_400(http):
    answer = await http.post("/whep/..%2Fetc", data="v=0", headers=bearer("owner"))
    assert answer.status in (400, 404)
    answer = await http.post("/whep/Render", data="v=0", headers=bearer("owner"))
    await problem(answer, 400)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (SessionRefused("no", "no such scene", "Name another."), 400, "session_refused"),
        (OfferUnacceptable("no", "no such codec", "Offer it."), 406, "session_refused"),
        (DeviceUnavailable("no", "all devices are lost", "Wait."), 503, "device_unavailable"),
        (ZeroDivisionError("secret detail"), 500, "error"),
    ],
)
async def test_what_the_gateway_raises_becomes_a_problem(gateway, http, raised, status, code):
    gateway.refuse = raised
    answer = await http.post("/whep/render", data="v=0", headers=bearer("owner"))
    body = await problem(answer, status)
    assert body["code"] == code
    assert "secret" not in json.dumps(body)
    assert ("Retry-After" in answer.headers) == (status == 503)


# --- sessions and status --------------------------------------------------------------------


async def test_a_session_is_described_and_ended(gateway, http):
    described = await http.get("/whep/sessions/abc", headers=bearer("viewer"))
    assert await described.json() == {"workload": "render", "by": "viewer"}
    await problem(await http.delete("/whep/sessions/abc", headers=bearer("viewer")), 403)
    assert (await http.delete("/whep/sessions/abc", headers=bearer("owner"))).status == 200
    assert gateway.closed == ["abc"]


async def test_a_running_session_is_joined_by_who_may_look_and_left_again(gateway, http):
    listed = await (await http.get("/sessions", headers=bearer("viewer"))).json()
    assert listed == {"sessions": [{"session": "abc", "for": "viewer"}]}
    answer = await http.post("/whep/sessions/abc", data="v=0 offer", headers=bearer("viewer"))
    assert answer.status == 201
    assert answer.content_type == "application/sdp"
    assert await answer.text() == "v=0 answer"
    where = answer.headers["Location"]
    assert where == "/whep/sessions/abc/viewers/v1"
    assert gateway.viewers == [("viewer", "v=0 offer")]
    described = await http.get(where, headers=bearer("viewer"))
    assert await described.json() == {"workload": "render", "by": "viewer"}
    assert (await http.delete(where, headers=bearer("viewer"))).status == 200
    assert gateway.viewers == gateway.closed == []
    missing = await problem(await http.delete(where, headers=bearer("viewer")), 404)
    assert missing["code"] == "unknown_viewer"


async def test_joining_and_listing_need_the_scope_view(gateway, http):
    for token, status in (("", 401), ("stranger", 403)):
        for method, path in (
            ("GET", "/sessions"),
            ("POST", "/whep/sessions/abc"),
            ("DELETE", "/whep/sessions/abc/viewers/v1"),
        ):
            answer = await http.request(method, path, data=b"v=0", headers=bearer(token))
            await problem(answer, status)
    assert not gateway.viewers


async def test_an_unknown_session_is_404(http):
    for ask in (http.get, http.delete, http.post):
        await problem(await ask("/whep/sessions/xyz", headers=bearer("owner")), 404)


CANDIDATE = "a=ice-ufrag:EsAw\r\na=candidate:1 1 udp 1 192.0.2.7 9 typ host\r\n"


@pytest.mark.parametrize(
    ("path", "token", "viewer"),
    [("/whep/sessions/abc", "owner", None), ("/whep/sessions/abc/viewers/v1", "viewer", "v1")],
)
async def test_later_candidates_are_taken(gateway, http, path, token, viewer):
    headers = bearer(token, **{"Content-Type": FRAGMENT, "If-Match": '"ice1"'})
    answer = await http.patch(path, data=CANDIDATE, headers=headers)
    assert answer.status == 204
    assert gateway.trickled == [(viewer, '"ice1"', ["192.0.2.7"])]


@pytest.mark.parametrize(
    ("raised", "status"), [(TagOutdated, 412), (RestartRefused, 422), (TagMissing, 428)]
)
async def test_candidates_of_another_ice_session_have_statuses(gateway, http, raised, status):
    gateway.refuse = raised("no", "it is another", "Use this one.")
    headers = bearer("owner", **{"Content-Type": FRAGMENT})
    answer = await http.patch("/whep/sessions/abc", data=CANDIDATE, headers=headers)
    assert (await problem(answer, status))["code"] == raised.code


async def test_a_patch_that_is_no_fragment_is_refused(gateway, http):
    url = "/whep/sessions/abc"
    await problem(await http.patch(url, data=CANDIDATE, headers=bearer("owner")), 415)
    headers = bearer("owner", **{"Content-Type": FRAGMENT})
    await problem(await http.patch(url, data="nonsense", headers=headers), 400)
    headers = bearer("viewer", **{"Content-Type": FRAGMENT})
    await problem(await http.patch(url, data=CANDIDATE, headers=headers), 403)
    assert not gateway.trickled


async def test_who_accepts_no_sdp_is_told_that_nothing_else_is_given(gateway, http):
    answer = await http.post("/whep/render", data="v=0", headers=bearer("owner", Accept="text/xml"))
    assert "Accept" in (await problem(answer, 406))["why"]
    assert not gateway.opened


async def test_ice_servers_are_told_to_whoever_has_a_token(http):
    opened = await http.post("/whep/render", data="v=0", headers=bearer("owner"))
    joined = await http.post("/whep/sessions/abc", data="v=0", headers=bearer("viewer"))
    asked = await http.options("/whep/render", headers=bearer("viewer"))
    for answer in (opened, joined, asked):
        stun, turn = answer.headers.getall("Link")
        assert stun == '<stun:192.0.2.1:3478>; rel="ice-server"'
        assert turn.startswith('<turn:192.0.2.1:3478>; rel="ice-server"; username="')
    assert "Link" not in (await http.options("/whep/render")).headers
    refused = await http.options("/whep/render", headers=bearer("stranger"))
    assert (await problem(refused, 403)) and "Link" not in refused.headers


async def test_get_of_the_endpoint_is_kept_for_later_versions(http):
    answer = await http.get("/whep/render", headers=bearer("owner"))
    await problem(answer, 405)
    assert answer.headers["Allow"] == "OPTIONS, POST"


async def test_status_needs_the_scope_view(http):
    await problem(await http.get("/status"), 401)
    await problem(await http.get("/status", headers=bearer("stranger")), 403)
    assert await (await http.get("/status", headers=bearer("viewer"))).json() == {"sessions": 0}


async def test_a_browser_elsewhere_may_ask_what_it_may_do(http):
    answer = await http.options("/whep/render")
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "If-Match"} <= set(allowed)
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Accept-Post"] == "application/sdp"
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "Link", "Location"} <= set(exposed)
    refused = await http.post("/whep/render", data="v=0")
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


async def test_other_gateways_are_told_of_and_may_be_asked_by_the_page(gateway):
    there = "https://gate-2.example:8443"
    app = create_app(gateway, None, others=[there])
    async with TestClient(TestServer(app)) as client:
        opened = await client.post("/whep/render", data="v=0", headers=bearer("owner"))
        assert opened.headers.getall("Link") == [f'<{there}/>; rel="alternate"']
        assert f"connect-src 'self' {there};" in opened.headers["Content-Security-Policy"]
        assert "Link" not in (await client.options("/whep/render")).headers


# --- the page -------------------------------------------------------------------------------


async def test_the_page_is_served_with_strict_headers(http):
    for path, ending in (("/", "/html"), ("/app.js", "/javascript")):
        answer = await http.get(path)
        assert answer.status == 200
        assert answer.content_type.endswith(ending)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/sub", "/sub/", "/missing.js", "/link.txt", "/..%2Fsecret.txt", "/%2e%2e/secret.txt"],
)
async def test_nothing_but_the_pages_own_files_is_served(http, path):
    await problem(await http.get(path), 404)


@pytest.mark.parametrize("path", ["/../secret.txt", "//etc/passwd", "/%00", "/" + "x" * 5000])
async def test_no_path_however_written_reaches_anything_outside(http, path):
    reader, writer = await asyncio.open_connection(http.host, http.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"secret content" not in answer


# --- option values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-7", -7), ("640", 640), ("1.5", 1.5), ("-0.25", -0.25), ("1e3", 1000.0),
        ("", ""), ("007", "007"), ("+1", "+1"), ("1_000", "1_000"), ("0x10", "0x10"), (".5", ".5"),
        ("1e999", "1e999"), ("nan", "nan"), ("inf", "inf"), ("true", "true"), ("１", "１"),
        ("9" * 16, "9" * 16),
    ],
)  # fmt: skip
def test_values_are_numbers_only_when_written_as_json_writes_them(text, value):
    read = _value(text)
    assert read == value
    assert type(read) is type(value)


@given(st.text(max_size=40))
def test_any_value_is_itself_or_a_finite_number(text):
    read = _value(text)
    assert read == text or abs(read) < float("inf")


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_integers_survive(number):
    assert _value(str(number)) == number
