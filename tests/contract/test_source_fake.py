"""The shipped fake source passes the contract of all sources."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from inspector.testing.clock import FakeClock
from inspector.testing.source import FakeBroker, FakeSource
from inspector.testing.source_contract import SourceContract


class FakeRig:
    carries_properties = True
    marks_redelivery = True

    def __init__(self) -> None:
        self._clock = FakeClock()
        self._broker = FakeBroker()
        self.source = FakeSource("cam1", self._clock, self._broker)

    async def send(self, payload: bytes, properties: Mapping[str, str]) -> None:
        self.source.push(payload, {name.lower(): value for name, value in properties.items()})

    async def restart(self) -> None:
        await self.source.__aexit__()
        self.source = FakeSource("cam1", self._clock, self._broker)
        await self.source.__aenter__()

    async def break_link(self) -> bool:
        self.source.break_link()
        return True


@pytest.fixture
async def rig() -> AsyncIterator[FakeRig]:
    rig = FakeRig()
    async with rig.source:
        yield rig
        await rig.source.__aexit__()


class TestFakeSource(SourceContract):
    pass
