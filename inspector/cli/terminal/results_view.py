"""Shows results to people: a table of many results, or everything about one result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.rendering import ABSENT, facts, local_time, number, outcome_text
from inspector.domain import Cause, GateMode, Identity, LateOutcome, Verdict
from inspector.stream.verdict_record import format_time
from inspector.text import visible

SHORT_ID: Final = 8
"""Characters shown of a result id; enough for `results show`."""

_MOST_COLUMNS: Final = 1000

Cell = str | Text


def _in_time(v: Verdict) -> Cell:
    """Whether the decision reached the gate in time. Simulated frames send no decision, which is no failure."""
    if v.gate is None or v.simulated:
        return ABSENT
    if v.published is None:
        return Text("unknown", style="yellow")
    return Text("yes", style="green") if v.published else Text("no", style="bold red")


def _cause(v: Verdict) -> Cell:
    """The cause; for a late frame also what it showed afterwards."""
    if v.corrected_by is not None:
        return Text("corrected", style="dim")
    text = Text(v.cause.value, style="dim" if v.cause is Cause.OK else "")
    if v.late_outcome is LateOutcome.REJECT:
        text.append(": reject", style="bold red")
    elif v.late_outcome is not None:
        text.append(f": {v.late_outcome.value}", style="dim")
    return text


_COLUMNS: Final[dict[str, Callable[[Verdict], Cell]]] = {
    "Time": lambda v: local_time(v.received_at),
    "Camera": lambda v: v.camera,
    "Trigger": lambda v: ABSENT if v.trigger_id is None else str(v.trigger_id),
    "Product": lambda v: v.product or ABSENT,
    "Outcome": lambda v: outcome_text(v.outcome.value),
    "Cause": _cause,
    "Level": lambda v: number(v.level, 2),
    "Action": lambda v: v.action.value,
    "ms": lambda v: number(v.total_ms, 1),
    "In time": _in_time,
    "Id": lambda v: Text(v.result_id[:SHORT_ID], style="dim"),
}
_LEFT_OUT_FIRST: Final = ("In time", "ms", "Action", "Trigger", "Camera")
"""The columns that a narrow terminal omits, in this order."""


def print_list(verdicts: Sequence[Verdict], *, is_filtered: bool, is_cut: bool) -> None:
    """The table with as many columns as fit, and a line below it if there are more results."""
    if not verdicts:
        nothing = "No result is like that." if is_filtered else "There are no results yet."
        console.out.print(nothing, highlight=False)
        return
    rendering.show(_fitting_table(verdicts))
    if is_cut:
        console.err.print(f"The newest {len(verdicts)}; see more with --limit.", style="dim", highlight=False)


def print_one(verdict: Verdict, kept: Sequence[Path]) -> None:
    """Everything about one result, the most important first."""
    head = outcome_text(verdict.outcome.value)
    head.append(f"  {verdict.cause.value}", style="default not bold")
    if verdict.cause_detail:
        head.append(f": {visible(verdict.cause_detail)}", style="dim not bold")
    rendering.show(head, facts(_shown(_part(verdict))), "")
    rendering.show(facts(_shown(_judgement(verdict))), "")
    if verdict.regions:
        rendering.show(_regions(verdict), "")
    rendering.show(facts(_shown(_times(verdict))), "", facts(_shown(_origin(verdict))))
    if kept:
        rendering.show("", facts(("kept" if at == 0 else "", str(path)) for at, path in enumerate(kept)))


def _fitting_table(verdicts: Sequence[Verdict]) -> Table:
    left_out = 0
    while True:
        table = _table(verdicts, set(_LEFT_OUT_FIRST[:left_out]))
        width = Measurement.get(console.out, console.out.options.update(max_width=_MOST_COLUMNS), table).maximum
        if not console.out.is_terminal or width <= console.out.width or left_out == len(_LEFT_OUT_FIRST):
            return table
        left_out += 1


def _table(verdicts: Sequence[Verdict], left_out: set[str]) -> Table:
    columns = {name: cell for name, cell in _COLUMNS.items() if name not in left_out}
    table = rendering.table(*columns, right=("Trigger", "Level", "ms"))
    for verdict in verdicts:
        table.add_row(*(cell(verdict) for cell in columns.values()))
    return table


Facts = Iterator[tuple[str, object]]


def _shown(pairs: Facts) -> Iterator[tuple[str, str | Text]]:
    """The pairs without those whose value is unknown."""
    for name, value in pairs:
        if value is not None and value != "":
            yield name, value if isinstance(value, Text) else str(value)


def _part(v: Verdict) -> Facts:
    yield "result", v.result_id
    yield "camera", f"{v.camera}, view {v.view}" if v.view else v.camera
    yield "gate", v.gate
    yield "trigger", None if v.trigger_id is None else f"{v.trigger_id}, epoch {v.epoch}, lap {v.lap}"
    yield "frame", v.frame_id
    yield "part", v.part_id if v.inspection_no is None else f"{v.part_id}, inspection {v.inspection_no}"
    yield "lot", v.lot
    yield "job", v.job_id
    yield "mode", None if v.mode is GateMode.AUTO else v.mode.value
    yield "flags", ", ".join(_flags(v))
    if v.corrected_by is not None:
        yield "corrected by", f"{v.corrected_by}, the frame of this part, which came after all"


def _flags(v: Verdict) -> Iterator[str]:
    if v.identity is Identity.WEAK:
        yield "weak identity (the frame carries no id)"
    for name in ("simulated", "redelivered", "shadow"):
        if getattr(v, name):
            yield name
    if v.id_conflict:
        yield "id conflict (this id came before with other bytes)"


def _judgement(v: Verdict) -> Facts:
    yield "action", v.action.value
    yield "product", v.product if v.product_version is None else f"{v.product}, version {v.product_version}"
    yield "afterwards", _afterwards(v)
    yield "route confidence", None if v.route_confidence is None else f"{v.route_confidence:.3f}"
    if v.level is not None:
        yield "level", f"{v.level:.3f}, where 1 is the threshold"
        yield "score", f"{v.score:.6g}, threshold {v.threshold:.6g}"


def _afterwards(v: Verdict) -> str | None:
    """What a frame that came too late showed when it was judged."""
    if v.late_outcome is None or v.judged_at is None:
        return None if v.late_outcome is None else "waits to be judged"
    if v.late_cause is None:
        return visible(v.late_detail or v.late_outcome.value)
    said = f"{v.late_outcome.value} ({v.late_cause.value}), judged {format_time(v.judged_at)}"
    return f"{said}: {visible(v.late_detail)}" if v.late_detail else said


def _regions(v: Verdict) -> Table:
    table = rendering.table("Region", "x", "y", "Width", "Height", "Area", "Peak level", right=("x", "y"))
    for column in table.columns[3:]:
        column.justify = "right"
    for at, region in enumerate(v.regions, start=1):
        pixels = (region.x, region.y, region.width, region.height, region.area)
        table.add_row(str(at), *map(str, pixels), f"{region.peak_level:.2f}")
    return table


def _times(v: Verdict) -> Facts:
    source = f" (clock: {v.time_source.value})" if v.time_source else ""
    yield "captured", None if v.captured_at is None else format_time(v.captured_at) + source
    yield "received", format_time(v.received_at)
    yield "decided", format_time(v.decided_at)
    yield "act before", None if v.act_before is None else format_time(v.act_before)
    yield "gate told in time", None if v.gate is None else _in_time(v)
    stages = ("decode", "route", "embed", "score", "total")
    took = [f"{stage} {getattr(v, f'{stage}_ms'):.1f}" for stage in stages if getattr(v, f"{stage}_ms") is not None]
    yield "milliseconds", ", ".join(took)


def _origin(v: Verdict) -> Facts:
    yield "agent", f"{v.agent}, software {v.software}" + (f", engine {v.engine}" if v.engine else "")
    yield "artifact", v.artifact_digest
    yield "registry", v.registry_revision
    yield "configuration", v.config_digest
    yield "frame sha-256", v.frame_sha256
