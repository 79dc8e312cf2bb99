"""What the agent writes to Kafka: verdict records, dead letters, frames of the simulator; and what the doctor says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from connectors.kafka.probe import probe
from connectors.kafka.publisher import KafkaPublisher
from connectors.kafka.sinks import KafkaDeadLetters, KafkaVerdictSink
from connectors.kafka.source import KafkaSource
from inspector.agent.fan_out import FanOutSink, FirstDeadLetters
from inspector.demo.simulated_camera import Shooting, shoot
from inspector.domain import Cause, DeadLetter, ResultId, Verdict
from inspector.errors import BrokerUnavailable
from inspector.testing.edges import FakeDeadLetters, FakeSink
from inspector.testing.samples import verdict_of_part
from inspector.testing.source_contract import Reader
from tests.brokers import Notebook, RunningClock, until
from tests.kafka_broker import Kafka, KafkaTopics, kafka_config

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@asynccontextmanager
async def reading(kafka: KafkaTopics, topic: str) -> AsyncIterator[Callable[[int], Any]]:
    """Gives the first so many records of a topic, as soon as they are there."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        got: list[Any] = []

        async def take(count: int) -> list[Any]:
            async with asyncio.timeout(30):
                while len(got) < count:
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        got.extend(records)
            return got

        yield take


def verdicts(count: int, gate: str | None = None) -> list[Verdict]:
    return [replace(verdict_of_part(number), gate=gate) for number in range(count)]


def letter_of(payload: bytes) -> DeadLetter:
    return DeadLetter(
        ResultId("r1"), "cam1", payload, {"lot": "L", "part-id": "Teil ä"}, Cause.UNDECODABLE, "no image", NOW
    )


async def test_sink_records_arrive_in_order_under_gate_or_camera(
    kafka: KafkaTopics, tmp_path: Path, notebook: Notebook
) -> None:
    records = await kafka.create()
    config = kafka_config(kafka, "t", tmp_path, verdict_topic=records)
    async with reading(kafka, records) as take, KafkaVerdictSink(config, RunningClock(), notebook) as sink:
        for verdict in [*verdicts(5), *verdicts(1, gate="g1")]:
            await sink.publish(verdict)
        got = await take(6)
    assert [json.loads(record.value)["trigger_id"] for record in got] == [0, 1, 2, 3, 4, 0]
    assert [record.key for record in got] == [b"cam1"] * 5 + [b"g1"]
    assert notebook.kinds == ["kafka_link_up"]


async def test_sink_keeps_records_while_the_broker_is_dead_and_drops_the_oldest(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path, notebook: Notebook
) -> None:
    records = await kafka.create()
    config = kafka_config(kafka, "t", tmp_path, verdict_topic=records, record_queue=100, request_timeout_ms=1000)
    async with reading(kafka, records) as take, KafkaVerdictSink(config, RunningClock(), notebook) as sink:
        await sink.publish(verdicts(1)[0])
        await take(1)
        assert await sink.flush(10)
        kafka_server.kill()
        try:
            for verdict in verdicts(150)[1:]:
                await sink.publish(verdict)
            await until(lambda: "kafka_link_down" in notebook.kinds)
        finally:
            await asyncio.to_thread(kafka_server.start)
        assert await sink.flush(30)
        got = [json.loads(record.value)["trigger_id"] for record in await take(101)]
    assert [*dict.fromkeys(got)] == [0, *range(50, 150)], "the newest hundred, in order"
    kinds = notebook.kinds
    assert [kinds.count(kind) for kind in ("kafka_link_down", "kafka_link_up", "records_dropped")] == [1, 2, 1]
    assert notebook.counts["records_dropped"] == 49


async def test_dead_letters_keep_the_bytes_and_say_why(kafka: KafkaTopics, tmp_path: Path, notebook: Notebook) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, "t", tmp_path, dead_letter_topic=topic)
    async with reading(kafka, topic) as take, KafkaDeadLetters(config, RunningClock(), notebook) as letters:
        await letters.put(letter_of(b"\x00junk"))
        record = (await take(1))[0]
    assert (record.key, record.value) == (b"cam1", b"\x00junk")
    assert {name: value.decode() for name, value in record.headers} == {
        "lot": "L", "part-id": "Teil ä", "x-result-id": "r1", "x-camera": "cam1", "x-cause": "undecodable",
        "x-detail": "no image",
    }  # fmt: skip


async def test_dead_letters_without_a_cluster_or_too_large_go_to_the_folder(
    kafka: KafkaTopics, tmp_path: Path, notebook: Notebook
) -> None:
    topic = await kafka.create(**{"max.message.bytes": "20000"})
    config = kafka_config(kafka, "t", tmp_path, dead_letter_topic=topic)
    away = kafka_config(KafkaTopics("127.0.0.1:1"), "t", tmp_path, dead_letter_topic=topic)
    folder = FakeDeadLetters()
    async with (
        KafkaDeadLetters(away, RunningClock(), notebook) as nowhere,
        KafkaDeadLetters(config, RunningClock(), notebook) as letters,
    ):
        await FirstDeadLetters([nowhere, folder]).put(letter_of(b"one"))
        await FirstDeadLetters([nowhere, folder]).put(letter_of(b"two"))
        await FirstDeadLetters([letters, folder]).put(letter_of(bytes(40_000)))
        await FirstDeadLetters([letters, folder]).put(letter_of(b"fits"))
    assert [len(letter.payload) for letter in folder.letters] == [3, 3, 40_000]
    assert notebook.kinds == ["dead_letter_topic_down"]


async def test_stray_records_go_to_the_dead_letter_topic(
    kafka: KafkaTopics, tmp_path: Path, notebook: Notebook
) -> None:
    frames, topic = await kafka.create(), await kafka.create()
    config = kafka_config(kafka, frames, tmp_path, dead_letter_topic=topic)
    async with (
        reading(kafka, topic) as take,
        KafkaDeadLetters(config, RunningClock(), notebook) as letters,
        KafkaSource(config, RunningClock(), notebook, letters) as source,
    ):
        reader = Reader(source)
        await kafka.send(frames, b"stray", key="cam9")
        record = (await take(1))[0]
        assert reader.got == []
    headers = {name: value.decode() for name, value in record.headers}
    assert record.value == b"stray"
    assert headers["x-detail"].startswith(f"camera 'cam9' is not configured; {frames}/0/0/")


async def test_fan_out_gives_everything_to_each_sink() -> None:
    one, two = FakeSink(), FakeSink()
    async with FanOutSink([one, two]) as sink:
        await sink.publish(verdicts(1)[0])
        await sink.state("cam1/health", {"state": "online"})
    assert one.verdicts == two.verdicts == verdicts(1)
    assert one.states == two.states == {"cam1/health": {"state": "online"}}


async def test_fan_out_of_no_sink_takes_everything() -> None:
    async with FanOutSink([]) as sink:
        await sink.publish(verdicts(1)[0])


async def test_publisher_shows_files_as_a_camera_would(
    kafka: KafkaTopics, tmp_path: Path, notebook: Notebook, parts_folder: Path
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path)
    files = sorted(path for path in parts_folder.rglob("*.*") if path.is_file())[:3]
    shooting = Shooting(files=files, rate_fps=200, topic=topic, run="r", trigger_start=7)
    async with KafkaSource(config, RunningClock(), notebook, FakeDeadLetters()) as source:
        reader = Reader(source)
        async with KafkaPublisher(config.kafka, "cam1", "g1") as camera:
            tally = await shoot(shooting, camera, asyncio.Event())
        got = await reader.take(3)
    assert tally.sent == 3
    assert sorted(each.properties["trigger-id"] for each in got) == ["7", "8", "9"]
    assert {each.payload for each in got} == {file.read_bytes() for file in files}
    assert all(each.camera == "cam1" and each.properties["simulated"] == "true" for each in got)


async def test_publisher_without_a_cluster_raises_broker_unavailable(tmp_path: Path) -> None:
    config = kafka_config(KafkaTopics("127.0.0.1:1"), "t", tmp_path)
    with pytest.raises(BrokerUnavailable):
        await KafkaPublisher(config.kafka, "cam1", "cam1").__aenter__()


async def test_probe_of_a_fit_cluster_finds_no_fault(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(4, **{"max.message.bytes": "5242880"})
    findings = await probe(kafka_config(kafka, topic, tmp_path))
    assert [finding for finding in findings if not finding.is_ok] == []
    assert f"kafka topic {topic}" in [finding.subject for finding in findings]
    assert "4 partitions" in [finding.detail for finding in findings]


async def test_probe_names_absent_topics_and_sizes_that_do_not_fit(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic = await kafka.create(**{"max.message.bytes": "1000000"})
    config = kafka_config(kafka, topic, tmp_path, verdict_topic="never-made")
    faults: dict[str, str] = {}
    async with asyncio.timeout(30):
        while f"kafka limits of topic {topic}" not in faults:  # a broker may not know yet what the topic was made with
            faults = {finding.subject: finding.detail for finding in await probe(config) if not finding.is_ok}
    assert "does not exist" in faults["kafka topic never-made"]
    assert "max.message.bytes is 1000000" in faults[f"kafka limits of topic {topic}"]


async def test_probe_finds_topics_by_pattern_and_the_one_of_dead_letters_too_small(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    fit, small, letters = [
        await kafka.create(**{"max.message.bytes": size}) for size in ("5242880", "1000000", "900000")
    ]
    config = kafka_config(kafka, fit, tmp_path, topic_pattern=f"{fit}|{small}", dead_letter_topic=letters)
    findings = {finding.subject: finding for finding in await probe(config)}
    assert findings[f"kafka topics like {fit}|{small}"].detail.startswith("2 there now")
    faults = {subject for subject, finding in findings.items() if not finding.is_ok}
    assert faults == {f"kafka limits of topic {small}", f"kafka limits of topic {letters}"}
    none = {f.subject: f for f in await probe(kafka_config(kafka, fit, tmp_path, topic_pattern="no-such-topic"))}
    assert not none["kafka topics like no-such-topic"].is_ok


async def test_dead_letter_of_the_largest_frame_fits(kafka: KafkaTopics, tmp_path: Path) -> None:
    topic, letters = await kafka.create(), await kafka.create()
    config = kafka_config(kafka, topic, tmp_path, dead_letter_topic=letters, max_frame_mib=4)
    folder = FakeDeadLetters()
    async with KafkaDeadLetters(config, RunningClock(), Notebook()) as sink:
        await FirstDeadLetters([sink, folder]).put(letter_of(b"x" * config.kafka.max_frame_bytes))
    assert folder.letters == []
    async with reading(kafka, letters) as take:
        (record,) = await take(1)
    assert len(record.value) == config.kafka.max_frame_bytes


async def test_probe_of_no_cluster_is_one_fault(tmp_path: Path) -> None:
    findings = await probe(kafka_config(KafkaTopics("127.0.0.1:1"), "t", tmp_path))
    assert [finding.is_ok for finding in findings] == [False]
