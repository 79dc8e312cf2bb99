"""The PLC's side of one gate: slots, heartbeat watch and acknowledgements, over MQTT 3.1.1 with a clean session.

Two threads come here, paho's and the line's; one lock keeps them apart, as the PLC's cycle does.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.plc.contradictions import DONE_OTHERWISE, SECOND_REPORT
from tests.plc.plan import PlannedPart
from tests.plc.slots import Effect, Slot, Slots
from tests.plc.watch import HeartbeatWatch
from tests.plc.wire import BY_DECISION, PASS, QUARANTINE, REJECT, Ack, Decision, read_decision, read_heartbeat


@dataclass(frozen=True, slots=True)
class Told:
    """One decision as it came. `slot_part` None: it found no open slot. `wall_s` is the wall clock."""

    at_s: float
    wall_s: float
    decision: Decision
    effect: Effect
    slot_part: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """One part as it left."""

    part: PlannedPart
    triggered_s: float
    left_s: float
    action: int
    source: int
    is_ready: bool
    ack: Ack


@dataclass(frozen=True, slots=True)
class GateOptions:
    """`counts_parts` False: one part at a time is under way, and its decision has trigger 0.

    `contrary`: parts that the PLC passes by mistake although it was told to reject them, and reports so.
    `repeated`: parts of which a second report follows, and `doubted`: of which that one says something else.
    """

    name: str
    topic: str
    default: int
    counts_parts: bool
    contrary: frozenset[int] = frozenset()
    repeated: frozenset[int] = frozenset()
    doubted: frozenset[int] = frozenset()


class Gate:
    """Connected when made; `now_s` is the clock of the account."""

    def __init__(self, address: tuple[str, int], options: GateOptions, now_s: Callable[[], float]) -> None:
        self._options = options
        self._now_s = now_s
        self._lock = threading.Lock()
        self._slots = Slots()
        self._under_way: dict[int, tuple[Slot, float]] = {}
        self.watch = HeartbeatWatch()
        self.told: list[Told] = []
        self.done: list[Done] = []
        self.bad_messages: list[bytes] = []
        self.contradicted: Counter[str] = Counter()
        """What this PLC said that can't be true, by kind."""
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"simulated-plc-{options.name}",
            protocol=mqtt.MQTTv311,
            clean_session=True,
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect(*address, keepalive=5)
        self._client.loop_start()

    def trigger(self, part: PlannedPart) -> None:
        """The part passes the trigger: its slot opens with the epoch of the last heartbeat."""
        with self._lock:
            number = part.trigger if self._options.counts_parts else 0
            slot = self._slots.open(self.watch.epoch, number, part.number)
            self._under_way[part.number] = slot, self._now_s()

    def reach(self, part: PlannedPart) -> None:
        """The part is at the gate: do what its slot says, and report it."""
        with self._lock:
            now_s = self._now_s()
            slot, triggered_s = self._under_way.pop(part.number)
            self._slots.close(slot)
            is_ready = self.watch.look(now_s)
            action, source = slot.outcome(self._options.default, is_ready=is_ready)
            if part.number in self._options.contrary and (action, source) == (REJECT, BY_DECISION):
                action = PASS
                self.contradicted[DONE_OTHERWISE] += 1
            ack = Ack(slot.epoch, slot.trigger, action, source, int(action == REJECT))
            self.done.append(Done(part, triggered_s, now_s, action, source, is_ready, ack))
        self._report(ack)
        if part.number in self._options.repeated:
            self._report(ack)
        if part.number in self._options.doubted:
            self.contradicted[SECOND_REPORT] += 1
            self._report(replace(ack, action=QUARANTINE))

    def _report(self, ack: Ack) -> None:
        self._client.publish(f"{self._options.topic}/ack", ack.payload(), qos=1)

    def look(self) -> bool:
        """Whether the agent is ready now."""
        with self._lock:
            return self.watch.look(self._now_s())

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([(f"{self._options.topic}/decision", 1), (f"{self._options.topic}/heartbeat", 0)])

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        with self._lock:
            if message.topic.endswith("/decision"):
                decision = None if message.retain else read_decision(payload)
                if decision is not None:
                    effect, slot = self._slots.decide(decision)
                    part = None if slot is None else slot.part
                    self.told.append(Told(self._now_s(), time.time(), decision, effect, part))
                    return
            else:
                heartbeat = None if message.retain else read_heartbeat(payload)
                if heartbeat is not None:
                    self.watch.beat(heartbeat, self._now_s())
                    return
            self.bad_messages.append(payload)


def is_by_decision(done: Done) -> bool:
    return done.source == BY_DECISION
