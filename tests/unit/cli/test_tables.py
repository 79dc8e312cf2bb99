"""Tables on a narrow terminal and in a pipe: nothing is cut off, least of all the time for a long sentence."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import SafeConsole
from inspector.cli.terminal.rendering import show, table

SENTENCE = " ".join(["no frame came for 3 parts, so the default decides;"] * 8)


def event_table() -> Table:
    made = table("Time", "Severity", "Kind", "Subject", "Detail")
    made.add_row("18:12:34", "alarm", "uninspected", "gate1", SENTENCE)
    return made


@pytest.mark.parametrize("width", [80, 100, 200])
def test_table_on_a_narrow_terminal_keeps_short_columns_and_breaks_the_sentence(width: int) -> None:
    written = io.StringIO()
    SafeConsole(file=written, width=width, force_terminal=True, color_system=None).print(event_table())
    lines = written.getvalue().splitlines()
    words = [word for line in lines[2:] for word in line.split()]
    assert max(map(len, lines)) <= width
    assert words == ["18:12:34", "alarm", "uninspected", "gate1", *SENTENCE.split()]


@pytest.mark.parametrize("repeats", [1, 20])
def test_show_in_a_pipe_writes_each_row_as_one_whole_line(
    repeats: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "out", SafeConsole(file=io.StringIO()))
    made = table("Time", "Detail")
    detail = " ".join([SENTENCE] * repeats)
    made.add_row("18:12:34", detail)
    show(made)
    assert capsys.readouterr().out.splitlines()[2] == f"18:12:34  {detail}"
