"""Shows the comparison of a shadow version with the live one to people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.results_view import SHORT_ID
from inspector.domain import Outcome
from inspector.text import visible

if TYPE_CHECKING:
    from inspector.operation.version_comparison import Comparison, ShownFlip

_STYLES: Final = {"improvement": "green", "worse": "bold red"}


def print_comparison(found: Comparison, page: Path | None) -> None:
    """Counts, flips, and what may be said of the difference."""
    rendering.show(Text(_title(found), style="bold"), rendering.facts(_facts(found)), "")
    if found.flips:
        rendering.show(_flips(found.flips), "")
        if len(found.flips) < found.flipped:
            said = f"The newest {len(found.flips)} of {found.flipped} flips; see more with --limit."
            console.err.print(said, style="dim", highlight=False)
    rendering.show(Text(found.statement, style=_STYLES.get(found.finding.value, "")))
    if page is not None:
        console.out.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)


def _title(found: Comparison) -> str:
    live = "no live version" if found.live is None else f"live version {found.live.version}"
    return f"{visible(found.shadow.product)}: shadow version {found.shadow.version} against {live}"


def _facts(found: Comparison) -> list[tuple[str, str | Text]]:
    both = Outcome.PASS, Outcome.REJECT
    facts: list[tuple[str, str | Text]] = [("thresholds", _thresholds(found))]
    if found.first_at is not None:
        facts.append(
            ("frames from", f"{rendering.local_time(found.first_at)} to {rendering.local_time(found.last_at)}")
        )
    if found.agreement is not None:
        facts.append(("agree", f"{found.agreed} of {found.compared} ({100 * found.agreement:.2f} %)"))
        facts += [
            (f"live {live.value}, shadow {shadow.value}", str(found.counts.get((live, shadow), 0)))
            for live in both
            for shadow in both
        ]
    left = (
        ("not scored in shadow", found.not_scored),
        ("shadow version failed", found.failed),
        ("judged by other versions", found.of_other_versions),
        ("simulated among these", found.simulated),
        ("not released, shadow pass", found.unreleased.get(Outcome.PASS, 0)),
        ("not released, shadow reject", found.unreleased.get(Outcome.REJECT, 0)),
    )
    return facts + [(name, str(count)) for name, count in left if count]


def _thresholds(found: Comparison) -> str:
    live = "-" if found.live is None else f"{found.live.threshold:.4g}"
    moved = "; some frames were judged by an earlier threshold" if found.has_moved_thresholds else ""
    return f"live {live}, shadow {found.shadow.threshold:.4g}{moved}"


def _flips(flips: tuple[ShownFlip, ...]) -> Table:
    table = rendering.table(
        "Time", "Camera", "Live", "Level", "Shadow", "Shadow level", "Label", "Id", "Picture",
        right=("Level", "Shadow level"),
    )  # fmt: skip
    for kept in flips:
        flip = kept.flip
        table.add_row(
            rendering.local_time(flip.received_at),
            flip.camera,
            rendering.outcome_text(flip.live.outcome.value),
            rendering.number(flip.live.level, 2),
            rendering.outcome_text(flip.shadow.outcome.value),
            rendering.number(flip.shadow.level, 2),
            flip.label or rendering.ABSENT,
            Text(flip.result_id[:SHORT_ID], style="dim"),
            str(kept.pictures[0]) if kept.pictures else rendering.ABSENT,
        )
    return table
