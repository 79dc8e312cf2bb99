"""Names from outside never control the terminal: escapes, turned letters and markup are shown as text, everywhere."""

from __future__ import annotations

import io
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.agent.telemetry import LogTelemetry, configure_logging
from inspector.cli.terminal import console, rendering, streams
from inspector.cli.terminal.enrolment_view import print_findings
from inspector.cli.terminal.escapes import SafeConsole, shown
from inspector.cli.terminal.streams import Watched
from inspector.domain import Cause, Event, Outcome, Severity, Verdict
from inspector.testing.clock import START
from inspector.testing.samples import verdict_of_part
from inspector.text import escaped_json, undriven, visible
from tests.unit.drawings import FakeEngine

HOSTILE = "a\x1b[2Jb\x9bc\rd\x07e\u202ef\udcff[bold]g[/]:smile:"
SHOWN = "a\\x1b[2Jb\\x9bc\\rd\\x07e\\u202ef\\xff[bold]g[/]:smile:"
DANGEROUS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2066", "\u061c", "\ud800", "\udcff"]


def is_harmless(text: str) -> bool:
    return not any(char in text for char in DANGEROUS if char not in "\n\t")


def test_visible_spells_out_every_control_and_format_character() -> None:
    """Whatever Unicode's categories call control, format, surrogate or another line's end, in this Python's version."""
    unfit = [char for char in map(chr, range(0x110000)) if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert [hex(ord(char)) for char in unfit if char in visible(char)] == []
    assert [hex(ord(char)) for char in unfit if char not in "\t\n\r\x1b" and char in undriven(char)] == []
    assert visible("Müller 漢字 🙂 e\u0301") == "Müller 漢字 🙂 e\u0301"


@pytest.mark.parametrize("ensures_ascii", [True, False])
@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.sampled_from(DANGEROUS)).map("".join))
def test_escaped_json_is_the_same_document_without_a_character_that_a_terminal_obeys(
    ensures_ascii: bool, text: str
) -> None:
    written = escaped_json(json.dumps({"a": [text]}, indent=2, ensure_ascii=ensures_ascii))
    assert json.loads(written) == {"a": [text]}
    assert is_harmless(written)


def test_terminal_gets_no_control_character_but_those_that_drive_it() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        Watched(stream).write("\x1b[31mred\x1b[0m\r\n\t\x9b2J\x07\u202e")
    assert terminal.getvalue() == "\x1b[31mred\x1b[0m\r\n\t\\x9b2J\\x07\\u202e"
    assert pipe.getvalue().endswith("\x9b2J\x07\u202e"), "a file gets what was written"


def test_traceback_shows_a_foreign_message_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        streams._show_traceback(type(error), error, error.__traceback__)
    assert is_harmless(written.getvalue())
    assert "Traceback" in written.getvalue()


@given(st.text() | st.lists(st.sampled_from(DANGEROUS)).map("".join))
def test_visible_of_anything_is_one_harmless_line_and_stays_so(text: str) -> None:
    once = visible(text)
    assert is_harmless(once)
    assert "\n" not in once
    assert visible(once) == once
    once.encode()


@pytest.mark.parametrize("terminal", [False, True])
def test_console_shows_what_came_from_outside_as_text(terminal: bool) -> None:
    written = io.StringIO()
    screen = SafeConsole(file=written, width=400, force_terminal=terminal, color_system=None, highlight=False)
    screen.print(HOSTILE, markup=False)
    screen.print(f"[red]{shown(HOSTILE)}[/]")
    made = rendering.table("name")
    made.add_row(HOSTILE)
    screen.print(made)
    screen.print(rendering.facts([(HOSTILE, HOSTILE)]))
    assert written.getvalue().count(SHOWN) == 5
    assert is_harmless(written.getvalue())


def test_console_lets_no_text_through_that_nobody_looked_at() -> None:
    from rich.text import Text

    written = io.StringIO()
    SafeConsole(file=written, width=400, force_terminal=True, color_system=None).print(Text("a\x1b]0;title\x9cb"))
    assert written.getvalue() == "a\\x1b]0;title\\x9cb\n"


def test_results_show_foreign_lots_and_details_as_text(
    shell: Callable[..., Any], record: Callable[[Sequence[Verdict]], None]
) -> None:
    hostile = HOSTILE.replace("\udcff", "")  # no database takes it
    verdict = verdict_of_part(
        1, outcome=Outcome.UNJUDGED, cause=Cause.UNDECODABLE, cause_detail=hostile, lot=hostile, job_id=hostile
    )
    record([verdict])
    told = shell("results", "show", verdict.result_id).out
    assert told.count(SHOWN.replace("\\xff", "")) == 3
    assert is_harmless(told)
    assert is_harmless(shell("results", "list").out)


def test_products_show_imported_names_as_text(shell: Callable[..., Any], line: Any) -> None:
    import asyncio

    from inspector.operation.opening import registry_of

    hostile = HOSTILE.replace("\udcff", "")
    manifest = {"head": hostile, "profile": hostile, "threshold": 2.5, "calibration": {"statement": hostile}}

    async def add() -> None:
        async with registry_of(line, creates=True) as registry:
            await registry.add_version("bottle", b"artifact", manifest, by=hostile, activate=True)

    asyncio.run(add())
    for command in (("list",), ("show", "bottle")):
        told = shell("products", *command).out
        assert SHOWN.replace("\\xff", "") in told
        assert is_harmless(told)


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize(
    "arguments",
    [
        ("products", "show", HOSTILE),
        ("products", "import", HOSTILE),
        ("enroll", HOSTILE, "x"),
        ("enroll", "bottle", HOSTILE),
        ("discover", HOSTILE),
        ("evaluate", HOSTILE),
        ("simulate", HOSTILE, "--camera", "cam1", "--rate", "1"),
        ("results", "show", HOSTILE),
        ("results", "list", "--since", HOSTILE),
        ("db", "check", "--config", HOSTILE),
        ("db", "check", HOSTILE),
        (HOSTILE,),
        ("--" + HOSTILE,),
    ],
)
def test_errors_show_names_as_text(shell: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    answer = shell(*arguments)
    assert answer.code != 0
    assert is_harmless(answer.err + answer.out)


@pytest.mark.usefixtures("enrols_here")
def test_enroll_and_discover_show_file_names_as_text(
    shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.enrolment.enrol_product.create_engine", lambda *_: FakeEngine())
    monkeypatch.setattr("inspector.vision.engines.factory.create_engine", lambda *_: FakeEngine())
    folder = Path("images")
    folder.mkdir()
    (folder / os.fsdecode(b"a\x1b[31m\xff[red]x.png")).write_bytes(b"no image")
    for command in (("enroll", "bottle"), ("discover",)):
        answer = shell(*command, str(folder))
        assert answer.code != 0
        assert is_harmless(answer.err + answer.out)


def test_findings_of_an_enrolment_show_file_names_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    from types import SimpleNamespace

    report = SimpleNamespace(suspects=[HOSTILE], unreadable=[], left_out=[], duplicates=[], warnings=[HOSTILE])
    print_findings(SimpleNamespace(report=report, alike=[(HOSTILE, 0.9)]))  # type: ignore[arg-type]  # what it reads of it
    told = capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert told.count(SHOWN) == 3
    assert is_harmless(told)


def test_progress_shows_a_foreign_phase_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    screen = SafeConsole(file=written, width=400, force_terminal=True, color_system=None)
    monkeypatch.setattr(console, "err", screen)
    with console.progress("Enrolling " + HOSTILE) as report:
        report(HOSTILE, 1, 2)
    assert SHOWN in written.getvalue()
    assert "\x1b[2Jb" not in written.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_log_lines_show_foreign_details_as_text(as_json: bool) -> None:
    written = io.StringIO()
    configure_logging(as_json=as_json, file=written)
    LogTelemetry().event(Event(START, "unknown_camera", Severity.INFO, HOSTILE, HOSTILE))
    (line,) = written.getvalue().splitlines()
    assert is_harmless(line)
    line.encode()
