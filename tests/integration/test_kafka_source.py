"""The Kafka source beyond the contract: whose frame it is, bounds, rebalances, and a cluster that dies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from connectors.kafka.source import KafkaSource
from inspector.config.config import Config
from inspector.domain import Delivery, Severity
from inspector.errors import BrokerUnavailable
from inspector.testing.edges import FakeDeadLetters
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Notebook, RunningClock, until
from tests.kafka_broker import Kafka, KafkaTopics, kafka_config


class Member(KafkaSource):
    """A source with what it is told and keeps at hand."""

    def __init__(self, config: Config) -> None:
        self.notebook = Notebook()
        self.letters = FakeDeadLetters()
        super().__init__(config, RunningClock(), self.notebook, self.letters)


class Worker:
    """Reads a member and acknowledges each delivery, as the road does; keeps the order it saw."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.done: list[Delivery] = []
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        async for delivery in self.member.deliveries():
            self.done.append(delivery)
            await self.member.acknowledge(delivery.position)


async def committed(kafka: KafkaTopics, config: Config, topic: str, partition: int = 0) -> int | None:
    """Where the group would begin anew."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=config.kafka.group) as consumer:
        offset: int | None = await consumer.committed(TopicPartition(topic, partition))
        return offset


@contextlib.asynccontextmanager
async def admin_of(kafka: KafkaTopics) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def member(config: Config) -> AsyncIterator[Member]:
    async with Member(config) as source:
        yield source


async def test_source_camera_is_named_by_header_then_key_then_topic(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic, own = await kafka.create(), await kafka.create()
    config = kafka_config(kafka, topic, tmp_path)
    config = Config.model_validate(
        config.model_dump(exclude_unset=True)
        | {
            "camera": [
                {"name": "cam1", "source": "kafka", "on_unjudged": "reject"},
                {"name": "cam2", "source": "kafka", "on_unjudged": "reject", "topic": own},
            ],
            "gate": [{"name": "g1", "cameras": ["cam1"], "window_ms": 500}],
        }
    )
    async with member(config) as source:
        reader = Reader(source)
        await kafka.send(topic, b"by header", key="cam2", camera="cam1", part_id="7")
        await kafka.send(topic, b"by key", key="cam2")
        await kafka.send(topic, b"by gate", key="g1")
        got = list(await reader.take(3))
        assert [(each.payload, each.camera) for each in got] == [
            (b"by header", "cam1"), (b"by key", "cam2"), (b"by gate", "cam1"),
        ]  # fmt: skip
        assert got[0].properties == {"part-id": "7"}
        await kafka.send(own, b"by topic")
        assert (await reader.take(4))[3].camera == "cam2"
        assert got[0].broker_id is not None
        assert got[0].broker_id.startswith(f"{topic}/0/0/")


async def test_source_record_of_an_unknown_camera_is_kept_told_once_and_passed(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as source:
        worker = Worker(source)
        await kafka.send(topic, b"first", key="cam1")
        for number in range(3):
            await kafka.send(topic, b"stray %d" % number, key="cam1", camera="cam9", lot="L")
        await until(lambda: len(source.letters.letters) == 3)
        assert payloads(worker.done) == [b"first"]
        assert [each.payload for each in source.letters.letters] == [b"stray 0", b"stray 1", b"stray 2"]
        assert source.letters.letters[0].properties == {"camera": "cam9", "lot": "L"}
        assert source.notebook.kinds.count("unknown_camera") == 1
    assert await committed(kafka, config, topic) == 4, "a stray record stops no partition"


async def test_source_tells_of_records_that_were_removed_before_they_were_read(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as source:
        worker = Worker(source)
        await kafka.send(topic, b"read", key="cam1")
        await until(lambda: len(worker.done) == 1)
        assert "frames_removed" not in source.notebook.kinds
    for number in range(4):
        await kafka.send(topic, b"%d" % number, key="cam1")
    async with admin_of(kafka) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=4)})
    async with member(config) as source:
        worker = Worker(source)
        await until(lambda: len(worker.done) == 1)
        assert payloads(worker.done) == [b"3"]
        told = [event for event in source.notebook.events if event.kind == "frames_removed"]
        assert [(event.severity, event.subject) for event in told] == [(Severity.ALARM, f"{topic}/0")]
        assert told[0].detail.startswith("records 1 to 3 were removed")
        assert source.notebook.counts["frames_removed"] == 3


async def test_source_tells_of_removed_records_once_also_where_no_other_one_follows(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as source:
        worker = Worker(source)
        await kafka.send(topic, b"read", key="cam1")
        await until(lambda: len(worker.done) == 1)
    await kafka.send(topic, b"removed", key="cam1")
    async with admin_of(kafka) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=2)})
    for told in (1, 0):
        async with member(config) as source:
            await until(lambda source=source: source.is_connected)
        assert source.notebook.kinds.count("frames_removed") == told


async def test_source_headers_that_are_not_text_leave_the_frame_with_a_fault(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create()
    async with member(kafka_config(kafka, topic, tmp_path)) as source:
        reader = Reader(source)
        await kafka.send_raw(topic, b"x", [("part-id", b"\xff\xfe"), ("trigger-id", b"7")], key="cam1")
        await kafka.send_raw(topic, None, [], key="cam1")
        got = await reader.take(2)
    assert got[0].properties == {"trigger-id": "7", "x-property-fault": "part-id is not UTF-8"}
    assert (got[1].payload, got[1].properties) == (b"", {}), "a tombstone is an empty frame, and gets its row"


async def test_source_foreign_headers_are_no_fault_however_odd_they_are(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create()
    foreign = [("traceparent", b"\x00\xff\x80"), ("", b""), ("\n", b"x" * 5000), ("product", None), ("same", b"1")]
    foreign += [("same", b"\xff"), *((f"spring_{number}", b"\xac\xed\x00\x05") for number in range(60))]
    async with member(kafka_config(kafka, topic, tmp_path)) as source:
        reader = Reader(source)
        await kafka.send_raw(topic, b"x", [*foreign, ("Trigger-Id", b"4711"), ("part-id", b"p")], key="cam1")
        got = await reader.take(1)
    assert got[0].properties == {"trigger-id": "4711", "part-id": "p", "same": "1"}


class LatinName(str):
    """A header name as a producer writes it that knows no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"Pr\xfcfer"


@pytest.mark.parametrize("compression", [0, 1])
async def test_source_header_name_that_is_not_utf8_stops_no_partition(
    kafka: KafkaTopics, tmp_path: Path, compression: int
) -> None:
    topic = await kafka.create()
    async with member(kafka_config(kafka, topic, tmp_path)) as source:
        reader = Reader(source)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            batch = producer.create_batch()
            # The compiled builder takes no such name; the sequence is that of a producer without idempotence.
            batch._builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 100_000)
            for number in range(3):
                headers = [("trigger-id", b"%d" % number), *([(LatinName(), b"M\xfcller")] if number == 1 else [])]
                batch.append(key=b"cam1", value=b"%d" % number, timestamp=time.time_ns() // 1_000_000, headers=headers)
            await (await producer.send_batch(batch, topic, partition=0))
        await kafka.send(topic, b"3", key="cam1", partition=0)
        got = await reader.take(4)
    assert payloads(got) == [b"0", b"1", b"2", b"3"]
    assert [each.properties.get("trigger-id") for each in got] == ["0", "1", "2", None]
    assert not any("x-property-fault" in each.properties for each in got)


async def test_source_what_waited_before_the_assignment_is_backlog(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create()
    for number in range(3):
        await kafka.send(topic, b"old %d" % number, key="cam1")
    async with member(kafka_config(kafka, topic, tmp_path)) as source:
        reader = Reader(source)
        await reader.take(3)
        await kafka.send(topic, b"new", key="cam1")
        assert [each.backlog for each in await reader.take(4)] == [True, True, True, False]
        assert not any(each.redelivered for each in reader.got)


async def test_source_slow_road_pauses_the_partition_and_loses_nothing(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(2)
    config = kafka_config(kafka, topic, tmp_path, buffer_frames=4, buffer_mib=8, in_flight=3)
    frames = [bytes([number]) * (2 * 1024 * 1024) for number in range(12)]
    async with member(config) as source:
        reader = Reader(source)
        for frame in frames:
            await kafka.send(topic, frame, key="cam1", partition=0)
        await reader.take(3)
        await until(lambda: TopicPartition(topic, 0) in source._consumer.paused())
        lane = source._lanes[TopicPartition(topic, 0)]
        assert len(lane._waiting) <= 6, "four frames of 2 MiB, and what one poll brought beyond"
        await kafka.send(topic, b"neighbour", key="cam2", partition=1)
        await until(lambda: any(each.camera == "cam2" for each in reader.got))
        mine = [each for each in reader.got if each.camera == "cam1"]
        assert len(mine) == 3, "no more unacknowledged than may be"
        while len(mine) < len(frames):
            await source.acknowledge(mine[-1].position)
            await reader.take(len(mine) + 2)
            mine = [each for each in reader.got if each.camera == "cam1"]
        assert payloads(mine) == frames


async def test_source_road_that_waits_for_one_camera_holds_up_no_other(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(2)
    go_on = asyncio.Event()
    got: list[Delivery] = []

    async def make_ready(delivery: Delivery) -> None:
        if delivery.camera == "cam1":
            await go_on.wait()

    async with member(kafka_config(kafka, topic, tmp_path)) as source:

        async def read() -> None:
            async for delivery in source.deliveries(make_ready):
                got.append(delivery)

        reading = asyncio.create_task(read())
        await kafka.send(topic, b"held", key="cam1", partition=0)
        for number in range(3):
            await kafka.send(topic, b"%d" % number, key="cam2", partition=1)
        await until(lambda: len(got) == 3)
        assert {each.camera for each in got} == {"cam2"}
        go_on.set()
        await until(lambda: len(got) == 4)
        await source.stop_intake()
        await reading


async def test_source_second_member_joins_and_leaves_nothing_is_lost_or_committed_early(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create(4)
    config = kafka_config(kafka, topic, tmp_path)
    sent: list[tuple[int, bytes]] = []

    async def send(count: int) -> None:
        for _ in range(count):
            number = len(sent)
            sent.append((number % 4, b"frame %d" % number))
            await kafka.send(topic, sent[-1][1], key="cam1", partition=number % 4)

    async with member(config) as first:
        one = Worker(first)
        await send(12)
        async with member(config) as second:
            two = Worker(second)
            await until(lambda: len(first._lanes) == len(second._lanes) == 2)
            await until(lambda: first.is_connected and second.is_connected)
            await send(12)
            await until(lambda: {*payloads(one.done), *payloads(two.done)} >= {frame for _, frame in sent})
            assert two.done, "the new member has taken over two partitions"
        await until(lambda: len(first._lanes) == 4)
        await send(12)
        await until(lambda: {*payloads(one.done), *payloads(two.done)} >= {frame for _, frame in sent})
    for partition in range(4):
        assert await committed(kafka, config, topic, partition) == 9
    everything = payloads(one.done) + payloads(two.done)
    assert len(everything) == len(sent), "all was acknowledged before each handover: nothing came twice"


async def test_source_partition_is_given_up_with_frames_under_way_they_come_to_the_other_member(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create(2)
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as first:
        reader = Reader(first)
        for number in range(6):
            await kafka.send(topic, b"frame %d" % number, key="cam1", partition=number % 2)
        held = list(await reader.take(6))
        async with member(config) as second:
            worker = Worker(second)
            await until(lambda: len(first._lanes) == len(second._lanes) == 1)
            moved = next(iter(second._lanes)).partition
            await until(lambda: len(worker.done) == 3)
            assert payloads(worker.done) == [b"frame %d" % number for number in range(6) if number % 2 == moved]
            assert all(each.backlog for each in worker.done)
            for each in held:
                assert not await first.acknowledge(each.position), "positions of an assignment that is over"
        await until(lambda: len(first._lanes) == 2)
    assert await committed(kafka, config, topic, moved) == 3
    assert await committed(kafka, config, topic, 1 - moved) is None


async def test_source_frames_that_finish_during_the_handover_are_committed(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(2)
    config = kafka_config(kafka, topic, tmp_path, handover_ms=2500)
    async with member(config) as first:
        reader = Reader(first)
        for partition in range(2):
            await kafka.send(topic, b"frame", key="cam1", partition=partition)
        held = list(await reader.take(2))
        joining = asyncio.create_task(Member(config).__aenter__())
        await until(lambda: not first._pumps, 20)
        for each in held:
            assert await first.acknowledge(each.position)
        second = await joining
        await until(lambda: len(first._lanes) == len(second._lanes) == 1)
        worker = Worker(second)
        await kafka.send(topic, b"last", key="cam1", partition=next(iter(second._lanes)).partition)
        await until(lambda: bool(worker.done))
        assert payloads(worker.done) == [b"last"], "what was finished in time does not come twice"
        await second.__aexit__()


async def test_source_broker_killed_and_back_one_event_each_way_and_nothing_lost(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as source:
        reader = Reader(source)
        for number in range(4):
            await kafka.send(topic, b"frame %d" % number, key="cam1")
        got = list(await reader.take(4))
        await source.acknowledge(got[1].position)
        await until(lambda: source._commits is not None and source._commits._is_idle.is_set())
        kafka_server.kill()
        try:
            await until(lambda: not source.is_connected)
            await source.acknowledge(got[3].position)
        finally:
            await asyncio.to_thread(kafka_server.start)
        await until(lambda: source.is_connected, 30)
        await kafka.send(topic, b"after", key="cam1")
        await until(lambda: any(each.payload == b"after" for each in reader.got), 30)
        distinct = list(dict.fromkeys(payloads(reader.got)))
        assert distinct == [b"frame 0", b"frame 1", b"frame 2", b"frame 3", b"after"]
        kinds = source.notebook.kinds
        assert (kinds.count("kafka_link_down"), kinds.count("kafka_link_up")) == (1, 2)
    assert await committed(kafka, config, topic) in (2, 4), "only what was acknowledged in a living assignment"


async def test_source_without_a_cluster_goes_on_trying_with_one_event(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path
) -> None:
    topic = await kafka.create()
    await kafka.send(topic, b"kept", key="cam1")
    kafka_server.stop()
    try:
        source = await Member(kafka_config(kafka, topic, tmp_path)).__aenter__()
        assert not source.is_connected
    finally:
        await asyncio.to_thread(kafka_server.start)
    try:
        assert payloads(await Reader(source).take(1)) == [b"kept"]
        assert source.notebook.kinds == ["kafka_link_down", "kafka_link_up"]
    finally:
        await source.__aexit__()


async def test_source_topic_that_is_not_there_is_waited_for_by_name(kafka: KafkaTopics, tmp_path: Path) -> None:
    source = await Member(kafka_config(kafka, "t-never-made", tmp_path)).__aenter__()
    try:
        assert not source.is_connected
        assert "no topic t-never-made" in source.notebook.events[0].detail
    finally:
        await source.__aexit__()


async def test_source_topics_by_pattern_take_in_one_made_later(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, "unused", tmp_path, topic_pattern=f"{topic}$")
    async with member(config) as source:
        reader = Reader(source)
        await kafka.send(topic, b"frame", key="cam1")
        assert payloads(await reader.take(1)) == [b"frame"]


async def test_source_member_that_dies_leaves_its_partitions_to_the_other(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(2)
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as first:
        one = Worker(first)
        second = await Member(config).__aenter__()
        await until(lambda: len(first._lanes) == len(second._lanes) == 1)
        assert second._consumer is not None
        # As after kill -9: no goodbye, the heartbeat just ends.
        await second._consumer._coordinator._stop_heartbeat_task()
        for partition in range(2):
            await kafka.send(topic, b"%d" % partition, key="cam1", partition=partition)
        await until(lambda: {*payloads(one.done)} == {b"0", b"1"}, 20)
        await second.__aexit__()


async def test_serves_by_key_before_the_first_frame_and_by_frames_after(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(4)
    config = kafka_config(kafka, topic, tmp_path)
    async with member(config) as first:
        assert first.serves("cam1")
        async with member(config) as second:
            await until(lambda: len(first._lanes) == len(second._lanes) == 2)
            assert first.serves("cam1") != second.serves("cam1"), "one of them, by the hash of the key"
            elsewhere = next(iter(second._lanes if first.serves("cam1") else first._lanes))
            readers = [Reader(first), Reader(second)]
            await kafka.send(topic, b"frame", key="cam1", partition=elsewhere.partition)
            await until(lambda: any(reader.got for reader in readers))
            owner = second if elsewhere in second._lanes else first
            assert owner.serves("cam1")


async def test_source_reads_what_kafkas_own_console_producer_writes(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path
) -> None:
    topic = await kafka.create()
    async with member(kafka_config(kafka, topic, tmp_path)) as source:
        reader = Reader(source)
        await asyncio.to_thread(kafka_server.produce_from_console, topic, ["cam1:one", "cam2:two"])
        got = await reader.take(2)
    assert [(each.camera, each.payload) for each in got] == [("cam1", b"one"), ("cam2", b"two")]


@pytest.mark.parametrize("settings", [{"bootstrap": "127.0.0.1:1"}])
async def test_ensure_usable_without_a_broker_says_where_it_looked(tmp_path: Path, settings: dict[str, str]) -> None:
    from connectors.kafka.wire.client import ensure_usable

    config = kafka_config(KafkaTopics(settings["bootstrap"]), "t", tmp_path)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        await ensure_usable(config.kafka, ("t",))


async def test_source_lag_is_told_by_partition_and_camera_and_ends_with_the_assignment(
    kafka: KafkaTopics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.wire.lag.LOOK_S", 0.3)
    topic = await kafka.create()
    async with member(kafka_config(kafka, topic, tmp_path)) as source:
        gauged = source.notebook.gauged
        await until(lambda: gauged.get(("kafka_lag_frames", f"{topic}/0")) == 0)
        for number in range(5):
            await kafka.send(topic, b"frame %d" % number, key="cam1")
        await until(lambda: gauged.get(("kafka_lag_frames", f"{topic}/0")) == 5)
        source.pause()
        worker = Worker(source)
        await kafka.send(topic, b"one more", key="cam1")
        await until(lambda: gauged.get(("kafka_lag_frames", f"{topic}/0")) == 6)
        source.resume()
        await until(lambda: gauged.get(("kafka_lag_frames", "cam1")) == 0)
        assert len(worker.done) == 6
    assert not gauged
