"""The options of all aiokafka clients in this package, and a single connection that reports why it failed.

aiokafka's own clients hide the reason of a refused connection. `reach` opens one connection itself and raises
BrokerRefused or BrokerUnavailable with a sentence for the operator.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest

from connectors.kafka.wire.refusal import translated
from inspector.config.broker_sections import KafkaSection
from inspector.config.loading import secret
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError, InspectorError

MECHANISM = "SCRAM-SHA-512"
OVERHEAD_BYTES = 64 * 1024
"""Room for headers and batch framing beside a frame."""

REFUSED_PAUSE_FACTOR = 6
"""The pause after a refusal, as a multiple of `reconnect_max_s`."""


def connection_options(settings: KafkaSection) -> dict[str, Any]:
    """Keyword arguments that a bare connection and every client share.

    Raises ConfigError for a missing secret or file.
    """
    options: dict[str, Any] = {
        "request_timeout_ms": settings.request_timeout_ms,
        "security_protocol": settings.security.upper(),
        "ssl_context": _ssl_context(settings) if settings.security.endswith("ssl") else None,
    }
    if settings.username is not None and settings.password_secret is not None:
        options |= {
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": secret(settings.password_secret).get_secret_value(),
        }
    return options


def client_options(settings: KafkaSection, client_id: str) -> dict[str, Any]:
    """Keyword arguments of a consumer, producer or administration client. Raises ConfigError."""
    return connection_options(settings) | {
        "bootstrap_servers": settings.bootstrap.split(","),
        "client_id": client_id,
        "retry_backoff_ms": 200,
        "metadata_max_age_ms": 30_000,
    }


async def reach(settings: KafkaSection, timeout_ms: int | None = None) -> AIOKafkaConnection:
    """A connection to the first broker that answers and accepts this agent; the caller closes it.

    Raises BrokerRefused if a broker refuses this agent, else BrokerUnavailable; ConfigError if a secret is missing.
    """
    options = connection_options(settings)
    if timeout_ms is not None:
        options["request_timeout_ms"] = timeout_ms
    error: InspectorError | None = None
    for address in settings.bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            return await create_conn(host, int(port), client_id="inspector-probe", **options)
        except (
            OSError,
            EOFError,
            ValueError,
            OverflowError,
            KafkaError,
        ) as failure:  # the middle two: no host, no port
            error = translated(failure, address)
            if isinstance(error, BrokerRefused):
                raise error from failure
    raise error or BrokerUnavailable(f"There is no broker at {settings.bootstrap}.")


async def ask(connection: AIOKafkaConnection, topics: tuple[str, ...] | None) -> ClusterMetadata:
    """The cluster's metadata: its brokers, and these topics. None asks for all topics that this user may see.

    An empty list asks for the brokers only. Asking for a topic never creates it. Raises BrokerUnavailable.
    """
    cluster = ClusterMetadata()
    wanted = None if topics is None else list(topics)
    try:
        cluster.update_metadata(await connection.send(MetadataRequest(wanted, allow_auto_topic_creation=False)))
    except (KafkaError, TimeoutError) as failure:
        raise translated(failure, f"{connection.host}:{connection.port}") from failure
    return cluster


async def ensure_usable(settings: KafkaSection, topics: tuple[str, ...]) -> None:
    """Check that this agent may connect and use these topics. Raises BrokerRefused or BrokerUnavailable."""
    connection = await reach(settings)
    try:
        cluster = await ask(connection, topics)
    finally:
        connection.close()
    forbidden = sorted(cluster.unauthorized_topics & set(topics))
    if forbidden:
        raise translated(TopicAuthorizationFailedError(*forbidden), settings.bootstrap)
    absent = [topic for topic in topics if cluster.partitions_for_topic(topic) is None]
    if absent:
        raise BrokerUnavailable(
            f"The Kafka cluster at {settings.bootstrap} has no topic {', '.join(absent)}; create it, or check the name."
        )


class Pause:
    """The pause before the next try, in seconds. It doubles with each failure, with jitter, up to `reconnect_max_s`."""

    def __init__(self, settings: KafkaSection, jitter: random.Random | None = None) -> None:
        self._min_s = settings.reconnect_min_s
        self._max_s = max(settings.reconnect_max_s, settings.reconnect_min_s)
        self._jitter = jitter or random.Random()
        self._next_s = self._min_s

    def reset(self) -> None:
        """Note that the connection works. The next pause is the shortest pause again."""
        self._next_s = self._min_s

    async def after(self, error: InspectorError) -> None:
        """Wait before the next try. After a refusal the pause is longer, because only a person can change the cause."""
        pause_s = self._max_s * REFUSED_PAUSE_FACTOR if isinstance(error, BrokerRefused) else self._next_s
        self._next_s = min(2 * self._next_s, self._max_s)
        await asyncio.sleep(self._jitter.uniform(0.5, 1.0) * pause_s)


def _ssl_context(settings: KafkaSection) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"kafka.ca_file, cert_file or key_file can't be used: {error}"]) from error
    return context
