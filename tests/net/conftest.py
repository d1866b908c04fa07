"""Nodes of one realm in networks that the test lays out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from bench.netlab import Lab
from bench.realmlab import RealmLab


@pytest.fixture
def lab():
    """Networks and NATs."""
    made = Lab()
    yield made
    made.close()


class Realm(RealmLab):
    """A realm whose nodes end with the test."""

    def __init__(self, folder, stack):
        super().__init__(folder)
        self._stack = stack

    async def start(self, namespace, name, *roles, **how):
        return await self._stack.enter_async_context(self.running(namespace, name, *roles, **how))


@pytest.fixture
async def realm(tmp_path):
    """A realm, and how to start nodes of it."""
    async with AsyncExitStack() as stack:
        yield await asyncio.to_thread(Realm, tmp_path, stack)
