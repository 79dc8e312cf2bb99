"""The account finds what went wrong, by part: each fault below is one that it was built to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.plc.account import Account, Evidence, settle_account
from tests.plc.gate import Done, Told
from tests.plc.plan import PlannedPart
from tests.plc.report import is_noteworthy
from tests.plc.slots import Effect
from tests.plc.wire import BY_DECISION, BY_DEFAULT, PASS, REJECT, Ack, Decision

START_S = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
WINDOW_S = 0.15


def part(number: int, *, is_seen: bool = True) -> PlannedPart:
    trigger_s = number * 0.2
    return PlannedPart(number, 100 + number, trigger_s, trigger_s + WINDOW_S, False, trigger_s if is_seen else None)


def done(planned: PlannedPart, action: int = PASS, source: int = BY_DECISION, *, trigger: int | None = None) -> Done:
    ack = Ack(1, planned.trigger if trigger is None else trigger, action, source, int(action == REJECT))
    return Done(planned, planned.trigger_s, planned.gate_s, action, source, True, ack)


def told(at_s: float, trigger: int, hit: int | None, *, left_ms: int = 100, effect: Effect = Effect.TAKEN) -> Told:
    effect = Effect.DROPPED if hit is None else effect
    return Told(at_s, START_S + at_s, Decision(1, trigger, PASS, 0, left_ms), effect, hit)


def row(seq: int, shown: int | None, act_before_s: float | None, *, trigger: int | None = None) -> dict[str, Any]:
    """Decided 100 ms before its time was over."""

    def moment(at_s: float) -> str:
        return datetime.fromtimestamp(START_S + at_s, UTC).isoformat()

    is_frame = shown is not None
    return {
        "seq": seq,
        "epoch": 1,
        "trigger_id": trigger,
        "frame_sha256": f"sha {shown}" if is_frame else None,
        "outcome": "pass" if is_frame else "uninspected",
        "cause": "ok" if is_frame else "not_received",
        "action": "pass" if is_frame else "none",
        "act_before": None if act_before_s is None else moment(act_before_s),
        "decided_at": moment(seq if act_before_s is None else act_before_s - 0.1),
    }


def action_of(ack: Ack) -> dict[str, Any]:
    return {
        "epoch": ack.epoch,
        "trigger_id": ack.trigger,
        "action": ack.action,
        "source": ack.source,
        "done": ack.done,
    }


def evidence(dones: Sequence[Done], tolds: Sequence[Told], rows: Sequence[dict[str, Any]]) -> Evidence:
    frames = {f"sha {each.part.number}": each.part.number for each in dones if each.part.frame_s is not None}
    return Evidence(
        planned=len(dones),
        done=dones,
        told=tolds,
        frames=frames,
        delivered=frames,
        bad_messages=0,
        rows=rows,
        actions=[action_of(each.ack) for each in dones],
    )


def whole() -> Evidence:
    """Two parts with trigger ids, each told in time and done as told."""
    parts = [part(1), part(2)]
    return evidence(
        [done(each) for each in parts],
        [told(each.trigger_s + 0.05, each.trigger, each.number) for each in parts],
        [row(each.number, each.number, each.gate_s, trigger=each.trigger) for each in parts],
    )


def broken_of(given: Evidence) -> tuple[Account, list[str]]:
    account = settle_account(given)
    return account, account.broken


def test_account_of_a_run_without_faults_has_nothing_broken() -> None:
    account, broken = broken_of(whole())
    assert broken == []
    assert not any(is_noteworthy(each) for each in account.parts)
    assert [(each.decided_by, each.acks_stored, each.is_told_in_time) for each in account.parts] == [
        (1, 1, True),
        (2, 1, True),
    ]
    assert account.parts[0].words[0].after_ms == pytest.approx(50)


def test_account_pass_by_the_frame_of_the_part_before_is_found_without_trigger_ids() -> None:
    # Part 1's decision was held up for 250 ms and found the slot of part 2, whose camera was blind.
    first, second = part(1), part(2, is_seen=False)
    account, broken = broken_of(
        evidence(
            [done(first, REJECT, BY_DEFAULT, trigger=0), done(second, trigger=0)],
            [told(first.trigger_s + 0.25, 0, 2)],
            [row(1, 1, first.trigger_s + 0.35)],
        )
    )
    assert broken == ["decisions_after_their_part_left", "passes_by_another_frame", "passes_without_frame"]
    assert account.parts[1].decided_by == 1
    assert account.totals["decisions_on_another_part"] == 1


def test_account_decisions_with_trigger_0_find_their_rows_by_time() -> None:
    parts = [part(number) for number in (1, 2, 3)]
    # The decision about part 2 is lost; the one about part 3 must not be taken for it.
    account, broken = broken_of(
        evidence(
            [done(parts[0], trigger=0), done(parts[1], REJECT, BY_DEFAULT, trigger=0), done(parts[2], trigger=0)],
            [told(each.trigger_s + 0.05, 0, each.number) for each in (parts[0], parts[2])],
            [row(each.number, each.number, each.gate_s) for each in parts],
        )
    )
    assert broken == []
    assert [each.decided_by for each in account.parts] == [1, None, 3]


def test_account_decision_that_a_broker_held_up_finds_its_row() -> None:
    first, second = part(1), part(2)
    held_up = told(first.trigger_s + 0.9, 0, None, left_ms=100)
    account, broken = broken_of(
        evidence(
            [done(first, REJECT, BY_DEFAULT, trigger=0), done(second, trigger=0)],
            [told(second.trigger_s + 0.05, 0, 2), held_up],
            [row(1, 1, first.gate_s), row(2, 2, second.gate_s)],
        )
    )
    assert broken == []
    assert [(word.in_time, word.was_held_up) for word in account.parts[0].words] == [(False, True)]
    assert account.totals["decisions_held_up_on_their_way"] == 1


def test_account_decision_that_was_made_after_its_part_had_left_is_not_held_up() -> None:
    first = part(1)
    late = told(first.trigger_s + 0.9, 101, None, left_ms=100)
    account, broken = broken_of(
        evidence([done(first, REJECT, BY_DEFAULT)], [late], [row(1, 1, first.trigger_s + 1.0, trigger=101)])
    )
    assert broken == ["decisions_after_their_part_left"]
    assert account.totals["decisions_held_up_on_their_way"] == 0


def test_account_default_though_told_in_time_is_counted() -> None:
    given = whole()
    first = replace(done(given.done[0].part, REJECT, BY_DEFAULT), is_ready=False)
    account, broken = broken_of(replace(given, done=[first, given.done[1]], actions=[]))
    assert account.totals["defaults_though_told_in_time"] == 1
    assert broken == ["acks_lost"]


def test_account_missing_and_doubled_reports_are_counted() -> None:
    given = whole()
    account, broken = broken_of(replace(given, actions=[action_of(given.done[0].ack)] * 2))
    assert broken == ["acks_lost", "acks_doubled"]
    assert (account.totals["acks_lost"], account.totals["acks_doubled"]) == (1, 1)


def test_account_uninspected_row_of_a_part_that_was_seen_is_false() -> None:
    given = whole()
    seen, unseen = row(3, None, None, trigger=101), row(4, None, None, trigger=999)
    account, broken = broken_of(replace(given, rows=[*given.rows, seen, unseen]))
    assert broken == ["false_uninspected"]
    assert (account.totals["uninspected"], account.totals["false_uninspected"]) == (2, 1)
    assert account.parts[0].rows == ["pass ok", "uninspected not_received"]


def test_account_frame_without_row_and_its_decision_without_explanation_are_found() -> None:
    given = whole()
    _, broken = broken_of(replace(given, rows=given.rows[:1]))
    assert broken == ["passes_by_another_frame", "frames_without_row", "unexplained_decisions"]


def test_account_part_that_was_never_done_is_found() -> None:
    _, broken = broken_of(replace(whole(), planned=3))
    assert broken == ["parts_without_action"]
