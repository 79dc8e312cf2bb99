"""`inspector audit` and `inspector events`: what was done and what happened, and whether the record is whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import Event, Severity
from inspector.operation.opening import database_of
from inspector.store import audit
from inspector.store.audit import Change
from inspector.store.chain import ChainKeys
from inspector.store.database import Database
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import START
from tests.audit_attacks import cut, drop_guards, rewrite

Shell = Callable[..., Any]
CHANGES = [
    Change("ada", "product/bolt/live", None, "version 1", "first"),
    Change("bo", "product/bolt_2/live", None, "version 1", "first"),
    Change("ada", "product/bolt/version 1/threshold", "2.5", "2", "a [red]scratch[/] passed"),
]


@pytest.fixture
def chain(line: Config) -> None:
    async def write() -> None:
        async with database_of(line, creates=True) as database:
            for number, change in enumerate(CHANGES):
                await audit.record(database, START + timedelta(hours=number), change)

    asyncio.run(write())


@pytest.mark.usefixtures("chain")
def test_audit_list_is_newest_first_and_selected(shell: Shell) -> None:
    def numbers(*options: str) -> list[int]:
        return [entry["seq"] for entry in shell("audit", "list", *options, "--json").document]

    assert numbers() == [3, 2, 1]
    assert numbers("--about", "product/bolt") == [3, 1]
    assert numbers("--about", "product/bolt/") == [3, 1]
    assert numbers("--user", "bo") == [2]
    assert numbers("--since", "2025-01-01T01:00:00+00:00") == [3, 2]
    assert numbers("--until", "2025-01-01T01:00:00+00:00") == [1]
    assert numbers("--limit", "1") == [3]
    shown = shell("audit", "list").out
    assert "a [red]scratch[/] passed" in shown


def do(line: Config, attack: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with database_of(line) as database:
            await attack(database)

    asyncio.run(run())


@pytest.mark.usefixtures("chain")
def test_audit_verify_tells_a_whole_chain_from_a_changed_one(shell: Shell, line: Config) -> None:
    whole = shell("audit", "verify", "--json")
    assert (whole.code, whole.document["holds"], whole.document["entries"]) == (0, True, 3)
    assert whole.document["last_hash"] in shell("audit", "verify").out
    do(line, drop_guards)
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db")) as connection, connection:
        connection.execute("UPDATE audit SET reason = 'another' WHERE seq = 2")
    changed = shell("audit", "verify", "--json")
    assert (changed.code, changed.document["broken"]) == (1, [2])
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db")) as connection, connection:
        connection.execute("DELETE FROM audit WHERE seq = 2")
    removed = shell("audit", "verify")
    assert (removed.code, "broken at 3" in removed.out) == (1, True)


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET user_name = 'bo' WHERE seq = 1",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT seq, at, 'bo', object, old_value, new_value, reason, prev_hash, hash "
        "FROM audit WHERE seq = 1",
    ],
)
def test_database_refuses_to_change_the_audit(line: Config, statement: str) -> None:
    connection = sqlite3.connect(line.agent.state_dir / "inspector.db")
    with contextlib.closing(connection), pytest.raises(sqlite3.IntegrityError, match="never changed or removed"):
        connection.execute(statement)


@pytest.mark.usefixtures("chain")
def test_audit_verify_by_an_earlier_head_finds_a_cut_end_and_a_new_chain(shell: Shell, line: Config) -> None:
    written = shell("audit", "head", "head.json", "--json")
    assert (written.code, written.document["entries"], written.document["seq"]) == (0, 3, 3)
    assert json.loads(Path("head.json").read_text()) == written.document
    assert shell("audit", "verify", "--head", "head.json").code == 0
    do(line, lambda database: rewrite(database, 2, ChainKeys(), reason="quite another"))
    assert shell("audit", "verify").code == 0, "the new chain is whole"
    rewritten = shell("audit", "verify", "--head", "head.json")
    assert (rewritten.code, "was rewritten" in rewritten.out) == (1, True)
    do(line, lambda database: cut(database, after=2))
    assert shell("audit", "verify").code == 0, "nothing is left to break"
    short = shell("audit", "verify", "--head", "head.json", "--json")
    assert (short.code, short.document["holds"]) == (1, False)
    assert "entry 3, the last one at" in short.document["faults"][0]


@pytest.mark.usefixtures("chain")
def test_audit_verify_by_a_file_that_is_no_head_is_refused(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"schema": 1, "at": "2025-03-01T06:00:00", "entries": -1}')
    os.mkfifo(tmp_path / "pipe")
    for name in ("other.json", "nowhere.json", "/dev/zero", "pipe"):
        assert shell("audit", "verify", "--head", name).code == 2


@pytest.mark.usefixtures("chain")
def test_who_has_not_the_key_of_the_audit_reads_and_changes_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path("inspector.toml").read_text(encoding="utf-8").replace('#key_secret = "audit-key"', 'key_secret = "k"')
    Path("inspector.toml").write_text(text, encoding="utf-8")
    hold = ("db", "hold", "add", "--lot", "L1", "--reason", "a complaint")
    refused = shell(*hold)
    assert (refused.code, "INSPECTOR_SECRET_K" in refused.err) == (78, True)
    assert shell("audit", "list", "--json").document[0]["seq"] == 3
    assert shell("audit", "verify").code == 0
    monkeypatch.setenv("INSPECTOR_SECRET_K", "a key that is long enough")
    assert shell("audit", "verify").code == 1, "nothing is sealed yet"
    assert shell(*hold).code == 0
    verified = shell("audit", "verify", "--json").document
    assert (verified["holds"], verified["sealed"], verified["unchecked"]) == (True, True, 0)
    monkeypatch.delenv("INSPECTOR_SECRET_K")
    assert shell("audit", "verify", "--json").document["unchecked"] == 1


def test_events_are_newest_first_and_selected(shell: Shell, line: Config) -> None:
    async def write() -> None:
        async with database_of(line, creates=True) as database, SqlLedger(database, SystemClock()) as ledger:
            told = [
                ("gate_held", Severity.ALARM, "gate1"),
                ("link", Severity.INFO, "mqtt"),
                ("link", Severity.WARNING, "db"),
            ]
            events = [
                Event(START + timedelta(hours=number), kind, severity, subject, "so it is")
                for number, (kind, severity, subject) in enumerate(told)
            ]
            await ledger.record_events(events)

    asyncio.run(write())

    def subjects(*options: str) -> list[str]:
        return [event["subject"] for event in shell("events", *options, "--json").document]

    assert subjects() == ["db", "mqtt", "gate1"]
    assert subjects("--kind", "link") == ["db", "mqtt"]
    assert subjects("--severity", "alarm") == ["gate1"]
    assert subjects("--subject", "db") == ["db"]
    assert subjects("--since", "2025-01-01T01:00:00+00:00") == ["db", "mqtt"]
    assert subjects("--until", "2025-01-01T01:00:00+00:00") == ["gate1"]
    assert "gate_held" in shell("events").out
    assert shell("events", "--kind", "none").out == "There is no event like that.\n"
