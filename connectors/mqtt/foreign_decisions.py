"""What others publish on a gate's decision topic while this agent owns the gate: forged, or of a second agent.

The gates' own connection subscribes to the topic with No Local (MQTT 5): the broker then sends what others publish and
nothing of this agent's own, so that in the usual case not one message more comes in. MQTT 3.1.1 has no such option, and
there nothing is watched. The access list is what keeps others out; this only tells that it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connectors.mqtt.wire.client import Message
from connectors.mqtt.wire.connection import Connection
from inspector.config.config import Config
from inspector.domain import Event, Severity
from inspector.errors import BrokerRefused, BrokerUnavailable
from inspector.ports import Clock, Telemetry

TELL_S: Final = 60.0
"""Shortest time between two events about one gate."""

MOST_HEARD: Final = 20
"""Messages in that time after which the topic is left until it is over: a flood must not fill the gates' connection."""

_SHOWN_BYTES: Final = 96


class ForeignDecisions:
    """Watches the decision topics of the configured gates. `owns`: whether this agent decides at the gate now."""

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry, owns: Callable[[str], bool]) -> None:
        self._gates = {f"{config.agent.prefix}/gate/{gate.name}/decision": gate.name for gate in config.gate}
        self._clock = clock
        self._telemetry = telemetry
        self._owns = owns
        self._heard: dict[str, int] = {}
        self._untold: dict[str, int] = {}
        self._is_refusal_told = False

    async def watch(self, connection: Connection) -> None:
        """Hear what others publish, as long as the connection lives. Returns at once where nothing can be watched."""
        if connection.protocol != "5" or not self._gates:
            return
        left = sorted(self._gates)
        while connection.is_open:
            try:
                if left:
                    await connection.subscribe(left, is_own_left_out=True)
            except BrokerRefused as refusal:
                self._tell_refusal(refusal)
                return
            except BrokerUnavailable:
                return
            await self._clock.sleep(TELL_S)
            left = [topic for topic, gate in self._gates.items() if self._heard.get(gate, 0) >= MOST_HEARD]
            self._heard.clear()
            for gate, count in self._untold.items():
                self._tell(gate, f"{count} more in the last {TELL_S:g} s")
            self._untold.clear()

    def note(self, connection: Connection, message: Message) -> None:
        """Tell of a message that somebody else has published, if this agent owns its gate."""
        gate = self._gates.get(message.topic or "")
        if gate is None or not self._owns(gate):
            return
        self._telemetry.count("decisions_foreign", gate=gate)
        count = self._heard[gate] = self._heard.get(gate, 0) + 1
        if count == 1:
            kind = "a retained one, which every PLC gets that connects: " if message.is_retained else ""
            self._tell(gate, kind + ascii(message.payload[:_SHOWN_BYTES])[2:-1])
        else:
            self._untold[gate] = self._untold.get(gate, 0) + 1
        if count == MOST_HEARD and message.topic is not None:
            connection.unsubscribe(message.topic)

    def _tell(self, gate: str, what: str) -> None:
        detail = (
            f"somebody else publishes decisions of this gate while this agent owns it: {what}. The PLC may act on it: "
            "let the access list of the broker keep others out (docs/gate.md)"
        )
        self._telemetry.event(Event(self._clock.now(), "decision_foreign", Severity.ALARM, gate, detail))

    def _tell_refusal(self, refusal: BrokerRefused) -> None:
        if self._is_refusal_told:
            return
        self._is_refusal_told = True
        detail = (
            f"{refusal} Nobody would notice forged decisions: let the agent's access list read its decision topics."
        )
        self._telemetry.event(Event(self._clock.now(), "decisions_unwatched", Severity.WARNING, "gates", detail))
