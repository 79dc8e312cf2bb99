"""Shows the page of a bench to people: the same facts, tables and notes that a file gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from inspector.cli.terminal import console, rendering

if TYPE_CHECKING:
    from inspector.reports.bench import BenchPage


def print_page(page: BenchPage, file: Path | None) -> None:
    rendering.show(Text(page.title, style="bold"), rendering.facts(page.facts))
    for figures in page.tables:
        made = rendering.table(*figures.columns, right=figures.columns[1:])
        for row in figures.rows:
            made.add_row(*row)
        rendering.show("", Text(figures.title, style="bold"), made)
    if page.notes:
        rendering.show("")
    for note in page.notes:
        rendering.show(Text(note, style="yellow"))
    if file is not None:
        console.err.print(f"page: {file}", highlight=False, markup=False, soft_wrap=True)
