"""The account of parts on both databases: each class counts the parts that it lists, and no part is in two."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from inspector.domain import Action, Cause, GateMode, GateTerms, Outcome, PartClass, PartCount, PartSelection, Verdict
from inspector.operation import parts
from inspector.operation.parts import PartsAccount, account_in
from inspector.store.database import Database
from inspector.store.ledger import parts as stored_parts
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.ledger.parts import count_parts, list_parts
from inspector.testing.clock import START, FakeClock
from inspector.testing.samples import decision_for, gate_action_of, verdict_of_part

TERMS = (
    GateTerms("g1", has_sensor=True),
    GateTerms("mute", sends_acks=False),
    GateTerms("plain"),
    GateTerms("solo", is_solo=True),
)
LATER = START + timedelta(seconds=100)
SELECTED = PartSelection(LATER, TERMS, since=START - timedelta(hours=3))

C = PartClass
EXPECTED: dict[str, dict[PartClass, list[int]]] = {
    "g1": {
        C.DONE_AS_TOLD: [1, 2],
        C.DONE_OTHERWISE: [3, 4, 5],
        C.DEFAULT_THOUGH_TOLD: [6],
        C.PASSED_UNJUDGED: [7, 8, 9, 10],
        C.PASSED_WITHOUT_FRAME: [11, 12],
        C.NEVER_ACKNOWLEDGED: [13, 14],
        C.NEVER_TOLD: [15],
        C.OPEN: [16],
    },
    "mute": {C.NEVER_ACKNOWLEDGED: [1]},
    "plain": {C.DONE_AS_TOLD: [4]},
    "solo": {C.DONE_AS_TOLD: [0], C.NEVER_ACKNOWLEDGED: [0]},
}
EXCUSED = {C.PASSED_UNJUDGED: 3, C.PASSED_WITHOUT_FRAME: 1, C.NEVER_ACKNOWLEDGED: 2}
"""Of g1 the parts 8, 9 and 10, 12, and 14 in bypass; of the mute gate its part."""


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    chosen: Database = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
async def filled(database: Database) -> AsyncIterator[Database]:
    async with SqlLedger(database, FakeClock()) as ledger:
        await _fill(ledger)
        yield database


def part(number: int | None, gate: str = "g1", **changes: Any) -> Verdict:
    trigger = {} if number is not None else {"trigger_id": None}
    return verdict_of_part(number or 0, gate=gate, camera=f"cam-{gate}", **trigger, **changes)


async def _fill(ledger: SqlLedger) -> None:
    rejected = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY}
    unjudged = {"outcome": Outcome.UNJUDGED, "cause": Cause.UNKNOWN_PRODUCT}
    bypassed = {"mode": GateMode.BYPASS, "outcome": Outcome.UNINSPECTED, "cause": Cause.BYPASS}
    young = {"received_at": LATER - timedelta(seconds=1)}
    told = {
        1: (part(1), Action.PASS),
        2: (part(2, **rejected), Action.REJECT),
        3: (part(3, **rejected), Action.REJECT),
        4: (part(4, **rejected), Action.REJECT),
        5: (part(5), Action.PASS),
        6: (part(6, received_at=START - timedelta(hours=2)), Action.PASS),
        10: (part(10, **unjudged), Action.PASS),
        13: (part(13), Action.PASS),
    }
    silent = [part(7, **unjudged), part(8, **unjudged), part(9, **bypassed), part(14, **bypassed), part(15, **unjudged)]
    elsewhere = [part(1, "mute"), part(4, "plain", **rejected)]
    solo = [part(None, "solo", frame_id=name) for name in ("acknowledged", "not")]
    decisions = [(decision_for(verdict, action), True) for verdict, action in told.values()]
    decisions += [(decision_for(elsewhere[0], gate="mute"), True)]
    decisions += [(decision_for(elsewhere[1], Action.REJECT, gate="plain"), True)]
    decisions += [(decision_for(verdict, gate="solo"), True) for verdict in solo]
    rows = [verdict for verdict, _ in told.values()]
    await ledger.record([*rows, *silent, part(16, **young), *elsewhere, *solo], decisions, [])
    default, bypass = {"action": 1, "source": 2, "done": 0}, {"action": 1, "source": 3, "done": 0}
    await ledger.record_gate_actions(
        [
            gate_action_of(1, action=1),
            gate_action_of(2),
            gate_action_of(3, action=1),
            gate_action_of(4, done=0),
            gate_action_of(5, action=2),
            gate_action_of(6, received_at=START - timedelta(hours=2), **default),
            gate_action_of(7, **default),
            gate_action_of(8, **bypass),
            gate_action_of(9, mode=GateMode.BYPASS, **default),
            gate_action_of(10, action=1),
            gate_action_of(11, **default),
            gate_action_of(12, **bypass),
            gate_action_of(15, action=2, source=2),
            gate_action_of(4, gate="plain", done=0),
            gate_action_of(0, gate="solo", in_flight=True, action=1, result_id=solo[0].result_id),
        ]
    )


async def _account(database: Database, **asked: Any) -> PartsAccount:
    return await account_in(database, SELECTED, **asked)


async def test_account_lists_in_each_class_the_parts_that_it_counts(filled: Database) -> None:
    for part_class in PartClass:
        account = await _account(filled, part_class=part_class, limit=100)
        found: dict[str, list[int]] = {}
        for each in account.listed:
            assert each.part_class is part_class
            found.setdefault(each.part.gate, []).append(each.part.trigger_id or 0)
        wanted = {gate: classes[part_class] for gate, classes in EXPECTED.items() if part_class in classes}
        assert {gate: sorted(numbers) for gate, numbers in found.items()} == wanted
        is_in_data = part_class is not PartClass.TOLD_ELSEWHERE  # which needs a second agent: see the ledger's suite
        assert account.classes[part_class] == len(account.listed)
        assert bool(account.listed) == is_in_data
        assert {gate: account.classes_of(gate)[part_class] for gate in wanted} == {
            gate: len(numbers) for gate, numbers in wanted.items()
        }


async def test_account_counts_each_part_once_and_hours_add_up(filled: Database) -> None:
    account = await _account(filled)
    assert account.classes.total() == sum(len(each) for classes in EXPECTED.values() for each in classes.values())
    by_hour = Counter[PartClass]()
    for gate, hour in account.hours:
        by_hour += account.classes_of(gate, hour)
    assert by_hour == account.classes


async def test_account_of_a_long_time_asks_for_no_hour_before_the_oldest_part(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PartSelection] = []

    async def count(database: Database, piece: PartSelection) -> list[PartCount]:
        asked.append(piece)
        return await count_parts(database, piece)

    monkeypatch.setattr(parts, "count_parts", count)
    for_ever = await account_in(filled, replace(SELECTED, since=START - timedelta(days=36500)))
    assert for_ever.classes == (await account_in(filled, SELECTED)).classes
    assert len(asked) <= 2 * 4


async def test_account_contradictions_and_excused_parts_are_all_of_their_classes(filled: Database) -> None:
    account = await _account(filled, limit=100)
    assert dict(account.excused) == EXCUSED
    assert account.contradictions == len(account.contradicted)
    assert Counter(each.part_class for each in account.contradicted) == account.contradicting
    for part_class in set(account.contradicting) | set(account.excused):
        assert account.classes[part_class] == account.contradicting[part_class] + account.excused[part_class]
    marked = 0
    for part_class in PartClass:
        listed = (await _account(filled, part_class=part_class, limit=100)).listed
        marked += sum(each.is_contradiction for each in listed)
    assert marked == account.contradictions


async def test_account_list_that_is_cut_has_the_newest_of_all_gates(filled: Database) -> None:
    account = await _account(filled, part_class=PartClass.NEVER_ACKNOWLEDGED, limit=2)
    assert (account.classes[PartClass.NEVER_ACKNOWLEDGED], len(account.listed)) == (4, 2)
    latest = [each.part.latest for each in account.listed]
    assert latest == sorted(latest, reverse=True)


async def test_statement_is_built_once_for_selections_of_one_shape_and_takes_the_values_of_each(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = 0
    build = stored_parts._parts

    def counted(shape: Any) -> Any:
        nonlocal built
        built += 1
        return build(shape)

    def forget() -> None:
        stored_parts._list_query.cache_clear()
        stored_parts._count_query.cache_clear()

    async def answers(wanted: PartSelection, limit: int) -> tuple[Any, Any]:
        return await list_parts(filled, wanted, limit=limit), await count_parts(filled, wanted)

    def selection(gate: int, since_s: int, now_s: int, epoch: int) -> PartSelection:
        terms = (replace(TERMS[gate], elsewhere=((epoch, epoch),)), TERMS[3])
        now = START + timedelta(seconds=now_s)
        return PartSelection(now, terms, gate=TERMS[gate].name, since=START - timedelta(seconds=since_s))

    asked = [
        (selection(gate, since_s, now_s, epoch), limit)
        for gate in (0, 1, 2)
        for since_s in (-3600, 60, 10_000)
        for now_s, epoch, limit in ((1, 1, 100), (1000, 9, 2))
    ]
    alone = []
    for wanted, limit in asked:
        forget()
        alone.append(await answers(wanted, limit))
    forget()
    monkeypatch.setattr(stored_parts, "_parts", counted)
    assert [await answers(wanted, limit) for wanted, limit in asked] == alone
    assert built == 2  # one that lists and one that counts
    assert len({str(each) for each in alone}) >= len(asked) / 2
    await answers(replace(asked[0][0], lot="l1"), 100)
    assert built == 4
    forget()


async def test_reading_once_begins_no_transaction_and_leaves_none(sqlite: Database) -> None:
    async def is_in_transaction(connection: AsyncConnection) -> bool:
        await connection.execute(sa.text("SELECT 1"))
        driver = (await connection.get_raw_connection()).driver_connection
        return bool(driver.in_transaction)

    async with sqlite.reading_once() as connection:
        assert not await is_in_transaction(connection)
    for transaction in (sqlite.reading, sqlite.writing, sqlite.reading):  # on the same connection of the pool
        async with transaction() as connection:
            assert await is_in_transaction(connection)
