"""One idempotent producer, made when it is needed and made anew after it failed.

A record is with the cluster when `send` returns; when it raises, it may be there all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connectors.kafka.wire.client import OVERHEAD_BYTES, client_options, ensure_usable
from connectors.kafka.wire.refusal import translated
from inspector.config.sections import KafkaSection
from inspector.errors import BrokerRefused, BrokerUnavailable

GOODBYE_S = 3.0

Headers = Sequence[tuple[str, bytes]]


class Producer:
    """Entered means nothing yet: `ensure_started` or the first `send` connects."""

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
        """Raises BrokerUnavailable, BrokerRefused, or ConfigError for a missing secret."""
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
        """The cluster has it when this returns. Raises BrokerUnavailable or BrokerRefused."""
        # An idempotent producer tries for ever; who waits for one record wants to know at some time.
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
        """Queued in order when this returns; the future ends when the cluster has it, or raises as `send` does."""
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
        """The next `send` begins with a new producer; what this one has not sent soon counts as not sent."""
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
        """An idempotent producer that missed an answer can't go on with its numbers; one refused record harms none."""
        error = translated(failure, self._settings.bootstrap)
        if not isinstance(error, BrokerRefused) and self._producer is producer:
            await self.drop()
        return error


async def _stop(producer: AIOKafkaProducer) -> None:
    """What is not sent by then is not sent: whoever began it still has it."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await producer.stop()
    except (TimeoutError, KafkaError):
        await producer._sender.close()
        await producer.client.close()
