"""The account as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.plc.account import BROKEN, Account, PartAccount
from tests.plc.faults import Incident
from tests.plc.watch import ReadyEdge


def lines_of_totals(account: Account) -> Iterator[str]:
    """Each total; one that must be 0 and is not is marked."""
    for name, number in account.totals.items():
        mark = "   <-- must be 0" if name in BROKEN and number else ""
        yield f"{name.replace('_', ' '):<34}{number:>7}{mark}"


def lines_of_times(edges: Sequence[ReadyEdge], incidents: Sequence[Incident]) -> Iterator[str]:
    """Faults and readiness in one order of time, in seconds from the first trigger."""
    moments = [(edge.at_s, "ready" if edge.is_ready else f"not ready: {edge.why}") for edge in edges]
    for incident in incidents:
        moments.append((incident.began_s, f"{incident.kind} begins"))
        ending = f"{incident.kind} is over"
        moments.append(
            (incident.ended_s, f"{incident.kind} FAILED: {incident.failure}" if incident.failure else ending)
        )
    for at_s, text in sorted(moments):
        yield f"{at_s:>9.2f} s  {text}"


def lines_of_events(events: Mapping[str, int]) -> Iterator[str]:
    for kind, count in sorted(events.items()):
        yield f"{kind:<34}{count:>7}"


def lines_of_parts(parts: Sequence[PartAccount]) -> Iterator[str]:
    yield f"{'part':>5} {'trig':>6} {'ep':>3} {'is':<5}{'did':<11}{'because of':<12}{'by part':<8}{'rows':<24}told"
    for part in parts:
        shown = "blind" if not part.is_seen else "bad" if part.is_bad else "good"
        by = "" if part.decided_by is None else str(part.decided_by)
        words = "; ".join(
            f"{word.action} ({word.cause}) after {word.after_ms:.0f} ms"
            f"{'' if word.in_time else ', held up on its way' if word.was_held_up else ', TOO LATE'}"
            f"{'' if word.hit_part in (None, part.number) else f', ON PART {word.hit_part}'}"
            for word in part.words
        )
        rows = ", ".join(part.rows) or "none"
        yield (
            f"{part.number:>5} {part.trigger:>6} {part.epoch:>3} {shown:<5} {part.action:<10} {part.source:<11} "
            f"{by:<7} {rows:<23} {words or 'nothing'}"
        )


def is_noteworthy(part: PartAccount) -> bool:
    """Not simply: seen, told in time, done as told by its own frame's decision, one row, nothing said too late."""
    is_own = part.decided_by == part.number and part.source == "decision"
    return not (
        part.is_seen and is_own and len(part.rows) == 1 and all(word.hit_part == part.number for word in part.words)
    )
