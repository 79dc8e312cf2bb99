"""A page of figures that a bench measured, as HTML or Markdown: facts about the machine, tables, notes.

What stands in it is text that is ready to be read. The terminal shows the same page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from inspector import __version__
from inspector.reports.page import render

MARKDOWN = (".md", ".markdown")
FORMS = (".html", ".htm", *MARKDOWN)


@dataclass(frozen=True, slots=True)
class FigureTable:
    """One table. The first column names the row; the others hold figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class BenchPage:
    """`facts`: names and values. `notes`: whole sentences under the tables."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[FigureTable, ...]
    notes: tuple[str, ...] = field(default=())


def bench_text(page: BenchPage, file: Path) -> str:
    """Markdown if the file's name ends in .md, else HTML."""
    return bench_markdown(page) if file.suffix.lower() in MARKDOWN else bench_html(page)


def bench_html(page: BenchPage) -> str:
    return render("bench.html.j2", title=page.title, page=page)


def bench_markdown(page: BenchPage) -> str:
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"# {_plain(page.title)}", "", *(f"* {_plain(name)}: {_plain(value)}" for name, value in page.facts)]
    for table in page.tables:
        lines += ["", f"## {_plain(table.title)}", "", _row(table.columns)]
        lines.append(_row(["---"] + ["---:"] * (len(table.columns) - 1)))
        lines += [_row(row) for row in table.rows]
    for note in page.notes:
        lines += ["", _plain(note)]
    return "\n".join([*lines, "", f"inspector {__version__}, made {made_at}.", ""])


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Text without what Markdown would read as a cell's end, a tag or a line."""
    return " ".join(text.replace("|", "/").replace("<", "&lt;").split())
