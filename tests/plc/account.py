"""The account of a run: what each part was told, when, by which frame's decision, what was done, and what was stored.

Pure: it takes what the simulated PLC and camera saw and what the agent's database holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tests.plc.gate import Done, Told, is_by_decision
from tests.plc.matching import Row, match_rows, seconds
from tests.plc.slots import Effect
from tests.plc.wire import ACTIONS, BY_DECISION, PASS, REJECT, Ack, cause_of

BROKEN: Final = (
    "parts_without_action",
    "decisions_after_their_part_left",
    "passes_by_another_frame",
    "passes_without_frame",
    "false_uninspected",
    "frames_without_row",
    "acks_lost",
    "acks_doubled",
    "bad_messages",
    "unexplained_decisions",
)
"""Totals that must be 0."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the account is made of. `frames`: part number by SHA-256 of its frame."""

    planned: int
    done: Sequence[Done]
    told: Sequence[Told]
    frames: Mapping[str, int]
    delivered: Mapping[str, int]
    bad_messages: int
    rows: Sequence[Row]
    actions: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Word:
    """One decision about a part. Times in ms from the part's trigger; `hit_part` is the part whose slot it found.

    `was_held_up`: it came after its part had left, but was decided before that. A broker that stands still with a
    decision inside delivers it when it goes on, and nobody can call it back.
    """

    after_ms: float
    action: str
    cause: str
    left_ms: int
    in_time: bool
    effect: str
    hit_part: int | None
    was_held_up: bool = False


@dataclass(slots=True)
class PartAccount:
    """One part from trigger to acknowledgement. `triggered_s` counts from the first trigger of the run.

    `decided_by` is the part whose frame's decision was carried out.
    """

    number: int
    trigger: int
    epoch: int
    is_bad: bool
    is_seen: bool
    is_numbered: bool
    triggered_s: float
    left_after_ms: float
    is_ready: bool
    action: str
    source: str
    decided_by: int | None
    words: list[Word] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    acks_stored: int = 0

    @property
    def is_told_in_time(self) -> bool:
        """Its own frame's decision found its slot open."""
        return any(word.in_time and word.hit_part == self.number for word in self.words)

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "is_told_in_time": self.is_told_in_time}


@dataclass(frozen=True, slots=True)
class Account:
    """`began_s`: the first trigger, by the clock of the evidence."""

    parts: list[PartAccount]
    totals: dict[str, int]
    began_s: float

    @property
    def broken(self) -> list[str]:
        """Names of the totals that should be 0 and are not."""
        return [name for name in BROKEN if self.totals[name]]


def settle_account(evidence: Evidence) -> Account:
    """Every part of the evidence, and the totals over them."""
    matched = match_rows(evidence.told, evidence.rows)
    about = [None if row is None else evidence.frames.get(row["frame_sha256"]) for row in matched]
    setters = _setters(evidence.told, about)
    began_s = min((done.triggered_s for done in evidence.done), default=0.0)
    parts = {done.part.number: _open(done, setters, began_s) for done in evidence.done}
    done_of = {done.part.number: done for done in evidence.done}
    for message, row, number in zip(evidence.told, matched, about, strict=True):
        if row is not None and number in parts:
            parts[number].words.append(_word(message, row, done_of[number]))
    _add_rows(evidence, parts)
    stored = _add_acks(evidence, parts)
    ordered = [parts[number] for number in sorted(parts)]
    totals = {**_count_parts(evidence, ordered), **_count_messages(evidence, ordered, about, stored)}
    return Account(ordered, totals, began_s)


def _setters(told: Sequence[Told], about: Sequence[int | None]) -> dict[int, int | None]:
    """By part: the part whose frame's decision was the last to take its slot."""
    return {
        message.slot_part: number
        for message, number in zip(told, about, strict=True)
        if message.slot_part is not None and message.effect is Effect.TAKEN
    }


def _open(done: Done, setters: Mapping[int, int | None], began_s: float) -> PartAccount:
    part = done.part
    return PartAccount(
        number=part.number,
        trigger=part.trigger,
        epoch=done.ack.epoch,
        is_bad=part.is_bad,
        is_seen=part.frame_s is not None,
        is_numbered=part.is_numbered,
        triggered_s=round(done.triggered_s - began_s, 3),
        left_after_ms=_ms(done.left_s - done.triggered_s),
        is_ready=done.is_ready,
        action=ACTIONS[done.action],
        source="decision" if is_by_decision(done) else "default",
        decided_by=setters.get(part.number) if is_by_decision(done) else None,
    )


def _word(message: Told, row: Row, done: Done) -> Word:
    decision = message.decision
    in_time = message.at_s <= done.left_s
    decided_s = seconds(row["decided_at"]) - (message.wall_s - message.at_s)  # by the clock of the line
    return Word(
        after_ms=_ms(message.at_s - done.triggered_s),
        action=ACTIONS[decision.action],
        cause=cause_of(decision.code),
        left_ms=decision.left_ms,
        in_time=in_time,
        effect=message.effect.value,
        hit_part=message.slot_part,
        was_held_up=not in_time and decided_s <= done.left_s,
    )


def _add_rows(evidence: Evidence, parts: Mapping[int, PartAccount]) -> None:
    by_trigger = {part.trigger: part for part in parts.values()}
    for row in evidence.rows:
        if row["frame_sha256"] is not None:
            part = parts.get(evidence.frames.get(row["frame_sha256"], 0))
        else:
            part = by_trigger.get(row["trigger_id"])
        if part is not None:
            part.rows.append(f"{row['outcome']} {row['cause']}")


def _add_acks(evidence: Evidence, parts: Mapping[int, PartAccount]) -> Counter[Ack]:
    """Counts the stored reports; where every part has an id of its own, at its part as well."""
    stored = Counter(
        Ack(row["epoch"], row["trigger_id"], row["action"], row["source"], row["done"]) for row in evidence.actions
    )
    sent = Counter(done.ack for done in evidence.done)
    for done in evidence.done:
        if sent[done.ack] == 1:
            parts[done.part.number].acks_stored = stored[done.ack]
    return stored


def _count_parts(evidence: Evidence, parts: Sequence[PartAccount]) -> dict[str, int]:
    seen = [part for part in parts if part.is_seen]
    passed = [part for part in parts if (part.action, part.source) == (ACTIONS[PASS], "decision")]
    return {
        "parts": evidence.planned,
        "parts_without_action": evidence.planned - len(parts),
        "parts_seen": len(seen),
        "told_in_time": sum(part.is_told_in_time for part in seen),
        "passes": sum(part.action == ACTIONS[PASS] for part in parts),
        "rejects": sum(part.action == ACTIONS[REJECT] for part in parts),
        "defaults": sum(part.source == "default" for part in parts),
        "defaults_though_told_in_time": sum(part.source == "default" and part.is_told_in_time for part in parts),
        "bad_parts_passed": sum(part.is_bad and part.action == ACTIONS[PASS] for part in parts),
        "passes_by_another_frame": sum(part.decided_by != part.number for part in passed),
        "passes_without_frame": sum(not part.is_seen for part in passed),
    }


def _count_messages(
    evidence: Evidence, parts: Sequence[PartAccount], about: Sequence[int | None], stored: Counter[Ack]
) -> dict[str, int]:
    sent = Counter(done.ack for done in evidence.done)
    with_row = {row["frame_sha256"] for row in evidence.rows}
    missed = [row for row in evidence.rows if row["outcome"] == "uninspected"]
    uninspected = [row for row in missed if row.get("corrected_by") is None]
    seen_triggers = {part.trigger for part in parts if part.is_seen and part.is_numbered}
    return {
        "frames_sent": len(evidence.frames),
        "frames_delivered": len(evidence.delivered),
        "frames_without_row": sum(sha not in with_row for sha in evidence.delivered),
        "decisions": len(evidence.told),
        "decisions_after_their_part_left": sum(
            not (word.in_time or word.was_held_up) for part in parts for word in part.words
        ),
        "decisions_held_up_on_their_way": sum(word.was_held_up for part in parts for word in part.words),
        "decisions_dropped": sum(message.effect is Effect.DROPPED for message in evidence.told),
        "decisions_on_another_part": sum(
            word.hit_part not in (None, part.number) for part in parts for word in part.words
        ),
        "unexplained_decisions": sum(number is None for number in about),
        "bad_messages": evidence.bad_messages,
        "uninspected": len(uninspected),
        "uninspected_corrected": len(missed) - len(uninspected),
        "false_uninspected": sum(row["trigger_id"] in seen_triggers for row in uninspected),
        "acks_sent": sent.total(),
        "acks_stored": stored.total(),
        "acks_lost": (sent - stored).total(),
        "acks_doubled": (stored - sent).total(),
        "acks_by_decision": sum(ack.source == BY_DECISION for ack in sent.elements()),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
