"""The driver itself: what it collects, and that it leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from clients import chromium as driver
from clients.chromium import BrowserUnavailable, PageFailed, find_chromium, open_chromium

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """Where this test's browsers have their profiles."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def processes_using(folder: Path) -> set[int]:
    """Process ids of all whose command line names the folder."""
    found = set()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if str(folder).encode() in line.read_bytes():
                found.add(int(line.parent.name))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_browser_ends_with_all_its_processes_and_its_profile(chromium, temporary_folder):
    with pytest.raises(ZeroDivisionError):
        async with open_chromium() as browser:
            page = await browser.open_page("about:blank")
            assert await page.evaluate("1 + 1") == 2
            assert processes_using(temporary_folder)
            assert list(temporary_folder.iterdir())
            raise ZeroDivisionError
    assert processes_using(temporary_folder) == set()
    assert list(temporary_folder.iterdir()) == []


async def test_a_browser_that_dies_is_an_error_and_not_a_wait(chromium, temporary_folder):
    async with open_chromium() as browser:
        page = await browser.open_page("about:blank")
        waiting = asyncio.ensure_future(page.evaluate("new Promise(() => {})"))
        await page.evaluate("0")
        ours = processes_using(temporary_folder)
        [first] = [pid for pid in ours if parent_of(pid) == os.getpid()]
        os.kill(first, signal.SIGKILL)
        with pytest.raises(PageFailed, match="browser has ended"):
            await waiting
        with pytest.raises(PageFailed, match="browser has ended"):
            await page.evaluate("1")


async def test_what_goes_wrong_in_a_page_is_collected(chromium, address):
    page = await chromium.open_page(f"{address}/#token=let-me-in")
    await page.until("globalThis.framemesh")
    await page.evaluate("console.error('said', 7)")
    await page.evaluate("setTimeout(() => { throw new Error('thrown'); }), 0")
    await page.evaluate("fetch('/nothing-here').then(() => 0)")
    await page.evaluate("document.head.append(Object.assign(document.createElement('script'),"
                        " {textContent: '1'})), 0")  # fmt: skip
    await page.until("new Promise((done) => setTimeout(() => done(true), 0))")
    kinds = ["console: said 7", "uncaught: Error: thrown", "404", "Content Security Policy"]
    for kind in kinds:
        assert any(kind in line for line in page.errors), (kind, page.errors)
    await page.close()


async def test_a_script_that_throws_says_what(chromium):
    page = await chromium.open_page("about:blank")
    with pytest.raises(PageFailed, match="missing is not defined"):
        await page.evaluate("missing")
    await page.close()


async def test_a_condition_that_never_holds_ends_with_what_it_was(chromium):
    page = await chromium.open_page("about:blank")
    with pytest.raises(PageFailed, match=r"1 === 2"):
        await page.until("1 === 2", timeout_s=0.2)
    await page.close()


async def test_an_address_where_nobody_listens_is_an_error(chromium):
    page = await chromium.open_page("about:blank")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and not listening
        with pytest.raises(PageFailed, match="ERR_CONNECTION_REFUSED") as failure:
            await page.goto(f"http://127.0.0.1:{silent.getsockname()[1]}/#token=secret")
    assert "secret" not in str(failure.value)
    await page.close()


async def test_without_a_browser_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setattr(driver, "BINARIES", ("no-such-browser",))
    with pytest.raises(BrowserUnavailable, match="apt-get install --yes chromium"):
        find_chromium()


async def test_a_browser_that_does_not_start_says_why(monkeypatch, tmp_path, temporary_folder):
    broken = tmp_path / "broken-browser"
    broken.write_text("#!/bin/sh\necho cannot open display >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(driver, "BINARIES", (str(broken),))
    with pytest.raises(BrowserUnavailable, match="cannot open display"):
        async with open_chromium():
            raise AssertionError("a broken browser was opened")
