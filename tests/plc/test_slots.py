"""The simulated PLC keeps the slot rule and the heartbeat watch of `docs/gate.md`, and reads its messages strictly."""

from __future__ import annotations

import pytest

from tests.plc.slots import Effect, Slots
from tests.plc.watch import NO_HEARTBEAT, HeartbeatWatch
from tests.plc.wire import (
    BY_DECISION,
    BY_DEFAULT,
    PASS,
    QUARANTINE,
    REJECT,
    Ack,
    Decision,
    Heartbeat,
    read_decision,
    read_heartbeat,
)


def told(action: int, *, epoch: int = 1, trigger: int = 7) -> Decision:
    return Decision(epoch, trigger, action, 0, 40)


@pytest.mark.parametrize(
    ("actions", "effects", "held"),
    [
        ((PASS,), (Effect.TAKEN,), PASS),
        ((REJECT,), (Effect.TAKEN,), REJECT),
        ((PASS, PASS), (Effect.TAKEN, Effect.REPEATED), PASS),
        ((PASS, REJECT), (Effect.TAKEN, Effect.TAKEN), REJECT),
        ((PASS, QUARANTINE), (Effect.TAKEN, Effect.TAKEN), QUARANTINE),
        ((REJECT, PASS), (Effect.TAKEN, Effect.KEPT), REJECT),
        ((REJECT, QUARANTINE), (Effect.TAKEN, Effect.KEPT), REJECT),
        ((QUARANTINE, PASS), (Effect.TAKEN, Effect.KEPT), QUARANTINE),
        ((QUARANTINE, REJECT), (Effect.TAKEN, Effect.TAKEN), REJECT),
        ((0,), (Effect.DROPPED,), None),
    ],
)
def test_slot_takes_only_what_is_worse(actions: tuple[int, ...], effects: tuple[Effect, ...], held: int | None) -> None:
    slots = Slots()
    slot = slots.open(1, 7, part=1)
    assert tuple(slots.decide(told(action))[0] for action in actions) == effects
    assert slot.decided == held


@pytest.mark.parametrize("decision", [told(PASS, trigger=8), told(PASS, epoch=2)])
def test_slots_decision_about_another_part_is_dropped(decision: Decision) -> None:
    slots = Slots()
    slot = slots.open(1, 7, part=1)
    assert slots.decide(decision) == (Effect.DROPPED, None)
    assert slot.decided is None


def test_slots_decision_after_the_part_left_is_dropped() -> None:
    slots = Slots()
    slot = slots.open(1, 7, part=1)
    slots.close(slot)
    assert slots.decide(told(PASS)) == (Effect.DROPPED, None)


def test_slots_part_that_left_does_not_close_the_next_of_its_number() -> None:
    slots = Slots()
    first, second = slots.open(1, 0, part=1), slots.open(1, 0, part=2)
    slots.close(first)
    assert slots.decide(told(PASS, trigger=0)) == (Effect.TAKEN, second)


@pytest.mark.parametrize(
    ("action", "is_ready", "outcome"),
    [
        (PASS, True, (PASS, BY_DECISION)),
        (PASS, False, (REJECT, BY_DEFAULT)),
        (None, True, (REJECT, BY_DEFAULT)),
        (QUARANTINE, True, (QUARANTINE, BY_DECISION)),
    ],
)
def test_slot_outcome_is_the_decision_only_while_the_agent_is_ready(
    action: int | None, is_ready: bool, outcome: tuple[int, int]
) -> None:
    slots = Slots()
    slot = slots.open(1, 7, part=1)
    if action is not None:
        slots.decide(told(action))
    assert slot.outcome(REJECT, is_ready=is_ready) == outcome


def beat(count: int, *, is_ready: bool = True, epoch: int = 1) -> Heartbeat:
    return Heartbeat(is_ready, 0 if is_ready else 4, count, 1, epoch)


def test_watch_is_ready_for_1500_ms_after_a_changed_count() -> None:
    watch = HeartbeatWatch()
    assert not watch.look(0.0)
    watch.beat(beat(1), 1.0)
    watch.beat(beat(1), 2.0)
    assert watch.look(2.49)
    assert not watch.look(2.5)
    watch.beat(beat(2), 3.0)
    assert watch.look(3.0)


def test_watch_count_that_begins_again_is_a_change() -> None:
    watch = HeartbeatWatch()
    watch.beat(beat(900), 0.0)
    watch.beat(beat(1), 1.4)
    assert watch.look(2.8)


def test_watch_edges_say_when_and_why() -> None:
    watch = HeartbeatWatch()
    watch.beat(beat(1), 0.0)
    watch.beat(beat(2, is_ready=False), 0.5)
    watch.beat(beat(3, epoch=2), 1.0)
    watch.look(9.0)
    assert [(edge.at_s, edge.is_ready, edge.why) for edge in watch.edges] == [
        (0.0, False, NO_HEARTBEAT),
        (0.0, True, "ready"),
        (0.5, False, "ready 0, fault 4"),
        (1.0, True, "ready"),
        (2.5, False, NO_HEARTBEAT),
    ]
    assert watch.epochs == [(0.0, 1), (1.0, 2)]


def test_wire_reads_the_examples_of_the_page() -> None:
    assert read_decision(b'{"v":1,"ep":3,"trig":4711,"act":2,"code":1,"left_ms":38}') == Decision(3, 4711, 2, 1, 38)
    assert read_heartbeat(b'{"v":1,"ready":1,"fault":0,"hb":123,"mode":1,"ep":3}') == Heartbeat(True, 0, 123, 1, 3)
    assert Ack(3, 4711, 2, 1, 1).payload() == b'{"v":1,"ep":3,"trig":4711,"act":2,"src":1,"done":1}'


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b'{"v":2,"ep":3,"trig":1,"act":2,"code":1,"left_ms":38}',
        b'{"v":1,"trig":1,"ep":3,"act":2,"code":1,"left_ms":38}',
        b'{"v":1,"ep":3,"trig":1,"act":4,"code":1,"left_ms":38}',
        b'{"v":1,"ep":3,"trig":1,"act":2,"code":1,"left_ms":-3}',
        b'{"v":1,"ep":3,"trig":01,"act":2,"code":1,"left_ms":38}',
        b'{"v":1,"ep":3,"trig":1,"act":2,"code":1,"left_ms":38} ',
        b'{"v":1,"ep":3,"trig":1,"act":2,"code":1}',
        b'{"v":1,"ep":3,"trig":%d,"act":2,"code":1,"left_ms":38}' % 10**90,
    ],
)
def test_wire_decision_of_another_form_is_refused(payload: bytes) -> None:
    assert read_decision(payload) is None
