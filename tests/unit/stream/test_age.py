"""A broker that reads its sockets in rounds, in any order within a round, and may stand still between rounds."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.stream.age import AgeBound, marker_period_ms

MS = 1_000_000


def test_age_of_a_fresh_connection_is_bounded_by_its_opening() -> None:
    bound = AgeBound(50 * MS)
    bound.begin(10 * MS, is_fresh=True)
    assert bound.not_before_ns == 10 * MS


def test_age_of_a_kept_session_is_unknown_until_a_marker_returns() -> None:
    bound = AgeBound(50 * MS)
    bound.begin(10 * MS, is_fresh=False)
    assert bound.not_before_ns is None
    assert bound.proof_age_ns(90 * MS) is None
    assert bound.returned(bound.send(20 * MS), 21 * MS)
    assert bound.not_before_ns == 10 * MS


def test_age_is_bounded_by_the_marker_before_the_last() -> None:
    bound = AgeBound(50 * MS)
    bound.begin(0, is_fresh=True)
    for at in (10, 60, 110):
        assert bound.returned(bound.send(at * MS), at * MS + 1)
    assert bound.not_before_ns == 60 * MS
    assert bound.proof_age_ns(130 * MS) == 70 * MS


def test_marker_under_way_keeps_the_next_one_back() -> None:
    bound = AgeBound(50 * MS)
    assert bound.due_ns() is None
    bound.begin(0, is_fresh=True)
    assert bound.due_ns() == 0
    number = bound.send(5 * MS)
    assert bound.due_ns() is None
    assert not bound.returned(number + 1, 6 * MS)
    assert bound.returned(number, 6 * MS)
    assert bound.due_ns() == 55 * MS
    assert not bound.returned(number, 6 * MS)


def test_marker_that_took_longer_than_a_period_shows_no_emptied_sockets() -> None:
    bound = AgeBound(50 * MS)
    bound.begin(0, is_fresh=True)
    assert bound.returned(bound.send(10 * MS), 11 * MS)
    assert bound.returned(bound.send(60 * MS), 700 * MS)
    assert bound.returned(bound.send(701 * MS), 702 * MS)
    assert bound.not_before_ns == 10 * MS
    assert bound.returned(bound.send(751 * MS), 752 * MS)
    assert bound.not_before_ns == 701 * MS


def test_age_is_unknown_after_the_connection_is_lost() -> None:
    bound = AgeBound(50 * MS)
    bound.begin(0, is_fresh=True)
    number = bound.send(1)
    bound.end()
    assert bound.not_before_ns is None
    assert bound.due_ns() is None
    assert not bound.returned(number, 6 * MS)


def test_marker_period_follows_the_window() -> None:
    assert marker_period_ms(150) == 25
    assert marker_period_ms(5000) == 250
    assert marker_period_ms(12) == 5


def test_slow_marker_sets_the_bound_back_for_no_more_than_its_own_way() -> None:
    """After a marker that took 50 ms, no frame counts as older than that and two periods."""
    period, way, slow = 18 * MS, 5 * MS, 50 * MS
    bound = AgeBound(period)
    bound.begin(0, is_fresh=True)
    now, oldest = 0, 0
    for marker in range(12):
        due = bound.due_ns()
        assert due is not None
        now = max(now, due)
        number = bound.send(now)
        now += slow if marker == 5 else way
        oldest = max(oldest, bound.proof_age_ns(now) or 0)
        bound.returned(number, now)
    assert oldest <= 2 * period + slow


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    frames=st.lists(st.integers(0, 3000), min_size=1, max_size=40),
    stalls=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 1500)), max_size=4),
    is_fresh=st.booleans(),
)
def test_no_frame_is_older_than_its_bound_whatever_the_broker_does(
    seed: int, frames: list[int], stalls: list[tuple[int, int]], is_fresh: bool
) -> None:
    """Whatever stands still and however a round is ordered: a frame was sent no earlier than its bound says."""
    rng = random.Random(seed)
    bound = AgeBound(20 * MS)
    to_send = sorted(frames)
    sockets: list[tuple[str, int]] = []
    bound.begin(0, is_fresh=is_fresh)
    for now in range(4600):
        while to_send and to_send[0] <= now:
            sockets.append(("frame", to_send.pop(0)))
        due = bound.due_ns()
        if due is not None and due <= now * MS:
            sockets.append(("marker", bound.send(now * MS)))
        if any(start <= now < start + length for start, length in stalls):
            continue
        round_, sockets = sockets, []
        rng.shuffle(round_)
        for kind, value in round_:
            if kind == "marker":
                assert bound.returned(value, now * MS)
            elif bound.not_before_ns is not None:
                assert bound.not_before_ns <= value * MS
