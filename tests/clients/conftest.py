"""A real node that serves a small fed workload, and the loops that its clients may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

MIRROR = Path(__file__).parent / "plugins" / "mirror.py"


def pytest_asyncio_loop_factories(config: object, item: pytest.Item) -> Mapping[str, Any]:
    """What `asyncio.run` gives a program and, where it may matter, what uvloop's users have."""
    loops = {"asyncio": asyncio.new_event_loop}
    return loops | {"uvloop": uvloop.new_event_loop} if item.path.stem.endswith("_fed") else loops


@pytest.fixture
async def host(open_host: Any, install_workload: Any) -> AsyncIterator[Any]:
    """A `Host` (see tests/conftest.py) of plugins/mirror.py."""
    install_workload("mirror", MIRROR.read_text("utf-8"))
    async with open_host(mirror={}) as host:
        yield host
