"""Checks a Kafka cluster for `inspector doctor`: whether it answers, accepts the agent, and takes frames on its topics.

The probe writes nothing and joins no group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

from connectors.kafka.wire.client import OVERHEAD_BYTES, ask, client_options, reach
from connectors.kafka.wire.refusal import translated
from inspector.config.broker_sections import KafkaSection
from inspector.config.config import Config
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. `detail` says what the check showed, or what to do."""

    subject: str
    is_ok: bool
    detail: str


async def probe(config: Config) -> list[Finding]:
    """Findings about the section `kafka`, in the order of the checks. A failed check is a finding, not an exception."""
    settings = config.kafka
    try:
        connection = await reach(settings)
    except (BrokerUnavailable, BrokerRefused, ConfigError) as error:
        return [Finding("kafka cluster", False, str(error))]
    findings = [Finding("kafka cluster", True, f"{connection.host}:{connection.port} lets us in")]
    try:
        # A pattern is compared with every topic that this user may see.
        cluster = await ask(connection, None if settings.topic_pattern else _topics(config))
    except BrokerUnavailable as error:
        return [*findings, Finding("kafka metadata", False, str(error))]
    finally:
        connection.close()
    findings += [await _reachable(settings, node.host, node.port) for node in cluster.brokers()]
    findings += [_topic(cluster, topic) for topic in _topics(config)]
    matched = _matched(cluster, settings.topic_pattern)
    if settings.topic_pattern:
        findings.append(_pattern(settings.topic_pattern, matched))
    findings.append(Finding("kafka frame sizes", True, f"frames of up to {config.kafka.max_frame_mib:g} MiB"))
    carrying = [*_frame_topics(config), *([settings.dead_letter_topic] if settings.dead_letter_topic else [])]
    limits = await _limits(config, [*(topic for topic in carrying if cluster.partitions_for_topic(topic)), *matched])
    # A pattern may match many topics, so only the unfit topics are named.
    unnamed = {_limits_subject("topic", topic) for topic in matched}
    return findings + [finding for finding in limits if not (finding.is_ok and finding.subject in unnamed)]


def _matched(cluster: ClusterMetadata, pattern: str | None) -> list[str]:
    if pattern is None:
        return []
    return sorted(topic for topic in cluster.topics() if re.match(pattern, topic))


def _pattern(pattern: str, matched: list[str]) -> Finding:
    subject = f"kafka topics like {pattern}"
    if not matched:
        return Finding(subject, False, "this user sees no such topic; create one, allow it, or check the pattern")
    more = f", {', '.join(matched[:3])}{', ...' if len(matched) > 3 else ''}"
    return Finding(subject, True, f"{len(matched)} there now{more}; their sizes are checked")


def _frame_topics(config: Config) -> tuple[str, ...]:
    return () if config.kafka.topic_pattern else config.kafka_topics


def _topics(config: Config) -> tuple[str, ...]:
    written = (config.kafka.verdict_topic, config.kafka.dead_letter_topic)
    return (*_frame_topics(config), *(topic for topic in written if topic is not None))


async def _reachable(settings: KafkaSection, host: str, port: int) -> Finding:
    """Whether the address that a broker advertises can be reached from here."""
    subject = f"kafka broker {host}:{port}"
    try:
        connection = await reach(settings.model_copy(update={"bootstrap": f"{host}:{port}"}))
    except (BrokerUnavailable, BrokerRefused) as error:
        return Finding(subject, False, f"{error} Check the broker's advertised.listeners.")
    connection.close()
    return Finding(subject, True, "answers under the address it advertises")


def _topic(cluster: ClusterMetadata, topic: str) -> Finding:
    subject = f"kafka topic {topic}"
    if topic in cluster.unauthorized_topics:
        return Finding(subject, False, "this user may not use it; check the cluster's access list")
    partitions = cluster.partitions_for_topic(topic)
    if not partitions:
        return Finding(subject, False, "does not exist; create it, or check the name")
    return Finding(subject, True, f"{len(partitions)} partitions")


def _largest_bytes(config: Config) -> int:
    """Bytes of the largest frame that any Kafka camera may send, with its headers and framing."""
    largest = max((camera.max_mib for camera in config.camera if camera.source == "kafka"), default=0)
    return int(min(largest, config.kafka.max_frame_mib) * _MIB)


async def _limits(config: Config, topics: list[str]) -> list[Finding]:
    """Compare the limits of brokers and topics with the largest frame. Brokers that hide them get one finding."""
    needed = _largest_bytes(config) + OVERHEAD_BYTES
    admin = AIOKafkaAdminClient(**client_options(config.kafka, f"{config.agent.name}-doctor"))
    try:
        await admin.start()
        brokers = [str(node.nodeId) for node in admin._client.cluster.brokers()]
        resources = [ConfigResource(ConfigResourceType.BROKER, name) for name in brokers]
        resources += [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        answers = await admin.describe_configs(resources)
    except (KafkaError, OSError) as failure:
        return [Finding("kafka limits", False, str(translated(failure, config.kafka.bootstrap)))]
    finally:
        await admin.close()
    return [
        finding for answer in answers for resource in answer.resources for finding in _judge(tuple(resource), needed)
    ]


def _limits_subject(what: str, name: str) -> str:
    return f"kafka limits of {what} {name}"


def _judge(resource: tuple[Any, ...], needed: int) -> Iterable[Finding]:
    error_code, _, kind, name, entries = resource
    what = "broker" if kind == ConfigResourceType.BROKER else "topic"
    subject = _limits_subject(what, name)
    if error_code:
        yield Finding(subject, False, "the cluster does not tell them to this user; allow DescribeConfigs")
        return
    values = {entry[0]: entry[1] for entry in entries}
    keys = ("message.max.bytes", "replica.fetch.max.bytes") if what == "broker" else ("max.message.bytes",)
    for key in keys:
        value = int(values.get(key) or 0)
        if key in values and value < needed:
            yield Finding(subject, False, f"{key} is {value}, the largest frame needs {needed}; raise it")
        elif key in values:
            yield Finding(subject, True, f"{key} is {value}")
