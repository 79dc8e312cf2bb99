"""Listening beside a running agent, on real brokers: the tap sees frames, the agent loses none and keeps its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from connectors.kafka.tap import KafkaTap
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.source import MqttSource
from connectors.mqtt.tap import MqttTap, unshared
from inspector.config.config import Config
from inspector.enrolment.camera_frames import FrameRequest, collect_frames
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config
from tests.kafka_broker import KafkaTopics, kafka_config
from tests.unit.drawings import draw, encode

TOPIC = "p/s/cam1/frame"


async def test_mqtt_tap_takes_copies_and_leaves_the_agents_frames_alone(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    config = line_config(mosquitto(), tmp_path)
    camera = config.camera_named("cam1")
    async with (
        MqttSource(config, camera, RunningClock(), notebook) as source,
        MqttPublisher(config.mqtt, "camera") as publisher,
    ):
        reader = Reader(source)
        await publisher.publish(TOPIC, b"before")
        async with MqttTap(config, camera) as tap:
            for number in range(20):  # more than the tap holds at once
                await publisher.publish(TOPIC, b"%d" % number)
            frames = tap.frames()
            async with asyncio.timeout(15):
                seen = [await anext(frames) for _ in range(20)]
        await publisher.publish(TOPIC, b"after")
        deliveries = await reader.take(22)
        assert seen == [b"%d" % number for number in range(20)]
        assert payloads(deliveries) == [b"before", *seen, b"after"]
        assert not any(each.redelivered for each in deliveries)
        assert await source.acknowledge(deliveries[-1].position)
        assert source.is_connected


async def test_mqtt_tap_passes_over_a_retained_frame(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path)
    await asyncio.to_thread(broker.publish, "-t", TOPIC, "-q", "1", "-r", "-m", "old")
    async with MqttTap(config, config.camera_named("cam1")) as tap:
        await asyncio.to_thread(broker.publish, "-t", TOPIC, "-q", "1", "-m", "new")
        async with asyncio.timeout(15):
            assert await anext(tap.frames()) == b"new"


async def test_collect_from_a_camera_on_mqtt_fills_a_folder(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    config = line_config(mosquitto(), tmp_path)
    pictures = [encode(draw("disc", seed, size=(32, 32))) for seed in range(3)]
    request = FrameRequest("cam1", 3, tmp_path / "kept")
    running = asyncio.create_task(collect_frames(config, request, lambda *_: None))
    async with MqttPublisher(config.mqtt, "camera") as publisher:
        number = 0
        while not running.done():  # until it listens, frames pass it by
            await publisher.publish(TOPIC, pictures[number % 3])
            await asyncio.sleep(0.02)
            number += 1
    files = await running
    assert {file.read_bytes() for file in files} == set(pictures)


def test_unshared_filter_takes_no_frames_from_a_group() -> None:
    assert unshared("$share/agents/plant/cam1/frame") == "plant/cam1/frame"
    assert unshared("plant/cam1/frame") == "plant/cam1/frame"


async def test_kafka_tap_reads_from_now_on_its_own_camera_and_joins_no_group(
    kafka: KafkaTopics, tmp_path: Path
) -> None:
    topic = await kafka.create(partitions=3)
    config: Config = kafka_config(kafka, topic, tmp_path)
    await kafka.send(topic, b"before", camera="cam1")
    async with KafkaTap(config, config.camera_named("cam1")) as tap:
        for number in range(3):
            await kafka.send(topic, b"%d" % number, camera="cam1", partition=number)
            await kafka.send(topic, b"other", camera="cam2", partition=number)
        frames = tap.frames()
        async with asyncio.timeout(30):
            seen = {await anext(frames) for _ in range(3)}
    assert seen == {b"0", b"1", b"2"}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        assert config.kafka.group not in {group for group, *_ in await admin.list_consumer_groups()}
    finally:
        await admin.close()
