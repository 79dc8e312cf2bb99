"""Shows tables, times and outcomes to people. Machines read `--json` instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import PlainTable, SafeConsole, cell

OUTCOME_STYLES: Final = {"pass": "green", "reject": "bold red", "unjudged": "yellow", "uninspected": "magenta"}
ABSENT: Final = "-"
_WIDE: Final = 240
"""Least width in columns if the output is no terminal: a pipe also gets what a narrow screen breaks into lines."""
_WIDEST: Final = 100_000


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table with light rules; the columns named in `right` hold numbers. Strings in it are never markup.

    On a narrow screen the widest columns break into lines first, so a time or an id is not cut off for a long sentence.
    """
    numbers = set(right)
    made = PlainTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def facts(pairs: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values, one pair a line."""
    made = PlainTable.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, cell(value))
    return made


def show(*renderables: RenderableType) -> None:
    """Prints on standard output. If it is no terminal, tables are as wide as needed, and each row is one line."""
    if console.out.is_terminal:
        for renderable in renderables:
            console.out.print(renderable, highlight=False)
        return
    wide = SafeConsole(width=_WIDEST)
    wide.width = max(_WIDE, *(_width(wide, renderable) for renderable in renderables))
    with wide.capture() as captured:
        for renderable in renderables:
            wide.print(renderable, highlight=False)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def _width(screen: SafeConsole, renderable: RenderableType) -> int:
    """The width of a table with a header whose rows take one line each; 0 for anything else."""
    is_table = isinstance(renderable, Table) and renderable.show_header
    return Measurement.get(screen, screen.options, renderable).maximum if is_table else 0


def outcome_text(outcome: str) -> Text:
    return Text(outcome, style=OUTCOME_STYLES.get(outcome, ""))


def local_time(moment: datetime | None) -> str:
    """The moment in this machine's zone, to the second, with the date unless it is today."""
    if moment is None:
        return ABSENT
    local = moment.astimezone()
    is_today = local.date() == datetime.now(UTC).astimezone().date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M:%S}"


def number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:.{digits}f}"


def size(size_bytes: float) -> str:
    """For example 3.2 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
