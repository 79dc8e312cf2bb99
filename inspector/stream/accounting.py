"""Says what became of a part, from what was seen of it, what the gate was told, and what the PLC did. Pure.

The rules, in this order:

* A part of an epoch that another agent began is that agent's: what it told is in its own ledger.
* Without an acknowledgement the part is open while it is young, and never acknowledged after that.
* A part that was told, and on which the PLC did something else than it was told, was done otherwise. Where the PLC took
  its default, the part fell to the default though it was told in time.
* A pass is worth only what was seen: of a part without any frame it is a pass without a frame; of a part without a
  judged frame it is a pass unjudged, also where a policy told it.
* What is left was done as told, or never told.

A report that names the decision as its reason (source 1) shows that the decision arrived, even if the broker's answer
to the agent did not come in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from inspector.config.config import Config
from inspector.config.line_sections import GateSection
from inspector.domain import Ack, Action, GateState, GateTerms, PartClass, PartCount, PartFacts, Seen

ACTIONS: Final = (Action.NONE, Action.PASS, Action.REJECT, Action.QUARANTINE)
"""The action of each number on the wire."""

KEPT_OUT: Final = (Action.REJECT, Action.QUARANTINE)

BY_DECISION, BY_DEFAULT, BY_BYPASS = 1, 2, 3

CONTRADICTIONS: Final = frozenset(
    {
        PartClass.DONE_OTHERWISE,
        PartClass.DEFAULT_THOUGH_TOLD,
        PartClass.PASSED_UNJUDGED,
        PartClass.PASSED_WITHOUT_FRAME,
        PartClass.NEVER_ACKNOWLEDGED,
    }
)
"""Classes of parts that nobody wants while a line inspects."""


def classify(facts: PartFacts, *, has_sensor: bool = False) -> PartClass:
    """The class of a part. `has_sensor`: a reject counts as done only if the gate's sensor has seen it."""
    ack = facts.ack
    if facts.is_elsewhere:
        return PartClass.TOLD_ELSEWHERE
    if facts.is_young and (ack is None or not facts.is_told):
        return PartClass.OPEN  # its row, its decision or its acknowledgement may still be on the way
    if ack is None:
        return PartClass.NEVER_ACKNOWLEDGED
    is_told = facts.is_told or (facts.decided is not None and ack.source == BY_DECISION)
    if is_told and ack.source == BY_DEFAULT:
        return PartClass.DEFAULT_THOUGH_TOLD
    if is_told and not _is_done(facts.decided, ack, has_sensor):
        return PartClass.DONE_OTHERWISE
    if ACTIONS[ack.action] is Action.PASS and facts.seen is not Seen.JUDGED:
        is_unseen = facts.seen is Seen.NO_FRAME and facts.decided is None
        return PartClass.PASSED_WITHOUT_FRAME if is_unseen else PartClass.PASSED_UNJUDGED
    if is_told:
        return PartClass.DONE_AS_TOLD
    return PartClass.DONE_OTHERWISE if ack.source == BY_DECISION else PartClass.NEVER_TOLD


def is_contradiction(
    facts: PartFacts, part_class: PartClass, *, sends_acks: bool = True, has_sensor: bool = False
) -> bool:
    """Whether a person should know of the part.

    In other modes than auto and in the PLC's own bypass nothing is judged. A pass that a policy tells is wanted. A gate
    whose PLC sends no acknowledgements misses none. A part that was told reject or quarantine, and that the default
    kept out too, is what a held gate asks of its PLC: such decisions are sent while it isn't ready, and the default
    applies.
    """
    is_bypassed = facts.ack is not None and facts.ack.source == BY_BYPASS
    is_by_policy = part_class is PartClass.PASSED_UNJUDGED and facts.is_told and facts.decided is Action.PASS
    is_awaited = part_class is not PartClass.NEVER_ACKNOWLEDGED or sends_acks
    is_kept_out = (
        part_class is PartClass.DEFAULT_THOUGH_TOLD
        and facts.ack is not None
        and facts.decided in KEPT_OUT
        and ACTIONS[facts.ack.action] in KEPT_OUT
        and _is_done(ACTIONS[facts.ack.action], facts.ack, has_sensor)
    )
    is_wanted = is_bypassed or is_by_policy or is_kept_out or not facts.is_inspected
    return part_class in CONTRADICTIONS and is_awaited and not is_wanted


def count_classes(counts: Iterable[PartCount], terms: Iterable[GateTerms]) -> Counter[PartClass]:
    """Number of parts in each class."""
    sensors = {each.name for each in terms if each.has_sensor}
    classes: Counter[PartClass] = Counter()
    for counted in counts:
        classes[classify(counted.facts, has_sensor=counted.gate in sensors)] += counted.count
    return classes


def terms_of(config: Config) -> tuple[GateTerms, ...]:
    """The terms of all configured gates."""
    return tuple(terms_of_gate(gate) for gate in config.gate)


def terms_of_gate(gate: GateSection, state: GateState | None = None) -> GateTerms:
    """The terms of a gate. `state`: the stored or current one, which says what another agent had."""
    return GateTerms(
        gate.name,
        gate.ack_within_s,
        gate.match == "single_in_flight",
        gate.reject_sensor,
        gate.golden_acks,
        () if state is None else state.elsewhere,
    )


def _is_done(told: Action | None, ack: Ack, has_sensor: bool) -> bool:
    if ACTIONS[ack.action] is not told:
        return False
    return ack.done == 1 or not (has_sensor and told is Action.REJECT)
