"""The reports of PLCs on what was done with each part, kept by the broker until they are acknowledged.

The reports of all gates come through one persistent session of the agent, `{agent}:acks`, so that the broker keeps them
while the agent is away. They are acknowledged in the order of receipt, after the caller has made them durable. While
too many are not acknowledged, the socket is not read. A report of a wrong form is acknowledged in its turn and
counted. Decisions have a connection of their own (`gate_line`), which never keeps anything.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final, Self

from connectors.mqtt.gate_codec import parse_action
from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.domain import Event, GateAction, GateReport, Position, Severity
from inspector.errors import BrokerRefused, BrokerUnavailable
from inspector.ports import Clock, Telemetry

IN_FLIGHT: Final = 64
"""Most reports that are not acknowledged yet."""


@dataclass(slots=True)
class _Unsettled:
    """A message not yet acknowledged. `packet_id` 0: QoS 0, nothing to send."""

    offset: int
    packet_id: int
    is_done: bool


class MqttAckLine(Peer):
    """An AckLine over MQTT. Entered means connected, or still trying; entering raises BrokerRefused."""

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._agent = config.agent.name
        role = Role(client_id(config), persistent=True, receive_maximum=IN_FLIGHT)
        self._session = Session(config.mqtt, role, peer=self)
        self._gate_of = ack_topics(config)
        self._connection: Connection | None = None
        self._generation = 0
        self._offset = 0
        self._is_kept = False
        self._unsettled: deque[_Unsettled] = deque()
        self._ready: deque[GateReport] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False
        self._faulty: set[str] = set()
        self._nonce = uuid.uuid4().hex[:16]
        self._received = 0

    @property
    def is_connected(self) -> bool:
        return self._session.connection is not None

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)
        self._is_closed = True
        self._changed.set()

    async def reports(self) -> AsyncIterator[GateReport]:
        """The reports of PLCs, across reconnects, until the line is closed. One consumer only."""
        while not self._is_closed:
            if self._session.failure is not None:
                raise self._session.failure
            if self._ready:
                report = self._ready.popleft()
                self._regulate()
                yield report
            else:
                self._changed.clear()
                await self._changed.wait()

    async def acknowledge(self, position: Position) -> bool:
        """Acknowledge the reports up to `position`, in the order of receipt. False if their connection is over."""
        connection = self._connection
        if connection is None or position.generation != self._generation:
            return False
        for message in self._unsettled:
            if message.offset > position.offset:
                break
            message.is_done = True
        self._settle()
        connection.flush()
        return connection.is_open

    # --- callbacks of the session ---

    def connected(self, connection: Connection, session_present: bool) -> None:
        self._connection = connection
        self._generation += 1
        self._offset = 0
        self._unsettled.clear()
        self._is_kept = session_present
        self._regulate()

    async def prepare(self, connection: Connection) -> None:
        # The broker may send more reports of a kept session than are taken before it answers a subscription.
        if not self._is_kept:
            await connection.subscribe(sorted(self._gate_of))

    async def serve(self, connection: Connection) -> None:
        if not self._is_kept:
            return
        try:
            # The gates of the configuration may be others than those of the kept session.
            await connection.subscribe(sorted(self._gate_of))
        except BrokerRefused as refusal:
            detail = f"{refusal} No acknowledgement of a PLC reaches this agent: let its access list read ack."
            self._telemetry.event(Event(self._clock.now(), "acks_refused", Severity.ALARM, self._agent, detail))
        except BrokerUnavailable:
            # While the socket is not read, the answer can't be read either; the broker has the subscription.
            if self._has_room:
                connection.abort("it does not answer a subscription")

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    def disconnected(self) -> None:
        self._connection = None
        # Reports that are here but not taken stay: a broker without persistence may have lost its copy.
        self._unsettled.clear()
        self._changed.set()

    def received(self, connection: Connection, message: Message) -> None:
        if self._is_closed or connection is not self._connection:
            return
        self._offset += 1
        action = self._action(connection, message)
        self._unsettled.append(_Unsettled(self._offset, message.packet_id, is_done=action is None))
        if action is not None:
            self._ready.append(GateReport(Position(client_id_of(self._agent), self._generation, self._offset), action))
            self._changed.set()
        self._settle()

    # --- inside ---

    def _action(self, connection: Connection, message: Message) -> GateAction | None:
        """The report in a message; None for a message that is none, which is counted."""
        gate = self._gate_of.get(message.topic or "")
        if gate is None:
            if message.topic is not None:
                connection.unsubscribe(message.topic)  # a gate of an older configuration
            return None
        if message.is_retained:
            self._note_faulty(gate, "it is retained, so it may be of any age")
            return None
        try:
            action = parse_action(gate, message.payload, self._clock.now())
        except ValueError as error:
            self._note_faulty(gate, str(error))
            return None
        self._faulty.discard(gate)
        self._received += 1
        return replace(
            action,
            report_id=f"{int(action.received_at.timestamp() * 1000):013d}-{self._received:09d}-{self._nonce}",
            agent=self._agent,
            is_redelivered=message.is_duplicate,
            packet_id=message.packet_id,
        )

    def _settle(self) -> None:
        """Acknowledge the longest finished prefix, then read on if there is room again."""
        while self._unsettled and self._unsettled[0].is_done:
            packet_id = self._unsettled.popleft().packet_id
            if packet_id and self._connection is not None:
                self._connection.acknowledge(packet_id)
        self._regulate()

    def _regulate(self) -> None:
        if self._connection is not None:
            self._connection.set_reading(self._has_room)

    @property
    def _has_room(self) -> bool:
        return len(self._unsettled) < IN_FLIGHT and len(self._ready) < IN_FLIGHT

    def _note_faulty(self, gate: str, why: str) -> None:
        """Count a bad report. An event is sent once until a good report comes, because a PLC may repeat a bad one."""
        self._telemetry.count("gate_actions_bad", gate=gate)
        if gate not in self._faulty:
            self._faulty.add(gate)
            detail = f"an acknowledgement of the PLC was ignored: {why} (docs/gate.md, ack)"
            self._telemetry.event(Event(self._clock.now(), "gate_action_bad", Severity.WARNING, gate, detail))


def client_id(config: Config) -> str:
    """The id of the session in which the broker keeps the reports for this agent."""
    return client_id_of(config.agent.name)


def client_id_of(agent: str) -> str:
    # A colon can't be in a camera's name, so no camera's client id is taken.
    return f"{agent}:acks"


def ack_topics(config: Config) -> dict[str, str]:
    """The gate of each topic on which a PLC reports."""
    return {f"{config.agent.prefix}/gate/{gate.name}/ack": gate.name for gate in config.gate}
