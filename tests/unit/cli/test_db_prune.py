"""`inspector db prune` and `inspector db hold` as a shell sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspector.config.config import Config
from inspector.domain import Verdict
from inspector.testing.samples import verdict_of_part
from tests.unit.cli.conftest import Shell

Record = Callable[[Sequence[Verdict]], None]


def part(number: int, days: float, **changes: object) -> Verdict:
    at = datetime.now(UTC) - timedelta(days=days)
    return verdict_of_part(number, received_at=at, decided_at=at, **changes)


def set_rules(*lines: str) -> None:
    path = Path("inspector.toml")
    text = path.read_text().replace("[retention]\n", "[retention]\n" + "".join(f"{line}\n" for line in lines))
    path.write_text(text)


def test_prune_without_rules_keeps_everything_and_says_so(shell: Shell, line: Config, record: Record) -> None:
    record([part(1, 1000)])
    answer = shell("db", "prune")
    assert (answer.code, "everything is kept" in answer.out) == (0, True)
    assert shell("db", "prune", "--json").document == {"dry_run": False, "rules": []}


def test_prune_dry_run_then_prune_with_a_hold_between(shell: Shell, line: Config, record: Record) -> None:
    record([part(1, 50, lot="L1"), part(2, 50, lot="L2"), part(3, 1)])
    set_rules("passes_days = 30")
    rehearsed = shell("db", "prune", "--dry-run", "--json").document
    assert [(rule["rule"], rule["taken"], rule["held"]) for rule in rehearsed["rules"]] == [("pass", 2, 0)]
    held = shell("db", "hold", "add", "--lot", "L1", "--reason", "complaint 4711", "--json").document
    assert (held["hold"], held["lot"], held["released_at"]) == (1, "L1", None)
    pruned = shell("db", "prune", "--json").document
    assert [(rule["taken"], rule["held"]) for rule in pruned["rules"]] == [(1, 1)]
    assert sorted(row["trigger_id"] for row in shell("results", "list", "--json").document) == [1, 3]
    assert "complaint 4711" in shell("db", "hold", "list").out
    assert shell("db", "hold", "release", "1", "--reason", "settled", "--json").document["released_by"]
    assert shell("db", "hold", "list", "--json").document == []
    assert len(shell("db", "hold", "list", "--all", "--json").document) == 1
    assert "pass" in shell("db", "prune").out
    assert [row["trigger_id"] for row in shell("results", "list", "--json").document] == [3]


def test_hold_that_names_nothing_or_no_time_is_wrong_use(shell: Shell, line: Config) -> None:
    assert shell("db", "upgrade").code == 0
    nothing = shell("db", "hold", "add", "--reason", "all")
    assert (nothing.code, "needs a lot" in nothing.err) == (2, True)
    no_time = shell("db", "hold", "add", "--until", "yesterday", "--reason", "x")
    assert (no_time.code, "--until 'yesterday'" in no_time.err) == (2, True)
    assert shell("db", "hold", "release", "9", "--reason", "x").code == 2
    assert shell("db", "hold", "add", "--lot", "L1").code == 2


def test_hold_without_a_word_of_reason_is_refused_and_not_released(shell: Shell, record: Record) -> None:
    record([part(1, 1)])
    assert "needs its --reason" in shell("db", "hold", "add", "--lot", "L1", "--reason", " ").err
    assert shell("db", "hold", "list", "--json").document == []
    assert shell("db", "hold", "add", "--lot", "L1", "--reason", "complaint 4711").code == 0
    assert shell("db", "hold", "release", "1", "--reason", "").code == 2
    assert len(shell("db", "hold", "list", "--json").document) == 1


def test_hold_that_can_keep_nothing_is_refused(shell: Shell, record: Record) -> None:
    record([part(1, 1)])
    for arguments in (["--lot", ""], ["--lot", "  "], ["--product", ""], ["--result", ""], ["--result", "0b1f3c9a"]):
        answer = shell("db", "hold", "add", *arguments, "--reason", "test")
        assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1), arguments
        assert "keep nothing" in answer.err
    assert shell("db", "hold", "list", "--json").document == []


def test_hold_of_what_is_not_there_yet_is_taken_and_said(shell: Shell, record: Record) -> None:
    record([part(1, 1, lot="L1")])
    known = shell("db", "hold", "add", "--lot", "L1", "--reason", "test")
    assert (known.code, known.err) == (0, "")
    coming = shell("db", "hold", "add", "--lot", "L2", "--reason", "test")
    assert (coming.code, "No result is like that now; it keeps what comes like it" in coming.err) == (0, True)
    over = shell("db", "hold", "add", "--lot", "L1", "--until", "2020-01-01", "--reason", "test", "--json")
    assert (over.document["hold"], "its time is over" in over.err) == (3, True)


def test_hold_release_of_no_number_of_a_hold_is_one_sentence(shell: Shell, record: Record) -> None:
    record([])
    for number in ("7", "0", str(10**30)):
        answer = shell("db", "hold", "release", number, "--reason", "test")
        assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
        assert f"{number} is none" in answer.err
