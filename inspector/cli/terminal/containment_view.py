"""Shows to people what is in question after an escape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.escapes import shown
from inspector.cli.terminal.rendering import ABSENT, local_time, number
from inspector.domain import Outcome
from inspector.operation.containment import Containment, Tally
from inspector.store.ledger.containment import NEAR_LEVEL

_NUMBERS: Final = ("Passed", "Near", "Highest", "Rejected", "Unjudged", "Uninspected")
_MOST_FLIPS: Final = 20


def print_containment(found: Containment, files: Sequence[Path]) -> None:
    """Tables by version, lot, shift and camera, the passes nearest to the threshold, and the flips."""
    wanted = found.suspicion
    span = f"from {local_time(wanted.since)} to {local_time(wanted.until)}"
    if not found.total.rows:
        console.out.print(f"Nothing was recorded {span} that is in question.", highlight=False, markup=False)
        return
    rendering.show(f"{found.total.rows} results {span}; near is a pass from level {NEAR_LEVEL:g} on.", "")
    rendering.show(_versions(found), "", _by("Lot", found.lots), "", _shifts(found), "", _by("Camera", found.cameras))
    if found.near:
        rendering.show("", "Passes nearest to the threshold:", _near(found))
    if found.rescored is not None:
        rendering.show("", shown(found.rescored.statement))
        for flip in found.rescored.flips[:_MOST_FLIPS]:
            console.out.print(f"  {flip.words}", highlight=False, markup=False, soft_wrap=True)
        if len(found.rescored.flips) > _MOST_FLIPS:
            rendering.show(f"  and {len(found.rescored.flips) - _MOST_FLIPS} more; --csv and --report have them")
    for file in files:
        console.out.print(f"written: {file}", highlight=False, markup=False, soft_wrap=True)


def _versions(found: Containment) -> Table:
    made = _table("Product", "Version", "Threshold")
    for (product, version, threshold), tally in found.versions.items():
        named = (product or "unknown", ABSENT if version is None else str(version), number(threshold, 4))
        made.add_row(*named, *_cells(tally))
    return made


def _by(name: str, tallies: Mapping[tuple[Any, ...], Tally]) -> Table:
    made = _table(name)
    for (key,), tally in tallies.items():
        made.add_row(key or "none", *_cells(tally))
    return made


def _shifts(found: Containment) -> Table:
    made = _table("Shift from")
    for (day, hour), tally in found.by_shift.items():
        made.add_row(f"{day} {hour:02d}:00", *_cells(tally))
    return made


def _table(*names: str) -> Table:
    return rendering.table(*names, *_NUMBERS, "Frame health", "First", "Last", right=_NUMBERS)


def _cells(tally: Tally) -> tuple[str, ...]:
    outcomes = tally.outcomes
    faults = ", ".join(f"{fault.value} {rows}" for fault, rows in sorted(tally.faults.items())) or ABSENT
    counts = (outcomes[Outcome.REJECT], outcomes[Outcome.UNJUDGED], outcomes[Outcome.UNINSPECTED])
    return (
        str(outcomes[Outcome.PASS]),
        str(tally.near),
        number(tally.highest, 2),
        *map(str, counts),
        faults,
        local_time(tally.first_at),
        local_time(tally.last_at),
    )


def _near(found: Containment) -> Table:
    made = rendering.table("Level", "Part", "Lot", "Trigger", "Camera", "Time", "Result", right=("Level",))
    for verdict in found.near:
        trigger = ABSENT if verdict.trigger_id is None else str(verdict.trigger_id)
        part = (verdict.part_id or ABSENT, verdict.lot or ABSENT, trigger, verdict.camera)
        made.add_row(number(verdict.level, 3), *part, local_time(verdict.received_at), verdict.result_id[:8])
    return made
