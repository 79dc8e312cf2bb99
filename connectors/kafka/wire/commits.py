"""Commits of offsets: one request at a time, with only the newest offset of each partition."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

Commit = Callable[[dict[TopicPartition, int]], Awaitable[None]]


class Commits:
    """Commits the noted offsets while `run` runs.

    A commit that a rebalance overtakes is dropped, and its frames are delivered again. `refused` is called with an
    error that a retry can't solve.
    """

    def __init__(self, commit: Commit, refused: Callable[[KafkaError], None]) -> None:
        self._commit = commit
        self._refused = refused
        self._waiting: dict[TopicPartition, int] = {}
        self._sending: asyncio.Task[None] | None = None
        self._has_some = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def note(self, partition: TopicPartition, offset: int) -> None:
        """Note the offset of the next record to read, for the next consumer of the partition."""
        self._waiting[partition] = offset
        self._is_idle.clear()
        self._has_some.set()

    async def run(self) -> None:
        """Commit the noted offsets, one request at a time, until cancelled."""
        try:
            while True:
                await self._has_some.wait()
                self._has_some.clear()
                if self._waiting:
                    await self._send()
                if not self._waiting:
                    self._is_idle.set()
        finally:
            self.forget()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the cluster has answered for every noted offset; False if the time is over first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
        return self._is_idle.is_set()

    def forget(self) -> None:
        """Drop all noted offsets, because the partitions are given up. A request under way is not tried again."""
        self._waiting.clear()
        if self._sending is not None:
            self._sending.cancel()
        self._is_idle.set()

    async def _send(self) -> None:
        offsets, self._waiting = self._waiting, {}
        self._sending = asyncio.create_task(self._attempt(offsets))
        await asyncio.wait([self._sending])
        self._sending = None

    async def _attempt(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._commit(offsets)
        except (CommitFailedError, IllegalStateError):
            return
        except KafkaError as error:
            self._refused(error)
