"""Accounts for every part of the gates: how many are in which class, and which parts these are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from inspector.config.config import Config
from inspector.domain import GateTerms, Part, PartClass, PartCount, PartFacts, PartSelection
from inspector.errors import UsageError
from inspector.operation.opening import database_of
from inspector.store.database import Database
from inspector.store.ledger.extent import oldest_at
from inspector.store.ledger.parts import count_parts, epochs_elsewhere, list_parts
from inspector.stream.accounting import CONTRADICTIONS, classify, count_classes, is_contradiction, terms_of

SLICE: Final = timedelta(hours=1)
"""A long time is counted piece by piece, so that no query holds the database for long."""

Progress = Callable[[str, int, int], None]
Belongs = Callable[[PartFacts, GateTerms], bool]
"""Whether a part with these facts, at a gate with these terms, belongs to a list."""


@dataclass(frozen=True, slots=True)
class AccountedPart:
    """One part with its class. `is_contradiction`: it is one of the contradictions, which a person should know of."""

    part: Part
    part_class: PartClass
    is_contradiction: bool


@dataclass(frozen=True, slots=True)
class PartsAccount:
    """The account of the selected parts. `listed`: the newest parts of the class that was asked for.

    `contradicted`: the newest parts on which the PLC did something else than it was told, which it passed although
    they were not judged, or which it never acknowledged.
    """

    selection: PartSelection
    counts: tuple[PartCount, ...]
    contradicted: tuple[AccountedPart, ...] = ()
    listed: tuple[AccountedPart, ...] = ()

    @property
    def contradictions(self) -> int:
        """Number of all such parts, of which `contradicted` may be only the newest."""
        return self.contradicting.total()

    @property
    def contradicting(self) -> Counter[PartClass]:
        """Contradictions by class."""
        terms = _by_gate(self.selection.terms)
        classes: Counter[PartClass] = Counter()
        for each in self.counts:
            if _contradicts(each.facts, terms[each.gate]):
                classes[_class_of(each.facts, terms[each.gate])] += each.count
        return classes

    @property
    def excused(self) -> Counter[PartClass]:
        """Parts of the same classes that are no contradictions, by class.

        They passed in bypass or another mode than auto, or by a policy; or their PLC sends no acknowledgements; or they
        were told reject or quarantine and fell to a default that kept them out too.
        """
        return Counter({each: self.classes[each] for each in CONTRADICTIONS}) - self.contradicting

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
        return await account_in(database, wanted, part_class=part_class, limit=limit, progress=progress)


async def account_in(
    database: Database,
    wanted: PartSelection,
    *,
    part_class: PartClass | None = None,
    limit: int = 50,
    progress: Progress = lambda _phase, _done, _total: None,
) -> PartsAccount:
    """The account of the parts in a database that is open. `wanted` has the terms of all gates."""
    elsewhere = await epochs_elsewhere(database)
    wanted = replace(
        wanted, terms=tuple(replace(each, elsewhere=elsewhere.get(each.name, ())) for each in wanted.terms)
    )
    counts = await _count(database, wanted, progress)
    contradicted = await _list(database, wanted, counts, _contradicts, limit)
    listed: list[AccountedPart] = []
    if part_class is not None:
        listed = await _list(database, wanted, counts, _is_of(part_class), limit)
    return PartsAccount(wanted, tuple(counts), tuple(contradicted), tuple(listed))


async def _count(database: Database, wanted: PartSelection, progress: Progress) -> list[PartCount]:
    slices = _slices(wanted, await oldest_at(database))
    counts: list[PartCount] = []
    for done, piece in enumerate(slices):
        progress("hours", done, len(slices))
        counts += await count_parts(database, piece)
    progress("hours", len(slices), len(slices))
    return counts


def _slices(wanted: PartSelection, oldest: datetime | None) -> list[PartSelection]:
    """The time in pieces, from the hour before the oldest part on."""
    if wanted.since is None or oldest is None:
        return [wanted]
    until = wanted.now if wanted.until is None else wanted.until
    slices: list[PartSelection] = []
    begin: datetime = max(wanted.since, oldest - SLICE)
    while begin + SLICE < until:
        slices.append(replace(wanted, since=begin, until=begin + SLICE))
        begin += SLICE
    return [*slices, replace(wanted, since=begin, until=wanted.until)]


async def _list(
    database: Database, wanted: PartSelection, counts: Sequence[PartCount], belongs: Belongs, limit: int
) -> list[AccountedPart]:
    """The newest parts that belong to the list, by their facts and the terms of their gates."""
    terms = _by_gate(wanted.terms)
    found: list[AccountedPart] = []
    for gate in sorted({each.gate for each in counts}):  # the same facts may make another class at another gate
        having = {each.facts for each in counts if each.gate == gate and belongs(each.facts, terms[gate])}
        if having:
            of_gate = replace(wanted, gate=gate)
            parts = await list_parts(database, of_gate, having=sorted(having, key=str), limit=limit)
            found += [_accounted(part, terms[gate]) for part in parts]
    return sorted(found, key=lambda each: each.part.latest, reverse=True)[:limit]


def _accounted(part: Part, terms: GateTerms) -> AccountedPart:
    return AccountedPart(part, _class_of(part.facts, terms), _contradicts(part.facts, terms))


def _is_of(part_class: PartClass) -> Belongs:
    return lambda facts, terms: _class_of(facts, terms) is part_class


def _contradicts(facts: PartFacts, terms: GateTerms) -> bool:
    return is_contradiction(facts, _class_of(facts, terms), sends_acks=terms.sends_acks, has_sensor=terms.has_sensor)


def _class_of(facts: PartFacts, terms: GateTerms) -> PartClass:
    return classify(facts, has_sensor=terms.has_sensor)


def _by_gate(terms: Sequence[GateTerms]) -> dict[str, GateTerms]:
    """The terms of each gate; a gate that is not configured any more has the usual ones."""
    known = defaultdict[str, GateTerms](lambda: GateTerms(""))
    known.update({each.name: each for each in terms})
    return known
