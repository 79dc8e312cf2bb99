"""Shows the account of parts: to people as tables, to machines as one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.escapes import shown
from inspector.cli.terminal.rendering import ABSENT, local_time
from inspector.domain import PartClass
from inspector.operation.parts import AccountedPart, PartsAccount
from inspector.stream.accounting import ACTIONS, CONTRADICTIONS
from inspector.stream.verdict_record import format_time
from inspector.stream.wording import counted

_SOURCES: Final = {1: "decision", 2: "default", 3: "bypass", 4: "by hand"}


def print_account(account: PartsAccount, *, with_hours: bool, part_class: PartClass | None) -> None:
    """Classes by gate and the contradictions; then hours and single parts, if they were asked for."""
    if not account.counts:
        console.out.print(_nothing(account), highlight=False, markup=False, soft_wrap=True)
        return
    rendering.show(_classes_table(account))
    if account.contradicted:
        which = _which(len(account.contradicted), account.contradictions)
        rendering.show(
            "", f"[bold red]Contradictions[/] ({shown(which)}):", _parts_table(account.contradicted, with_class=True)
        )
    if account.excused:
        rendering.show("", f"[dim]{shown(_excuse(account))}[/]")
    if elsewhere := account.classes[PartClass.TOLD_ELSEWHERE]:
        rendering.show("", f"[dim]{shown(_of_another(elsewhere))}[/]")
    if with_hours:
        rendering.show("", _hours_table(account))
    if part_class is not None:
        if account.listed:
            which = _which(len(account.listed), account.classes[part_class])
            rendering.show(
                "", f"{shown(_plain(part_class))} ({shown(which)}):", _parts_table(account.listed, with_class=False)
            )
        else:
            console.out.print(f"No part is in the class {_plain(part_class)}.", highlight=False)


def _nothing(account: PartsAccount) -> str:
    """Which parts were looked for, since the last hour is the usual choice and not the person's."""
    wanted = account.selection
    said = "There are no parts"
    said += "" if wanted.gate is None else f" of gate {wanted.gate}"
    said += "" if wanted.lot is None else f" of lot {wanted.lot}"
    said += "" if wanted.since is None else f" since {local_time(wanted.since)}"
    said += "" if wanted.until is None else f" until {local_time(wanted.until)}"
    return f"{said}; a longer --since looks further back." if wanted.since is not None else f"{said}."


def _which(listed: int, total: int) -> str:
    return f"the newest {listed} of {total}; --limit lists more" if listed < total else str(total)


def _excuse(account: PartsAccount) -> str:
    """Why parts of these classes are not among the contradictions, so that both numbers can be understood."""
    counted = ", ".join(f"{number} {_plain(part_class)}" for part_class, number in sorted(account.excused.items()))
    return (
        f"Not among the contradictions: {counted}. They came in bypass or another mode than auto, passed by a policy "
        'such as on_unjudged = "pass", are of a gate whose PLC sends no acknowledgements, or were told reject or '
        "quarantine and were kept out by default, as at a held gate. --class lists all parts of a class."
    )


def _of_another(number: int) -> str:
    return (
        f"{counted(number, 'part')} told elsewhere: another agent owned the gate then, and has them in its own "
        "database. inspector parts there says what became of them."
    )


def _plain(part_class: PartClass) -> str:
    return part_class.value.replace("_", " ")


def document(account: PartsAccount, *, with_hours: bool, with_parts: bool) -> dict[str, Any]:
    """The account with all classes, in the order of the classes."""
    wanted = account.selection
    made: dict[str, Any] = {
        "gate": wanted.gate,
        "lot": wanted.lot,
        "since": None if wanted.since is None else format_time(wanted.since),
        "until": None if wanted.until is None else format_time(wanted.until),
        "parts": account.classes.total(),
        "classes": _all(account.classes),
        "gates": {gate: _all(account.classes_of(gate)) for gate in account.gates},
        "contradictions": account.contradictions,
        "excused": {each.value: number for each, number in sorted(account.excused.items())},
        "contradicted": [_part_document(accounted) for accounted in account.contradicted],
    }
    if with_hours:
        made["hours"] = [
            {"gate": gate, "hour": _full(hour), "classes": _all(account.classes_of(gate, hour))}
            for gate, hour in account.hours
        ]
    if with_parts:
        made["listed"] = [_part_document(accounted) for accounted in account.listed]
    return made


def _all(classes: Mapping[PartClass, int]) -> dict[str, int]:
    return {part_class.value: classes.get(part_class, 0) for part_class in PartClass}


def _full(hour: str) -> str:
    return f"{hour}:00:00.000Z"


def _part_document(accounted: AccountedPart) -> dict[str, Any]:
    part, facts = accounted.part, accounted.part.facts
    return {
        "gate": part.gate,
        "epoch": part.epoch,
        "lap": part.lap,
        "trigger_id": part.trigger_id,
        "result_id": part.result_id,
        "lot": part.lot,
        "at": format_time(part.at),
        "class": accounted.part_class.value,
        "contradiction": accounted.is_contradiction,
        "inspected": facts.is_inspected,
        "decided": None if facts.decided is None else facts.decided.value,
        "told": facts.is_told,
        "seen": facts.seen.value,
        "act": None if facts.ack is None else facts.ack.action,
        "src": None if facts.ack is None else facts.ack.source,
        "done": None if facts.ack is None else facts.ack.done,
    }


def _classes_table(account: PartsAccount) -> Table:
    gates = account.gates
    made = rendering.table("Class", *gates, *(["All"] if len(gates) > 1 else []), right=[*gates, "All"])
    by_gate = [account.classes_of(gate) for gate in gates]
    for part_class in PartClass:
        numbers = [classes[part_class] for classes in by_gate]
        cells = numbers if len(gates) == 1 else [*numbers, sum(numbers)]
        made.add_row(_word(part_class, is_found=any(numbers)), *(str(number) for number in cells))
    totals = [classes.total() for classes in by_gate]
    made.add_row("all parts", *(str(number) for number in (totals if len(gates) == 1 else [*totals, sum(totals)])))
    return made


def _hours_table(account: PartsAccount) -> Table:
    names = [_plain(part_class) for part_class in PartClass]
    made = rendering.table("Hour", "Gate", *names, right=names)
    for gate, hour in account.hours:
        classes = account.classes_of(gate, hour)
        begin = datetime.fromisoformat(f"{hour}:00:00").replace(tzinfo=UTC).astimezone()
        made.add_row(f"{begin:%Y-%m-%d %H:%M}", gate, *(str(classes[part_class]) for part_class in PartClass))
    return made


def _parts_table(listed: Sequence[AccountedPart], *, with_class: bool) -> Table:
    classes = ["Class"] if with_class else []
    made = rendering.table(
        "Time", "Gate", "Trigger", "Epoch", "Lap", "Lot", *classes, "Seen", "Decided", "Done", "Result"
    )
    for accounted in listed:
        part, facts = accounted.part, accounted.part.facts
        decided = ABSENT if facts.decided is None else f"{facts.decided}{'' if facts.is_told else ', not told'}"
        done = ABSENT
        if facts.ack is not None:
            done = f"{ACTIONS[facts.ack.action]} by {_SOURCES.get(facts.ack.source, facts.ack.source)}"
            is_unseen = accounted.part_class is PartClass.DONE_OTHERWISE and ACTIONS[facts.ack.action] is facts.decided
            done += ", not seen by the sensor" if is_unseen else ""
        made.add_row(
            local_time(part.at),
            part.gate,
            ABSENT if part.trigger_id is None else str(part.trigger_id),
            str(part.epoch),
            str(part.lap),
            part.lot or ABSENT,
            *([_word(accounted.part_class, is_found=True)] if with_class else []),
            facts.seen.value.replace("_", " ") + ("" if facts.is_inspected else ", not in auto"),
            decided,
            done,
            (part.result_id or ABSENT)[:8],
        )
    return made


def _word(part_class: PartClass, *, is_found: bool) -> Text:
    style = "bold red" if is_found and part_class in CONTRADICTIONS else ""
    return Text(_plain(part_class), style=style)
