"""Shows an evaluation to people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.escapes import PlainTable, shown

if TYPE_CHECKING:
    from rich.table import Table

    from inspector.operation.folder_evaluation import FolderEvaluation


def print_evaluation(evaluation: FolderEvaluation, page: Path | None) -> None:
    """The table of products, the routing if it was measured, notes, and the place of the report."""
    figures = evaluation.figures
    rendering.show(_table(figures))
    if figures["mode"] != "oracle":
        console.out.print(_routing(figures["routing"]), highlight=False)
    for name, note in evaluation.moved.items():
        console.out.print(f"[yellow]note[/] {shown(name)}: {shown(note)}", highlight=False, soft_wrap=True)
    for note in evaluation.notes:
        console.out.print(f"[yellow]note[/] {shown(note)}", highlight=False, soft_wrap=True)
    if page is not None:
        console.out.print(f"report: {page}", highlight=False, markup=False)


def _table(figures: dict[str, Any]) -> Table:
    title = f"{figures['head']} on {figures['backbone']}, {figures['engine']}, mode {figures['mode']}"
    table = PlainTable(title=shown(title))
    columns = {
        "image AUROC": "image_auroc",
        "AP": "image_ap",
        "pixel AUROC": "pixel_auroc",
        "AUPRO": "aupro",
        "good rejected": "false_reject_share",
        "defects missed": "missed_defect_share",
    }
    for column in ("product", "train/good/defect", *columns, "ms p50"):
        table.add_column(column, justify="left" if column == "product" else "right")
    for name, row in figures["products"].items():
        counts = f"{row['n_train']}/{row['n_good']}/{row['n_defect']}"
        values = [_figure(row[key]) for key in columns.values()]
        table.add_row(name, counts, *values, _figure(row["ms_per_image"]["p50"], 1))
    mean = figures["mean"]
    table.add_section()
    table.add_row("mean", "", *(_figure(mean.get(key)) for key in columns.values()), "")
    return table


def _routing(routing: dict[str, Any]) -> str:
    return "routing: " + ", ".join(f"{key} {_figure(value)}" for key, value in routing.items() if value is not None)


def _figure(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"
