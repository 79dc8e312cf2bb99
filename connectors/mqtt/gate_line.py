"""The connection to the gates: a decision is sent once and in time, or never.

A stale pass is the most dangerous message. The gates therefore have their own client with a clean start and a new paho
object per connection: nothing is queued while the link is down, and nothing unacknowledged is sent again. If the
bytes of a decision are still in this machine when its time is over, the connection is destroyed with them. Reports
of PLCs are read from the gates' `ack` topics.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Self

from connectors.mqtt.gate_codec import encode_decision, encode_heartbeat, expiry_s, parse_action
from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.domain import Decision, Event, GateAction, Severity
from inspector.ports import Clock, Telemetry

ACTIONS_KEPT: Final = 10_000
"""Most reports of PLCs kept until they are read. Beyond that the oldest are dropped, with an event."""


class MqttGateLine(Peer):
    """A GateLine over MQTT. Entered means connected, or still trying; entering raises BrokerRefused.

    `owns`: whether this agent may decide about a gate's parts now; else no decision is sent.
    """

    def __init__(
        self, config: Config, clock: Clock, telemetry: Telemetry, owns: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._prefix = config.agent.prefix
        self._clock = clock
        self._owns = owns
        self._telemetry = telemetry
        self._agent = config.agent.name
        # A colon can't be in a camera's name, so no camera's client id is taken.
        self._session = Session(config.mqtt, Role(f"{config.agent.name}:gates"), peer=self)
        self._gate_of = {f"{self._prefix}/gate/{gate.name}/ack": gate.name for gate in config.gate}
        self._actions: deque[GateAction] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False
        self._faulty: set[str] = set()
        self._is_overrun = False

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

    async def publish(self, decision: Decision) -> bool:
        """Send a decision once. True if the broker took it (PUBACK) before `act_before_ns`; it is never sent late."""
        connection = self._session.connection
        if connection is None or not await self._has_room(connection, decision):
            return False
        left_ns = decision.act_before_ns - self._clock.monotonic_ns()
        if left_ns <= 0 or not self._owns(decision.gate):
            return False
        # There must be no await between reading the clock and sending the bytes.
        answer = connection.publish(
            f"{self._prefix}/gate/{decision.gate}/decision",
            encode_decision(decision, left_ns),
            expiry_s=expiry_s(left_ns),
        )
        try:
            await asyncio.wait([answer], timeout=left_ns / 1e9)
        finally:
            # This also holds if the caller was cancelled: bytes that have not left by now must not leave later.
            if not answer.done() and connection.unsent_bytes:
                connection.abort("a decision could not leave in time")
        return answer.done() and answer.result() and self._clock.monotonic_ns() <= decision.act_before_ns

    async def heartbeat(self, gate: str, payload: Mapping[str, int]) -> None:
        """Send a heartbeat with the keys `ready fault hb mode ep`, unless the line is down or jammed.

        Raises KeyError if a key is missing.
        """
        line = encode_heartbeat(payload)
        connection = self._session.connection
        if connection is not None and not connection.is_jammed:
            connection.send(f"{self._prefix}/gate/{gate}/heartbeat", line)

    async def actions(self) -> AsyncIterator[GateAction]:
        """The reports of PLCs, until the line is closed. One consumer only."""
        while not self._is_closed:
            if self._session.failure is not None:
                raise self._session.failure
            if self._actions:
                self._is_overrun = False
                yield self._actions.popleft()
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _has_room(self, connection: Connection, decision: Decision) -> bool:
        """Wait until another message may be sent; False if the decision's time is over before."""
        if connection.send_room:
            return True
        try:
            async with asyncio.timeout((decision.act_before_ns - self._clock.monotonic_ns()) / 1e9):
                await connection.wait_for_room()
        except TimeoutError:
            return False
        return connection.is_open

    # --- callbacks of the session ---

    async def prepare(self, connection: Connection) -> None:
        if self._gate_of:
            await connection.subscribe(sorted(self._gate_of))

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    def disconnected(self) -> None:
        self._changed.set()

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        gate = self._gate_of.get(message.topic or "")
        if gate is None:
            return
        if message.is_retained:
            self._note_faulty(gate, "it is retained, so it may be of any age")
            return
        try:
            action = parse_action(gate, message.payload, self._clock.now())
        except ValueError as error:
            self._note_faulty(gate, str(error))
            return
        self._faulty.discard(gate)
        self._keep(action)

    def _keep(self, action: GateAction) -> None:
        if len(self._actions) >= ACTIONS_KEPT:
            self._actions.popleft()
            self._telemetry.count("gate_actions_lost")
            if not self._is_overrun:
                self._is_overrun = True
                self._report("gate_actions_lost", action.gate, "reports of the PLC come faster than they are stored")
        self._actions.append(action)
        self._changed.set()

    def _note_faulty(self, gate: str, why: str) -> None:
        """Count a bad report. An event is sent once until a good report comes, because a PLC may repeat a bad one."""
        self._telemetry.count("gate_actions_bad", gate=gate)
        if gate not in self._faulty:
            self._faulty.add(gate)
            self._report("gate_action_bad", gate, f"a report of the PLC was ignored: {why}")

    def _report(self, kind: str, gate: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, gate, detail))
