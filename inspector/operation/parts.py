"""Accounts for every part of the gates: how many are in which class, and which parts these are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from inspector.config.config import Config
from inspector.domain import GateTerms, Part, PartClass, PartCount, PartFacts, PartSelection
from inspector.errors import UsageError
from inspector.operation.opening import database_of
from inspector.store.database import Database
from inspector.store.ledger.parts import count_parts, list_parts
from inspector.stream.accounting import classify, count_classes, is_contradiction, terms_of

SLICE: Final = timedelta(hours=1)
"""A long time is counted piece by piece, so that no query holds the database for long."""

Progress = Callable[[str, int, int], None]
Belongs = Callable[[PartFacts, bool], bool]


@dataclass(frozen=True, slots=True)
class AccountedPart:
    """One part with its class."""

    part: Part
    part_class: PartClass


@dataclass(frozen=True, slots=True)
class PartsAccount:
    """The account of the selected parts. `listed`: the newest parts of the class that was asked for.

    `contradicted`: the newest parts on which the PLC did something else than it was told, or passed what was not
    judged. Parts that were never acknowledged are only counted, since a PLC without acknowledgements has no others.
    """

    selection: PartSelection
    counts: tuple[PartCount, ...]
    contradicted: tuple[AccountedPart, ...] = ()
    listed: tuple[AccountedPart, ...] = ()

    @property
    def contradictions(self) -> int:
        """Number of all such parts, of which `contradicted` may be only the newest."""
        sensors = _with_sensor(self.selection.terms)
        return sum(each.count for each in self.counts if _contradicts(each.facts, each.gate in sensors))

    @property
    def classes(self) -> Counter[PartClass]:
        return count_classes(self.counts, self.selection.terms)

    @property
    def gates(self) -> list[str]:
        return sorted({counted.gate for counted in self.counts})

    @property
    def hours(self) -> list[tuple[str, str]]:
        """Gates and hours with parts, in order."""
        return sorted({(counted.gate, counted.hour) for counted in self.counts})

    def classes_of(self, gate: str, hour: str | None = None) -> Counter[PartClass]:
        """Parts of one gate, in one hour if it is given."""
        chosen = (each for each in self.counts if each.gate == gate and hour in (None, each.hour))
        return count_classes(chosen, self.selection.terms)


async def account_for_parts(
    config: Config,
    wanted: PartSelection,
    *,
    part_class: PartClass | None = None,
    limit: int = 50,
    progress: Progress = lambda _phase, _done, _total: None,
) -> PartsAccount:
    """The account of the parts that the selection names. Raises UsageError for a gate that is not configured."""
    terms = terms_of(config)
    names = [each.name for each in terms]
    if wanted.gate is not None and wanted.gate not in names:
        raise UsageError(f"There is no gate {wanted.gate!r} in the configuration, only {', '.join(names) or 'none'}.")
    wanted = replace(wanted, terms=terms)
    async with database_of(config) as database:
        counts = await _count(database, wanted, progress)
        contradicted = await _list(database, wanted, counts, _contradicts, limit)
        listed: list[AccountedPart] = []
        if part_class is not None:
            listed = await _list(database, wanted, counts, _is_of(part_class), limit)
    return PartsAccount(wanted, tuple(counts), tuple(contradicted), tuple(listed))


async def _count(database: Database, wanted: PartSelection, progress: Progress) -> list[PartCount]:
    slices = _slices(wanted)
    counts: list[PartCount] = []
    for done, piece in enumerate(slices):
        progress("hours", done, len(slices))
        counts += await count_parts(database, piece)
    progress("hours", len(slices), len(slices))
    return counts


def _slices(wanted: PartSelection) -> list[PartSelection]:
    if wanted.since is None:
        return [wanted]
    until = wanted.now if wanted.until is None else wanted.until
    slices: list[PartSelection] = []
    begin: datetime = wanted.since
    while begin + SLICE < until:
        slices.append(replace(wanted, since=begin, until=begin + SLICE))
        begin += SLICE
    return [*slices, replace(wanted, since=begin, until=wanted.until)]


async def _list(
    database: Database, wanted: PartSelection, counts: Sequence[PartCount], belongs: Belongs, limit: int
) -> list[AccountedPart]:
    """The newest parts that belong to the list, by their facts and whether the gate has a sensor."""
    sensors = _with_sensor(wanted.terms)
    having = {each.facts for each in counts if belongs(each.facts, each.gate in sensors)}
    if not having:
        return []
    parts = await list_parts(database, wanted, having=sorted(having, key=str), limit=limit)
    # The same facts may make another class at a gate with a sensor.
    return [
        AccountedPart(part, classify(part.facts, has_sensor=part.gate in sensors))
        for part in parts
        if belongs(part.facts, part.gate in sensors)
    ]


def _is_of(part_class: PartClass) -> Belongs:
    return lambda facts, has_sensor: classify(facts, has_sensor=has_sensor) is part_class


def _contradicts(facts: PartFacts, has_sensor: bool) -> bool:
    part_class = classify(facts, has_sensor=has_sensor)
    return part_class is not PartClass.NEVER_ACKNOWLEDGED and is_contradiction(facts, part_class)


def _with_sensor(terms: Sequence[GateTerms]) -> set[str]:
    return {each.name for each in terms if each.has_sensor}
