"""`inspector doctor`: checks everything that the agent needs on this machine and this line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.cli.checks.finding import Finding
    from inspector.config.config import Config

NAME: Final = "doctor"
HELP: Final = "Check all the agent needs, and who else could get in. Changes nothing."
EXAMPLE: Final = "Example: inspector doctor --config /etc/inspector/inspector.toml"

_MARKS: Final = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "fault": "[bold red]fault[/]  "}

_WIDEST_SUBJECT: Final = 30


def command(config: console.ConfigOption = None, as_json: console.JsonOption = False) -> None:
    from inspector.agent.telemetry import configure_logging
    from inspector.config.loading import find, load

    configure_logging("critical")  # the findings already say what is wrong with a connection
    loaded = load(config)
    findings = asyncio.run(_look(loaded, find(config)))
    if as_json:
        console.print_json([_document(finding) for finding in findings])
    else:
        _print(findings)
    if not all(finding.is_ok for finding in findings):
        raise typer.Exit(1)


async def _look(config: Config, file: Path | None) -> list[Finding]:
    return [finding async for finding in _findings(config, file)]


async def _findings(config: Config, file: Path | None) -> AsyncIterator[Finding]:
    from inspector.cli.checks import capacity, line, machine, metrics, security, state, store
    from inspector.cli.checks.finding import ok

    yield ok("configuration", "file", _where(file))
    for finding in state.check(config):
        yield finding
    async for finding in store.check(config):
        yield finding
    async for finding in line.check_broker(config):
        yield finding
    async for finding in line.check_kafka(config):
        yield finding
    for checks in (
        line.check_cameras,
        line.check_gates,
        capacity.check,
        metrics.check,
        machine.check_engine,
        machine.check_clock,
    ):
        for finding in checks(config):
            yield finding
    async for finding in security.check(config, file):
        yield finding


def _where(file: Path | None) -> str:
    return str(file.absolute()) if file else "built-in defaults (there is no inspector.toml)"


def _document(finding: Finding) -> dict[str, object]:
    return {
        "part": finding.part,
        "subject": finding.subject,
        "ok": finding.is_ok,
        "level": finding.level.value,
        "detail": finding.detail,
    }


def _print(findings: Sequence[Finding]) -> None:
    from collections import Counter

    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

    from inspector.cli.terminal.escapes import shown
    from inspector.cli.terminal.rendering import show

    tree = Tree("[bold]inspector[/]", guide_style="dim")
    width = min(_WIDEST_SUBJECT, max(len(finding.subject) for finding in findings))
    for part in dict.fromkeys(finding.part for finding in findings):
        branch = tree.add(f"[bold]{shown(part)}[/]")
        for finding in (finding for finding in findings if finding.part == part):
            row = Table.grid(padding=(0, 2))
            row.add_column(no_wrap=True)
            row.add_column(overflow="fold", min_width=width, max_width=width)
            row.add_column(overflow="fold")
            row.add_row(_MARKS[finding.level.value], shown(finding.subject), shown(finding.detail))
            branch.add(row)
    show(tree)
    count = Counter(finding.level.value for finding in findings)
    faults, warnings = _counted(count["fault"], "fault"), _counted(count["warning"], "warning")
    style = "bold red" if count["fault"] else "green"
    show("", Text.assemble((faults, style), f", {warnings}, {count['ok']} ok"))


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
