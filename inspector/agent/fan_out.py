"""Several adapters behind one port: records go to every sink, a dead letter goes to the first keeper that takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from inspector.domain import DeadLetter, Verdict
from inspector.errors import InspectorError
from inspector.ports import DeadLetters, VerdictSink


class FanOutSink:
    """A VerdictSink that hands everything to all its sinks, and enters and leaves them. It may have no sink."""

    def __init__(self, sinks: Sequence[VerdictSink]) -> None:
        self._sinks = tuple(sinks)
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for sink in self._sinks:
                await stack.enter_async_context(sink)
            self._entered = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._entered.aclose()

    async def publish(self, verdict: Verdict) -> None:
        for sink in self._sinks:
            await sink.publish(verdict)

    async def state(self, topic: str, payload: Mapping[str, Any]) -> None:
        for sink in self._sinks:
            await sink.state(topic, dict(payload))


class FirstDeadLetters:
    """DeadLetters that go to the first of `keepers` that takes them. The owner enters the keepers."""

    def __init__(self, keepers: Sequence[DeadLetters]) -> None:
        self._keepers = tuple(keepers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def put(self, letter: DeadLetter) -> None:
        """Store a letter, durable when this returns. Raises the last keeper's error if no keeper took the letter."""
        *earlier, last = self._keepers
        for keeper in earlier:
            try:
                await keeper.put(letter)
            except InspectorError:
                continue  # the keeper reports its own trouble; the next keeper gets the letter
            return
        await last.put(letter)
