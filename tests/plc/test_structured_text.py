"""The Structured Text of `docs/plc.md`, translated into Python, keeps the contract of `docs/gate.md`."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.plc.slots import Effect, Slots
from tests.plc.structured_text import Program, Timer
from tests.plc.wire import PASS, QUARANTINE, REJECT, Decision, read_decision

PAGE = Path(__file__).parents[2] / "docs" / "plc.md"
TEXT = re.findall(r"```iecst\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]


class Plc:
    """The program with one gate, at a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set_clock = lambda now_ms: monkeypatch.setattr(Timer, "now_ms", now_ms)
        self._program = Program(TEXT)
        self.gate: Any = self._program.make("ST_InspectorGate")
        self._hb = 0
        self.now_ms = 0
        self._set_clock(0)

    def call(self, name: str, **arguments: Any) -> Any:
        return self._program.functions[name](stGate=self.gate, **arguments)

    def cycle(self, cycles: int = 1) -> bool:
        """Cycles of 10 ms; whether the agent counts as ready after the last."""
        for _ in range(cycles):
            self.now_ms += 10
            self._set_clock(self.now_ms)
            self.call("FB_InspectorWatch")
        return bool(self.gate.xReady)

    def beat(self, *, ready: int = 1, mode: int = 1, epoch: int = 1, count: int | None = None) -> None:
        self._hb = self._hb + 1 if count is None else count
        text = f'{{"v":1,"ready":{ready},"fault":0,"hb":{self._hb},"mode":{mode},"ep":{epoch}}}'
        assert self.call("F_InspectorHeartbeat", sText=text)
        self.cycle()

    def trigger(self, number: int) -> None:
        self.call("F_InspectorTrigger", udiTrig=number)

    def tell(self, number: int, action: int, epoch: int = 1) -> bool:
        text = f'{{"v":1,"ep":{epoch},"trig":{number},"act":{action},"code":0,"left_ms":40}}'
        return bool(self.call("F_InspectorDecision", sText=text))

    def reach(self, number: int) -> int:
        return int(self.call("F_InspectorAtGate", udiTrig=number))

    def acks(self) -> list[str]:
        """All that wait, taken out of the queue."""
        out: list[str] = []
        box = Box()
        while self.call("F_InspectorNextAck", sText=(box, "text")):
            out.append(box.text)
            assert self.call("F_InspectorAckSent")
        return out


class Box:
    """Where an output of the program goes."""

    text = ""


@pytest.fixture
def plc(monkeypatch: pytest.MonkeyPatch) -> Plc:
    made = Plc(monkeypatch)
    made.beat()
    return made


@pytest.mark.parametrize(
    ("actions", "done"),
    [
        ((), REJECT),
        ((PASS,), PASS),
        ((PASS, REJECT), REJECT),
        ((REJECT, PASS), REJECT),
        ((PASS, QUARANTINE), QUARANTINE),
        ((QUARANTINE, PASS), QUARANTINE),
        ((QUARANTINE, REJECT), REJECT),
        ((REJECT, QUARANTINE), REJECT),
    ],
)
def test_program_reject_replaces_pass_and_never_the_reverse(plc: Plc, actions: tuple[int, ...], done: int) -> None:
    plc.trigger(7)
    assert all(plc.tell(7, action) for action in actions)
    assert plc.reach(7) == done


def test_program_keeps_the_slot_rule_of_the_simulated_plc(plc: Plc) -> None:
    chance = random.Random(5)
    slots, under_way = Slots(), []
    for number in range(65530, 65530 + 400):
        trigger, epoch = number % 65536, 1 + (number > 65700)
        plc.beat(epoch=epoch)
        plc.trigger(trigger)
        under_way.append(slots.open(epoch, trigger, number))
        for _ in range(chance.randrange(4)):
            decision = Decision(
                chance.choice((1, 2)), (number - chance.randrange(9)) % 65536, chance.randrange(4), 0, 1
            )
            effect, _ = slots.decide(decision)
            was_open = plc.tell(decision.trigger, decision.action, decision.epoch)
            assert was_open or effect is Effect.DROPPED
        if len(under_way) > 6:
            slot = under_way.pop(0)
            slots.close(slot)
            assert plc.reach(slot.trigger) == slot.outcome(REJECT, is_ready=True)[0]
            assert plc.call("F_InspectorPast", udiTrig=slot.trigger, xSeen=False)
            assert len(plc.acks()) == 1
    assert plc.gate.udiOverrun == plc.gate.udiBad == plc.gate.udiAcksLost == 0


def test_program_decision_of_another_part_or_epoch_is_dropped(plc: Plc) -> None:
    plc.trigger(7)
    assert not plc.tell(8, PASS)
    assert not plc.tell(7 + 64, PASS)
    assert not plc.tell(7, PASS, epoch=2)
    assert plc.gate.udiDropped == 3
    assert plc.reach(7) == REJECT
    assert not plc.tell(7, PASS)


def test_program_slot_keeps_the_epoch_it_was_opened_in(plc: Plc) -> None:
    plc.trigger(7)
    plc.beat(epoch=2)
    plc.trigger(8)
    assert plc.tell(7, PASS, epoch=1)
    assert plc.tell(8, PASS, epoch=2)


def test_program_is_not_ready_1500_ms_after_the_last_changed_heartbeat(plc: Plc) -> None:
    plc.trigger(7)
    assert plc.tell(7, PASS)
    assert plc.cycle(149)
    plc.beat(count=1)  # the same count again is no sign of life
    assert not plc.cycle()
    assert plc.reach(7) == REJECT
    plc.beat()
    assert plc.cycle()


def test_program_is_ready_again_where_the_count_begins_again(plc: Plc) -> None:
    plc.beat(count=900)
    assert not plc.cycle(160)
    plc.beat(count=1)
    assert plc.cycle()


def test_program_is_not_ready_before_the_first_heartbeat_and_while_ready_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    plc = Plc(monkeypatch)
    assert not plc.cycle()
    plc.beat(ready=0)
    assert not plc.cycle()
    plc.beat()
    assert plc.cycle()


def test_program_sends_one_ack_for_every_part(plc: Plc) -> None:
    for number in (4711, 4712, 4713):
        plc.trigger(number)
    plc.tell(4711, REJECT)
    plc.tell(4712, PASS)
    for number in (4711, 4712, 4713, 4714):  # no trigger was seen for the last one
        plc.reach(number)
        plc.call("F_InspectorPast", udiTrig=number, xSeen=number != 4712)
    assert plc.acks() == [
        '{"v":1,"ep":1,"trig":4711,"act":2,"src":1,"done":1}',
        '{"v":1,"ep":1,"trig":4712,"act":1,"src":1,"done":0}',
        '{"v":1,"ep":1,"trig":4713,"act":2,"src":2,"done":1}',
        '{"v":1,"ep":1,"trig":4714,"act":2,"src":2,"done":1}',
    ]
    assert not plc.call("F_InspectorPast", udiTrig=4711, xSeen=True)


def test_program_ack_in_bypass_says_so(plc: Plc) -> None:
    plc.beat(mode=2)
    plc.trigger(1)
    assert plc.reach(1) == REJECT
    plc.call("F_InspectorPast", udiTrig=1, xSeen=True)
    assert plc.acks() == ['{"v":1,"ep":1,"trig":1,"act":2,"src":3,"done":1}']


def test_program_slot_that_is_used_again_is_counted_and_acknowledged_without_action(plc: Plc) -> None:
    plc.trigger(1)
    plc.tell(1, PASS)
    plc.trigger(65)
    assert plc.gate.udiOverrun == 1
    assert plc.reach(65) == REJECT
    assert plc.acks() == ['{"v":1,"ep":1,"trig":1,"act":0,"src":4,"done":0}']


def test_program_full_queue_of_acks_is_counted(plc: Plc) -> None:
    for number in range(70):
        plc.trigger(number)
        plc.reach(number)
        plc.call("F_InspectorPast", udiTrig=number, xSeen=False)
    assert len(plc.acks()) == 63
    assert plc.gate.udiAcksLost == 7


def test_program_numbers_of_32_bits_fit(plc: Plc) -> None:
    plc.beat(epoch=2**32 - 1)
    plc.trigger(2**32 - 1)
    assert plc.tell(2**32 - 1, PASS, epoch=2**32 - 1)
    assert plc.reach(2**32 - 1) == PASS


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"v":2,"ep":1,"trig":7,"act":1,"code":0,"left_ms":40}',
        '{"v":1,"ep":1,"trig":7,"act":4,"code":0,"left_ms":40}',
        '{"v":1,"ep":1,"trig":7,"code":0,"left_ms":40}',
        '{"v":1,"ep":1,"trig":,"act":1,"code":0,"left_ms":40}',
        '{"v":1,"ep":1,"trig":4294967296,"act":1,"code":0,"left_ms":40}',
        '{"v":1,"ep":1,"trig":7,"act":1,"code":0,"left_ms":40',
    ],
)
def test_program_message_of_another_form_is_counted_and_ignored(plc: Plc, text: str) -> None:
    plc.trigger(7)
    assert not plc.call("F_InspectorDecision", sText=text)
    assert plc.gate.udiBad == 1
    assert plc.reach(7) == REJECT


def test_program_reads_what_the_agent_may_send(plc: Plc) -> None:
    text = '{"v":1,"ep":1,"trig":7,"act":2,"code":13,"left_ms":600000}'
    assert read_decision(text.encode()) is not None
    plc.trigger(7)
    assert plc.call("F_InspectorDecision", sText=text)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("iPos := iPos + 1;", "iPos := iPos + 1"), SyntaxError),
        (("udiDropped + 1", "udiDropped + iUnknown"), SyntaxError),
        (("IF iPos = 0 THEN", "FOR iPos = 0 THEN"), SyntaxError),
    ],
)
def test_translator_refuses_what_is_no_structured_text(change: tuple[str, str], error: type[Exception]) -> None:
    assert change[0] in TEXT
    with pytest.raises(error):
        Program(TEXT.replace(*change))


def test_translator_finds_numbers_that_do_not_fit_their_type(plc: Plc) -> None:
    with pytest.raises(OverflowError, match="does not fit UDINT"):
        plc.trigger(2**32)
