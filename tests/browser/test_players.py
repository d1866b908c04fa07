"""Third parties' WHEP players, unmodified from npm, on a page of another origin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp import web

from bench.peers import npm

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PAGES = Path(__file__).parent / "players"
CACHE = Path(__file__).parents[2] / "out" / "npm"
SHOWN = """(() => {
  const video = document.querySelector("video");
  const shown = video?.getVideoPlaybackQuality().totalVideoFrames;
  return shown >= 15 && [video.videoWidth, video.videoHeight];
})()"""


@dataclass(frozen=True)
class Package:
    """One of the npm registry's, as it was published."""

    name: str
    version: str
    integrity: str  # `npm view NAME@VERSION dist.integrity`
    where: str = "/package"


@dataclass(frozen=True)
class Player:
    """A player, with what its package needs of others."""

    page: str
    packages: list[Package] = field(default_factory=list)
    trickles: bool = False


MEDOOZE = Player(
    "medooze.html",
    [
        Package(
            "whip-whep",
            "1.2.0",
            "CP+Tht3O/N6QLebW5LxsNKgzFN5KX6WinLr1SLs74feagYu+Gqy+0dw48p5RQuE+FlrM4xyOlOdW2UOQwljImA==",
        )
    ],
    trickles=True,
)
EYEVINN = Player(
    "eyevinn.html",
    [
        Package(
            "@eyevinn/webrtc-player",
            "0.13.0",
            "X5Nzznbyw9PXj85HYV7nyHSbeC0tWpTTAFEYjilnlLLWfo9EARx1tCQk5tdhmImnDST8VN50SYt6uMDudoVnWw==",
        ),
        Package(
            "events",
            "3.3.0",
            "mQw+2fkQbALzQ7V0MY0IqdnXNOeTtP4r0lN9z7AAawCXgqea7bDii20AYrIBrFd/Hx0M2Ocz6S111CaFkUcb0Q==",
            "/events",
        ),
    ],
)


@asynccontextmanager
async def published(player: Player) -> AsyncIterator[str]:
    """The player's page and packages on a server of their own; its address."""
    app = web.Application()

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGES / player.page)

    app.router.add_get("/", page)
    for package in player.packages:
        try:
            folder = await asyncio.to_thread(
                npm.fetch, package.name, package.version, package.integrity, CACHE
            )
        except npm.Unavailable as missing:
            pytest.skip(str(missing))
        app.router.add_static(package.where, folder)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("player", [MEDOOZE, EYEVINN], ids=lambda player: player.page)
async def test_a_third_partys_player_plays_our_stream(gateway, address, chromium, token, player):
    async with published(player) as elsewhere:
        asked = urlencode({"url": f"{address}/whep/render", "token": token})
        page = await chromium.open_page(f"{elsewhere}#{asked}")
        assert await page.until(SHOWN) == [640, 360]
        assert (gateway.trickled > 0) == player.trickles
        await page.evaluate("player.stop()")
        assert await gateway.deleted.get() == 0
        assert page.errors == []
        await page.close()
