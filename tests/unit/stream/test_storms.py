"""The rules that hold a gate, as tables: what counts, what ends a run, and which bound is reached by which part."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from inspector.config.line_sections import GateSection
from inspector.domain import Action, Cause, CauseRun, GateState, HeldFor, HoldNote, StormCounts
from inspector.stream.gate_merging import watched_fields, with_holds
from inspector.stream.storms import (
    NO_TRIGGER_ALARM_AT,
    NO_TRIGGER_ALARM_S,
    UNCOUNTED,
    TriggerAlarms,
    count_frame,
    count_part,
    hold,
    reached,
    release,
    run_of,
)

START = GateState("gate")
BEGAN = datetime(2025, 3, 1, 6, tzinfo=UTC)


def gate(**keys: Any) -> GateSection:
    return GateSection(name="gate", cameras=("cam", "cam2"), window_ms=100, **keys)


def after_parts(parts: str, share_parts: int = 100) -> GateState:
    """The state after these parts: R a reject, P a pass, Q a part for quarantine, L a late one that is rejected."""
    state = START
    for part in parts:
        action = {"R": Action.REJECT, "P": Action.PASS, "Q": Action.QUARANTINE, "L": Action.REJECT}[part]
        cause = {"R": Cause.ANOMALY, "P": Cause.OK, "Q": Cause.UNDECODABLE, "L": Cause.LATE}[part]
        state = count_part(state, action, cause, share_parts)
    return state


@pytest.mark.parametrize(
    ("parts", "streak"), [("", 0), ("RRR", 3), ("RRP", 0), ("RRQ", 0), ("RPRR", 2), ("RLLR", 2), ("LL", 0)]
)
def test_count_part_counts_rejects_in_a_row(parts: str, streak: int) -> None:
    assert after_parts(parts).reject_streak == streak


@pytest.mark.parametrize(("parts", "is_held"), [("RR", False), ("RRR", True), ("RRPR", False), ("RRLR", True)])
def test_reached_by_rejects_in_a_row(parts: str, is_held: bool) -> None:
    storm = reached(after_parts(parts), gate(storm_consecutive=3))
    assert (storm is not None and storm.held_for is HeldFor.CONSECUTIVE_REJECTS) is is_held


def test_reached_says_in_words_why_the_parts_were_rejected() -> None:
    causes = [Cause.WRONG_PRODUCT, None, Cause.UNKNOWN_PRODUCT, Cause.FRAME_HEALTH, Cause.UNKNOWN_PRODUCT]
    by_streak = reached(after_parts("RPRRR"), gate(storm_consecutive=3), causes)
    assert by_streak is not None
    assert by_streak.detail.startswith(
        "3 rejects in a row: 2 because no known product was shown, 1 because the frame did not show its part well"
    )
    assert "inspector results list" in by_streak.detail
    by_share = reached(after_parts("RPRRR" * 2, 10), gate(storm_share=0.5, storm_share_parts=10), causes * 2)
    assert by_share is not None
    assert "2 because another product than announced was shown" in by_share.detail
    unknown = reached(after_parts("RRR"), gate(storm_consecutive=3))
    assert unknown is not None
    assert "because" not in unknown.detail, "the agent has started since, and does not know"


@pytest.mark.parametrize(
    ("parts", "share", "is_held"),
    [
        ("R" * 9, 0.3, False),  # fewer parts than the share is measured over
        ("RRRPPPPPPP", 0.3, True),
        ("RRPPPPPPPP", 0.3, False),
        ("RRRPPPPPPPP", 0.3, False),  # the first one is no longer among the last ten
        ("RPPPRPPPRP", 0.3, True),  # not in a row
        ("RLRLRPPPPPPP", 0.3, True),  # late parts are not among the ten
        ("P" * 10, 0.0, False),
        ("R" * 10, 0.0, False),
        ("R" * 10, 1.0, True),
    ],
)
def test_reached_by_a_share_of_the_last_parts(parts: str, share: float, is_held: bool) -> None:
    storm = reached(after_parts(parts, 10), gate(storm_share=share, storm_share_parts=10))
    assert (storm is not None and storm.held_for is HeldFor.REJECT_SHARE) is is_held


def test_reached_by_a_share_that_binary_numbers_miss() -> None:
    state = after_parts("R" * 7 + "P" * 93)
    assert reached(state, gate(storm_share=0.07)) is not None


def test_count_part_remembers_no_more_than_the_share_needs() -> None:
    assert after_parts("R" * 500, 10).storm.recent == "1" * 10


RUNS = (
    (Cause.NO_TRIGGER_ID, "storm_no_trigger_id", HeldFor.NO_TRIGGER_ID),
    (Cause.UNKNOWN_PRODUCT, "storm_unknown_product", HeldFor.UNKNOWN_PRODUCT),
    (Cause.FRAME_HEALTH, "storm_frame_health", HeldFor.FRAME_HEALTH),
)


@pytest.mark.parametrize(("cause", "key", "held_for"), RUNS)
def test_reached_by_a_run_of_one_cause_by_its_own_bound_only(cause: Cause, key: str, held_for: HeldFor) -> None:
    state = START
    for _ in range(4):
        state = count_frame(state, "cam", cause)
    for name in ("storm_no_trigger_id", "storm_unknown_product", "storm_frame_health"):
        storm = reached(state, gate(**{name: 4}))
        assert (storm.held_for if storm else None) is (held_for if name == key else None)
    assert reached(state, gate(**{key: 5})) is None
    assert reached(state, gate()) is None, "no bound is set by default"


@pytest.mark.parametrize("other", [Cause.OK, Cause.ANOMALY, Cause.UNDECODABLE, Cause.WRONG_PRODUCT])
def test_count_frame_of_another_cause_ends_the_run_of_its_camera(other: Cause) -> None:
    state = count_frame(count_frame(START, "cam", Cause.UNKNOWN_PRODUCT), "cam2", Cause.UNKNOWN_PRODUCT)
    state = count_frame(state, "cam", other)
    assert run_of(state, "cam") is None
    assert run_of(state, "cam2") == CauseRun("cam2", Cause.UNKNOWN_PRODUCT, 1)


def test_count_frame_of_another_kind_of_run_begins_again() -> None:
    state = count_frame(count_frame(START, "cam", Cause.UNKNOWN_PRODUCT), "cam", Cause.NO_TRIGGER_ID)
    assert run_of(state, "cam") == CauseRun("cam", Cause.NO_TRIGGER_ID, 1)


@pytest.mark.parametrize("cause", sorted(UNCOUNTED))
def test_count_of_a_cause_that_says_nothing_of_the_part_changes_nothing(cause: Cause) -> None:
    state = count_frame(after_parts("RR"), "cam", Cause.UNKNOWN_PRODUCT)
    assert count_frame(state, "cam", cause) == state
    assert count_part(state, Action.REJECT, cause, 100) == state


def test_reached_of_a_held_gate_is_nothing_and_release_begins_all_counts_again() -> None:
    section = gate(storm_consecutive=2)
    state = after_parts("RR")
    held = hold(state, HeldFor.CONSECUTIVE_REJECTS, BEGAN, "agent")
    assert reached(held, section) is None
    freed = release(held)
    assert (freed.held, freed.held_for, freed.reject_streak, freed.storm) == (False, None, 0, StormCounts())
    assert freed.releases == held.releases + 1
    assert reached(freed, section) is None


def test_trigger_alarm_comes_at_its_bound_and_then_rarely() -> None:
    alarms = TriggerAlarms()
    runs = [CauseRun("cam", Cause.NO_TRIGGER_ID, count) for count in range(1, 2000)]
    told = [run.count for run in runs if alarms.is_due("cam", run, run.count * 1_000_000_000)]
    every = int(NO_TRIGGER_ALARM_S)
    assert told == list(range(NO_TRIGGER_ALARM_AT, 2000, every))
    assert alarms.is_due("cam2", runs[NO_TRIGGER_ALARM_AT - 1], 0), "each camera has its own"
    assert not alarms.is_due("cam3", CauseRun("cam3", Cause.UNKNOWN_PRODUCT, 500), 0)
    assert not alarms.is_due("cam3", None, 0)


HELD = replace(START, held=True, held_for=HeldFor.REJECT_SHARE, watched=5)


@pytest.mark.parametrize(
    ("first", "second", "is_held"),
    [
        (HELD, replace(START, watched=9), True),  # counts that went on elsewhere don't end a hold
        (HELD, replace(START, watched=1, releases=1), False),  # a release does
        (replace(HELD, releases=2), replace(START, watched=9, releases=1), True),
        (START, replace(START, watched=1), False),
    ],
)
def test_watched_fields_of_two_states_keep_a_hold_unless_it_was_released_since(
    first: GateState, second: GateState, is_held: bool
) -> None:
    for one, other in ((first, second), (second, first)):
        merged = watched_fields(one, other)
        assert merged["held"] is is_held
        assert merged["held_for"] is (HeldFor.REJECT_SHARE if is_held else None)


@pytest.mark.parametrize(("stored_releases", "is_held"), [(0, True), (1, True), (2, False)])
def test_with_holds_of_the_journal_holds_the_gate_unless_released_since(stored_releases: int, is_held: bool) -> None:
    stored = {"gate": replace(START, releases=stored_releases)}
    states = with_holds(stored, [HoldNote("gate", HeldFor.UNKNOWN_PRODUCT, 1)])
    assert states["gate"].held is is_held


def test_with_holds_of_a_gate_without_a_row_holds_it() -> None:
    assert with_holds({}, [HoldNote("gate", HeldFor.UNKNOWN_PRODUCT, 0)])["gate"].held_for is HeldFor.UNKNOWN_PRODUCT
