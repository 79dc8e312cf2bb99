"""Kafka behind TLS and SCRAM: who is let in, and one clear sentence for each who is not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.sinks import KafkaVerdictSink
from connectors.kafka.source import KafkaSource
from connectors.kafka.wire.client import ensure_usable
from connectors.kafka.wire.producer import Producer
from inspector.config.config import Config
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError
from inspector.testing.edges import FakeDeadLetters
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Notebook, RunningClock, until
from tests.kafka_broker import Kafka, KafkaTopics, kafka_config


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECTOR_SECRET_KAFKA", "right")
    monkeypatch.setenv("INSPECTOR_SECRET_WRONG", "wrong")


def secured(server: Kafka, **changes: Any) -> dict[str, Any]:
    settings = {
        "bootstrap": server.secure,
        "security": "sasl_ssl",
        "ca_file": str(server.folder / "ca.pem"),
        "username": "agent",
        "password_secret": "kafka",
    }
    return {name: value for name, value in {**settings, **changes}.items() if value is not None}


async def allow(server: Kafka, topic: str, config: Config, *, is_group_allowed: bool = True) -> None:
    """User agent may use the topic, and its group, when this returns: the broker learns of it a little later."""
    server.allow(topic, is_group_allowed=is_group_allowed)
    async with asyncio.timeout(15):
        while True:
            try:
                await ensure_usable(config.kafka, (topic,))
            except BrokerRefused:
                await asyncio.sleep(0.05)
            else:
                return


def source_of(config: Config, notebook: Notebook) -> KafkaSource:
    return KafkaSource(config, RunningClock(), notebook, FakeDeadLetters())


async def test_source_over_tls_with_scram_reads_what_it_may(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path, notebook: Notebook
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path, **secured(kafka_server))
    await allow(kafka_server, topic, config)
    frame = bytes(2 * 1024 * 1024)
    async with source_of(config, notebook) as source:
        reader = Reader(source)
        async with Producer(config.kafka, "camera") as camera:
            await camera.send(topic, frame, "cam1", [("part-id", b"7")])
        assert payloads(await reader.take(1)) == [frame]
        await source.acknowledge(reader.got[0].position)
        assert reader.got[0].properties == {"part-id": "7"}
    assert notebook.kinds == ["kafka_link_up"]


REFUSED: list[tuple[Mapping[str, Any], str]] = [
    ({"password_secret": "wrong"}, r"does not accept the user name or password; check kafka\.username"),
    ({"username": "nobody"}, r"does not accept the user name or password; check kafka\.username"),
    ({"ca_file": "other.pem"}, r"unknown issuer; check kafka\.ca_file"),
    ({"bootstrap": "by address"}, r"certificate for another (host|address); use the name in the certificate"),
    ({"bootstrap": "expired", "security": "ssl", "username": None, "password_secret": None}, r"expired; renew it"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
async def test_source_that_is_refused_says_why_once(
    kafka: KafkaTopics,
    kafka_server: Kafka,
    tmp_path: Path,
    notebook: Notebook,
    changes: dict[str, Any],
    message: str,
) -> None:
    addresses = {
        "by address": kafka_server.secure.replace("localhost", "127.0.0.1"),
        "expired": kafka_server.expired,
    }
    settings = secured(kafka_server, **changes)
    settings["bootstrap"] = addresses.get(settings["bootstrap"], settings["bootstrap"])
    if settings["ca_file"] == "other.pem":
        settings["ca_file"] = str(kafka_server.folder / "other.pem")
    config = kafka_config(kafka, "t", tmp_path, **settings)
    with pytest.raises(BrokerRefused, match=message):
        await source_of(config, notebook).__aenter__()
    assert len(notebook.events) == 1, "tried once, told once"


async def test_source_of_a_forbidden_topic_is_refused_by_its_name(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path, notebook: Notebook
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path, **secured(kafka_server))
    with pytest.raises(BrokerRefused, match=f"does not let this user use {topic}"):
        await source_of(config, notebook).__aenter__()


async def test_source_of_a_forbidden_group_is_refused(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path, notebook: Notebook
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path, **secured(kafka_server))
    await allow(kafka_server, topic, config, is_group_allowed=False)
    with pytest.raises(BrokerRefused, match="does not let this user into the consumer group"):
        await source_of(config, notebook).__aenter__()


async def test_sink_to_a_forbidden_topic_is_refused(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path, notebook: Notebook
) -> None:
    topic, records = await kafka.create(), await kafka.create()
    config = kafka_config(kafka, topic, tmp_path, verdict_topic=records, **secured(kafka_server))
    with pytest.raises(BrokerRefused, match=records):
        await KafkaVerdictSink(config, RunningClock(), notebook).__aenter__()


async def test_ensure_usable_without_tls_where_it_is_wanted_says_so(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path
) -> None:
    config = kafka_config(kafka, "t", tmp_path, bootstrap=kafka_server.secure, request_timeout_ms=1000)
    with pytest.raises(BrokerUnavailable, match=r"check that kafka\.security"):
        await ensure_usable(config.kafka, ())


async def test_ensure_usable_with_tls_where_there_is_none_says_so(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path
) -> None:
    config = kafka_config(kafka, "t", tmp_path, **secured(kafka_server, bootstrap=kafka_server.bootstrap))
    with pytest.raises((BrokerUnavailable, BrokerRefused), match=r"kafka\.security"):
        await ensure_usable(config.kafka, ())


async def test_ensure_usable_with_a_certificate_file_that_is_not_there_is_a_fault_of_the_configuration(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path
) -> None:
    config = kafka_config(kafka, "t", tmp_path, **secured(kafka_server, ca_file=str(tmp_path / "none.pem")))
    with pytest.raises(ConfigError, match="ca_file"):
        await ensure_usable(config.kafka, ())


async def test_source_password_changed_while_away_is_tried_again_seldom_and_comes_back(
    kafka: KafkaTopics, kafka_server: Kafka, tmp_path: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await kafka.create()
    config = kafka_config(kafka, topic, tmp_path, **secured(kafka_server))
    await allow(kafka_server, topic, config)
    async with source_of(config, notebook) as source:
        monkeypatch.setenv("INSPECTOR_SECRET_KAFKA", "wrong")
        kafka_server.kill()
        kafka_server.start()
        await until(lambda: "kafka_link_down" in notebook.kinds)
        monkeypatch.setenv("INSPECTOR_SECRET_KAFKA", "right")
        await until(lambda: source.is_connected, 120)  # seldom, and Kafka's start takes a busy machine long
    assert notebook.kinds.count("kafka_link_down") == 1
