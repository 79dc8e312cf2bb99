"""Finds out which of several agents owns a gate, by notices that all of them read and write on one topic.

Pure; time is passed in. The owner sends a notice every `BEAT_S`. An agent owns a gate for `LEASE_S` from the sending of
its last notice that came back to it, so an agent that stood still or lost its network stops by its own clock before
another agent may follow: that one has to hear nothing for `DEAD_S`, and then nothing better than its own claim for
`SETTLE_S`. A stored notice alone proves nothing, because a broker that died keeps an old one. An agent that finds the
gate owned goes on asking, so that the owner knows of it.

The safety of this needs monotonic clocks that run equally fast, and a broker that delivers a claim to all agents within
`SETTLE_S` of delivering it to its sender. Two agents that own one gate in spite of that find out with the next notice.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from inspector.domain import GateState
from inspector.stream.handover import is_news

BEAT_S: Final = 0.3
LEASE_S: Final = 1.4
DEAD_S: Final = 1.5
SETTLE_S: Final = 0.2
ASK_AGAIN_S: Final = 2.0
WAITS_AGAIN_S: Final = 1.0
"""An agent that waits for an owned gate asks this often."""

WAITER_GONE_S: Final = 3.0
ASKS_OF_WAITER: Final = 2
"""`inspector doctor` asks once. An agent that waits asks again and again."""

UNANSWERED_S: Final = 30.0
"""A broker that returns no notice for so long, while it answers otherwise, does not let this agent use the topic."""

UNANSWERED_LOSSES: Final = 3
"""So many connections in a row that end before a notice returns mean the same: some brokers hang up on a refusal."""

MOST_UNDER_WAY: Final = 64
"""Notices whose return still counts."""

MOST_SESSIONS: Final = 256
"""Sessions that are remembered, the latest ones: an agent that starts again and again has a new one each time."""

CONFLICTS: Final = 2
"""Notices of another owner, one of which may have been under way when that agent gave up."""


class Word(enum.StrEnum):
    """What a notice says of its sender. ONLINE and FREE are retained, so only a sender that owns the gate may use them:
    who finds its own ONLINE stored knows that no other agent has owned the gate since.
    """

    ASK = "ask"
    CLAIM = "claim"
    ONLINE = "online"
    FREE = "free"
    """The sender has given the gate up."""


RETAINED: Final = frozenset({Word.ONLINE, Word.FREE})


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about the ownership of a gate. `term` rises with each change of the owner, `number` with each notice
    of a session. `identity` survives a restart of the agent, `session` does not. `state`: what the gate stands at, told
    by its owner; None in other notices.
    """

    agent: str
    identity: str
    session: str
    term: int
    epoch: int
    number: int
    word: Word
    state: GateState | None = None


@dataclass(frozen=True, slots=True)
class _Asking:
    """The last question or claim of another session, and how many there were."""

    notice: Notice
    times: int
    at_ns: int


class _Phase(enum.Enum):
    IDLE = enum.auto()
    ASKING = enum.auto()
    LISTENING = enum.auto()
    CLAIMING = enum.auto()
    SETTLING = enum.auto()
    CONFIRMING = enum.auto()
    OWNING = enum.auto()


class Ownership:
    """One agent's view of the ownership of one gate, over many connections."""

    def __init__(self, agent: str, identity: str, session: str) -> None:
        self._me = Notice(agent, identity, session, term=0, epoch=0, number=0, word=Word.ASK)
        self._phase = _Phase.IDLE
        self._is_connected = False
        self._sent: dict[int, tuple[Word, int]] = {}
        self._last: Notice | None = None
        self._last_ns = 0
        self._highest_term = 0
        self._rivals_term = 0
        self._returned_number = 0
        self._returned_ns = 0
        self._since_ns = 0
        self._listen_until_ns = 0
        self._beat_ns = 0
        self._lease_end_ns = 0
        self._losses = 0
        self._conflicts = 0
        self._conflict_ns = 0
        self._is_answer_due = False
        self._heard_sessions: dict[str, None] = {}
        self._asking: dict[str, _Asking] = {}
        self._predecessor: Notice | None = None
        self._state: GateState | None = None

    # --- what the agent wants to know ---

    @property
    def session(self) -> str:
        """This run of this agent."""
        return self._me.session

    def is_owned(self, now_ns: int) -> bool:
        """Whether this agent may decide about the gate's parts at this moment."""
        return self._phase is _Phase.OWNING and now_ns < self._lease_end_ns

    def rival(self, now_ns: int) -> Notice | None:
        """The other agent that owns the gate, if one was heard lately; None while nothing is known."""
        if self._phase is not _Phase.LISTENING or self._last is None or self._last.word is not Word.ONLINE:
            return None
        return self._last if now_ns - self._last_ns < DEAD_S * 1e9 and not self._is_mine(self._last) else None

    @property
    def predecessor(self) -> Notice | None:
        """The last notice of the run that owned the gate before this one, until `succeed`; None if there was none.

        It may be of an earlier run of this agent. What it says of the gate has to be taken over before the gate is
        told anything.
        """
        return self._predecessor

    def succeed(self) -> None:
        """The predecessor's state of the gate has been taken over."""
        self._predecessor = None

    def is_predecessor_mine(self) -> bool:
        """Whether the predecessor is an earlier run of this agent."""
        return self._predecessor is not None and self._is_mine(self._predecessor)

    def contender(self, now_ns: int) -> Notice | None:
        """Another agent that waits for the gate which this agent owns; None if none was heard lately."""
        if not self.is_owned(now_ns):
            return None
        waiting = [
            asking.notice
            for asking in self._asking.values()
            if asking.times >= ASKS_OF_WAITER and now_ns - asking.at_ns < WAITER_GONE_S * 1e9
        ]
        return min(waiting, key=lambda notice: notice.session, default=None)

    def is_settled(self, now_ns: int) -> bool:
        """Whether it is known who owns the gate, or can't be known because there is no connection."""
        return not self._is_connected or self.is_owned(now_ns) or self.rival(now_ns) is not None

    def is_unanswered(self, now_ns: int) -> bool:
        """Whether the broker returns no notice of this agent."""
        if self._losses >= UNANSWERED_LOSSES:
            return True
        if self._phase not in (_Phase.ASKING, _Phase.CLAIMING, _Phase.CONFIRMING):
            return False
        return self._is_connected and now_ns - self._since_ns > UNANSWERED_S * 1e9

    @property
    def heard_sessions(self) -> frozenset[str]:
        """The latest sessions that were heard on this topic, so that their silence means something."""
        return frozenset(self._heard_sessions)

    # --- what happens ---

    def begin(self) -> None:
        """A connection is up and subscribed. Nothing that an earlier connection showed counts any more."""
        self._is_connected = True
        self._phase = _Phase.IDLE
        self._sent.clear()
        self._last = None
        self._asking.clear()
        self._lease_end_ns = 0

    def end(self) -> None:
        """The connection is lost."""
        if self._is_connected and self._phase is _Phase.ASKING:
            self._losses += 1
        self._is_connected = False
        self._phase = _Phase.IDLE
        self._lease_end_ns = 0

    def due(self, now_ns: int, *, is_wanted: bool, epoch: int, state: GateState | None = None) -> list[Notice]:
        """The notices to send now, in order. `epoch` and `state` are the gate's while it is wanted."""
        if not self._is_connected:
            return []
        if not is_wanted:
            return self._give_up(now_ns)  # in the epoch in which it was owned
        is_new = False
        if epoch != self._me.epoch or state is not self._state:  # asked many times a second, nearly always for the same
            is_new = epoch != self._me.epoch or is_news(state, self._state)
            self._me, self._state = replace(self._me, epoch=epoch), state
        match self._phase:
            case _Phase.OWNING if now_ns >= self._lease_end_ns:
                # Another agent may have followed, and ONLINE must not hide that from the next start.
                return [self._enter(_Phase.ASKING, Word.ASK, now_ns)]
            case _Phase.IDLE:
                return [self._enter(_Phase.ASKING, Word.ASK, now_ns)]
            case _Phase.ASKING | _Phase.CLAIMING if now_ns - self._beat_ns > ASK_AGAIN_S * 1e9:
                return [self._notice(Word.ASK if self._phase is _Phase.ASKING else Word.CLAIM, now_ns)]
            case _Phase.LISTENING if now_ns >= self._listen_until_ns:
                self._me = replace(self._me, term=self._highest_term + 1)
                return [self._enter(_Phase.CLAIMING, Word.CLAIM, now_ns)]
            case _Phase.LISTENING if self.rival(now_ns) is not None and now_ns - self._beat_ns >= WAITS_AGAIN_S * 1e9:
                return [self._notice(Word.ASK, now_ns)]
            case _Phase.CLAIMING | _Phase.SETTLING if self._is_answer_due:
                return [self._notice(Word.CLAIM, now_ns)]
            case _Phase.SETTLING if now_ns - self._since_ns >= SETTLE_S * 1e9:
                return [self._enter(_Phase.CONFIRMING, Word.ONLINE, now_ns)]
            case _Phase.CONFIRMING | _Phase.OWNING:
                is_due = now_ns - self._beat_ns >= BEAT_S * 1e9
                if is_due or is_new or self._is_answer_due:
                    return [self._notice(Word.ONLINE, now_ns)]
        return []

    def hear(self, notice: Notice, now_ns: int) -> None:
        """Take a notice from the topic: one of this agent that came back, or another agent's."""
        self._heard_sessions.pop(notice.session, None)
        self._heard_sessions[notice.session] = None
        if len(self._heard_sessions) > MOST_SESSIONS:
            del self._heard_sessions[next(iter(self._heard_sessions))]
        self._highest_term = max(self._highest_term, notice.term)
        self._note_asking(notice, now_ns)
        if notice.word is Word.ONLINE and not self._is_mine(notice):
            self._rivals_term = max(self._rivals_term, notice.term)
        if notice.session == self._me.session and notice.number in self._sent:
            if notice.word in RETAINED:
                self._note_stored(notice, now_ns)
            self._take_echo(notice, *self._sent.pop(notice.number), now_ns)
        elif notice.session == self._me.session:
            self._note_stored(notice, now_ns)  # it was stored before this connection
        elif notice.word in RETAINED:
            self._note_stored(notice, now_ns)
            self._answer_stored(notice, now_ns)
            if self._phase not in (_Phase.CONFIRMING, _Phase.OWNING):
                self._predecessor = notice
        elif self._phase in (_Phase.CONFIRMING, _Phase.OWNING):
            self._is_answer_due = True
        elif notice.word is Word.CLAIM and self._phase in (_Phase.CLAIMING, _Phase.SETTLING):
            if self._is_beaten_by(notice):
                self._listen(now_ns)
            else:
                self._is_answer_due = True

    # --- inside ---

    def _take_echo(self, notice: Notice, word: Word, sent_ns: int, now_ns: int) -> None:
        self._losses = 0
        if word is Word.ASK and self._phase is _Phase.ASKING:
            self._answer_ask(now_ns)
        elif word is Word.CLAIM and self._phase is _Phase.CLAIMING:
            self._phase, self._since_ns = _Phase.SETTLING, now_ns
        elif word is Word.ONLINE and self._phase in (_Phase.CONFIRMING, _Phase.OWNING):
            self._phase = _Phase.OWNING
            self._lease_end_ns = max(self._lease_end_ns, sent_ns + int(LEASE_S * 1e9))
            self._returned_number, self._returned_ns = notice.number, sent_ns

    def _answer_ask(self, now_ns: int) -> None:
        """Everything that the broker had stored has come before this agent's question came back."""
        if self._last is not None and self._was_owner_until_now(self._last, now_ns):
            self._me = replace(self._me, term=self._highest_term + 1)
            self._phase, self._since_ns, self._beat_ns = _Phase.CONFIRMING, now_ns, 0
        elif self._last is None or self._last.word is Word.FREE:
            self._phase, self._listen_until_ns = _Phase.LISTENING, now_ns
        else:
            self._phase, self._listen_until_ns = _Phase.LISTENING, self._last_ns + int(DEAD_S * 1e9)

    def _was_owner_until_now(self, stored: Notice, now_ns: int) -> bool:
        """Whether the stored notice proves that no other agent has owned the gate since, whose notice would be stored.

        A notice that waited in a network that was cut proves nothing. It may have come to the broker long after it was
        sent, and have replaced a later owner's. So a notice of this session has to have come back in time, or to have
        been sent while nobody could follow yet.
        """
        if stored.word is not Word.ONLINE or not self._is_mine(stored) or stored.term < self._rivals_term:
            return False
        if stored.session != self._me.session or stored.number <= self._returned_number:
            return True
        return now_ns - self._returned_ns < DEAD_S * 1e9

    def _answer_stored(self, notice: Notice, now_ns: int) -> None:
        match self._phase:
            case _Phase.IDLE | _Phase.ASKING:
                return
            case _Phase.LISTENING | _Phase.CLAIMING | _Phase.SETTLING:
                if notice.word is Word.ONLINE:
                    self._listen(now_ns)
                elif notice.word is Word.FREE and self._phase is _Phase.LISTENING:
                    self._listen_until_ns = now_ns
            case _Phase.CONFIRMING | _Phase.OWNING if notice.word is not Word.ONLINE:
                self._is_answer_due = True  # the stored notice has to name the owner again
            case _Phase.CONFIRMING | _Phase.OWNING:
                self._settle_conflict(notice, now_ns)

    def _settle_conflict(self, notice: Notice, now_ns: int) -> None:
        """Another agent says that it owns the gate. The later term counts, since its agent heard nothing of the other.

        Of two with one term the smaller session stays, but only after a second notice: the first may have been sent
        before its agent heard of this one.
        """
        if notice.term < self._me.term:
            self._is_answer_due = True
            return
        is_recent = now_ns - self._conflict_ns < DEAD_S * 1e9
        self._conflicts, self._conflict_ns = self._conflicts + 1 if is_recent else 1, now_ns
        has_to_yield = self._conflicts >= CONFLICTS and notice.session < self._me.session
        if notice.term > self._me.term or not self.is_owned(now_ns) or has_to_yield:
            self._listen(now_ns)
        else:
            self._is_answer_due = True

    def _listen(self, now_ns: int) -> None:
        self._phase = _Phase.LISTENING
        self._listen_until_ns = now_ns + int(DEAD_S * 1e9)
        self._lease_end_ns = 0

    def _give_up(self, now_ns: int) -> list[Notice]:
        was_owner = self._phase in (_Phase.CONFIRMING, _Phase.OWNING)
        self._phase = _Phase.IDLE
        self._lease_end_ns = 0
        return [self._notice(Word.FREE, now_ns)] if was_owner else []

    def _enter(self, phase: _Phase, word: Word, now_ns: int) -> Notice:
        self._phase, self._since_ns, self._conflicts = phase, now_ns, 0
        return self._notice(word, now_ns)

    def _notice(self, word: Word, now_ns: int) -> Notice:
        told = self._state if word in RETAINED else None
        self._me = replace(self._me, number=self._me.number + 1, word=word, state=told)
        self._sent[self._me.number] = word, now_ns
        self._sent.pop(self._me.number - MOST_UNDER_WAY, None)
        self._beat_ns = now_ns
        self._is_answer_due = False
        return self._me

    def _note_stored(self, notice: Notice, now_ns: int) -> None:
        self._last, self._last_ns = notice, now_ns

    def _note_asking(self, notice: Notice, now_ns: int) -> None:
        if notice.word in RETAINED or notice.session == self._me.session or self._is_mine(notice):
            return
        recent = {
            session: asking for session, asking in self._asking.items() if now_ns - asking.at_ns < WAITER_GONE_S * 1e9
        }
        times = recent[notice.session].times + 1 if notice.session in recent else 1
        self._asking = {**recent, notice.session: _Asking(notice, times, now_ns)}

    def _is_mine(self, notice: Notice) -> bool:
        return (notice.agent, notice.identity) == (self._me.agent, self._me.identity)

    def _is_beaten_by(self, notice: Notice) -> bool:
        if notice.term != self._me.term:
            return notice.term > self._me.term
        return notice.session < self._me.session
