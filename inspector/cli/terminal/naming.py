"""Names of discovered categories: from an option, from a file, or from a person at the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from inspector.cli.terminal import console
from inspector.errors import UsageError
from inspector.text import MOST_TEXT_BYTES, decoded, visible


def names_given(names: str | None, names_from: Path | None, categories: Sequence[str]) -> dict[str, str] | None:
    """Category -> product, from `--names` or the file of `--names-from`; None if neither is given.

    Raises UsageError for text that is no `category=product`, and for a category that does not exist.
    """
    if names is not None and names_from is not None:
        raise UsageError("Say --names or --names-from, not both.")
    if names is not None:
        return _parsed(names.split(","), categories, "--names")
    if names_from is None:
        return None
    try:
        with names_from.open("rb") as file:
            lines = decoded(file.read(MOST_TEXT_BYTES + 1)).splitlines()
    except OSError as error:
        raise UsageError(f"The names in {names_from} can't be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"The names in {names_from} can't be read: {error}, one category=product per line.") from error
    return _parsed((line.partition("#")[0] for line in lines), categories, str(names_from))


def names_asked(categories: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Category -> product, asked for each (category, hint). An empty answer leaves the category without a name."""
    console.err.print("Name each category; two may get one name, Enter leaves one out.")
    named: dict[str, str] = {}
    for category, hint in categories:
        while answer := typer.prompt(
            f"  {category} ({visible(hint)})", default="", show_default=False, err=True
        ).strip():
            if _is_name(answer):
                named[category] = answer
                break
            console.err.print("  A name has letters, digits, dots and dashes, at most 64 of them.")
    return named


def can_ask() -> bool:
    """Whether a person can read the question and type an answer."""
    return sys.stdin.isatty() and console.err.is_terminal


def _is_name(text: str) -> bool:
    from inspector.config.section import NAME_PATTERN

    return re.fullmatch(NAME_PATTERN, text) is not None


def _parsed(pairs: Iterable[str], categories: Sequence[str], where: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for pair in (each.strip() for each in pairs):
        if not pair:
            continue
        category, sign, product = (part.strip() for part in pair.partition("="))
        if not sign:
            raise UsageError(f"{pair!r} in {where} is no name; write category=product, for example a=bolt.")
        if not _is_name(product):
            raise UsageError(
                f"{product!r} in {where} can't be a product's name: letters, digits, dots, dashes, at most 64."
            )
        if category not in categories:
            raise UsageError(f"There is no category {category!r}; found: {', '.join(categories)}.")
        if named.setdefault(category, product) != product:
            raise UsageError(f"{where} gives the category {category} two names.")
    return named
