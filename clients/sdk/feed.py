"""News for a consumer that may be slow: it gets the newest, and is told how much it missed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """An async iterator over what is put in, oldest first, holding at most `most` items.

    A full feed drops its oldest item: whoever reads slowly reads what is recent. Several readers
    share the items. Belongs to the event loop.
    """

    def __init__(self, most: int) -> None:
        self.dropped = 0  # items nobody read
        self._most = most
        self._items: deque[T] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._why: Exception | None = None

    def put(self, item: T) -> None:
        """Add an item; ignored after the end."""
        if self._ended:
            return
        if len(self._items) == self._most:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._news.set()

    def end(self, why: Exception | None) -> None:
        """No more will come. Readers get what is left, then the end, or `why` raised."""
        if not self._ended:
            self._ended, self._why = True, why
            self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._why is not None:
                raise self._why
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._items.popleft()
