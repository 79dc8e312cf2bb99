"""What became of a part: every combination of what was seen, decided, told, done and acknowledged has one class."""

from __future__ import annotations

import itertools

import pytest

from inspector.domain import Ack, Action, GateTerms, PartClass, PartCount, PartFacts, Seen
from inspector.stream.accounting import classify, count_classes, is_contradiction

TOLD, OTHER, DEFAULT = PartClass.DONE_AS_TOLD, PartClass.DONE_OTHERWISE, PartClass.DEFAULT_THOUGH_TOLD
UNJUDGED, UNSEEN = PartClass.PASSED_UNJUDGED, PartClass.PASSED_WITHOUT_FRAME
UNACKED, UNTOLD, OPEN = PartClass.NEVER_ACKNOWLEDGED, PartClass.NEVER_TOLD, PartClass.OPEN

DECIDED = [None, Action.NONE, Action.PASS, Action.REJECT, Action.QUARANTINE]
ACTS = {0: Action.NONE, 1: Action.PASS, 2: Action.REJECT, 3: Action.QUARANTINE}


def expected(decided: Action | None, is_told: bool, seen: Seen, act: int, src: int) -> PartClass:
    """The class of a part that has an ack and is not young, written as one table of cases."""
    match decided, is_told, src:
        case None, _, 1:
            otherwise = OTHER  # the PLC names a decision that was never made
        case None, _, _:
            otherwise = UNTOLD
        case _, True, 2:
            return DEFAULT
        case _, True, _:
            otherwise = TOLD
        case _, False, 1:
            otherwise = TOLD  # it arrived, whatever the broker answered
        case _:
            otherwise = UNTOLD
    if otherwise is TOLD and ACTS[act] is not decided:
        return OTHER
    if act == 1 and seen is not Seen.JUDGED:
        return UNSEEN if seen is Seen.NO_FRAME and decided is None else UNJUDGED
    return otherwise


COMBINATIONS = [
    (decided, is_told, seen, act, src)
    for decided, is_told, seen, act, src in itertools.product(DECIDED, (True, False), Seen, range(4), range(1, 5))
    if not (decided is None and is_told)
]


@pytest.mark.parametrize(("decided", "is_told", "seen", "act", "src"), COMBINATIONS)
def test_classify_of_every_acknowledged_combination(
    decided: Action | None, is_told: bool, seen: Seen, act: int, src: int
) -> None:
    for done in (0, 1):
        facts = PartFacts(decided, is_told, seen, Ack(act, src, done))
        assert classify(facts) is expected(decided, is_told, seen, act, src)


@pytest.mark.parametrize(("decided", "is_told", "seen"), sorted({each[:3] for each in COMBINATIONS}, key=str))
def test_classify_without_an_acknowledgement_is_open_while_young(
    decided: Action | None, is_told: bool, seen: Seen
) -> None:
    assert classify(PartFacts(decided, is_told, seen, None)) is UNACKED
    assert classify(PartFacts(decided, is_told, seen, None, is_young=True)) is OPEN


def test_classify_of_a_young_part_is_final_once_it_was_told_and_acknowledged() -> None:
    assert classify(PartFacts(Action.PASS, True, Seen.JUDGED, Ack(1, 1, 0), is_young=True)) is TOLD
    assert classify(PartFacts(Action.PASS, True, Seen.JUDGED, Ack(2, 1, 1), is_young=True)) is OTHER
    assert classify(PartFacts(None, False, Seen.NO_FRAME, Ack(1, 2, 0), is_young=True)) is OPEN


@pytest.mark.parametrize(
    ("facts", "part_class"),
    [
        (PartFacts(Action.PASS, True, Seen.JUDGED, Ack(1, 1, 0)), TOLD),
        (PartFacts(Action.REJECT, True, Seen.JUDGED, Ack(1, 1, 0)), OTHER),
        (PartFacts(Action.PASS, True, Seen.JUDGED, Ack(1, 2, 0)), DEFAULT),
        (PartFacts(None, False, Seen.UNJUDGED, Ack(1, 2, 0)), UNJUDGED),
        (PartFacts(Action.PASS, True, Seen.UNJUDGED, Ack(1, 1, 0)), UNJUDGED),
        (PartFacts(None, False, Seen.NO_FRAME, Ack(1, 2, 0)), UNSEEN),
        (PartFacts(Action.PASS, True, Seen.JUDGED, None), UNACKED),
        (PartFacts(Action.PASS, False, Seen.JUDGED, Ack(2, 2, 1)), UNTOLD),
    ],
)
def test_classify_of_the_plain_case_of_each_class(facts: PartFacts, part_class: PartClass) -> None:
    assert classify(facts) is part_class


def test_classify_of_a_reject_that_the_sensor_missed_is_done_otherwise_only_with_a_sensor() -> None:
    unseen = PartFacts(Action.REJECT, True, Seen.JUDGED, Ack(2, 1, 0))
    assert classify(unseen) is TOLD
    assert classify(unseen, has_sensor=True) is OTHER
    assert classify(PartFacts(Action.REJECT, True, Seen.JUDGED, Ack(2, 1, 1)), has_sensor=True) is TOLD
    assert classify(PartFacts(Action.PASS, True, Seen.JUDGED, Ack(1, 1, 0)), has_sensor=True) is TOLD


def test_is_contradiction_leaves_out_what_nobody_inspects() -> None:
    passed = PartFacts(None, False, Seen.UNJUDGED, Ack(1, 2, 0))
    assert is_contradiction(passed, UNJUDGED)
    assert not is_contradiction(PartFacts(None, False, Seen.UNJUDGED, Ack(1, 2, 0), is_inspected=False), UNJUDGED)
    assert not is_contradiction(PartFacts(None, False, Seen.NO_FRAME, Ack(1, 3, 0)), UNSEEN)
    assert not is_contradiction(PartFacts(Action.PASS, True, Seen.UNJUDGED, Ack(1, 1, 0)), UNJUDGED), "a policy's pass"
    assert not is_contradiction(passed, UNTOLD)
    assert not is_contradiction(passed, OPEN)
    assert is_contradiction(PartFacts(Action.PASS, True, Seen.JUDGED, None), PartClass.NEVER_ACKNOWLEDGED)
    assert not is_contradiction(
        PartFacts(Action.PASS, True, Seen.JUDGED, None), PartClass.NEVER_ACKNOWLEDGED, sends_acks=False
    )


@pytest.mark.parametrize("act", [2, 3])
@pytest.mark.parametrize("decided", [Action.REJECT, Action.QUARANTINE])
def test_is_contradiction_leaves_out_a_part_that_the_default_kept_out_too(act: int, decided: Action) -> None:
    facts = PartFacts(decided, True, Seen.JUDGED, Ack(act, 2, 0))
    assert classify(facts) is DEFAULT, "it is counted all the same"
    assert not is_contradiction(facts, DEFAULT)
    assert is_contradiction(PartFacts(decided, True, Seen.JUDGED, Ack(1, 2, 0)), DEFAULT)
    assert is_contradiction(PartFacts(Action.PASS, True, Seen.JUDGED, Ack(act, 2, 0)), DEFAULT)
    assert is_contradiction(PartFacts(Action.PASS, True, Seen.JUDGED, Ack(1, 2, 0)), DEFAULT)


def test_is_contradiction_of_a_reject_by_default_that_the_sensor_missed() -> None:
    facts = PartFacts(Action.REJECT, True, Seen.JUDGED, Ack(2, 2, 0))
    assert is_contradiction(facts, DEFAULT, has_sensor=True)
    assert not is_contradiction(PartFacts(Action.REJECT, True, Seen.JUDGED, Ack(2, 2, 1)), DEFAULT, has_sensor=True)


def test_count_classes_adds_up_over_gates_and_hours() -> None:
    facts = PartFacts(Action.REJECT, True, Seen.JUDGED, Ack(2, 1, 0))
    counts = [PartCount("g1", "h1", facts, 2), PartCount("g1", "h2", facts, 3), PartCount("g2", "h1", facts, 4)]
    assert count_classes(counts, [GateTerms("g2", has_sensor=True)]) == {TOLD: 5, OTHER: 4}


@pytest.mark.parametrize("ack", [None, Ack(1, 1, 0), Ack(1, 2, 0), Ack(2, 1, 1)])
def test_classify_part_of_another_agents_epoch_is_that_agents(ack: Ack | None) -> None:
    facts = PartFacts(None, False, Seen.NO_FRAME, ack, is_elsewhere=True)
    part_class = classify(facts)
    assert part_class is PartClass.TOLD_ELSEWHERE
    assert not is_contradiction(facts, part_class)
