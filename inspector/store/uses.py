"""Counts who uses a thing at the moment, and can keep newcomers out until nobody does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Uses:
    """For one event loop. Any number may use the thing at once, unless somebody waits for it to be unused."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._open = asyncio.Event()
        self._open.set()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """One use, which begins when nobody waits in `none`."""
        while not self._open.is_set():
            await self._open.wait()
        self._count += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._unused.set()

    @contextlib.asynccontextmanager
    async def none(self, *, longest_s: float) -> AsyncIterator[None]:
        """A time without uses: it begins when the last one has ended, or after `longest_s` if one goes on."""
        self._waiting += 1
        self._open.clear()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest_s):
                    await self._unused.wait()
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._open.set()
