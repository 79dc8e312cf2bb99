"""Parts that an event of the account names are recognised as told, also where the event is cut."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from inspector.domain import Event, Part, PartFacts, ResultId, Seen, Severity
from inspector.stream.account_events import ToldParts, parts_text
from inspector.testing.clock import START

KIND = "ack_missing"
BEFORE = START - timedelta(seconds=1)
AFTER = START + timedelta(seconds=1)


def part(trigger: int | None, epoch: int = 1) -> Part:
    facts = PartFacts(None, False, Seen.JUDGED, None)
    return Part("g1", epoch, 0, trigger, ResultId("r"), None, START, START, facts)


def event(parts: list[Part], kind: str = KIND) -> Event:
    detail = f"{len(parts)} parts never acknowledged by the PLC: {parts_text(parts)}; see: inspector parts --gate g1"
    return Event(START, kind, Severity.WARNING, "g1", detail)


@given(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 30)), min_size=1, max_size=20))
def test_told_parts_has_each_part_that_an_event_tells_of(named: set[tuple[int, int]]) -> None:
    parts = [part(trigger, epoch) for epoch, trigger in named]
    told = ToldParts([event(parts)])
    assert all(told.has(KIND, each, BEFORE) for each in parts)
    is_cut = " more of epoch" in parts_text(parts)
    others = [part(trigger, epoch) for epoch in (1, 2, 3) for trigger in range(31) if (epoch, trigger) not in named]
    assert not any(told.has(KIND, each, AFTER) for each in others)
    assert all(told.has(KIND, each, BEFORE) is is_cut for each in others)


def test_told_parts_of_another_kind_are_not_told() -> None:
    told = ToldParts([event([part(1)], "ack_without_frame")])
    assert not told.has(KIND, part(1), BEFORE)


def test_told_parts_without_triggers_are_told_by_an_event_after_they_were_due() -> None:
    told = ToldParts([event([part(None)])])
    assert told.has(KIND, part(None), BEFORE)
    assert not told.has(KIND, part(None), AFTER)
    assert not ToldParts([]).has(KIND, part(None), BEFORE)
