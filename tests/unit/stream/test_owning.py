"""One agent per gate: what an agent says and writes while it owns a gate, and while another one does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from inspector.config.loading import parse
from inspector.domain import (
    AgentPresence,
    CommandName,
    CommandRequest,
    GateMode,
    GateOwner,
    GateState,
    HeldFor,
    Image,
    Job,
    LateOutcome,
    PartClass,
    PartSelection,
    PlainImage,
)
from inspector.stream.accounting import classify, terms_of_gate
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline import owning
from inspector.stream.storms import hold, release
from inspector.stream.verdict_record import format_time
from inspector.testing.account import join_parts
from inspector.testing.edges import FakeAckLine, FakeGateOwners
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.lineup import paint
from inspector.testing.source import FakeBroker
from inspector.testing.source_contract import wait_until
from tests.unit.stream import test_takeover
from tests.unit.stream.test_reports import report
from tests.unit.stream.test_takeover import CONFIG, GroupAgent, push

GROUPED = CONFIG.model_copy(
    update={"camera": tuple(camera.model_copy(update={"source": "kafka"}) for camera in CONFIG.camera)}
)
TWO_GATES = parse(
    {
        "agent": {"name": "agent", "drain_s": 2},
        "camera": [{"name": name, "on_unjudged": "quarantine"} for name in ("cam", "cam2")],
        "gate": [
            {"name": "gate", "cameras": ["cam"], "window_ms": 5000},
            {"name": "gate2", "cameras": ["cam2"], "window_ms": 5000},
        ],
    },
    None,
)
OTHER = GateOwner("gate", "other", "session-of-other", 4)


def agent_of(owners: FakeGateOwners, ledger: InMemoryLedger | None = None, *, is_grouped: bool = False) -> GroupAgent:
    config = GROUPED if is_grouped else CONFIG
    agent = GroupAgent(FakeBroker(), ledger or InMemoryLedger(), config, owners)
    agent.source.restore_link()
    return agent


def faults(agent: GroupAgent) -> list[int]:
    return [beat["fault"] for _, beat in agent.line.beats]


async def test_agent_that_owns_its_gate_claims_it_with_its_epoch_and_beats() -> None:
    owners = FakeGateOwners()
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        assert {gate: state.epoch for gate, state in owners.wanted.items()} == {"gate": 1}
    assert owners.wanted == {}
    assert "gate_owned_by_other" not in agent.telemetry.kinds()


async def test_agent_of_a_gate_that_another_one_owns_is_silent_there_and_tells_people() -> None:
    owners = FakeGateOwners()
    owners.rivals["gate"] = OTHER
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: "gate_owned_by_other" in agent.telemetry.kinds())
        assert agent.line.beats == []
        state = agent.sink.states["agent/agent/state"]
        assert state["gates"] == {"gate": {"fault": "owned_by_other", "owner": "other"}}
        (event,) = [event for event in agent.telemetry.events if event.kind == "gate_owned_by_other"]
        assert event.subject == "gate"
        assert str(OTHER) in event.detail
        del owners.rivals["gate"]
        await wait_until(lambda: bool(agent.line.beats))
        await wait_until(lambda: "gate_owned" in agent.telemetry.kinds())
    assert agent.telemetry.kinds().count("gate_owned_by_other") == 1


async def test_agent_that_takes_a_gate_over_has_told_no_decision_too_late() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.rivals["gate"] = OTHER
    agent = agent_of(owners, ledger)
    agent.line.is_connected = False  # as the real line tells nothing at a gate that is another agent's
    async with agent.running():
        for trigger in range(1, 5):
            push(agent.source, trigger)
        await wait_until(lambda: len(ledger.rows) == 4)
        agent.line.is_connected = True
        del owners.rivals["gate"]
        await wait_until(lambda: len(agent.line.beats) >= 3)
        assert Fault.UNTOLD not in faults(agent)


async def test_owner_of_a_gate_for_which_another_agent_waits_names_it_once_and_says_when_it_is_gone() -> None:
    owners = FakeGateOwners()
    owners.contenders["gate"] = OTHER
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: "gate_second_agent" in agent.telemetry.kinds())
        (event,) = [event for event in agent.telemetry.events if event.kind == "gate_second_agent"]
        assert event.subject == "gate"
        assert str(OTHER) in event.detail
        assert owners.owns("gate")
        owners.contenders.clear()
        await wait_until(lambda: "gate_second_agent_gone" in agent.telemetry.kinds())
    assert agent.telemetry.kinds().count("gate_second_agent") == 1


async def test_owner_that_ends_says_that_it_gives_its_gate_up() -> None:
    agent = agent_of(FakeGateOwners())
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        assert "gate_given_up" not in agent.telemetry.kinds()
    (event,) = [event for event in agent.telemetry.events if event.kind == "gate_given_up"]
    assert (event.subject, "epoch 1" in event.detail) == ("gate", True)


async def test_agent_of_a_gate_that_another_one_owns_records_its_frames_all_the_same() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.rivals["gate"] = OTHER
    agent = agent_of(owners, ledger)
    async with agent.running():
        push(agent.source, 1)
        await wait_until(lambda: len(ledger.rows) == 1)


async def test_agent_whose_gate_is_owned_elsewhere_by_the_ledger_says_so_at_its_own_broker() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    other = AgentPresence("other", "identity-of-other", "session-of-other", "0", "digest", datetime.now(UTC))
    await ledger.record_owned(other, {"gate": 4}, {})
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: Fault.OWNED_BY_OTHER in faults(agent))
        assert not owners.owns("gate")
        assert all(beat["ready"] == 0 for _, beat in agent.line.beats)
        await wait_until(lambda: "gate_owned_by_other" in agent.telemetry.kinds())


async def test_agent_takes_the_gate_of_one_that_was_heard_at_its_broker_whatever_the_ledger_says() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    other = AgentPresence("other", "identity-of-other", "session-of-other", "0", "digest", datetime.now(UTC))
    await ledger.record_owned(other, {"gate": 4}, {})
    owners.sessions["gate"] = frozenset({"session-of-other"})
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        assert owners.owns("gate")
        assert ledger.owners["gate"][0].agent == "agent"
    assert ledger.owners == {}, "a gate is given up at the end"


async def test_owner_in_the_ledger_that_says_nothing_any_more_is_gone_whatever_its_clock_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owning, "LEDGER_S", 0.1)
    monkeypatch.setattr(owning, "SILENT_S", 0.5)
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    other = AgentPresence("other", "identity-of-other", "session-of-other", "0", "digest", datetime.now(UTC))
    await ledger.record_owned(other, {"gate": 4}, {})
    owner, identity, seen_at = ledger.owners["gate"]
    ledger.owners["gate"] = owner, identity, seen_at + timedelta(days=300)
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: Fault.OWNED_BY_OTHER in faults(agent))
        await wait_until(lambda: owners.owns("gate"))


async def test_agent_owns_its_gate_while_the_ledger_is_away() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    agent = agent_of(owners, ledger)
    async with agent.running():
        ledger.is_available = False
        owners.want({})
        await wait_until(lambda: owners.owns("gate"))


async def test_agent_whose_broker_lets_it_claim_nothing_raises_an_alarm_once() -> None:
    owners = FakeGateOwners()
    owners.is_refused = True
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: "gate_claim_refused" in agent.telemetry.kinds())
        assert agent.line.beats == []
    assert agent.telemetry.kinds().count("gate_claim_refused") == 1


@pytest.mark.parametrize("serves", [False, True])
async def test_agent_wants_only_the_gates_whose_cameras_it_serves(serves: bool) -> None:
    owners = FakeGateOwners()
    agent = agent_of(owners)
    agent.source.serves = lambda camera: serves  # type: ignore[method-assign, assignment]
    async with agent.running():
        await wait_until(lambda: bool(owners.wanted) is serves)


NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
STATE = replace(hold(GateState("gate", 4, epoch_of="i"), HeldFor.ACCOUNT, NOON, "other"), mode=GateMode.CLEAN)
KNOWN = GateOwner("gate", "other", "session-of-other", 4, identity="i", state=STATE)


async def test_agent_says_that_the_owner_is_not_known_until_it_is() -> None:
    owners = FakeGateOwners()
    owners.is_refused = True
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: "agent/agent/state" in agent.sink.states)
        assert agent.sink.states["agent/agent/state"]["gates"] == {"gate": {"fault": "owner_unknown", "owner": None}}


async def test_agent_that_waits_follows_the_owner_and_goes_on_from_there_above_its_epoch() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.rivals["gate"] = KNOWN
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: "gate" in ledger.gates and ledger.gates["gate"].held)
        assert ledger.gates["gate"].epoch == 4
        owners.predecessors["gate"] = owners.rivals.pop("gate")
        await wait_until(lambda: Fault.HELD in faults(agent))
        assert {(beat["ready"], beat["mode"], beat["ep"]) for _, beat in agent.line.beats} == {(0, 4, 5)}
        await wait_until(lambda: ledger.gates["gate"].epoch == 5)
    held = ledger.gates["gate"]
    assert (held.held_for, held.held_since, held.held_by, held.epoch_of) == (
        HeldFor.ACCOUNT,
        NOON,
        "other",
        owners.identity,
    )
    assert "gate_taken_over" in agent.telemetry.kinds()


async def test_agent_that_waits_makes_no_row_and_no_alarm_of_parts_that_it_did_not_see() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.rivals["gate"] = replace(OTHER, identity="i", state=GateState("gate", 4, epoch_of="i"))
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: "gate" in ledger.gates)
        for trigger in (1, 4, *range(5, 40)):
            push(agent.source, trigger)
        await wait_until(lambda: len(ledger.rows) >= 37)
        owners.predecessors["gate"] = owners.rivals.pop("gate")
        await wait_until(lambda: "gate_taken_over" in agent.telemetry.kinds())
        push(agent.source, 40)
        await wait_until(lambda: len(ledger.rows) >= 38)
    assert len(ledger.rows) == 38
    assert "uninspected" not in agent.telemetry.kinds()


async def test_agent_that_comes_back_to_its_own_gate_goes_on_in_the_epoch_that_it_told_last() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.predecessors["gate"] = replace(KNOWN, agent="agent", identity=owners.identity)
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: Fault.HELD in faults(agent))
        assert {(beat["ready"], beat["ep"]) for _, beat in agent.line.beats} == {(0, 4)}
    assert "gate_taken_over" not in agent.telemetry.kinds()


@pytest.mark.parametrize("told", [None, GateState("gate", 4, epoch_of="i")])
async def test_hold_that_is_stored_and_was_not_told_is_taken_over(told: GateState | None) -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    stored = hold(GateState("gate", 4, epoch_of="i"), HeldFor.ACCOUNT, NOON, "other")
    owners.rivals["gate"] = replace(OTHER, identity="i", state=told)
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: "gate_owned_by_other" in agent.telemetry.kinds())
        ledger.gates["gate"] = stored
        owners.predecessors["gate"] = owners.rivals.pop("gate")
        await wait_until(lambda: Fault.HELD in faults(agent))
    assert ledger.gates["gate"].held
    assert ledger.gates["gate"].epoch == 5


async def test_agent_of_a_cloned_machine_begins_an_epoch_of_its_own() -> None:
    owners = FakeGateOwners()
    owners.predecessors["gate"] = replace(OTHER, identity=owners.identity, state=GateState("gate", 4))
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        assert {beat["ep"] for _, beat in agent.line.beats} == {5}
    assert "gate_taken_over" in agent.telemetry.kinds()


async def test_epoch_that_earlier_software_told_without_a_state_does_not_come_again() -> None:
    owners = FakeGateOwners()
    owners.predecessors["gate"] = GateOwner("gate", "agent", "earlier", 7, identity=owners.identity)
    agent = agent_of(owners)
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        assert {beat["ep"] for _, beat in agent.line.beats} == {8}


async def test_owner_that_comes_while_a_gate_is_taken_over_is_followed_next() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.predecessors["gate"] = replace(OTHER, identity="i", state=GateState("gate", 4))
    load = ledger.load_gates

    async def loaded(names: Sequence[str] | None = None) -> dict[str, GateState]:
        if "gate" in owners.wanted and owners.predecessors.get("gate") == OTHER:
            owners.predecessors["gate"] = replace(KNOWN, agent="third", session="third", epoch=6)
        return await load(names)

    ledger.load_gates = loaded  # type: ignore[method-assign]  # a fake for this test alone
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: Fault.HELD in faults(agent))
        assert {beat["ep"] for _, beat in agent.line.beats} == {7}


async def test_command_whose_gate_is_lost_while_it_is_stored_changes_nothing_and_says_so() -> None:
    class SlowLedger(InMemoryLedger):
        async def record_command(self, *args: Any) -> bool:
            owners.rivals["gate"] = OTHER  # as when another agent claims the gate meanwhile
            return await super().record_command(*args)

    owners, ledger = FakeGateOwners(), SlowLedger()
    agent = agent_of(owners, ledger)
    now = datetime.now(UTC)
    table = {"v": 1, "cmd_id": "c1", "sent_at": format_time(now), "by": "ada", "reason": "a test", "mode": "bypass"}
    table["expires_at"] = format_time(now + timedelta(minutes=5))
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        agent.commands.asked.put_nowait(CommandRequest(CommandName.MODE, orjson.dumps(table), now, False))
        await wait_until(lambda: bool(agent.commands.replies))
        ((_, reply),) = agent.commands.replies
        assert reply["ok"] == 0
        assert "while this was stored" in reply["detail"]
        assert {"command_refused"} <= set(agent.telemetry.kinds())
        assert "command_obeyed" not in agent.telemetry.kinds()
        del owners.rivals["gate"]
        push(agent.source, 1)
        await wait_until(lambda: len(ledger.rows) == 1)
    (row,) = ledger.rows.values()
    assert row.mode is GateMode.AUTO


class GroupOwners(FakeGateOwners):
    """Hears of the other agent of a group once the gate is wanted, as after its share of the stream came here."""

    def __init__(self, before: GateOwner) -> None:
        super().__init__()
        self.predecessors["gate"] = before


@pytest.mark.parametrize("told", [None, replace(STATE, mode=GateMode.AUTO)])
async def test_agent_of_a_group_goes_on_in_the_others_epoch_and_keeps_what_was_told(told: GateState | None) -> None:
    ledger = InMemoryLedger()
    stored = GateState("gate", 4, 9, epoch_of="i")
    ledger.gates["gate"] = stored
    owners = GroupOwners(replace(OTHER, identity="i", state=told))
    agent = agent_of(owners, ledger, is_grouped=True)
    async with agent.running():
        await wait_until(lambda: owners.owns("gate") and bool(agent.line.beats))
        push(agent.source, 10)
        await wait_until(lambda: len(ledger.rows) == 1)
        assert {beat["ep"] for _, beat in agent.line.beats} == {4}
        await wait_until(lambda: told is None or Fault.HELD in faults(agent))
    (row,) = ledger.rows.values()
    assert (row.epoch, row.trigger_id) == (4, 10)
    assert ledger.gates["gate"].held == (told is not None)
    assert "gate_taken_over" not in agent.telemetry.kinds()
    assert "uninspected" not in agent.telemetry.kinds()


async def test_agent_of_a_group_with_a_ledger_of_its_own_begins_an_epoch_above_the_others() -> None:
    ledger = InMemoryLedger()
    ledger.gates["gate"] = GateState("gate", 2, 9, epoch_of="identity")
    owners = GroupOwners(replace(OTHER, identity="i", state=GateState("gate", 4, epoch_of="i")))
    agent = agent_of(owners, ledger, is_grouped=True)
    async with agent.running():
        await wait_until(lambda: bool(agent.line.beats))
        assert {beat["ep"] for _, beat in agent.line.beats} == {5}
    assert "gate_taken_over" in agent.telemetry.kinds()


async def test_gates_that_come_to_an_agent_together_wait_for_a_slow_database_together() -> None:
    class HangingLedger(InMemoryLedger):
        asked = 0
        most = 0

        async def load_gates(self, names: Sequence[str] | None = None) -> dict[str, GateState]:
            if names not in (["gate"], ["gate2"]):
                return await super().load_gates(names)
            self.asked += 1
            self.most = max(self.most, self.asked)
            try:
                await asyncio.sleep(3600)
            finally:
                self.asked -= 1
            return {}

    owners, ledger = FakeGateOwners(), HangingLedger()
    for gate in ("gate", "gate2"):
        owners.predecessors[gate] = replace(OTHER, gate=gate, identity="i", state=GateState(gate, 4, epoch_of="i"))
    agent = GroupAgent(FakeBroker(), ledger, TWO_GATES, owners)
    agent.source.serves = lambda camera: True  # type: ignore[method-assign, assignment]
    agent.source.restore_link()
    async with agent.running():
        await wait_until(lambda: {gate for gate, _ in agent.line.beats} == {"gate", "gate2"})
        await wait_until(
            lambda: {name for name, state in ledger.gates.items() if state.epoch == 5} == {"gate", "gate2"}
        )
    assert ledger.most == 2


async def test_command_that_was_left_to_the_owner_is_not_obeyed_when_it_comes_again_after_a_take_over() -> None:
    owners, ledger = FakeGateOwners(), InMemoryLedger()
    owners.rivals["gate"] = OTHER
    agent = agent_of(owners, ledger)
    now = datetime.now(UTC)
    table = {"v": 1, "cmd_id": "c1", "sent_at": format_time(now), "by": "ada", "reason": "a test"}
    request = CommandRequest(CommandName.RELEASE, orjson.dumps(table), now, False)
    async with agent.running():
        await wait_until(lambda: "gate_owned_by_other" in agent.telemetry.kinds())
        agent.commands.asked.put_nowait(request)
        await wait_until(lambda: "command_left_to_owner" in agent.telemetry.kinds())
        del owners.rivals["gate"]
        await wait_until(lambda: owners.owns("gate"))
        agent.commands.asked.put_nowait(request)
        await wait_until(lambda: bool(agent.commands.replies))
    ((_, reply),) = agent.commands.replies
    assert (reply["ok"], "was used before" in reply["detail"]) == (0, True)


async def test_release_at_the_other_agent_holds_for_the_one_that_comes_back_with_a_database_of_its_own() -> None:
    ledger = InMemoryLedger()
    ledger.gates["gate"] = hold(GateState("gate", 3, 7, epoch_of="identity"), HeldFor.ACCOUNT, NOON, "agent")
    ended = release(replace(ledger.gates["gate"], epoch=4, last_trigger=None, epoch_of="i"))
    owners = FakeGateOwners()
    owners.predecessors["gate"] = replace(OTHER, identity="i", state=ended)
    agent = agent_of(owners, ledger)
    async with agent.running():
        await wait_until(lambda: any(beat["ep"] == 5 for _, beat in agent.line.beats))
        await wait_until(lambda: ledger.gates["gate"].epoch == 5)
    assert Fault.HELD not in faults(agent)
    assert not ledger.gates["gate"].held


def painted(payload: bytes) -> Image:
    return PlainImage(paint(0, float(payload.split(b":")[1])))


class Returned:
    """An agent that comes back to a gate which another agent, with a ledger of its own, has owned in epoch 4."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(test_takeover, "decode", lambda payload, _: painted(payload))
        config = CONFIG.model_copy(
            update={"gate": tuple(gate.model_copy(update={"ack_within_s": 1.0}) for gate in CONFIG.gate)}
        )
        self.ledger, broker, owners = InMemoryLedger(), FakeBroker(), FakeGateOwners()
        job = Job("J", "L", None, 4, 12)
        state = GateState("gate", 4, epoch_of="i", jobs=(job,))
        owners.predecessors["gate"] = replace(OTHER, identity="i", state=state)
        self.broker = broker
        self.acks = FakeAckLine()
        self.agent = GroupAgent(broker, self.ledger, config, owners, self.acks)
        self.agent.source.restore_link()

    def come_back(self) -> None:
        """Three parts were shown while the agent was away from its camera."""
        self.agent.source.lose_link()
        for trigger in (10, 11, 12):
            self.broker.put(b"%d:1.5" % trigger, {"trigger-id": str(trigger)})
        self.agent.source.restore_link()

    def report(self, trigger: int, action: int, source: int) -> None:
        """An ack of the other agent's epoch."""
        made = report(trigger, epoch=4, action=action, source=source, received_at=datetime.now(UTC))
        self.acks.reported.put_nowait(made)

    def classes(self) -> Counter[PartClass]:
        terms = terms_of_gate(CONFIG.gate[0], self.ledger.gates["gate"])
        wanted = PartSelection(datetime.now(UTC) + timedelta(minutes=1), (terms,))
        parts = join_parts(self.ledger.rows.values(), self.ledger.decisions.values(), self.ledger.gate_actions, wanted)
        return Counter(classify(part.facts) for part in parts)


async def test_agent_that_comes_back_does_not_account_for_parts_that_another_agent_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returned = Returned(monkeypatch)
    agent, ledger = returned.agent, returned.ledger
    async with agent.running():
        await wait_until(lambda: "gate_taken_over" in agent.telemetry.kinds())
        returned.come_back()
        for trigger in (8, 10, 11):
            returned.report(trigger, 2 if trigger > 8 else 1, 1)
        await wait_until(lambda: len(ledger.acks) == 3 and len(ledger.rows) == 3)
        assert returned.classes() == {PartClass.TOLD_ELSEWHERE: 6}
        assert [row.lot for row in ledger.rows.values()] == [None, None, "L"]
        assert ledger.gates["gate"].elsewhere == ((2, 4),)
        agent.source.push(b"13:0.2", {"trigger-id": "13"})
        await wait_until(lambda: "ack_missing" in agent.telemetry.kinds())
        (event,) = (event for event in agent.telemetry.events if event.kind == "ack_missing")
        assert "trigger 13 of epoch 5" in event.detail
    kinds = {kind for kind in agent.telemetry.kinds() if kind.startswith(("ack_", "passed_"))}
    assert kinds == {"ack_missing"}


async def test_late_reject_of_a_part_that_another_agent_told_is_no_alarm_and_one_that_nobody_told_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returned = Returned(monkeypatch)
    agent, ledger = returned.agent, returned.ledger
    async with agent.running():
        await wait_until(lambda: "gate_taken_over" in agent.telemetry.kinds())
        returned.come_back()
        returned.report(10, 2, 1)
        returned.report(11, 1, 2)  # by the PLC's default: nobody told it
        await wait_until(lambda: len(ledger.acks) == 2)
        await wait_until(lambda: sum(row.late_outcome is LateOutcome.REJECT for row in ledger.rows.values()) == 3)
    assert agent.telemetry.counters["late_rejects_elsewhere"] == 1
    assert agent.telemetry.counters["late_rejects"] == 2
    assert "late_reject" in agent.telemetry.kinds()
