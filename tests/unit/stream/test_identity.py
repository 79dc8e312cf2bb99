"""Known frames are known, conflicts are flagged, gaps are counted, resets are told from wraps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain import Gap, GateState, Identity, Sighting
from inspector.stream.gaps import Grace, OpenGaps, Progress
from inspector.stream.identity import FrameIds, FrameMemory, Known, New, TriggerCounter


def memory(
    last: int | None = None, modulus: int | None = None, max_gap: int | None = 10, camera: str = "cam"
) -> FrameMemory:
    counter = TriggerCounter(GateState("gate", last_trigger=last), modulus, max_gap)
    nonces = (f"nonce{n}" for n in itertools.count())
    return FrameMemory(camera, "", counter, bound=64, new_nonce=lambda: next(nonces))


def ids(trigger: int | None = None, sha: str = "a", frame: str | None = None, **more: object) -> FrameIds:
    return FrameIds(frame_id=frame, trigger_id=trigger, part_id=None, sha256=sha, **more)  # type: ignore[arg-type]


def new(found: Known | New) -> New:
    assert isinstance(found, New)
    return found


def test_classify_same_bytes_two_triggers_is_two_frames() -> None:
    frames = memory()
    first, second = new(frames.classify(ids(17))), new(frames.classify(ids(18)))
    assert first.key.result_id != second.key.result_id
    assert not second.id_conflict


def test_classify_same_id_bytes_and_trigger_again_is_known() -> None:
    frames = memory()
    first = new(frames.classify(ids(17, frame="f")))
    assert frames.classify(ids(17, frame="f")) == Known(first.key.result_id)


@pytest.mark.parametrize("back", [94, 95, 128, 140, 166, 250])
def test_classify_frame_of_an_earlier_lap_is_known_by_its_frame_id(back: int) -> None:
    frames = FrameMemory("cam", "", TriggerCounter(GateState("gate"), 256, 20), bound=4096)
    shown = [new(frames.classify(ids(n % 256, f"s{n}", frame=f"f{n}"))) for n in range(261)]
    again = 260 - back
    assert frames.classify(ids(again, f"s{again}", frame=f"f{again}")) == Known(shown[again].key.result_id)
    following = new(frames.classify(ids(5, "s261", frame="f261")))
    assert (following.key.epoch, following.key.lap, following.missed) == (1, 1, ())


def test_classify_bytes_of_an_earlier_lap_without_a_frame_id_are_known_only_where_a_broker_repeats_them() -> None:
    frames = FrameMemory("cam", "", TriggerCounter(GateState("gate"), 256, 20), bound=4096)
    shown = [new(frames.classify(ids(n % 256, f"s{n % 256}"))) for n in range(266)]
    assert shown[265].key.lap == 1, "a frozen or repeating camera shows a part of its own"
    assert frames.classify(ids(10, "s10", is_redelivered=True)) == Known(shown[10].key.result_id)
    assert new(frames.classify(ids(10, "s10"))).key.lap == 1


def test_classify_same_frame_id_other_bytes_is_a_conflict_of_its_own() -> None:
    frames = memory()
    first = new(frames.classify(ids(17, "a", frame="f")))
    second = new(frames.classify(ids(17, "b", frame="f")))
    assert second.id_conflict
    assert second.key.result_id != first.key.result_id
    assert second.key.epoch == first.key.epoch


def test_classify_same_trigger_other_bytes_is_a_conflict() -> None:
    frames = memory()
    frames.classify(ids(17, "a"))
    assert new(frames.classify(ids(17, "b"))).id_conflict


def test_classify_gap_within_bound_names_each_missed_part() -> None:
    frames = memory(last=16)
    assert new(frames.classify(ids(20))).missed == (17, 18, 19)


def test_classify_first_trigger_ever_misses_nothing() -> None:
    found = new(memory().classify(ids(4711)))
    assert found.missed == ()
    assert not found.was_reset


def test_classify_gap_beyond_bound_is_one_reset_and_no_invented_misses() -> None:
    found = new(memory(last=16).classify(ids(100)))
    assert found.was_reset
    assert found.missed == ()
    assert found.key.epoch == 2


def test_classify_backwards_is_one_reset_then_counts_on() -> None:
    frames = memory(last=500)
    found = new(frames.classify(ids(1)))
    assert (found.was_reset, found.key.epoch) == (True, 2)
    after = new(frames.classify(ids(2, "b")))
    assert (after.was_reset, after.key.epoch, after.missed) == (False, 2, ())


def run_up(frames: FrameMemory, first: int, last: int, life: str) -> list[New]:
    """The frames of these numbers, no two lives alike."""
    return [new(frames.classify(ids(number, f"{life}{number}"))) for number in range(first, last + 1)]


def test_classify_backwards_beyond_the_gap_to_a_seen_number_is_one_reset() -> None:
    frames = memory(max_gap=10)
    run_up(frames, 1, 30, "first")
    again = run_up(frames, 1, 30, "second")
    assert [found.was_reset for found in again] == [True] + [False] * 29
    assert not any(found.id_conflict or found.missed for found in again)
    assert {found.key.epoch for found in again} == {2}


def test_classify_conflicts_that_run_upwards_are_a_reset_with_the_third() -> None:
    frames = memory(max_gap=100)
    run_up(frames, 1, 30, "first")
    again = run_up(frames, 1, 30, "second")
    assert [found.was_reset for found in again] == [False, False, True] + [False] * 27
    assert [found.id_conflict for found in again] == [True, True] + [False] * 28
    assert [found.key.epoch for found in again] == [1, 1] + [2] * 28
    assert not any(found.missed for found in again)
    results = {found.key.result_id for found in again} | {
        found.key.result_id for found in run_up(memory(), 1, 30, "first")
    }
    assert len(results) == 60, "every frame has a row of its own"


def test_classify_restart_is_found_where_numbers_were_missed_in_either_life() -> None:
    frames = memory(max_gap=100)
    for number in (1, 3, 5, 6, 9):
        frames.classify(ids(number, f"first{number}"))
    again = [new(frames.classify(ids(number, f"second{number}"))) for number in (1, 2, 3, 6, 7)]
    assert [found.was_reset for found in again] == [False, False, False, True, False]


def test_classify_retakes_of_two_parts_are_conflicts_and_no_reset() -> None:
    frames = memory(max_gap=100)
    run_up(frames, 1, 30, "first")
    for at, number in enumerate((28, 29, 31, 29, 30, 32)):
        found = new(frames.classify(ids(number, f"retake{at}")))
        assert (found.was_reset, found.key.epoch, found.id_conflict) == (False, 1, number < 31)


def test_classify_redelivered_conflicts_are_never_a_reset() -> None:
    frames = memory(max_gap=100)
    run_up(frames, 1, 30, "first")
    found = [new(frames.classify(ids(n, f"second{n}", is_redelivered=True))) for n in range(1, 10)]
    assert not any(each.was_reset for each in found)
    assert {each.key.epoch for each in found} == {1}


def test_classify_camera_far_behind_the_other_one_of_its_gate_is_no_reset() -> None:
    counter = TriggerCounter(GateState("gate"), None, 10)
    left, right = (FrameMemory(name, name, counter, bound=64) for name in ("left", "right"))
    run_up(left, 1, 50, "l")
    behind = run_up(right, 1, 50, "r")
    assert not any(found.was_reset or found.id_conflict for found in behind)
    assert {found.key.epoch for found in behind} == {1}


def test_classify_restart_at_a_gate_of_two_cameras_is_one_reset() -> None:
    counter = TriggerCounter(GateState("gate"), None, 100)
    left, right = (FrameMemory(name, name, counter, bound=64) for name in ("left", "right"))
    for life in ("first", "second"):
        resets = [
            new(camera.classify(ids(number, f"{life}{number}"))).was_reset
            for number in range(1, 31)
            for camera in (left, right)
        ]
    assert resets.count(True) == 1
    assert (counter.state.epoch, counter.state.last_trigger) == (2, 30)


def test_fill_restores_how_far_the_camera_has_come() -> None:
    seen = [
        Sighting(found.key, found.key.result_id, "gate", acknowledged=True) for found in run_up(memory(), 1, 30, "a")
    ]
    later = memory(last=30, max_gap=10)
    later.fill(seen)
    assert new(later.classify(ids(1, "b"))).was_reset


def test_classify_backwards_but_older_is_no_reset() -> None:
    frames = memory(last=500)
    found = new(frames.classify(ids(1), can_be_reset=False))
    assert (found.was_reset, found.key.epoch) == (False, 1)


def test_classify_unknown_redelivery_is_never_a_reset() -> None:
    frames = memory(last=500)
    assert new(frames.classify(ids(3, is_redelivered=True))).key.epoch == 1


def test_classify_wrap_is_no_reset_and_the_next_lap_is_another_part() -> None:
    frames = memory(last=None, modulus=4)
    first = new(frames.classify(ids(2)))
    keys = [new(frames.classify(ids(number))).key for number in (3, 0, 1, 2)]
    assert [key.epoch for key in keys] == [1, 1, 1, 1]
    assert [key.lap for key in keys] == [0, 1, 1, 1]
    assert keys[-1].result_id != first.key.result_id, "same number, same bytes, next lap: another part"


def test_classify_gap_over_the_wrap_counts_on() -> None:
    frames = memory(last=65534, modulus=65536)
    found = new(frames.classify(ids(1)))
    assert found.missed == (65535, 65536)
    assert not found.was_reset


def test_classify_part_that_was_counted_missed_may_still_come() -> None:
    frames = memory(last=16)
    frames.classify(ids(18))
    found = new(frames.classify(ids(17, "late")))
    assert (found.was_reset, found.key.epoch, found.missed) == (False, 1, ())


MS = 1_000_000
GRACE = Grace(triggers=8, duration_ns=100 * MS)


def gate_counter(last: int | None = None, modulus: int | None = None, **more: object) -> TriggerCounter:
    return TriggerCounter(GateState("gate", last_trigger=last, **more), modulus, 100, GRACE)  # type: ignore[arg-type]


def show(counter: TriggerCounter, numbers: list[int], at_ms: int = 0) -> list[New]:
    """Frames of one camera with these trigger ids, all of them sent at this time."""
    frames = FrameMemory("cam", "", counter, bound=512)
    return [new(frames.classify(ids(n, f"frame {at}", at_ns=at_ms * MS))) for at, n in enumerate(numbers)]


def missed_in_the_end(counter: TriggerCounter) -> list[tuple[int, int]]:
    """Epoch and count of the parts whose frames never came."""
    return counter.gaps.take_due(Progress(now_ns=10**12, epoch=counter.state.epoch, proven_ns=10**12, reached=None))


@pytest.mark.parametrize(
    ("last", "modulus", "numbers", "missed"),
    [
        (16, None, [18, 17, 19], []),
        (16, None, [20, 17, 19, 18], []),
        (16, None, [20, 17, 19], [(1, 18)]),
        (None, None, [101, 100, 102], []),
        (None, None, [101, 99, 102], [(1, 100)]),
        (None, None, [103, 101, 100, 102], []),
        (65_534, 65_536, [0, 65_535, 1], []),
        (65_534, 65_536, [1, 0, 65_535, 2], []),
        (None, 65_536, [0, 65_535, 1], []),
        (None, 65_536, [1, 65_535, 0, 2], []),
        (None, 65_536, [1, 65_534, 0, 2], [(1, -1)]),
    ],
)
def test_classify_reordered_frames_are_no_reset_and_miss_only_what_never_came(
    last: int | None, modulus: int | None, numbers: list[int], missed: list[tuple[int, int]]
) -> None:
    counter = gate_counter(last, modulus)
    shown = show(counter, numbers)
    assert not any(found.was_reset for found in shown)
    assert {found.key.epoch for found in shown} == {1}
    assert len({found.key.result_id for found in shown}) == len(numbers)
    assert missed_in_the_end(counter) == missed


@pytest.mark.parametrize(
    ("last", "first", "then", "at_ms"),
    [
        (None, [101], 1, 0),  # further back than any grace
        (None, [3], 1, 1000),  # near, but long after the first frame
        (None, [101, 102, 103, 104, 105, 106, 107, 108, 109], 100, 0),  # more parts came than the grace has
        (500, [501], 1, 0),
        (500, [501, 502], 499, 0),  # below everything that this agent knows of the epoch
    ],
)
def test_classify_counter_that_begins_again_is_one_reset(
    last: int | None, first: list[int], then: int, at_ms: int
) -> None:
    counter = gate_counter(last)
    frames = FrameMemory("cam", "", counter, bound=512)
    before = [new(frames.classify(ids(number, f"a{number}"))) for number in first]
    after = [new(frames.classify(ids(then + n, f"b{n}", at_ns=at_ms * MS))) for n in range(5)]
    assert [found.was_reset for found in before + after] == [False] * len(before) + [True] + [False] * 4
    assert {found.key.epoch for found in after} == {2}
    assert missed_in_the_end(counter) == []


def test_classify_reset_settles_the_parts_that_the_old_epoch_skipped() -> None:
    counter = gate_counter(16)
    show(counter, [19, 400, 401])
    assert counter.state.epoch == 2
    assert counter.recorded_state.gaps == (Gap(1, 17, 18),), "stored until they have rows"
    assert missed_in_the_end(counter) == [(1, 17), (1, 18)]


def test_counter_of_a_stored_state_goes_on_waiting_for_its_skipped_parts() -> None:
    """As after kill -9: one part comes after all, the others are missed, and nothing is a reset."""
    counter = gate_counter(20, gaps=(Gap(1, 15, 17), Gap(1, 19, 19)))
    (found,) = show(counter, [16])
    assert (found.was_reset, found.key.epoch) == (False, 1)
    start = Progress(now_ns=0, epoch=1, proven_ns=0, reached=None)
    assert counter.gaps.take_due(start) == [], "the grace begins anew"
    assert missed_in_the_end(counter) == [(1, 15), (1, 17), (1, 19)]
    counter.record((1, 0, 16))
    assert counter.recorded_state.gaps == (Gap(1, 15, 15), Gap(1, 17, 17), Gap(1, 19, 19))
    for count in (15, 17, 19):
        counter.gaps.has_row(1, count)
    assert counter.recorded_state.gaps == ()


def test_remember_of_parts_beyond_the_stored_count_finds_the_skipped_ones() -> None:
    """As after kill -9 while the database was away: only the journal knows the last parts."""
    counter = gate_counter(5)
    for count in (6, 9, 8):
        counter.remember(count)
    assert counter.gaps.waiting() == [(1, 7)]


def test_adopt_of_an_older_state_brings_no_settled_part_back() -> None:
    counter = gate_counter(5)
    show(counter, [8, 6])
    assert missed_in_the_end(counter) == [(1, 7)]
    counter.adopt(GateState("gate", 1, 8, gaps=(Gap(1, 6, 7),)))
    assert counter.gaps.waiting() == []


def test_adopt_of_a_further_state_leaves_the_other_agents_parts_to_it() -> None:
    counter = gate_counter(5)
    show(counter, [8])
    counter.adopt(GateState("gate", 1, 30, gaps=(Gap(1, 28, 28),)))
    assert counter.gaps.waiting() == [(1, 28)]


def test_gaps_skipped_part_is_due_once_and_stored_until_it_has_a_row() -> None:
    gaps = OpenGaps(GRACE)
    gaps.open(1, [7, 8], at_ns=0, by_count=9)
    assert gaps.take_due(Progress(now_ns=200 * MS, epoch=1, proven_ns=99 * MS, reached=16)) == []
    assert gaps.take_due(Progress(now_ns=200 * MS, epoch=1, proven_ns=None, reached=17)) == [(1, 7), (1, 8)]
    assert gaps.take_due(Progress(now_ns=10**12, epoch=1, proven_ns=10**12, reached=None)) == []
    gaps.has_row(1, 7)
    assert gaps.stored() == (Gap(1, 8, 8),)


@given(
    st.integers(0, 70_000),
    st.lists(st.integers(0, 7), min_size=1, max_size=60),
    st.sampled_from([None, 64, 65_536]),
    st.booleans(),
)
def test_any_reordering_within_the_grace_misses_nothing_and_resets_nothing(
    first: int, delays: list[int], modulus: int | None, is_fresh: bool
) -> None:
    """Each frame comes at most 7 places late, at a gate with a grace of 8 triggers."""
    first = first % modulus if modulus else first
    order = [at for _, at in sorted((at + delay, at) for at, delay in enumerate(delays))]
    counter = gate_counter(None if is_fresh else first - 1 if first else None, modulus)
    shown = show(counter, [(first + at) % modulus if modulus else first + at for at in order])
    assert not any(found.was_reset for found in shown)
    assert {found.key.epoch for found in shown} == {1}
    assert len({found.key.result_id for found in shown}) == len(order)
    assert missed_in_the_end(counter) == []
    for found in shown:
        counter.record((found.key.epoch, found.key.lap, found.key.trigger_id))
    assert counter.recorded_state.gaps == ()


def test_classify_redelivery_of_the_previous_epoch_is_known() -> None:
    frames = memory()
    old = new(frames.classify(ids(500)))
    assert new(frames.classify(ids(1, "b"))).was_reset
    assert frames.classify(ids(500, is_redelivered=True)) == Known(old.key.result_id)


def test_classify_weak_frames_each_delivery_is_new() -> None:
    frames = memory()
    first, second = new(frames.classify(ids())), new(frames.classify(ids()))
    assert first.key.result_id != second.key.result_id
    assert first.key.identity is Identity.WEAK


def test_classify_weak_redelivery_is_absorbed_once_per_unacknowledged_row_and_connection() -> None:
    frames = memory()
    first = new(frames.classify(ids(generation=1)))
    second = new(frames.classify(ids(generation=1)))
    again = [frames.classify(ids(generation=2, is_redelivered=True)) for _ in range(3)]
    assert again[:2] == [Known(first.key.result_id), Known(second.key.result_id)]
    assert isinstance(again[2], New), "a third one was never judged"
    assert frames.classify(ids(generation=3, is_redelivered=True)) == Known(first.key.result_id)


def test_classify_weak_redeliveries_of_one_connection_do_not_absorb_each_other() -> None:
    frames = memory()
    again = [frames.classify(ids(generation=2, is_redelivered=True)) for _ in range(2)]
    assert [type(each) for each in again] == [New, New], "two equal frames that no row stands for are two parts"


def test_classify_weak_redelivery_after_acknowledgement_is_new() -> None:
    frames = memory()
    first = new(frames.classify(ids(generation=1)))
    frames.acknowledged(first.key.result_id)
    assert isinstance(frames.classify(ids(generation=2, is_redelivered=True)), New)


def test_classify_broker_id_finds_the_frame_again_after_a_restart() -> None:
    first = new(memory().classify(ids(broker_id="frames/3/77/1")))
    later = memory()
    later.fill([Sighting(first.key, first.key.result_id, None, acknowledged=False)])
    assert later.classify(ids(broker_id="frames/3/77/1")) == Known(first.key.result_id)


def test_fill_restores_what_an_earlier_run_knew() -> None:
    earlier = memory()
    strong = new(earlier.classify(ids(17, frame="f")))
    weak = new(earlier.classify(ids(sha="w")))
    later = memory(last=17)
    later.fill([Sighting(each.key, each.key.result_id, "gate", acknowledged=False) for each in (strong, weak)])
    assert later.classify(ids(17, frame="f")) == Known(strong.key.result_id)
    assert later.classify(ids(sha="w", is_redelivered=True, generation=1)) == Known(weak.key.result_id)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 120), st.sampled_from([None, 64, 65536]))
def test_restarted_counter_is_at_most_two_conflicts_and_one_reset(
    first: int, second: int, max_gap: int, modulus: int | None
) -> None:
    """Wherever a counter begins again at 1: each frame is one of its own, and conflicts come to an end."""
    frames = memory(modulus=modulus, max_gap=max_gap)
    old = [new(frames.classify(ids(n % modulus if modulus else n, f"a{n}"))) for n in range(1, first + 1)]
    found = [new(frames.classify(ids(n % modulus if modulus else n, f"b{n}"))) for n in range(1, second + 1)]
    assert sum(each.id_conflict for each in found) <= 2
    assert sum(each.was_reset for each in found) <= 1
    assert not any(each.missed for each in found if each.was_reset)
    assert len({each.key.result_id for each in old + found}) == first + second


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3)), max_size=60), st.sampled_from([None, 16, 64]))
def test_every_count_of_an_epoch_is_seen_or_missed(steps: list[tuple[int, int]], modulus: int | None) -> None:
    """Forward steps and redeliveries, in any mix: each part of the count has a frame or was reported missed."""
    frames = memory(modulus=modulus, max_gap=10)
    sent: list[int] = []
    seen: set[int] = set()
    missed: set[int] = set()
    count = 0
    for step, repeats in steps:
        count += step
        number = count % modulus if modulus else count
        found = new(frames.classify(ids(number, sha=str(count))))
        assert not found.was_reset
        missed.update(found.missed)
        assert found.count is not None
        seen.add(found.count)
        sent.append(count)
        for back in sent[-1 - repeats :] if repeats else []:
            back_number = back % modulus if modulus else back
            if modulus is None or count - back < modulus // 2:
                assert isinstance(frames.classify(ids(back_number, sha=str(back), is_redelivered=True)), Known)
    if seen:
        assert not seen & missed
        assert seen | missed == set(range(min(seen), max(seen) + 1))


@pytest.mark.parametrize("modulus", [None, 150])
def test_memory_holds_as_many_frames_as_it_says_however_many_entries_each_has(modulus: int | None) -> None:
    frames = memory(modulus=modulus)
    count = 200
    for number in range(1, count + 1):
        frames.classify(ids(number % (modulus or 1000), sha=f"s{number}", frame=f"f{number}"))
    again = [
        isinstance(frames.classify(ids(number % (modulus or 1000), sha=f"s{number}", frame=f"f{number}")), Known)
        for number in range(count, 0, -1)
    ]
    assert again[:64] == [True] * 64
    assert len(frames._entries) == 64
    assert len(frames._known) <= 128
