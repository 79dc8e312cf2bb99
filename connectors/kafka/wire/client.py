"""What every aiokafka client of this room is made with, and a single connection that says why it failed.

aiokafka's own clients swallow the reason of a refused connection; `reach` opens one connection by
itself and raises BrokerRefused or BrokerUnavailable with a sentence for the operator.
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
from inspector.config.loading import secret
from inspector.config.sections import KafkaSection
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError, InspectorError

MECHANISM = "SCRAM-SHA-512"
OVERHEAD_BYTES = 64 * 1024
"""Room for headers and batch framing beside a frame."""

REFUSED_PAUSE_FACTOR = 6
"""How much longer than `reconnect_max_s` the pause after a refusal is."""


def connection_options(settings: KafkaSection) -> dict[str, Any]:
    """Keyword arguments that a bare connection and every client have in common.

    Raises ConfigError for a secret or a file that is not there.
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
    """A connection to the first broker that answers and lets us in; the caller closes it.

    Raises BrokerRefused where one refuses us, else BrokerUnavailable; ConfigError for a missing secret.
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
    """What the cluster says of these topics (none: of its brokers only; None: of all that this user may see).

    Asking makes no topic. Raises BrokerUnavailable.
    """
    cluster = ClusterMetadata()
    wanted = None if topics is None else list(topics)
    try:
        cluster.update_metadata(await connection.send(MetadataRequest(wanted, allow_auto_topic_creation=False)))
    except (KafkaError, TimeoutError) as failure:
        raise translated(failure, f"{connection.host}:{connection.port}") from failure
    return cluster


async def ensure_usable(settings: KafkaSection, topics: tuple[str, ...]) -> None:
    """Returns where the cluster lets us in and has these topics for us. Raises BrokerRefused or BrokerUnavailable."""
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
    """How long to wait before the next try, in seconds: doubling, jittered, within the configured bounds."""

    def __init__(self, settings: KafkaSection, jitter: random.Random | None = None) -> None:
        self._min_s = settings.reconnect_min_s
        self._max_s = max(settings.reconnect_max_s, settings.reconnect_min_s)
        self._jitter = jitter or random.Random()
        self._next_s = self._min_s

    def reset(self) -> None:
        """It has worked: begin with the shortest again."""
        self._next_s = self._min_s

    async def after(self, error: InspectorError) -> None:
        """Wait as long as `error` makes sensible: a refusal is not tried again soon."""
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
