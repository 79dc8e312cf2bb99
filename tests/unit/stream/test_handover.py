"""What is handed over with a gate: an agent that waits follows its owner, and no epoch ever goes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from inspector.domain import CauseRun, Gap, GateMode, GateState, GoldenState, HeldFor, Job, StormCounts
from inspector.stream.gate_merging import ENDED_KEPT
from inspector.stream.gate_record import gate_from_record, gate_record
from inspector.stream.handover import followed, handed_over, is_news, with_elsewhere
from inspector.stream.identity import FrameIds, FrameMemory, Known
from inspector.stream.storms import hold, hold_words, release
from inspector.stream.trigger_counter import TriggerCounter

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
OWNER = GateState("gate", 3, epoch_of="id-a")
HELD = hold(OWNER, HeldFor.CONSECUTIVE_REJECTS, NOON, "a")
FULL = replace(
    HELD,
    reject_streak=4,
    storm=StormCounts("0110", (CauseRun("cam", "unknown_product", 2),)),
    releases=2,
    mode=GateMode.BYPASS,
    mode_expires_at=NOON,
    jobs=(Job("J1", "L1", None, 2, -1),),
    orders=7,
    golden=GoldenState("c1", ("G1",), True, NOON, "disc", ("disc:1",), NOON, "the shift"),
)


def counter(epoch: int = 1, last: int | None = None, **more: Any) -> TriggerCounter:
    return TriggerCounter(GateState("gate", epoch, last, **more), None, 100)


def received(changes: dict[str, Any]) -> dict[str, Any]:
    """The record of `FULL` as it comes from the broker, with these changes."""
    record: dict[str, Any] = orjson.loads(orjson.dumps(gate_record(FULL)))
    return record | changes


def test_state_handed_over_comes_back_from_its_record_without_counts_of_triggers() -> None:
    told = handed_over(replace(FULL, last_trigger=9, gaps=(Gap(3, 1, 2),)))
    assert told == FULL
    assert gate_from_record(orjson.loads(orjson.dumps(gate_record(told)))) == told


@pytest.mark.parametrize(
    "changes",
    [
        {"held": "yes"},
        {"held_by": []},
        {"held_by": "a\0b"},
        {"held_since": "0001-01-01T00:00:00Z"},
        {"epoch": -1},
        {"epoch": 2**60},
        {"epoch": True},
        {"mode": 3},
        {"jobs": [1]},
        {"jobs": [{"job_id": "J", "lot": None, "product": None, "from_epoch": "x", "from_count": 0}]},
        {"jobs": [{"job_id": "J"}]},
        {"golden": None},
        {"golden": {"due_at": "9999-12-31T23:59:59Z"}},
        {"golden": {"masters": "G1"}},
        {"storm": {}},
        {"storm": {"recent": "", "runs": [{"camera": "cam", "cause": "bogus", "count": 1}]}},
        {"storm": {"recent": "", "runs": [{"camera": "cam", "cause": "unknown_product", "count": -1}]}},
    ],
)
def test_record_that_can_not_be_read_is_a_value_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        gate_from_record(received(changes))


def test_record_of_later_software_is_read_as_far_as_it_is_known_and_a_hold_stays_one() -> None:
    golden = {"challenge": "c1", "is_collecting": True, "of_later_software": 7}
    read = gate_from_record(received({"held_for": "a reason of later software", "golden": golden}))
    assert (read.held, read.held_for) == (True, None)
    assert read.golden == GoldenState("c1", is_collecting=True)


def test_followed_owner_does_not_end_a_hold_from_before_holds_had_a_name() -> None:
    assert followed(replace(HELD, held_by=None), OWNER, "b").held


def test_followed_owner_hands_over_its_hold_with_cause_time_and_agent_whatever_was_released_before() -> None:
    own = GateState("gate", releases=9, watched=50, orders=20)
    taken = followed(own, FULL, "b")
    assert (taken.held, taken.held_for, taken.held_since, taken.held_by) == (True, FULL.held_for, NOON, "a")
    assert (taken.mode, taken.mode_expires_at, taken.jobs, taken.golden) == (
        FULL.mode,
        FULL.mode_expires_at,
        FULL.jobs,
        FULL.golden,
    )
    assert taken.releases >= own.releases
    assert taken.watched > own.watched
    assert taken.orders > own.orders, "else the ledger would keep the older mode"
    assert followed(taken, FULL, "b") == taken


def test_followed_owner_that_was_released_ends_the_hold_that_was_followed() -> None:
    taken = followed(GateState("gate", releases=9), HELD, "b")
    freed = followed(taken, release(HELD), "b")
    assert not freed.held
    assert freed.releases > taken.releases, "else the ledger would keep the hold"


def test_followed_owner_that_never_knew_of_this_agents_own_hold_does_not_end_it() -> None:
    own = hold(GateState("gate"), HeldFor.ACCOUNT, NOON, "b")
    assert followed(own, OWNER, "b").held
    assert followed(own, release(replace(HELD, releases=9)), "b").held, "a person has ended another hold there"


def test_followed_owner_that_ended_this_agents_own_hold_ends_it_whatever_both_have_counted() -> None:
    own = hold(GateState("gate", releases=40), HeldFor.ACCOUNT, NOON, "b")
    owner = release(followed(GateState("gate"), own, "a"))
    freed = followed(own, owner, "b")
    assert not freed.held
    assert freed.releases > own.releases, "else the ledger would keep the hold"
    later = hold(freed, HeldFor.ACCOUNT, NOON + timedelta(seconds=1), "b")
    assert followed(later, owner, "b").held, "its next hold is another one"


def test_names_of_ended_holds_are_kept_by_all_and_bounded() -> None:
    state = GateState("gate")
    for second in range(40):
        state = release(hold(state, HeldFor.ACCOUNT, NOON + timedelta(seconds=second), "b"))
    assert len(state.ended_holds) == ENDED_KEPT
    assert state.ended_holds[-1].endswith("T12:00:39.000+00:00")
    other = release(HELD)
    taken = followed(state, other, "b")
    assert (taken.ended_holds[-1], len(taken.ended_holds)) == (other.ended_holds[-1], ENDED_KEPT)
    assert gate_from_record(orjson.loads(orjson.dumps(gate_record(taken)))).ended_holds == taken.ended_holds


def test_is_news_counts_of_parts_are_none() -> None:
    assert not is_news(replace(OWNER, reject_streak=3, watched=3), OWNER)
    assert is_news(HELD, OWNER)
    assert is_news(None, OWNER)


@pytest.mark.parametrize(
    ("own", "is_common", "epoch"),
    [
        (counter(1, 5, epoch_of="id-b"), True, 3),
        (counter(3, 5, epoch_of="id-a"), True, 3),
        (counter(3, 5, epoch_of="id-b"), False, 3),
        (counter(3, None), True, 3),
        (counter(7, 5, epoch_of="id-b"), False, 7),
    ],
)
def test_follow_takes_a_later_epoch_and_says_whether_its_numbers_name_the_same_parts(
    own: TriggerCounter, is_common: bool, epoch: int
) -> None:
    assert own.follow(OWNER, "b") is is_common
    assert own.state.epoch == epoch


def test_resume_takes_what_this_agent_told_last_and_no_older_epoch() -> None:
    behind, ahead = counter(1, 5, epoch_of="id-a"), counter(4, 5, epoch_of="id-a")
    behind.resume(FULL)
    ahead.resume(FULL)
    assert (behind.state.epoch, behind.state.held, behind.state.mode) == (3, True, GateMode.BYPASS)
    assert ahead.state.epoch == 4


def test_take_over_forgets_what_was_skipped_under_the_other_agent_and_keeps_own_parts() -> None:
    made = counter(3, 5, epoch_of="id-a", gaps=(Gap(2, 8, 8),))
    made.step(8, can_be_reset=False)
    assert made.gaps.waiting() == [(2, 8), (3, 6), (3, 7)]
    made.take_over(4, "id-b", has_ledger=False)
    assert made.gaps.waiting() == [(2, 8)]
    assert (made.recorded_state.epoch, made.recorded_state.epoch_of) == (4, "id-b")


def test_frame_that_comes_again_after_epochs_were_skipped_is_known() -> None:
    made = counter(1, 5)
    memory = FrameMemory("cam", "", made, 100)
    ids = FrameIds(None, 6, None, "sha")
    assert not isinstance(memory.classify(ids), Known)
    made.take_over(9, "id-b", has_ledger=False)
    assert isinstance(memory.classify(replace(ids, is_redelivered=True)), Known)


def test_hold_words_say_since_when_by_which_agent_and_why() -> None:
    assert hold_words(HELD) == ("held since 2025-03-01T12:00:00.000Z by the agent a: too many rejects in a row")


@pytest.mark.parametrize(
    ("known", "run", "after"),
    [
        ((), (4, 3), ()),
        ((), (2, 4), ((2, 4),)),
        (((4, 4),), (2, 4), ((2, 4),)),
        (((2, 4),), (3, 4), ((2, 4),)),
        (((2, 4),), (5, 5), ((2, 5),)),
        (((2, 4),), (6, 7), ((2, 4), (6, 7))),
        (((2, 4), (8, 8)), (5, 7), ((2, 8),)),
    ],
)
def test_epochs_of_other_agents_are_joined_and_handed_over_to_nobody(
    known: tuple[tuple[int, int], ...], run: tuple[int, int], after: tuple[tuple[int, int], ...]
) -> None:
    state = with_elsewhere(replace(OWNER, elsewhere=known), *run)
    assert state.elsewhere == after
    assert (state.watched > OWNER.watched) is (after != known)
    assert handed_over(state).elsewhere == ()
    assert followed(state, OWNER, "b").elsewhere == after
