"""Batches are full or due, of one key, never larger than allowed; nobody waits for ever or is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.stream.batching import Batcher, WaitingLine

MS = 1_000_000


def test_take_before_due_is_empty_and_at_due_has_all() -> None:
    batcher: Batcher[str] = Batcher(largest=4, wait_ns=5 * MS)
    batcher.add("k", "a", now_ns=100 * MS)
    batcher.add("k", "b", now_ns=102 * MS)
    assert batcher.next_due_ns() == 105 * MS
    assert batcher.take(104 * MS) == []
    assert batcher.take(105 * MS) == ["a", "b"]
    assert batcher.next_due_ns() is None


def test_take_full_batch_is_ready_at_once_and_keeps_the_rest() -> None:
    batcher: Batcher[int] = Batcher(largest=2, wait_ns=5 * MS)
    for number in range(3):
        batcher.add("k", number, now_ns=0)
    assert batcher.take(0) == [0, 1]
    assert batcher.take(0) == []
    assert len(batcher) == 1


def test_take_hurry_does_not_wait() -> None:
    batcher: Batcher[int] = Batcher(largest=8, wait_ns=5 * MS)
    batcher.add("k", 1, now_ns=0)
    assert batcher.take(0, hurry=True) == [1]


def test_take_never_mixes_keys_and_prefers_the_nearest_deadline() -> None:
    batcher: Batcher[str] = Batcher(largest=8, wait_ns=5 * MS)
    batcher.add("calm", "a", now_ns=0)
    batcher.add("urgent", "b", now_ns=0, deadline_ns=6 * MS)
    assert batcher.next_due_ns() == 1 * MS
    assert batcher.take(5 * MS) == ["b"]
    assert batcher.take(5 * MS) == ["a"]


def test_take_over_full_takes_the_nearest_deadlines_nearest_first() -> None:
    batcher: Batcher[str] = Batcher(largest=2, wait_ns=0)
    batcher.add("k", "late", now_ns=0)
    batcher.add("k", "second", now_ns=1, deadline_ns=100)
    batcher.add("k", "first", now_ns=2, deadline_ns=50)
    assert batcher.take(2) == ["first", "second"]
    assert batcher.take(2) == ["late"]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.one_of(st.none(), st.integers(1, 40)))),
    st.integers(1, 5),
    st.integers(0, 6),
)
def test_batcher_gives_out_everything_once_and_nobody_after_its_wait(
    arrivals: list[tuple[str, int, int | None]], largest: int, wait: int
) -> None:
    batcher: Batcher[tuple[int, str, int]] = Batcher(largest, wait)
    out: list[tuple[int, str, int]] = []
    pending = sorted(arrivals, key=lambda a: a[1])
    for now in range(60):
        while pending and pending[0][1] <= now:
            key, since, deadline = pending.pop(0)
            batcher.add(key, (len(out) + len(batcher), key, since), since, deadline)
        while batch := batcher.take(now):
            assert len(batch) <= largest
            assert len({key for _, key, _ in batch}) == 1
            assert all(now - since <= wait for _, _, since in batch), "nobody waits longer than the wait"
            out.extend(batch)
    assert len(out) == len(arrivals)
    assert len(batcher) == 0


def test_line_takes_nearest_deadline_first_then_arrival() -> None:
    line: WaitingLine[str] = WaitingLine(bound_per_camera=2)
    line.put("calm", "c1", None)
    line.put("later", "c2", 20)
    line.put("sooner", "c2", 10)
    assert [line.take(), line.take(), line.take(), line.take()] == ["sooner", "later", "calm", None]


def test_line_flooding_camera_leaves_its_neighbour_room() -> None:
    line: WaitingLine[int] = WaitingLine(bound_per_camera=2)
    line.put(1, "flood", None)
    line.put(2, "flood", None)
    assert not line.has_room("flood")
    assert line.has_room("neighbour")
    line.take()
    assert line.has_room("flood")
