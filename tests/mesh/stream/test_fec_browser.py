"""A real Chromium behind a path that loses packets: pictures come whole by parity alone."""

import asyncio
import dataclasses
import re
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from clients.chromium import open_chromium
from mesh.core.loop import monotonic_us
from mesh.http import create_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
PAGE = Path(__file__).parent / "page"
DELAY_S = 0.01  # each way: on a path without delay there is no parity
RECEIVED = """(async () => {
  for (const s of (await connection.getStats()).values())
    if (s.type === "inbound-rtp" && s.kind === "video") return s;
})()"""


class Relay(asyncio.DatagramProtocol):
    """UDP between a viewer and a stream. `loses(packet)` decides on each RTP packet to the viewer;
    SRTP leaves RTP headers readable.
    """

    def __init__(self) -> None:
        self.loses = lambda packet: False
        self.lost = 0
        self._to_viewer = self._back = None  # sockets
        self._viewer = None  # its address

    @classmethod
    @asynccontextmanager
    async def open(cls):
        relay = cls()
        loop = asyncio.get_running_loop()
        front, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=("127.0.0.1", 0))
        relay._to_viewer = front
        try:
            yield relay
        finally:
            front.close()
            if relay._back is not None:
                relay._back.close()

    async def between(self, answer: str) -> str:
        """The stream's SDP answer, its address replaced by the relay's."""
        [port] = set(re.findall(r"127\.0\.0\.1 (\d+) typ host", answer))
        loop = asyncio.get_running_loop()
        relay = self

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, address) -> None:
                relay.from_stream(data)

        self._back, _ = await loop.create_datagram_endpoint(
            Back, remote_addr=("127.0.0.1", int(port))
        )
        ours = self._to_viewer.get_extra_info("sockname")[1]
        lines = [
            line.replace(f"127.0.0.1 {port} typ host", f"127.0.0.1 {ours} typ host")
            for line in answer.splitlines()
            if "a=candidate" not in line or f"127.0.0.1 {port}" in line
        ]
        return "\r\n".join(lines) + "\r\n"

    def datagram_received(self, data: bytes, address) -> None:
        self._viewer = address
        asyncio.get_running_loop().call_later(DELAY_S, self._back.sendto, data)

    def from_stream(self, data: bytes) -> None:
        is_rtp = 128 <= data[0] < 192 and not 192 <= data[1] < 224
        if is_rtp and self.loses(data):
            self.lost += 1
        elif self._viewer is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(DELAY_S, self._to_viewer.sendto, data, self._viewer)


class FirstOfEachPicture:
    """Loses the first packet of every picture, and every retransmission."""

    def __init__(self, pictures: int, parity: int) -> None:
        self._pictures, self._parity = pictures.to_bytes(4), parity.to_bytes(4)
        self._timestamp = b""

    def __call__(self, packet: bytes) -> bool:
        if packet[8:12] != self._pictures:
            return packet[8:12] != self._parity
        before, self._timestamp = self._timestamp, packet[4:8]
        return before != self._timestamp


def draw_noise(view, n) -> None:
    """A picture of many packets."""
    pixels = np.frombuffer(view, np.uint8)
    pixels[:] = np.random.default_rng(n % 8).integers(112, 144, len(pixels), dtype=np.uint8)


@pytest.fixture
async def relayed(gateway, streams):
    """A page that shows a stream of many packets a picture through a relay."""
    gateway._make_stream = lambda options: streams(
        draw=draw_noise, options=dataclasses.replace(options, bitrate=4_000_000)
    )
    async with Relay.open() as relay:
        open_session = gateway.open_session

        async def open_through_relay(principal, request, offer_sdp):
            opened = await open_session(principal, request, offer_sdp)
            answer = await relay.between(opened.answer_sdp)
            return dataclasses.replace(opened, answer_sdp=answer)

        gateway.open_session = open_through_relay
        runner = web.AppRunner(create_app(gateway, PAGE))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield relay, f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_packet_lost_of_every_picture_is_recovered_by_parity_alone(gateway, relayed, codec):
    relay, address = relayed
    async with open_chromium() as browser:
        page = await browser.open_page(f"{address}/#token={gateway.TOKEN}&codec={codec}")
        await page.until("window.seen && seen.ids.length >= 5")
        harness = gateway.sessions["s0"]
        [peer] = harness.stream._viewers
        peer._parity.lost(0.1, monotonic_us())
        before = await page.evaluate(RECEIVED)
        relay.loses = FirstOfEachPicture(peer._transceiver.sender._ssrc, peer._protection.ssrc)
        shown = before["framesDecoded"]
        await page.until(f"{RECEIVED}.then((s) => s.framesDecoded >= {shown + 60})")
        after = await page.evaluate(RECEIVED)
    assert relay.lost >= 60
    assert after["pliCount"] == before["pliCount"]
    assert after["fecPacketsReceived"] >= 60
