"""Keeps text from outside from controlling the terminal. Every table, progress bar, line and error passes this module.

`SafeConsole` spells out control characters in all output. Text from outside in a string with markup must also pass
`shown`, so that `[bold]` in a file name stays text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from inspector.text import visible


def shown(value: object) -> str:
    """Text from outside for a string with markup: one line, with control characters and brackets as text."""
    return escape(visible(str(value)))


def cell(value: object) -> Text:
    """Text from outside for a table: one line without markup."""
    return value if isinstance(value, Text) else Text(visible(str(value)))


class PlainTable(Table):
    """A table whose strings are text: no markup, no control characters."""

    def add_row(self, *renderables: RenderableType | None, **options: Any) -> None:
        super().add_row(*(cell(each) if isinstance(each, str) else each for each in renderables), **options)


class SafeConsole(Console):
    """A console that spells out control characters. Line ends and tabs stay; colours come from styles alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)  # `:x:` in a file name is no picture

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text, keeps_layout=True), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text, keeps_layout=True)
            yield segment if text == segment.text else Segment(text, segment.style)
