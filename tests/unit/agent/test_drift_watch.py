"""The watch for drift on a store: told once when it begins, once when it is over, and never by moving a threshold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from inspector.agent.drift_watch import DriftWatch
from inspector.agent.telemetry import LogTelemetry
from inspector.config.sections import AgentSection
from inspector.domain import Event, Verdict
from inspector.errors import LedgerUnavailable
from inspector.store.database import Database, ensure_schema
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.registry.registry import SqlRegistry
from inspector.testing.clock import FakeClock
from inspector.testing.samples import verdict_of_part
from inspector.vision.artifacts.drift import Direction
from tests.unit.vision.test_drift import manifest_of, usual

MANIFEST = manifest_of(usual(60, 1)) | {"head": "prototype", "threshold": 4.0}


class Line:
    """A store with a live version, whose threshold a person has moved to level 2 of its calibration."""

    def __init__(self, database: Database, clock: FakeClock, folder: Path) -> None:
        self.clock, self.telemetry = clock, LogTelemetry()
        self._ledger, self._registry = SqlLedger(database, clock), SqlRegistry(database, clock)
        section = AgentSection(name="agent1", state_dir=folder, drift_hours=1, drift_every_min=15)
        self.watch = DriftWatch(database, self._registry, clock, self.telemetry, section)
        self._count = 0

    async def enrol(self) -> None:
        await self._registry.add_version("bolt", b"artifact", MANIFEST, by="ada", activate=True)
        await self._registry.move_threshold("bolt", 1, 6.0, by="ada", reason="x")

    async def inspect(self, levels: Sequence[float] | np.ndarray) -> None:
        """Parts at these levels of the calibration; rows have the level of the threshold that was moved."""
        await self._ledger.record([self._verdict(float(level)) for level in levels], [], [])

    async def told(self) -> list[Event]:
        await self.watch.look()
        return self.telemetry.take_events()

    def _verdict(self, level: float) -> Verdict:
        self._count += 1
        at = self.clock.now() - timedelta(seconds=1)
        known = {"product": "bolt", "product_version": 1, "threshold": 6.0, "received_at": at, "agent": "agent1"}
        return verdict_of_part(self._count, level=level / 2, **known)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with Database(f"sqlite:///{tmp_path / 'inspector.db'}") as database:
        await ensure_schema(database)
        made = Line(database, FakeClock(), tmp_path)
        await made.enrol()
        yield made


async def test_drift_is_told_when_it_begins_and_when_it_is_over(line: Line) -> None:
    await line.inspect(usual(400, 2))
    assert await line.told() == []
    line.clock.advance(7200)
    await line.inspect(usual(400, 3, shift=0.4))
    (begun,) = await line.told()
    assert (begun.kind, begun.subject) == ("drift", "bolt")
    assert "version 1 at cam1: parts come nearer to the threshold" in begun.detail
    assert await line.told() == [], "it is told once"
    assert [(product, camera, drift.direction) for product, camera, drift in line.watch.found] == [
        ("bolt", "cam1", Direction.UP)
    ]
    line.clock.advance(7200)
    await line.inspect(usual(400, 4))
    (over,) = await line.told()
    assert over.kind == "drift_over"
    assert line.watch.found == ()


@pytest.mark.parametrize(
    ("every_min", "looks_at_s"),
    [(15, [60, 960, 1860]), (0.5, [30, 60, 90]), (0, [])],
)
async def test_the_first_look_comes_soon_after_the_start_whatever_the_period(
    line: Line, monkeypatch: pytest.MonkeyPatch, every_min: float, looks_at_s: list[float]
) -> None:
    line.watch._section = line.watch._section.model_copy(update={"drift_every_min": every_min})
    began_ns, looked_at_s = line.clock.monotonic_ns(), []

    async def look() -> None:
        looked_at_s.append((line.clock.monotonic_ns() - began_ns) / 1e9)
        raise LedgerUnavailable("a look that fails ends nothing")

    monkeypatch.setattr(line.watch, "look", look)
    watching = asyncio.create_task(line.watch.run())
    await line.clock.elapse(looks_at_s[-1] if looks_at_s else 3600)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert looked_at_s == looks_at_s


async def test_drift_of_rows_of_another_agent_is_its_own_matter(line: Line) -> None:
    line.watch._section = line.watch._section.model_copy(update={"name": "agent2"})
    await line.inspect(usual(400, 3, shift=0.4))
    assert await line.told() == []


async def test_drift_of_a_version_whose_manifest_says_nothing_is_not_looked_for(line: Line) -> None:
    bare = {key: value for key, value in MANIFEST.items() if key != "evidence"}
    await line._registry.add_version("bolt", b"another", bare, by="ada", activate=True)
    await line.inspect(usual(400, 3, shift=0.4))
    assert await line.told() == []
