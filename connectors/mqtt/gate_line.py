"""The connection to the gates: a decision is sent once and in time, or never.

A stale pass is the most dangerous message. The gates therefore have their own client with a clean start and a new paho
object per connection: nothing is queued while the link is down, and nothing unacknowledged is sent again. If the
bytes of a decision are still in this machine when its time is over, the connection is destroyed with them. Reports
of PLCs come through a session of their own (`ack_line`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Self

from connectors.mqtt.foreign_decisions import ForeignDecisions
from connectors.mqtt.gate_codec import encode_decision, encode_heartbeat, expiry_s
from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.domain import Decision, Event, Severity
from inspector.ports import Clock, Telemetry

REFUSAL_EVERY_S: Final = 60.0


class MqttGateLine(Peer):
    """A GateLine over MQTT. Entered means connected, or still trying; entering raises BrokerRefused.

    `owns`: whether this agent may decide about a gate's parts now; else no decision is sent.
    """

    def __init__(
        self, config: Config, clock: Clock, telemetry: Telemetry, owns: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._prefix = config.agent.prefix
        self._transport_ns = {gate.name: int(gate.transport_ms * 1e6) for gate in config.gate}
        self._clock = clock
        self._owns = owns
        self._telemetry = telemetry
        self._agent = config.agent.name
        self._refusal_told_ns: dict[str, int] = {}
        self._foreign = ForeignDecisions(config, clock, telemetry, owns)
        # A colon can't be in a camera's name, so no camera's client id is taken.
        self._session = Session(config.mqtt, Role(f"{config.agent.name}:gates"), peer=self)

    @property
    def is_connected(self) -> bool:
        return self._session.connection is not None

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.__aexit__(*exc)

    async def publish(self, decision: Decision, may_go: Callable[[], bool] = lambda: True) -> bool | None:
        """Send a decision once, never late. True if the broker took it (PUBACK) before `act_before_ns`; None if its
        bytes may have left and the broker's answer did not come in time; False if the broker does not have it.

        `may_go` is asked when there is room for it, just before it is sent.

        It is late when no more than the gate's `transport_ms` is left, in which it could not reach the PLC in time.
        """
        send_by_ns = decision.act_before_ns - self._transport_ns.get(decision.gate, 0)
        connection = self._session.connection
        if connection is None or not await self._has_room(connection, send_by_ns):
            return False
        now_ns = self._clock.monotonic_ns()
        left_ns = decision.act_before_ns - now_ns
        if now_ns >= send_by_ns or not self._owns(decision.gate) or not may_go():
            return False
        # There must be no await between reading the clock and sending the bytes.
        answer = connection.publish(
            f"{self._prefix}/gate/{decision.gate}/decision",
            encode_decision(decision, left_ns),
            expiry_s=expiry_s(left_ns),
        )
        try:
            await asyncio.wait([answer], timeout=(send_by_ns - now_ns) / 1e9)
        finally:
            # This also holds if the caller was cancelled: bytes that have not left by now must not leave later.
            if not answer.done() and connection.unsent_bytes:
                connection.abort("a decision could not leave in time")
        await asyncio.wait([answer], timeout=max(0.0, (decision.act_before_ns - self._clock.monotonic_ns()) / 1e9))
        if connection.was_refused(answer):  # mosquitto 2.0 then ends the connection
            self._tell_refused(decision.gate)
            return False
        if not answer.done() or (not answer.result() and not connection.is_open):
            return None
        if not answer.result():
            return False
        return True if self._clock.monotonic_ns() <= decision.act_before_ns else None

    def _tell_refused(self, gate: str) -> None:
        """Tell that the broker takes no decision, at most once a minute for each gate."""
        now_ns = self._clock.monotonic_ns()
        told_ns = self._refusal_told_ns.get(gate)
        if told_ns is not None and now_ns - told_ns < REFUSAL_EVERY_S * 1e9:
            return
        self._refusal_told_ns[gate] = now_ns
        detail = (
            f"the broker refuses {self._prefix}/gate/{gate}/decision, so the PLC is told nothing and its own default "
            "decides; let the broker's access list allow the agent to publish there"
        )
        self._telemetry.event(Event(self._clock.now(), "decision_refused", Severity.ALARM, gate, detail))

    async def heartbeat(self, gate: str, payload: Mapping[str, int]) -> bool:
        """Send a heartbeat with the keys `ready fault hb mode ep`. False if the line is down or jammed.

        Raises KeyError if a key is missing.
        """
        line = encode_heartbeat(payload)
        connection = self._session.connection
        if connection is None or connection.is_jammed:
            return False
        connection.send(f"{self._prefix}/gate/{gate}/heartbeat", line)
        return True

    async def _has_room(self, connection: Connection, send_by_ns: int) -> bool:
        """Wait until another message may be sent; False if this time is over before."""
        if connection.send_room:
            return True
        try:
            async with asyncio.timeout((send_by_ns - self._clock.monotonic_ns()) / 1e9):
                await connection.wait_for_room()
        except TimeoutError:
            return False
        return connection.is_open

    # --- callbacks of the session ---

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    async def serve(self, connection: Connection) -> None:
        await self._foreign.watch(connection)

    def received(self, connection: Connection, message: Message) -> None:
        # Only others' decisions come here, with QoS 0; what a broker sends all the same must not fill its window.
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        self._foreign.note(connection, message)
