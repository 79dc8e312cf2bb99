"""At most one agent owns a gate, whatever stops, dies or is cut off; and one does soon after that is over."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inspector.domain import GateState
from inspector.stream import ownership
from inspector.stream.handover import is_news
from inspector.stream.ownership import DEAD_S, MOST_SESSIONS, RETAINED, SETTLE_S, Notice, Ownership, Word

STEP_S = 0.02


class Broker:
    """One topic. All subscribers get its messages in one order."""

    def __init__(self) -> None:
        self.retained: Notice | None = None
        self.incoming: deque[Notice] = deque()
        self.agents: list[Agent] = []
        self.is_stalled = False
        self.seen: list[Notice] = []

    def step(self) -> None:
        while self.incoming and not self.is_stalled:
            notice = self.incoming.popleft()
            self.seen.append(notice)
            if notice.word in RETAINED:
                self.retained = notice
            for agent in self.agents:
                if agent.is_linked:
                    agent.inbox.append(notice)

    def restart(self, kept: Notice | None) -> None:
        self.incoming.clear()
        self.retained = kept
        self.is_stalled = False
        for agent in self.agents:
            agent.lose_link()


@dataclass
class Agent:
    """`is_stopped`: its process stands still. `is_cut_off`: nothing passes between it and the broker, unnoticed."""

    broker: Broker
    name: str
    run: int = 0
    is_linked: bool = False
    is_stopped: bool = False
    is_cut_off: bool = False
    is_wanted: bool = True
    inbox: deque[Notice] = field(default_factory=deque)
    outbox: deque[Notice] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.broker.agents.append(self)
        self.start()

    def start(self) -> None:
        self.run += 1
        self.ownership = Ownership(self.name, f"id-{self.name}", f"{random.Random(f'{self.name}{self.run}').random()}")

    def kill(self) -> None:
        self.lose_link()
        self.is_stopped = False
        self.start()

    def lose_link(self) -> None:
        self.is_linked = False
        self.inbox.clear()
        self.outbox.clear()
        self.ownership.end()

    def step(self, now_s: float) -> None:
        if not self.is_linked and not self.is_stopped and not self.is_cut_off and not self.broker.is_stalled:
            self.is_linked = True
            self.ownership.begin()
            if self.broker.retained is not None:
                self.inbox.append(self.broker.retained)
        if not self.is_stopped:
            now_ns = int(now_s * 1e9)
            if self.is_linked:
                self.outbox.extend(self.ownership.due(now_ns, is_wanted=self.is_wanted, epoch=1))
            while self.inbox and not self.is_cut_off:
                self.ownership.hear(self.inbox.popleft(), now_ns)
        while self.outbox and not self.is_cut_off:
            self.broker.incoming.append(self.outbox.popleft())


class World:
    def __init__(self, names: str = "ab") -> None:
        self.broker = Broker()
        self.now_s = 100.0
        self.agents = {name: Agent(self.broker, name) for name in names}

    def owners(self) -> list[str]:
        now_ns = int(self.now_s * 1e9)
        return [name for name, agent in self.agents.items() if agent.ownership.is_owned(now_ns)]

    def run(self, seconds: float) -> list[str]:
        """All owners of this time, in the order in which they came. Never two at one time."""
        seen: list[str] = []
        for _ in range(max(1, round(seconds / STEP_S))):
            self.now_s += STEP_S
            for agent in self.agents.values():
                agent.step(self.now_s)
            self.broker.step()
            owners = self.owners()
            assert len(owners) <= 1, f"{owners} at {self.now_s:.2f} s"
            if owners and seen[-1:] != owners:
                seen += owners
        return seen


def test_ownership_two_agents_that_start_together_have_exactly_one_owner() -> None:
    world = World("abc")
    assert len(world.run(10)) == 1
    assert len(world.owners()) == 1


def test_ownership_second_agent_sees_the_owner_and_never_owns() -> None:
    world = World("a")
    world.run(2)
    second = world.agents["b"] = Agent(world.broker, "b")
    assert world.run(10) == ["a"]
    rival = second.ownership.rival(int(world.now_s * 1e9))
    assert rival is not None
    assert rival.agent == "a"
    assert world.agents["a"].ownership.rival(int(world.now_s * 1e9)) is None


def test_ownership_owner_knows_of_the_agent_that_waits_until_that_one_is_gone() -> None:
    world = World()
    first, second = world.agents["a"], world.agents["b"]
    second.is_wanted = False
    world.run(5)
    assert first.ownership.contender(int(world.now_s * 1e9)) is None
    second.is_wanted = True
    assert world.run(5) == ["a"]
    contender = first.ownership.contender(int(world.now_s * 1e9))
    assert contender is not None
    assert (contender.agent, contender.session) == ("b", second.ownership.session)
    assert second.ownership.contender(int(world.now_s * 1e9)) is None
    second.is_stopped = True
    world.run(5)
    assert first.ownership.contender(int(world.now_s * 1e9)) is None


def test_ownership_question_that_is_asked_once_is_no_contender() -> None:
    world = World("a")
    world.run(5)
    question = Notice("doctor", "doctor", "session-of-doctor", term=0, epoch=0, number=1, word=Word.ASK)
    world.broker.incoming.append(question)
    world.run(1)
    assert world.agents["a"].ownership.contender(int(world.now_s * 1e9)) is None


def test_ownership_gate_that_is_given_up_names_the_epoch_in_which_it_was_owned() -> None:
    owner = Ownership("a", "id", "session")
    world = World("a")
    world.agents["a"].ownership = owner
    world.run(5)
    (freed,) = owner.due(int(world.now_s * 1e9), is_wanted=False, epoch=0)
    assert (freed.word, freed.session, freed.epoch) == (Word.FREE, "session", 1)


def test_ownership_agent_that_died_is_followed_by_the_other() -> None:
    world = World("a")
    world.run(2)
    world.agents["b"] = Agent(world.broker, "b")
    world.run(2)
    dead = world.agents.pop("a")
    dead.kill()
    world.broker.agents.remove(dead)
    assert world.run(DEAD_S + SETTLE_S + 0.3) == ["b"]


def test_ownership_agent_that_starts_again_owns_its_gate_before_it_has_waited_for_anybody() -> None:
    world = World("a")
    world.run(2)
    world.agents["a"].kill()
    assert world.run(SETTLE_S / 2) == ["a"]


def test_ownership_stored_notice_of_a_dead_agent_does_not_block_and_is_not_believed_at_once() -> None:
    world = World("")
    world.broker.retained = Notice("old", "id-old", "session-old", 7, 1, 12, Word.ONLINE)
    world.agents["b"] = Agent(world.broker, "b")
    assert world.run(DEAD_S - 0.1) == []
    assert world.run(1) == ["b"]
    assert world.broker.retained.agent == "b"
    assert world.broker.retained.term == 8


def test_ownership_stored_notice_of_the_same_name_and_another_state_folder_is_another_agents() -> None:
    world = World("")
    world.broker.retained = Notice("b", "id-of-another-folder", "session-old", 7, 1, 12, Word.ONLINE)
    world.agents["b"] = Agent(world.broker, "b")
    assert world.run(DEAD_S - 0.1) == []


def test_ownership_given_up_gate_is_taken_without_waiting_for_its_owners_death() -> None:
    world = World("a")
    world.run(2)
    world.agents["b"] = Agent(world.broker, "b", is_wanted=False)
    world.run(1)
    world.agents["a"].is_wanted = False
    world.agents["b"].is_wanted = True
    assert world.run(SETTLE_S + 0.3) == ["b"]


def test_ownership_agent_that_stood_still_owns_nothing_when_it_goes_on() -> None:
    world = World("a")
    world.run(2)
    world.agents["b"] = Agent(world.broker, "b")
    world.run(1)
    world.agents["a"].is_stopped = True
    world.run(4)
    assert world.owners() == ["b"]
    world.agents["a"].is_stopped = False
    assert world.run(5) == ["b"]


def test_ownership_broker_that_returns_nothing_makes_no_owner_and_is_named() -> None:
    silent = Ownership("a", "id", "session")
    silent.begin()
    for step in range(2000):
        assert all(n.word is Word.ASK for n in silent.due(step * 20_000_000, is_wanted=True, epoch=1))
    assert silent.is_unanswered(40_000_000_000)
    assert not silent.is_owned(40_000_000_000)
    assert not silent.is_settled(40_000_000_000)


def test_ownership_two_owners_of_one_term_come_down_to_one() -> None:
    """What a broker that does not keep one order could lead to."""
    agents = [Ownership(name, f"id-{name}", f"session-{name}") for name in "ab"]
    now_ns = 0
    for agent in agents:
        agent.begin()
        for _ in range(40):
            now_ns += 20_000_000
            for notice in agent.due(now_ns, is_wanted=True, epoch=1):
                agent.hear(notice, now_ns)
        assert agent.is_owned(now_ns)
    for _ in range(50):
        now_ns += 20_000_000
        for notice in [n for agent in agents for n in agent.due(now_ns, is_wanted=True, epoch=1)]:
            for agent in agents:
                agent.hear(notice, now_ns)
    assert [agent.is_owned(now_ns) for agent in agents] == [True, False]


@pytest.mark.parametrize("hears_the_rival", [True, False])
def test_ownership_notice_that_waited_in_a_cut_network_proves_nothing(hears_the_rival: bool) -> None:
    world = World("a")
    world.run(1)
    first = world.agents["a"]
    second = world.agents["b"] = Agent(world.broker, "b")
    world.run(1)
    first.is_cut_off = True
    assert world.run(DEAD_S + 1) == ["a", "b"]
    if not hears_the_rival:
        first.inbox.clear()
    second.is_stopped = True
    first.is_cut_off = False  # what it has sent meanwhile comes now, and replaces the stored notice of the other
    world.run(0.5)
    assert world.owners() in ([], ["b"])
    second.is_stopped = False
    world.run(2 * DEAD_S)
    assert len(world.owners()) == 1


def test_ownership_compares_a_state_only_when_another_is_told_and_tells_news_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[GateState | None] = []

    def noted(state: GateState | None, told: GateState | None) -> bool:
        compared.append(state)
        return is_news(state, told)

    monkeypatch.setattr(ownership, "is_news", noted)
    mine = Ownership("a", "id-a", "s1")
    mine.begin()
    first = GateState("g1", 1)
    same, held = replace(first), replace(first, held=True)
    now_s, told = 0.0, []
    for state in (*[first] * 40, same, same, held, held):
        now_s += 0.05
        for notice in mine.due(int(now_s * 1e9), is_wanted=True, epoch=1, state=state):
            told.append((state is held, notice.state))
            mine.hear(notice, int(now_s * 1e9))
    assert compared == [same, held]
    assert [state for is_held, state in told if is_held] == [held]  # between two beats


def test_ownership_remembers_the_latest_sessions_and_no_more() -> None:
    ownership = Ownership("a", "id", "session")
    for number in range(MOST_SESSIONS + 5):
        ownership.hear(Notice("b", "id-b", f"session {number}", term=0, epoch=0, number=1, word=Word.ASK), number)
    assert len(ownership.heard_sessions) == MOST_SESSIONS
    assert f"session {MOST_SESSIONS + 4}" in ownership.heard_sessions


FAULTS = ["kill", "stop", "cut", "stall", "restart", "forget", "old", "unwant"]
events = st.lists(
    st.tuples(st.sampled_from(FAULTS), st.integers(0, 2), st.floats(0.02, 4.0), st.floats(0.0, 2.5)), max_size=12
)


@given(events)
@example([("cut", 2, 1.0, 1.0), ("stop", 1, 1.0, 0.0), ("cut", 2, 1.0, 0.0)])
@settings(max_examples=300, deadline=None)
def test_ownership_never_has_two_owners_and_finds_one_when_all_faults_are_over(
    faults: list[tuple[str, int, float, float]],
) -> None:
    world = World("abc")
    agents = list(world.agents.values())
    world.run(0.5)
    for kind, number, lasts_s, pause_s in faults:
        agent, old = agents[number], world.broker.retained
        match kind:
            case "kill":
                agent.kill()
            case "stop":
                agent.is_stopped = not agent.is_stopped
            case "cut":
                agent.is_cut_off = not agent.is_cut_off
            case "stall":
                world.broker.is_stalled = not world.broker.is_stalled
            case "unwant":
                agent.is_wanted = not agent.is_wanted
        world.run(lasts_s)
        if kind in ("restart", "forget", "old"):
            world.broker.restart({"restart": world.broker.retained, "forget": None, "old": old}[kind])
        world.run(pause_s)
    for agent in agents:
        agent.is_stopped = agent.is_cut_off = False
        agent.is_wanted = True
    world.broker.is_stalled = False
    world.run(2 * DEAD_S + 1)
    assert len(world.owners()) == 1


@pytest.mark.parametrize("seed", range(3))
def test_ownership_agents_that_start_within_a_moment_of_each_other_have_one_owner(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        world = World("")
        for name in "abcd":
            world.agents[name] = Agent(world.broker, name)
            world.run(chance.choice([0.0, 0.02, 0.1, 0.2, 0.24]))
        world.run(3)
        assert len(world.owners()) == 1
