"""Help texts and paths come through as they are written: square brackets are markup to the library that prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from rich.markup import render

from inspector.cli import app


def texts(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """Command and text, of the command and of all below it."""
    said = [command.help, command.epilog, *(getattr(each, "help", None) for each in command.params)]
    yield from ((name, text) for text in said if text)
    for below, its in getattr(command, "commands", {}).items():
        yield from texts(its, f"{name} {below}")


def test_help_texts_lose_nothing_to_markup() -> None:
    lost = [name for name, text in texts(typer.main.get_command(app), "inspector") if render(text).plain != text]
    assert lost == []


def test_paths_with_square_brackets_are_shown_whole(
    shell: Callable[..., Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "line[1]"
    assert "line[1]" in shell("init", str(folder)).out
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INSPECTOR_CONFIG", str(folder / "inspector.toml"))
    for command in ("upgrade", "upgrade", "check"):
        assert "line[1]" in shell("db", command).out
    (folder / "inspector.toml").write_text("[agent]\nnmae = 1\n")
    assert "line[1]" in shell("db", "check").err
