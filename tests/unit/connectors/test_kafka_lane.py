"""Lanes and commits of the Kafka source, without a broker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, KafkaError
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import Arrived
from connectors.kafka.source import lane_bounds
from connectors.kafka.wire.commits import Commits
from connectors.kafka.wire.lane import Bounds, Lane
from inspector.config.loading import parse

PARTITION = TopicPartition("frames", 0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(offset: int, size: int = 10) -> Arrived:
    kafka_record: Any = SimpleNamespace(offset=offset, value=bytes(size), topic="frames", partition=0, timestamp=5)
    return Arrived(kafka_record, NOW, 0)


def lane(frames: int = 4, size_bytes: int = 1000, in_flight: int = 100) -> Lane:
    return Lane(PARTITION, 1, Bounds(frames, size_bytes, in_flight))


def test_lane_full_in_frames_wants_more_only_when_half_empty() -> None:
    made = lane(frames=4)
    assert made.wants_more
    made.put(record(offset) for offset in range(4))
    assert not made.wants_more
    made._waiting.popleft()
    assert not made.wants_more
    made._waiting.popleft()
    made._waiting.popleft()
    assert made.wants_more


def test_lane_full_in_bytes_wants_no_more() -> None:
    made = lane(size_bytes=100)
    made.put([record(0, size=100)])
    assert not made.wants_more


@pytest.mark.parametrize("partitions", [1, 30, 400])
def test_lanes_of_all_partitions_together_hold_no_more_than_the_frames_in_memory_may(partitions: int) -> None:
    config = parse({"agent": {"state_dir": "state", "frames_mib": 64}, "kafka": {"bootstrap": "k:9092"}}, None)
    bounds = lane_bounds(config, partitions)
    lanes = [Lane(TopicPartition("frames", number), 1, bounds) for number in range(partitions)]
    frame, held = 100_000, 0
    while wanting := [each for each in lanes if each.wants_more]:
        for each in wanting:
            each.put([record(held, size=frame)])
            held += 1
    most = min(
        64 * 2**20, partitions * config.kafka.buffer_mib * 2**20, partitions * config.kafka.buffer_frames * frame
    )
    assert held * frame <= most + partitions * frame, "each may exceed its part by one frame"


@given(st.lists(st.integers(0, 50), unique=True, min_size=1).map(sorted), st.data())
def test_lane_commits_only_behind_the_longest_done_prefix(offsets: list[int], data: st.DataObject) -> None:
    """Offsets have holes, strays are done at once; a commit never passes a frame that was not acknowledged."""
    made = lane()
    is_stray = {offset: data.draw(st.booleans()) for offset in offsets}
    committed = 0
    acknowledged = -1
    for offset in offsets:
        made.hand_out(offset, is_done=is_stray[offset])
    for upto in sorted(data.draw(st.lists(st.sampled_from(offsets)))):
        acknowledged = upto
        committed = made.settle(upto) or committed
    committed = made.settle() or committed
    open_ones = [offset for offset in offsets if offset > acknowledged and not is_stray[offset]]
    assert committed <= min(open_ones, default=offsets[-1] + 1)
    assert made.is_settled == (not open_ones)


async def test_lane_gives_no_more_than_may_be_in_flight() -> None:
    made = lane(in_flight=1)
    made.put([record(0), record(1)])
    made.open(end_offset=1)
    made.hand_out((await made.next()).record.offset)
    waiting = asyncio.create_task(made.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert made.settle(0) == 1
    assert (await waiting).record.offset == 1
    assert (made.is_backlog(0), made.is_backlog(1)) == (True, False)


async def test_commits_send_one_at_a_time_and_only_the_newest() -> None:
    sent: list[int] = []
    may_go = asyncio.Event()

    async def commit(offsets: dict[TopicPartition, int]) -> None:
        sent.append(offsets[PARTITION])
        await may_go.wait()

    commits = Commits(commit, refused=lambda _: None)
    running = asyncio.create_task(commits.run())
    for offset in range(1, 6):
        commits.note(PARTITION, offset)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert sent == [1]
    assert not await commits.flush(0.01)
    may_go.set()
    assert await commits.flush(5)
    assert sent == [1, 5]
    running.cancel()


@pytest.mark.parametrize(("error", "told"), [(CommitFailedError(), 0), (GroupAuthorizationFailedError(), 1)])
async def test_commits_overtaken_by_a_rebalance_are_dropped_refused_ones_are_told(error: KafkaError, told: int) -> None:
    refused: list[KafkaError] = []

    async def commit(_: dict[TopicPartition, int]) -> None:
        raise error

    commits = Commits(commit, refused.append)
    running = asyncio.create_task(commits.run())
    commits.note(PARTITION, 7)
    assert await commits.flush(5)
    assert len(refused) == told
    running.cancel()


async def test_commits_forgotten_are_not_tried_again() -> None:
    began = asyncio.Event()
    ended: list[str] = []

    async def commit(_: dict[TopicPartition, int]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    commits = Commits(commit, refused=lambda _: None)
    running = asyncio.create_task(commits.run())
    commits.note(PARTITION, 7)
    await began.wait()
    commits.note(PARTITION, 8)
    commits.forget()
    assert await commits.flush(5)
    await asyncio.sleep(0)
    assert ended == ["cancelled"]
    running.cancel()


def test_lane_bounds_the_age_of_records_by_the_end_that_was_asked_for() -> None:
    made = lane()
    made.watch_age(50, now_ns=0)
    made.open(end_offset=3)
    first = made.asked(now_ns=10)
    assert first is not None
    assert made.asked(now_ns=11) is None, "one question at a time"
    made.answered(first, end_offset=5, now_ns=12)
    second = made.asked(now_ns=60)
    assert second is not None
    made.answered(second, end_offset=8, now_ns=61)
    assert made.not_before_ns(4) is None, "it was there before the first question"
    assert made.not_before_ns(6) == 0
    assert made.not_before_ns(8) == 10


async def test_lane_whose_next_record_waits_is_as_old_as_that_record() -> None:
    made = lane()
    made.watch_age(50, now_ns=0)
    made.open(end_offset=3)
    made.put([record(3)])
    for asked_ns, end in ((10, 4), (60, 9), (110, 9)):
        number = made.asked(asked_ns)
        assert number is not None
        made.answered(number, end, asked_ns + 1)
    assert made.next_not_before_ns() is None, "record 3 waits here, and no bound of its age is known"
    await made.next()
    assert made.next_not_before_ns() == 0, "records 4 to 8 are still with the cluster"
    made.put([record(8)])
    assert made.next_not_before_ns() == 0, "record 8 waits here"
    await made.next()
    assert made.next_not_before_ns() == 60


def test_lane_without_an_answer_knows_no_age_until_the_next_one() -> None:
    made = lane()
    made.watch_age(50, now_ns=0)
    made.open(end_offset=3)
    assert made.asked(10) is not None
    made.unanswered(5000)
    number = made.asked(5001)
    assert number is not None
    made.answered(number, 7, 5002)
    assert made.not_before_ns(7) == 5000
