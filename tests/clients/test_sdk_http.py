"""What the SDK makes of an HTTP server that is no gateway, or a broken one."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

import framemesh
from clients.cli.main import main
from clients.sdk.address import read_address
from clients.sdk.http import MAX_ANSWER, open_http
from mesh.core.errors import LinkLost, ProtocolViolation


@pytest.fixture
async def serve():
    """Start a server that answers every request as given; returns (address, requests seen)."""
    runners = []

    async def start(answer):
        seen = []

        async def handle(request: web.Request) -> web.StreamResponse:
            seen.append(request)
            return answer()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        return read_address(f"http://127.0.0.1:{port}/#token=secret"), seen

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: web.Response(status=502, text="<h1>Bad Gateway</h1>"), "answers 502"),
        (lambda: web.Response(text="[1, 2]"), "no JSON object"),
        (lambda: web.Response(body=b"\xff\xfe"), "no JSON object"),
        (lambda: web.Response(body=b"[" * 100_000), "no JSON object"),
        (lambda: web.Response(body=bytes(MAX_ANSWER + 1)), "over"),
    ],
)
async def test_what_is_no_gateways_answer_is_called_that(serve, answer, why):
    address, _ = await serve(answer)
    async with open_http(address) as gateway:
        with pytest.raises(ProtocolViolation, match=why):
            await gateway.status()


async def test_the_token_goes_to_the_gateway_and_not_where_it_points(serve):
    elsewhere, seen_elsewhere = await serve(lambda: web.json_response({}))
    address, seen = await serve(
        lambda: web.Response(status=302, headers={"Location": f"{elsewhere.base}/status"})
    )
    async with open_http(address) as gateway:
        with pytest.raises(ProtocolViolation, match="302"):
            await gateway.status()
    assert seen[0].headers["Authorization"] == "Bearer secret"
    assert seen_elsewhere == []


@pytest.mark.parametrize("location", ["", "https://elsewhere/whep/sessions/x"])
async def test_an_opened_session_without_an_address_of_its_own_is_refused(serve, location):
    address, _ = await serve(lambda: web.Response(status=201, headers={"Location": location}))
    async with open_http(address) as gateway:
        with pytest.raises(ProtocolViolation, match="where the session is"):
            await gateway.open("render", {}, "v=0")


@pytest.mark.parametrize(
    "status", [{}, {"node": 1, "link_port": 5}, {"node": "n", "link_port": 0}, {"link_port": True}]
)
async def test_a_gateway_that_does_not_say_where_its_links_are_cannot_be_fed(host, serve, status):
    address, _ = await serve(lambda: web.json_response(status))
    fragment = host.url().partition("#")[2]
    with pytest.raises(LinkLost, match="where it takes links"):
        async with framemesh.connect(f"{address.base}/#{fragment}", "mirror"):
            pass


async def test_another_node_than_the_gateway_names_is_not_fed(host, serve):
    status = {"node": "x" * 7, "link_port": host.node.port}
    address, _ = await serve(lambda: web.json_response(status))
    fragment = host.url().partition("#")[2]
    with pytest.raises(framemesh.PeerRefused, match="expected"):
        async with framemesh.connect(f"{address.base}/#{fragment}", "mirror"):
            pass


async def test_a_workload_without_pictures_cannot_be_viewed(host, capsys):
    words = ["view", host.url(), "--workload", "mirror"]
    assert await asyncio.to_thread(main, words) == 2
    assert "makes no pictures" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["view", "status", "peers"])
async def test_a_command_says_what_is_wrong_with_its_address(capsys, command):
    assert await asyncio.to_thread(main, [command, "http://127.0.0.1:9/"]) == 2
    assert "no token" in capsys.readouterr().err
