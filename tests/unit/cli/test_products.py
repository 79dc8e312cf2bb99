"""`inspector products`: one pointer moved, the reason in the audit, unknown names answered with the known ones."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inspector.config.config import Config
from inspector.operation.opening import database_of
from inspector.store import audit


def _reasons(line: Config) -> list[str]:
    async def read() -> list[str]:
        async with database_of(line) as database:
            return [entry.reason for entry in await audit.entries(database)]

    return asyncio.run(read())


@pytest.mark.usefixtures("line")
def test_products_list_of_an_empty_registry_says_how_to_begin(shell: Callable[..., Any]) -> None:
    assert "inspector enroll" in shell("products", "list").out
    assert shell("products", "list", "--json").document == []


def test_products_list_shows_what_judges(shell: Callable[..., Any], enrolled: Callable[[str], int]) -> None:
    enrolled("bottle")
    enrolled("bottle")
    rows = shell("products", "list", "--json").document
    assert [(row["product"], row["version"], row["live"]) for row in rows] == [
        ("bottle", 1, False),
        ("bottle", 2, True),
    ]
    assert shell("products", "list").out.count("bottle") == 1
    assert shell("products", "list", "--all").out.count("bottle") == 2


def test_products_show_prints_the_manifest(shell: Callable[..., Any], enrolled: Callable[[str], int]) -> None:
    enrolled("bottle")
    assert "at most 1 in 20" in shell("products", "show", "bottle").out
    assert shell("products", "show", "bottle", "--json").document["manifest"]["head"] == "prototype"


def test_products_activate_and_rollback_move_the_pointer_with_a_reason(
    shell: Callable[..., Any], enrolled: Callable[[str], int], line: Config
) -> None:
    enrolled("bottle")
    enrolled("bottle")
    assert shell("products", "activate", "bottle", "1", "--reason", "the old lamp is back", "--json").document["live"]
    assert shell("products", "rollback", "bottle", "--reason", "no it isn't", "--json").document["version"] == 2
    assert {"the old lamp is back", "no it isn't"} <= set(_reasons(line))


def test_products_remove_without_a_terminal_needs_yes(
    shell: Callable[..., Any], enrolled: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled("bottle")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert shell("products", "remove", "bottle").code == 2
    assert shell("products", "list", "--json").document[0]["live"]
    assert shell("products", "remove", "bottle", "--yes").code == 0
    assert not shell("products", "list", "--json").document[0]["live"]
    assert shell("products", "remove", "bottle", "--yes").code == 2


@pytest.mark.parametrize("command", [("show",), ("activate", "1"), ("rollback",), ("remove", "--yes"), ("export",)])
def test_products_of_an_unknown_product_names_the_known_ones(
    shell: Callable[..., Any], enrolled: Callable[[str], int], command: tuple[str, ...]
) -> None:
    enrolled("bottle")
    enrolled("cable")
    answer = shell("products", command[0], "botle", *command[1:])
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "There is no product botle; the products are bottle, cable.\n"


def test_products_activate_of_an_unknown_version_names_the_known_ones(
    shell: Callable[..., Any], enrolled: Callable[[str], int]
) -> None:
    enrolled("bottle")
    answer = shell("products", "activate", "bottle", "7")
    assert (answer.code, answer.err) == (2, "bottle has no version 7; its versions are 1.\n")


def test_products_export_writes_the_bytes_and_never_over_a_file(
    shell: Callable[..., Any], enrolled: Callable[[str], int]
) -> None:
    enrolled("bottle")
    assert shell("products", "export", "bottle").code == 0
    assert Path("bottle-1.artifact").read_bytes() == b"artifact"
    digest = hashlib.sha256(b"artifact").hexdigest()
    assert Path("bottle-1.artifact.sha256").read_text() == f"{digest}  bottle-1.artifact\n"  # as sha256sum reads it
    assert shell("products", "export", "bottle").code == 2
    assert shell("products", "export", "bottle", "--force", "--json").document["file"] == "bottle-1.artifact"


def test_products_import_of_a_file_that_was_damaged_on_its_way_is_refused(
    shell: Callable[..., Any], enrolled: Callable[[str], int]
) -> None:
    enrolled("bottle")
    assert shell("products", "export", "bottle").code == 0
    for damaged in (b"artifacT", b"arti"):
        Path("bottle-1.artifact").write_bytes(damaged)
        answer = shell("products", "import", "bottle-1.artifact", "--activate")
        assert answer.code == 1
        assert "damaged or cut short" in answer.err
    Path("bottle-1.artifact.sha256").unlink()
    assert "it was not checked for damage" in shell("products", "import", "bottle-1.artifact").err
    assert [each["version"] for each in shell("products", "list", "--json").document] == [1]


@pytest.mark.usefixtures("line")
def test_products_import_of_anything_else_is_refused(shell: Callable[..., Any]) -> None:
    Path("picture.png").write_bytes(b"\x89PNG")
    answer = shell("products", "import", "picture.png")
    assert answer.code == 1
    assert "no artifact" in answer.err
    assert shell("products", "import", "nothing.artifact").code == 2
    assert shell("products", "list", "--json").document == []
