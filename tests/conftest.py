"""What every test folder shares: bounds on threads, real inputs, and reasons for skips."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

# Before any test imports what starts threads: a busy small machine must not be oversubscribed.
os.environ.setdefault("LP_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import pytest
from hypothesis import settings

# No deadline: how long one example takes says more about the machine's other work.
settings.register_profile("default", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data").resolve()
ASYNC_TEST_S = 90.0
MUST_HAVE_DATA = os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real inputs; without it the test is skipped, or fails where it is required."""
    if not DATA.is_dir():
        reason = f"no real inputs: {DATA} does not exist (FRAMEMESH_DATA names the folder)"
        if MUST_HAVE_DATA:
            pytest.fail(reason)
        pytest.skip(reason)
    return DATA


def pytest_itemcollected(item: pytest.Item) -> None:
    """Bound every async test: uvloop lets nothing through that pytest-timeout raises."""
    test = getattr(item, "obj", None)
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def bounded(*arguments: Any, **fixtures: Any) -> None:
            async with asyncio.timeout(ASYNC_TEST_S):
                await test(*arguments, **fixtures)

        item.obj = bounded  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the reason (`-ra` lists and counts them)."""
    lacking = {"gpu": _no_gpu, "net": _no_namespaces, "browser": _no_browser}
    for mark, why_not in lacking.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        reason = why_not() if marked else ""
        for item in marked if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    found = any(Path("/dev").glob("nvidia[0-9]*")) or any(Path("/dev/dri").glob("renderD*"))
    return "" if found else "no GPU here"


def _no_namespaces() -> str:
    """Tried, because root in a container may not be allowed to make them."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need `ip` (apt install iproute2)"
    name = f"fm-trial-{os.getpid()}"
    for words in (("add", name), ("exec", name, "true"), ("delete", name)):
        tried = subprocess.run(["ip", "netns", *words], capture_output=True, text=True, check=False)
        if tried.returncode:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
            return f"no network namespaces here: {tried.stderr.strip()}"
    return ""


def _no_browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    if any(map(shutil.which, names)):
        return ""
    return "no Chromium (apt install chromium)"
