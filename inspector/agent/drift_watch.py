"""Looks every few minutes whether the accepted parts of the live versions still look as their good images did.

The first look is soon after the start, so that a restart hides a drift for a minute and not for a whole period.
Works from the rows that this agent has written; the database counts them. A drift that begins is an event with the
likely cause, one that is over is another. No threshold is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from inspector.config.sections import AgentSection
from inspector.domain import Event, FrameFault, Outcome, ProductVersion, Severity
from inspector.errors import ArtifactError, LedgerUnavailable, RowDamaged, SchemaOutdated
from inspector.ports import Clock, Registry, Telemetry
from inspector.store.database import Database
from inspector.store.ledger.levels import LevelGroup, LevelsWanted, level_groups
from inspector.vision.artifacts.drift import BINS, Accepted, Drift, Reference, compare
from inspector.vision.artifacts.thresholds import EnrolledThreshold

FIRST_LOOK_S = 60.0
"""The first look comes so long after the start, or after one period where that is shorter: the frames that waited
while the agent was down are judged first."""


class DriftWatch:
    """One task beside the road of an agent."""

    def __init__(
        self, database: Database, registry: Registry, clock: Clock, telemetry: Telemetry, section: AgentSection
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._telemetry = telemetry
        self._section = section
        self._found: dict[tuple[str, int, str], Drift] = {}

    @property
    def found(self) -> tuple[tuple[str, str, Drift], ...]:
        """The drift that is there now: product, camera, and what was found."""
        return tuple((product, camera, drift) for (product, _, camera), drift in self._found.items())

    async def run(self) -> None:
        """Look in rounds until cancelled. A round that the database does not allow is left out."""
        period_s = self._section.drift_every_min * 60
        if not period_s:
            return
        await self._clock.sleep(min(FIRST_LOOK_S, period_s))
        while True:
            # What is caught here the road and `inspector doctor` tell of.
            with contextlib.suppress(LedgerUnavailable, SchemaOutdated, RowDamaged):
                await self.look()
            await self._clock.sleep(period_s)

    async def look(self) -> None:
        """Compare once, and tell what has begun and what is over."""
        now = self._clock.now()
        wanted = LevelsWanted(since=now - timedelta(hours=self._section.drift_hours), agent=self._section.name)
        live = (await self._registry.live()).versions
        groups = await level_groups(self._database, wanted, BINS)
        for version in live:
            for drift in await asyncio.to_thread(drifts_of, version, groups):
                self._tell((version.product, version.version, drift.camera), drift)
        current = {(version.product, version.version) for version in live}
        self._found = {key: drift for key, drift in self._found.items() if key[:2] in current}

    def _tell(self, key: tuple[str, int, str], drift: Drift) -> None:
        before = self._found.pop(key, None)
        if drift.is_found:
            self._found[key] = drift
        product, version, camera = key
        where = f"{product} version {version} at {camera}"
        if drift.is_found and (before is None or before.direction is not drift.direction):
            self._event("drift", Severity.WARNING, product, f"{where}: {drift.statement}")
        elif before is not None and not drift.is_found:
            self._event("drift_over", Severity.INFO, product, f"{where}: {drift.statement}")

    def _event(self, kind: str, severity: Severity, subject: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, subject, detail))


def drifts_of(version: ProductVersion, groups: Iterable[LevelGroup]) -> list[Drift]:
    """The comparison of a version at each camera with enough parts; empty where its manifest allows none."""
    reference = Reference.of(version.manifest)
    if reference is None:
        return []
    own = [group for group in groups if (group.product, group.version) == (version.product, version.version)]
    return compare(reference, accepted_of(version, own))


def accepted_of(version: ProductVersion, groups: Sequence[LevelGroup]) -> list[Accepted]:
    """The groups of a version by camera, with levels of its own calibration. Empty for an unreadable manifest."""
    try:
        enrolled = EnrolledThreshold.of(version.manifest)
    except ArtifactError:
        return []
    cameras: defaultdict[str, _Counted] = defaultdict(_Counted)
    for group in groups:
        counted = cameras[group.camera]
        if group.outcome is Outcome.PASS and group.bin is not None and group.threshold is not None:
            median = enrolled.calibration.median
            score = median + (group.bin + 0.5) / BINS * (group.threshold - median)  # a level is of its own threshold
            counted.bins[math.floor(enrolled.calibration.level(score) * BINS)] += group.rows
        elif group.outcome is Outcome.REJECT:
            counted.rejected += group.rows
        elif group.fault is not None:
            counted.faults[group.fault] += group.rows
    return [
        Accepted(camera, dict(counted.bins), counted.rejected, dict(counted.faults))
        for camera, counted in sorted(cameras.items())
    ]


@dataclass
class _Counted:
    bins: Counter[int] = field(default_factory=Counter)
    rejected: int = 0
    faults: Counter[FrameFault] = field(default_factory=Counter)
