"""Makes the consumer that joins the agents' group, and finds the partition of a key. No tasks, no state."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.partitioner import murmur2

from connectors.kafka.wire.batches import ensure_header_names_are_taken
from connectors.kafka.wire.client import client_options
from inspector.config.config import Config


def new_consumer(config: Config) -> AIOKafkaConsumer:
    """A consumer not yet started. Raises ConfigError for a missing secret or certificate file."""
    settings = config.kafka
    ensure_header_names_are_taken()
    # The sticky assignor keeps its state in the class, which two consumers of one process must not share.
    assignor = type("Membership", (StickyPartitionAssignor,), {})
    return AIOKafkaConsumer(
        **client_options(settings, config.agent.name),
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=(assignor,),
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=max(100, settings.session_timeout_ms // 5),
        rebalance_timeout_ms=settings.session_timeout_ms,
        max_poll_interval_ms=settings.max_poll_interval_ms,
        max_partition_fetch_bytes=settings.max_frame_bytes,
        fetch_max_wait_ms=settings.fetch_wait_ms,
        consumer_timeout_ms=settings.fetch_wait_ms,
    )


def partition_of(consumer: AIOKafkaConsumer, topic: str, key: str) -> TopicPartition | None:
    """The partition to which a producer with Kafka's own partitioner sends this key; None for an unknown topic."""
    partitions = sorted(consumer.partitions_for_topic(topic) or ())
    if not partitions:
        return None
    return TopicPartition(topic, partitions[(murmur2(key.encode()) & 0x7FFFFFFF) % len(partitions)])
