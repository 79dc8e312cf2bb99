"""Finds the part that a PLC's report is about, and recognises reports that the broker delivers again. Pure.

A report names its part by epoch and trigger id. A trigger id may wrap, so its lap is worked out from the count that
the gate has reached. At a gate for one part at a time trigger 0 names no part: there only MQTT itself shows that a
delivery is a repetition (DUP, with the same packet id and the same content as a delivery before).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from inspector.config.line_sections import GateSection
from inspector.domain import GateAction, GateState
from inspector.stream.identity import nearest_count

DELIVERIES_KEPT: Final = 256
"""Deliveries remembered to recognise redeliveries: more than a broker has under way on one connection."""

EPOCHS_KEPT: Final = 8

_Said = tuple[str, int, int, tuple[int, int, int]]


class NoSuchPart(ValueError):
    """The report is about a part that can't have been at the gate. The text says why."""


def names_no_part(action: GateAction, gate: GateSection) -> bool:
    """Whether the report is of the one part under way, which has no trigger id."""
    return gate.match == "single_in_flight" and action.trigger_id == 0


def is_doubtful(action: GateAction, gate: GateSection, state: GateState) -> bool:
    """Whether the report does not fit to this state of its gate, which may then be older than the report.

    It is of a later epoch, or its trigger lies far from the count that the gate has reached.
    """
    if action.epoch != state.epoch or gate.trigger_modulus is None or names_no_part(action, gate):
        return action.epoch > state.epoch
    if state.last_trigger is None:
        return True
    count = nearest_count(action.trigger_id, state.last_trigger, gate.trigger_modulus)
    return abs(count - state.last_trigger) > gate.max_gap


class PartFinder:
    """The counts that each gate has reached in its current and earlier epochs."""

    def __init__(self) -> None:
        self._reached: OrderedDict[tuple[str, int], int] = OrderedDict()

    def placed(self, action: GateAction, gate: GateSection, state: GateState) -> GateAction:
        """The report with its lap, or marked as one that names no part. `state` is the gate's state now.

        Raises NoSuchPart for an epoch or a trigger id that the gate can't have had.
        """
        if not 1 <= action.epoch <= state.epoch:
            raise NoSuchPart(f"the gate has not had epoch {action.epoch}, it is at epoch {state.epoch}")
        if names_no_part(action, gate):
            return replace(action, in_flight=True)
        modulus = gate.trigger_modulus
        if modulus is None:
            return action
        if action.trigger_id >= modulus:
            raise NoSuchPart(f"trigger {action.trigger_id} is not below trigger_modulus {modulus}")
        self._note(gate.name, state)
        count = nearest_count(action.trigger_id, self._reached.get((gate.name, action.epoch)), modulus)
        return replace(action, lap=count // modulus)

    def _note(self, gate: str, state: GateState) -> None:
        if state.last_trigger is None:
            return
        self._reached[gate, state.epoch] = state.last_trigger
        self._reached.move_to_end((gate, state.epoch))
        while sum(name == gate for name, _ in self._reached) > EPOCHS_KEPT:
            del self._reached[next(key for key in self._reached if key[0] == gate)]


class Redeliveries:
    """The newest deliveries of reports that name no part, by their packet ids.

    A broker sends a message again with its own packet id. Most brokers count packet ids up, so that a packet id names
    one of the newest deliveries for certain. If a broker gives a packet id to a new message soon, a redelivery is
    recognised only while its first delivery is not acknowledged: a report counted twice is better than one lost.
    """

    def __init__(self, earlier: Iterable[GateAction] = ()) -> None:
        self._said: OrderedDict[int, _Said] = OrderedDict()
        self._acknowledged: set[int] = set()
        self._are_ids_reused = False
        for action in earlier:
            self.note(action)

    def is_known(self, action: GateAction) -> bool:
        """Whether this delivery is of a report that was delivered before."""
        if not action.is_redelivered or self._said.get(action.packet_id) != _said(action):
            return False
        return not (self._are_ids_reused and action.packet_id in self._acknowledged)

    def note(self, action: GateAction) -> None:
        """Remember a new report."""
        if action.packet_id in self._said and not action.is_redelivered:
            self._are_ids_reused = True
        self._said[action.packet_id] = _said(action)
        self._said.move_to_end(action.packet_id)
        self._acknowledged.discard(action.packet_id)
        while len(self._said) > DELIVERIES_KEPT:
            forgotten, _ = self._said.popitem(last=False)
            self._acknowledged.discard(forgotten)

    def acknowledged(self, packet_ids: Iterable[int]) -> None:
        """Note that these deliveries were acknowledged to the broker."""
        self._acknowledged.update(packet_id for packet_id in packet_ids if packet_id in self._said)


def _said(action: GateAction) -> _Said:
    return action.gate, action.epoch, action.trigger_id, action.done_as
