"""The rules of a golden challenge: views of one part, acknowledgements in any order, and what fails it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inspector.domain import Cause, Challenge, GateAction, Master, Outcome, ResultId, Verdict
from inspector.stream.challenges import ChallengeRun
from inspector.stream.gates import PartKey
from inspector.testing.clock import START
from inspector.testing.samples import challenge_of, verdict_of_part

ORDER = (Master(Outcome.PASS), Master(Outcome.REJECT))


def run_of(challenge: Challenge | None = None, *, cameras: int = 1, needs_ack: bool = True) -> ChallengeRun:
    challenge = challenge or challenge_of("c1", expected=ORDER, product=None)
    return ChallengeRun(challenge, cameras=cameras, needs_ack=needs_ack, deadline_ns=0)


def part(number: int) -> PartKey:
    return PartKey(1, 0, number)


def show(run: ChallengeRun, number: int, outcome: Outcome = Outcome.PASS, **changes: Any) -> Verdict:
    """One view of a part, judged and told."""
    cause = Cause.OK if outcome is Outcome.PASS else Cause.ANOMALY
    facts = {"product": "bolt", "product_version": 2, "outcome": outcome, "cause": cause}
    verdict = verdict_of_part(number, **facts | changes)
    assert run.takes(part(number), verdict.part_id)
    run.judged(part(number), verdict, is_to_be_told=True)
    run.told(verdict.result_id, True)
    return verdict


def report(number: int, action: int, source: int = 1, done: int = 1) -> GateAction:
    return GateAction("g1", 1, number, action, source, done, START)


def test_run_is_passed_only_when_the_reject_is_confirmed() -> None:
    run = run_of()
    show(run, 1)
    show(run, 2, Outcome.REJECT)
    assert (run.is_passed, run.fault) == (False, None)
    run.heard(report(9, 2))  # of an ordinary part
    assert not run.is_passed
    run.heard(report(2, 2))
    assert (run.is_passed, run.fault) == (True, None)
    challenge = run.challenge
    assert (challenge.product, challenge.version) == ("bolt", 2)
    assert [(seen.trigger_id, seen.told) for seen in challenge.seen] == [(1, True), (2, True)]


def test_run_of_two_cameras_waits_for_both_views_of_a_good_part_and_for_one_reject() -> None:
    run = run_of(cameras=2)
    show(run, 1, camera="cam1")
    assert run.challenge.seen == ()
    show(run, 1, camera="cam2")
    assert len(run.challenge.seen) == 1
    show(run, 2, Outcome.REJECT, camera="cam2")
    run.heard(report(2, 2))
    assert run.is_passed


def test_run_of_two_cameras_fails_with_a_reject_of_either_view() -> None:
    run = run_of(cameras=2)
    show(run, 1, camera="cam1")
    show(run, 1, Outcome.REJECT, camera="cam2")
    assert run.fault is not None


def test_run_takes_no_part_beyond_its_own_and_none_after_a_fault() -> None:
    run = run_of()
    show(run, 1)
    show(run, 2, Outcome.REJECT)
    assert not run.takes(part(3), None)
    assert run.takes(part(2), None), "another view of a part that is one of them"
    failed = run_of()
    show(failed, 1, Outcome.REJECT)
    assert failed.fault is not None
    assert not failed.takes(part(2), None)


def test_run_by_part_ids_takes_each_once() -> None:
    run = run_of(challenge_of("c1", expected=(Master(Outcome.PASS, "G1"), Master(Outcome.REJECT, "B1")), product=None))
    assert not run.takes(part(1), None)
    assert not run.takes(part(1), "other")
    show(run, 2, Outcome.REJECT, part_id="B1")
    assert not run.takes(part(3), "B1")
    show(run, 4, part_id="G1")
    assert run.has_all_masters


def test_run_fails_when_another_version_becomes_live_in_the_middle() -> None:
    run = run_of()
    show(run, 1)
    show(run, 2, Outcome.REJECT, product_version=3)
    assert run.fault == "another version of the product became live in the middle of it"


@pytest.mark.parametrize("is_told", [False, None])
def test_run_is_not_passed_while_a_decision_is_not_known_to_be_sent(is_told: bool | None) -> None:
    run = run_of(needs_ack=False)
    show(run, 1)
    verdict = verdict_of_part(2, outcome=Outcome.REJECT, cause=Cause.ANOMALY, product="bolt", product_version=2)
    assert run.takes(part(2), None)
    run.judged(part(2), verdict, is_to_be_told=True)
    assert run.is_telling
    if is_told is not None:
        run.told(verdict.result_id, is_told)
        assert not run.is_telling
    assert not run.is_passed
    assert (run.fault is None) is (is_told is None)


@pytest.mark.parametrize("is_to_be_told", [False, True])
def test_run_knows_of_each_part_that_was_seen_whether_it_was_told(is_to_be_told: bool) -> None:
    run = run_of()
    verdict = verdict_of_part(1, outcome=Outcome.UNJUDGED, cause=Cause.LATE)
    assert run.takes(part(1), None)
    run.judged(part(1), verdict, is_to_be_told=is_to_be_told)
    assert run.is_telling is is_to_be_told
    run.end_telling()
    assert [seen.told for seen in run.challenge.seen] == [False]


def test_run_without_acks_ignores_what_the_plc_says() -> None:
    run = run_of(needs_ack=False)
    show(run, 1)
    show(run, 2, Outcome.REJECT)
    run.heard(report(2, 1, 2, 0))
    assert run.is_passed


GOOD_DONE, BAD_DONE = (1, 1, 1), (2, 1, 1)


@pytest.mark.parametrize(
    ("number", "done_as", "again"),
    [
        (2, BAD_DONE, (1, 4, 1)),
        (2, BAD_DONE, (1, 2, 0)),
        (2, BAD_DONE, (2, 1, 0)),
        (1, GOOD_DONE, (2, 2, 1)),
        (1, GOOD_DONE, (2, 4, 1)),
    ],
)
def test_run_fails_with_a_second_ack_that_contradicts_the_first(
    number: int, done_as: tuple[int, int, int], again: tuple[int, int, int]
) -> None:
    run = run_of(challenge_of("c1", expected=(*ORDER, Master(Outcome.REJECT)), product=None))
    show(run, 1)
    show(run, 2, Outcome.REJECT)
    for said in (done_as, done_as, again):
        run.heard(report(number, *said))
    assert run.fault is not None
    assert f"reference part {number}" in run.fault
    run.heard(report(2, *BAD_DONE))
    assert not run.takes(part(3), None), "none after a fault"
    assert not run.is_passed
    acks = [ack for ack in run.challenge.acks if ack.trigger_id == number]
    assert [(ack.action, ack.source, ack.done) for ack in acks][:2] == [done_as, again]


def test_run_takes_a_repeated_ack_for_nothing_new() -> None:
    run = run_of()
    show(run, 1)
    show(run, 2, Outcome.REJECT)
    for number, said in ((1, GOOD_DONE), (1, GOOD_DONE), (2, BAD_DONE), (2, BAD_DONE)):
        run.heard(report(number, *said))
    assert run.is_passed
    assert len(run.challenge.acks) == 2
    assert "1 of 1 rejects" in run.progress()


def test_run_of_parts_without_numbers_takes_a_second_ack_for_the_part_before_it() -> None:
    run = run_of(challenge_of("c1", expected=(*ORDER, Master(Outcome.REJECT)), product=None))
    shown = [PartKey(1, 0, 0, solo=f"r{number}") for number in (1, 2)]
    for key, outcome in zip(shown, (Outcome.PASS, Outcome.REJECT), strict=True):
        cause = Cause.OK if outcome is Outcome.PASS else Cause.ANOMALY
        verdict = verdict_of_part(0, outcome=outcome, cause=cause, product="bolt", product_version=2)
        assert run.takes(key, None)
        run.judged(key, verdict, is_to_be_told=True)
    for said, about in (((1, 1, 1), "r1"), ((2, 1, 1), "r2"), ((1, 1, 1), "of an ordinary frame")):
        run.heard(replace(report(0, *said), result_id=ResultId(about)))
    assert run.fault is None
    run.heard(report(0, 1, 4))
    assert run.fault == ("the PLC acknowledged reference part 2 with act 1, src 4, done 1, after act 2, src 1, done 1")
