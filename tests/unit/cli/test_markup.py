"""No string with markup is made of foreign text: what is put into one passes `shown`, or is a formatted number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import inspector.cli

FILES = sorted(Path(inspector.cli.__file__).parent.rglob("*.py"))
TAG = re.compile(r"\[(/|bold|dim|red|green|yellow|cyan|magenta)[a-z ]*\]")


def unshown(tree: ast.AST) -> Iterator[ast.expr]:
    """What stands in a string with tags without having passed `shown`."""
    for text in ast.walk(tree):
        if not isinstance(text, ast.JoinedStr):
            continue
        written = "".join(part.value for part in text.values if isinstance(part, ast.Constant))
        if not TAG.search(written):
            continue
        for part in text.values:
            if isinstance(part, ast.FormattedValue) and part.format_spec is None and not is_shown(part.value):
                yield part.value


def is_shown(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in {"shown", "len"}
    return isinstance(value, ast.Attribute) and value.attr in {"version", "n_used"}  # numbers


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_string_with_markup_holds_only_shown_text(file: Path) -> None:
    found = [f"line {value.lineno}: {ast.unparse(value)}" for value in unshown(ast.parse(file.read_text("utf-8")))]
    assert found == []


def test_unshown_finds_what_is_put_in_as_it_is() -> None:
    tree = ast.parse("say(f'[red]{name}[/] {shown(x)} {count:d}'); say(f'{name}')")
    assert [ast.unparse(value) for value in unshown(tree)] == ["name"]
