"""One idempotent producer. It is made when it is first needed, and made anew after a failure.

The cluster has a record when `send` returns. If `send` raises, the cluster may still have the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connectors.kafka.wire.client import OVERHEAD_BYTES, client_options, ensure_usable
from connectors.kafka.wire.refusal import translated
from inspector.config.broker_sections import KafkaSection
from inspector.errors import BrokerRefused, BrokerUnavailable

GOODBYE_S = 3.0

Headers = Sequence[tuple[str, bytes]]


class Producer:
    """A producer that replaces itself after failures. Entering does not connect; the first `send` does."""

    def __init__(self, settings: KafkaSection, client_id: str, topics: tuple[str, ...] = ()) -> None:
        self._settings = settings
        self._client_id = client_id
        self._topics = topics
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._unanswered: set[asyncio.Future[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drop()

    async def ensure_started(self) -> AIOKafkaProducer:
        """Connect, if there is no connection. Raises BrokerUnavailable, BrokerRefused; ConfigError without a secret."""
        async with self._starting:
            if self._producer is None:
                await ensure_usable(self._settings, self._topics)
                producer = AIOKafkaProducer(
                    **client_options(self._settings, self._client_id),
                    enable_idempotence=True,
                    max_request_size=self._settings.max_frame_bytes + OVERHEAD_BYTES,
                )
                try:
                    await producer.start()
                except (KafkaError, OSError) as failure:
                    await _stop(producer)
                    raise translated(failure, self._settings.bootstrap) from failure
                self._producer = producer
            return self._producer

    async def send(self, topic: str, value: bytes, key: str | None = None, headers: Headers = ()) -> None:
        """Send one record; the cluster has it when this returns. Raises BrokerUnavailable or BrokerRefused."""
        # An idempotent producer retries for ever, but the caller needs an answer in bounded time.
        timeout_ms = self._settings.request_timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await (await self.begin(topic, value, key, headers))
        except TimeoutError as failure:
            await self.drop()
            raise translated(failure, self._settings.bootstrap) from failure

    async def begin(
        self, topic: str, value: bytes, key: str | None = None, headers: Headers = ()
    ) -> asyncio.Future[None]:
        """Queue a record, in order. The future is done when the cluster has the record; it raises as `send` does."""
        producer = await self.ensure_started()
        try:
            encoded = None if key is None else key.encode()
            sent: asyncio.Future[Any] = await producer.send(topic, value, key=encoded, headers=list(headers))
        except (KafkaError, OSError) as failure:
            raise await self._failed(producer, failure) from failure
        self._unanswered.add(sent)
        sent.add_done_callback(self._unanswered.discard)
        return asyncio.ensure_future(self._answer(producer, sent))

    async def drop(self) -> None:
        """Give this producer up; the next `send` makes a new one. Records that it does not send soon are not sent."""
        producer, self._producer = self._producer, None
        unanswered, self._unanswered = self._unanswered, set()
        if producer is not None:
            await _stop(producer)
        for sent in unanswered:
            sent.cancel()  # aiokafka leaves them open for ever

    async def _answer(self, producer: AIOKafkaProducer, sent: asyncio.Future[Any]) -> None:
        await asyncio.wait([sent])
        if sent.cancelled():
            raise BrokerUnavailable(f"The Kafka cluster at {self._settings.bootstrap} did not take a record in time.")
        failure = sent.exception()
        if isinstance(failure, KafkaError | OSError):
            raise await self._failed(producer, failure) from failure
        if failure is not None:
            raise failure

    async def _failed(self, producer: AIOKafkaProducer, failure: Exception) -> Exception:
        """The failure as an error for the operator. Drops the producer, unless the cluster refused the record: after
        a missed answer its sequence numbers are unsure."""
        error = translated(failure, self._settings.bootstrap)
        if not isinstance(error, BrokerRefused) and self._producer is producer:
            await self.drop()
        return error


async def _stop(producer: AIOKafkaProducer) -> None:
    """Close a producer in bounded time. A record that is not sent by then stays with its sender."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await producer.stop()
    except (TimeoutError, KafkaError):
        await producer._sender.close()
        await producer.client.close()
