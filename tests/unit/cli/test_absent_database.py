"""A command that only reads makes no database: a path that was mistyped is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.config.loading import load
from inspector.errors import DatabaseUnusable
from inspector.operation.opening import database_of, registry_of


@pytest.fixture
def mistyped(tmp_path: Path) -> Path:
    """A configuration whose store is in no file."""
    file = tmp_path / "inspector.toml"
    file.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/plnat.db"\n')
    return file


@pytest.mark.parametrize(
    "command",
    [
        ("products", "list"),
        ("products", "show", "bottle"),
        ("products", "activate", "bottle", "1", "--reason", "x"),
        ("products", "compare", "bottle"),
        ("results", "list"),
        ("results", "show", "abc"),
        ("parts",),
        ("golden",),
        ("db", "check"),
        ("db", "prune"),
        ("db", "hold", "list"),
        ("db", "hold", "add", "--lot", "L1", "--reason", "x"),
    ],
)
def test_command_that_has_nothing_to_store_refuses_a_database_that_is_not_there(
    shell: Any,
    mistyped: Path,
    command: tuple[str, ...],
) -> None:
    answer = shell(*command, "--config", str(mistyped))
    assert (answer.code, answer.out) == (1, "")
    assert f"There is no database {mistyped.parent}/plnat.db" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert list(mistyped.parent.glob("plnat.db*")) == []


async def test_database_of_a_caller_that_stores_something_is_made(mistyped: Path) -> None:
    config = load(mistyped)
    with pytest.raises(DatabaseUnusable, match=r"store\.url"):
        async with registry_of(config):
            pass
    async with registry_of(config, creates=True) as registry:
        assert await registry.products() == []
    async with database_of(config) as database:
        assert await database.revision() is not None
