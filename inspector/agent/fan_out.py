"""Several adapters behind one port: records go to each of them, a dead letter to the first that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from inspector.domain import DeadLetter, Verdict
from inspector.errors import InspectorError
from inspector.ports import DeadLetters, VerdictSink


class FanOutSink:
    """A VerdictSink that hands everything to each of its sinks, and enters and leaves them. There may be none."""

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
    """DeadLetters that go to the first of `keepers` that takes them. Entered by their owner, not here."""

    def __init__(self, keepers: Sequence[DeadLetters]) -> None:
        self._keepers = tuple(keepers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def put(self, letter: DeadLetter) -> None:
        """The letter is durable when this returns. Raises the error of the last keeper where none took it."""
        *earlier, last = self._keepers
        for keeper in earlier:
            try:
                await keeper.put(letter)
            except InspectorError:
                continue  # the keeper reports its own trouble; here the next one has to keep the letter
            return
        await last.put(letter)
