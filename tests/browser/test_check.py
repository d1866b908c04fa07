"""The demo's check: it passes a good stream, and names what is wrong with a bad one."""

import io

import pytest
from PIL import Image

from clients.check import check
from clients.chromium import PageFailed

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

URL = "{}/?barcode=1#token=let-me-in"


def failed(report) -> set[str]:
    return {condition.name for condition in report.conditions if not condition.holds}


async def test_a_good_stream_passes_and_its_picture_is_kept(address, tmp_path):
    picture = tmp_path / "page.png"
    report = await check(URL.format(address), screenshot=picture, seconds=2, min_frames=30)
    assert report.passed, str(report)
    assert failed(report) == set()
    assert "anna@k3j2/vulkan0 50%" in str(report)
    assert Image.open(io.BytesIO(picture.read_bytes())).getcolors(maxcolors=100) is None


async def test_each_thing_that_is_wrong_is_named(gateway, address, tmp_path):
    gateway.makers = ["anna@k3j2/vulkan0"]
    gateway.grey = True
    shot = tmp_path / "page.png"
    report = await check(URL.format(address), screenshot=shot, seconds=1, min_frames=1000)
    assert not report.passed
    assert failed(report) == {
        "at least 1000 distinct frames, by barcode",
        "two makers or more, each of at least 30% of the tiles",
        "the picture shows something",
    }


async def test_a_stream_without_barcodes_has_no_frames_to_count(address, tmp_path):
    url = URL.format(address).replace("barcode=1", "")
    report = await check(url, screenshot=tmp_path / "page.png", seconds=1, min_frames=1)
    assert failed(report) == {"at least 1 distinct frames, by barcode"}


async def test_a_refused_session_is_told_at_once(address, tmp_path):
    url = URL.format(address).replace("let-me-in", "stale")
    with pytest.raises(PageFailed, match="the token is refused"):
        await check(url, screenshot=tmp_path / "page.png")
