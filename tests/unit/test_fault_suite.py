"""`make faults`: its file has the contract's form, its exit code tells, and its documentation names every fault."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults import __main__ as suite
from tests.faults.outcome import Fault, Outcome, all_faults

KEYS = ["fault", "deliveries", "rows", "missed", "double_rows", "rejects_without_row", "recovery_s"]
WHOLE = {"deliveries": 7, "rows": 7, "missed": 0, "double_rows": 0, "rejects_without_row": 0, "recovery_s": 0.5}

STAGES = ("admitted", "decoded", "routed", "scored", "journaled", "published", "recorded", "acknowledged")

ASKED_FOR = {
    "kill -9 of the agent at each stage of the road": [f"agent kill -9, frame {stage}" for stage in STAGES],
    "broker kill -9": ["MQTT broker kill -9", "Kafka broker kill -9"],
    "broker restart": ["MQTT broker restarted while frames come", "Kafka broker restarted while frames come"],
    "black hole for 30 s": [
        "MQTT black hole for 30 s while frames come",
        "Kafka black hole for 30 s while frames come",
    ],
    "half-open connection": [
        "MQTT connections half-open while frames come",
        "Kafka connections half-open while frames come",
    ],
    "rebalance in the middle of a batch, second agent joins, leaves, dies": [
        "Kafka: a second agent joins in the middle of a batch",
        "Kafka: an agent leaves in the middle of a batch",
        "Kafka: an agent dies in the middle of a batch",
        "Kafka: rebalances and SIGTERM in the middle of a batch",
    ],
    "coordinator moves": ["Kafka: the group's coordinator dies, of three brokers"],
    "leader moves": ["Kafka: a partition's leader dies, of three brokers"],
    "PostgreSQL stopped, restarted": [
        "PostgreSQL stopped and started",
        "PostgreSQL crashed and restarted",
        "PostgreSQL stopped for 60 s under load",
    ],
    "lock held on the results table": ["PostgreSQL: a lock is held on the results table for 20 s"],
    "connection pool exhausted": ["connection pool exhausted in the agent", "PostgreSQL takes no more connections"],
    "SQLite locked by another writer": ["SQLite locked by another writer"],
    "disk full": ["SQLite disk full", "State folder's disk full"],
    "database file read-only": ["SQLite file read-only"],
    "database file moved away": [
        "SQLite file moved away and back",
        "SQLite file moved away without its log, 25 frames a second",
    ],
    "database file replaced": ["SQLite file replaced by a copy", "SQLite file replaced beside its log"],
    "journal full": ["journal full"],
    "journal removed": ["journal removed while in use"],
    "poison frame": ["poison frame, decoder crashes", "poison frame, decoder hangs"],
    "duplicate, reordered and replayed frames": ["frames duplicated, reordered and replayed"],
    "duplicate, reordered and replayed trigger ids": [
        "trigger ids out of order within the gap",
        "frame ids used again for other frames",
        "trigger counter begins again at numbers seen before",
        "trigger counter begins again, frame ids go on",
    ],
    "10 times the load for a minute": ["10 times the load for a minute"],
    "clock steps by an hour both ways": ["wall clock steps an hour ahead", "wall clock steps an hour back"],
    "a corrupt artifact": ["artifact corrupt in the store"],
    "a half-written version": ["artifact half-written", "enrolment kill -9 while it runs"],
    "a version removed while in use": ["version removed while in use"],
    "SIGTERM under five of these": [
        "SIGTERM in an MQTT black hole",
        "SIGTERM while SQLite is locked",
        "SIGTERM while a decoder hangs",
        "SIGTERM under overload",
        "SIGTERM while the journal is full",
        "SIGTERM while the MQTT broker is gone",
    ],
    "the full size": ["Kafka: 4,000 frames of 100 KiB, an agent killed, one joins"],
    "delay and reset": ["MQTT 200 ms late, each way, for 5 s", "MQTT connections reset while frames come"],
}
"""What the suite has to cause, and the faults that do."""


def outcome(name: str, **changes: int) -> Outcome:
    return Outcome(name, **{**WHOLE, **changes})  # type: ignore[arg-type]  # numbers by name


def run_suite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcomes: Sequence[Outcome | str], *arguments: str
) -> tuple[int, list[dict[str, object]]]:
    """The exit code and the file; a text in place of an outcome is why the fault could not be caused."""
    by_name = {f"fault {number}": each for number, each in enumerate(outcomes)}

    def run(fault: Fault, *_: object) -> Outcome:
        found = by_name[fault.name]
        if isinstance(found, str):
            pytest.skip(found)
        return found

    monkeypatch.setattr(suite, "all_faults", lambda: [Fault(name, False, lambda _: None) for name in by_name])
    monkeypatch.setattr(suite, "run_fault", run)
    out = tmp_path / "faults.json"
    code = suite.main(["--enrolled", str(tmp_path), "--out", str(out), *arguments])
    return code, json.loads(out.read_text())


def test_suite_where_all_holds_exits_0_and_writes_the_contract_s_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, written = run_suite(monkeypatch, tmp_path, [outcome("a"), outcome("b")])
    assert code == 0
    assert [list(entry) for entry in written] == [KEYS, KEYS]
    assert written[0] == {"fault": "a", **WHOLE}


@pytest.mark.parametrize(
    "bad",
    [
        outcome("a", missed=1),
        outcome("a", double_rows=1),
        outcome("a", rejects_without_row=1),
        Outcome("a", 7, 7, 0, 0, 0, None, ("the agent ended with 1",)),
    ],
)
def test_suite_where_one_thing_does_not_hold_exits_1_and_still_writes_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bad: Outcome
) -> None:
    code, written = run_suite(monkeypatch, tmp_path, [bad, outcome("b")])
    assert (code, [entry["fault"] for entry in written]) == (1, ["a", "b"])


def test_suite_with_a_fault_that_could_not_be_caused_exits_1_and_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, written = run_suite(monkeypatch, tmp_path, [outcome("a"), "there is no mosquitto"])
    assert (code, len(written)) == (1, 1)
    assert "fault 1: not run: there is no mosquitto" in capsys.readouterr().out


def test_suite_has_every_fault_that_it_was_asked_for_and_no_other() -> None:
    asked_for = [name for names in ASKED_FOR.values() for name in names]
    assert sorted(asked_for) == sorted(fault.name for fault in all_faults())


def test_documented_table_names_every_fault_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    table = text.partition("| fault | deliveries |")[2]
    documented = re.findall(r"^\| ([^|]+?) \| \d+ \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(fault.name for fault in all_faults())
