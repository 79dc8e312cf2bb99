"""A camera and its broker in memory: a FrameSource that keeps what is not acknowledged.

A `FakeBroker` is one camera's queue and outlives the sources that read it, as a real broker outlives
an agent. It passes the same contract suite as the real connectors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self

from inspector.domain import Delivery, Position
from inspector.ports import Clock, MakeReady


@dataclass(slots=True, eq=False)
class _Kept:
    """A message that the broker keeps. `was_sent` makes its next delivery a redelivery."""

    payload: bytes
    properties: dict[str, str]
    packet_id: int
    was_sent: bool = False


class FakeBroker:
    """The messages of one camera, in order, until they are acknowledged."""

    def __init__(self) -> None:
        self.kept: list[_Kept] = []
        self._count = 0

    def put(self, payload: bytes, properties: Mapping[str, str] | None = None) -> None:
        self._count += 1
        self.kept.append(_Kept(payload, dict(properties or {}), self._count))


class FakeSource:
    """Delivers the frames that are pushed, and keeps acknowledged positions in order in `acknowledged`.

    With `loses_acknowledgements`, an acknowledgement reaches the broker only with `confirm`, and is lost with the link.
    `break_link` loses the connection and restores it: unacknowledged frames come again, marked as redelivered, in a
    new generation. Frames that waited in the broker before a connection are backlog. `is_shared`: as in a consumer
    group, `make_ready` is awaited before each delivery.
    """

    def __init__(self, camera: str, clock: Clock, broker: FakeBroker | None = None, *, is_shared: bool = False) -> None:
        self._is_shared = is_shared
        self.broker = broker if broker is not None else FakeBroker()
        self.acknowledged: list[Position] = []
        self._camera = camera
        self._clock = clock
        self._changed = asyncio.Event()
        self._generation = 0
        self._is_paused = False
        self._is_stopped = False
        self._is_connected = False
        self._sent: dict[int, _Kept] = {}
        self.loses_acknowledgements = False
        self._unconfirmed: list[tuple[Position, asyncio.Future[bool]]] = []
        self._next_offset = 1
        self._backlog_left = 0

    @property
    def name(self) -> str:
        return f"fake:{self._camera}"

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    async def __aenter__(self) -> Self:
        self.restore_link()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_intake()
        self._is_connected = False

    def push(self, payload: bytes, properties: Mapping[str, str] | None = None) -> None:
        """A frame as a camera would send it."""
        self.broker.put(payload, properties)
        self._changed.set()

    def lose_link(self) -> None:
        """Disconnect until `restore_link`. Frames that are pushed meanwhile wait."""
        self._is_connected = False
        for _, answer in self._unconfirmed:
            answer.set_result(False)
        self._unconfirmed.clear()

    def restore_link(self) -> None:
        self._is_connected = True
        self._generation += 1
        self._next_offset = 1
        self._sent.clear()
        self._backlog_left = len(self.broker.kept)
        self._changed.set()

    def break_link(self) -> None:
        self.lose_link()
        self.restore_link()

    def serves(self, camera: str, /) -> bool:
        return camera == self._camera

    async def deliveries(self, make_ready: MakeReady | None = None, /) -> AsyncIterator[Delivery]:
        """Every delivery, across reconnects, until `stop_intake`; none while paused. One consumer only."""
        while not self._is_stopped:
            is_waiting = len(self._sent) < len(self.broker.kept)
            if self._is_paused or not self._is_connected or not is_waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            delivery = self._deliver()
            if self._is_shared and make_ready is not None:
                await make_ready(delivery)
            yield delivery

    def age_bound_ns(self, _camera: str, /) -> int | None:
        return None if self._backlog_left > 0 or not self._is_connected else 0

    async def acknowledge(self, position: Position) -> bool:
        if position.stream != self.name or position.generation != self._generation or not self._is_connected:
            return False
        self.acknowledged.append(position)
        if not self.loses_acknowledgements:
            self._take(position)
        return True

    def confirmation(self, position: Position) -> asyncio.Future[bool] | None:
        if not self.loses_acknowledgements:
            return None
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._unconfirmed.append((position, answer))
        return answer

    def confirm(self) -> None:
        """The broker takes the acknowledgements that were sent, and answers."""
        for position, answer in self._unconfirmed:
            self._take(position)
            answer.set_result(True)
        self._unconfirmed.clear()

    def _take(self, position: Position) -> None:
        for offset in [each for each in self._sent if each <= position.offset]:
            self.broker.kept.remove(self._sent.pop(offset))

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._changed.set()

    async def stop_intake(self) -> None:
        self._is_stopped = True
        self._changed.set()

    def _deliver(self) -> Delivery:
        offset = self._next_offset
        message = self.broker.kept[len(self._sent)]
        delivery = Delivery(
            position=Position(self.name, self._generation, offset),
            camera=self._camera,
            payload=message.payload,
            properties=dict(message.properties),
            received_at=self._clock.now(),
            received_ns=self._clock.monotonic_ns(),
            redelivered=message.was_sent,
            backlog=self._backlog_left > 0,
            not_before_ns=None if self._backlog_left > 0 else self._clock.monotonic_ns(),
            packet_id=message.packet_id,
        )
        message.was_sent = True
        self._sent[offset] = message
        self._next_offset = offset + 1
        self._backlog_left = max(0, self._backlog_left - 1)
        return delivery
