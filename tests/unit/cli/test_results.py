"""`inspector results`: what is asked for comes, and nothing else."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.results import since_time
from inspector.cli.terminal import results_view
from inspector.config.config import Config
from inspector.domain import Action, Cause, GateMode, LateOutcome, Outcome, Region
from inspector.errors import UsageError
from inspector.stream.verdict_record import RECORD_KEYS
from inspector.testing.clock import START
from inspector.testing.samples import missed_verdict_of_part, verdict_of_part

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
REJECT = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY, "action": Action.REJECT, "level": 1.4}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172800), ("1w", 604800)]
)
def test_since_time_of_an_age_is_so_long_ago(text: str, seconds: int) -> None:
    assert since_time(text, NOW) == NOW - timedelta(seconds=seconds)


def test_since_time_of_a_time_with_zone_is_that_time() -> None:
    assert since_time("2025-03-01T06:00:00+01:00", NOW) == datetime(2025, 3, 1, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "1y", "h", "-1h", "yesterday", "1.5h", "9999999d"])
def test_since_time_of_anything_else_raises_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        since_time(text, NOW)


@pytest.mark.usefixtures("line")
def test_results_list_of_an_empty_store_says_so(shell: Callable[..., Any]) -> None:
    assert shell("db", "upgrade").code == 0
    answer = shell("results", "list")
    assert (answer.code, answer.out) == (0, "There are no results yet.\n")
    assert shell("results", "list", "--json").document == []


def test_results_list_json_has_the_contract_s_keys(shell: Callable[..., Any], record: Callable[..., None]) -> None:
    record([verdict_of_part(1), verdict_of_part(2, **REJECT)])
    rows = shell("results", "list", "--json").document
    assert [row["trigger_id"] for row in rows] == [2, 1]
    assert set(RECORD_KEYS) <= set(rows[0])
    assert {"gate", "regions", "id_conflict"} <= set(rows[0])


def test_results_list_with_filters_shows_only_those(shell: Callable[..., Any], record: Callable[..., None]) -> None:
    record([verdict_of_part(n, **(REJECT if n % 2 else {})) for n in range(1, 7)])
    assert len(shell("results", "list", "--outcome", "reject", "--json").document) == 3
    assert len(shell("results", "list", "--cause", "ok", "--limit", "2", "--json").document) == 2
    record([verdict_of_part(9, lot="L1", mode=GateMode.GOLDEN)])
    assert [row["trigger_id"] for row in shell("results", "list", "--lot", "L1", "--json").document] == [9]
    assert "golden" in shell("results", "show", verdict_of_part(9).result_id).out
    assert shell("results", "list", "--camera", "cam9").out == "No result is like that.\n"
    assert shell("results", "list", "--outcome", "rejected").code == 2


def test_results_of_a_missed_part_that_was_corrected_say_so(
    shell: Callable[..., Any], record: Callable[..., None]
) -> None:
    missed, frame, lost = missed_verdict_of_part(1), verdict_of_part(1, gate="g1"), missed_verdict_of_part(2)
    record([missed, lost])
    record([frame])
    uninspected = shell("results", "list", "--outcome", "uninspected", "--json").document
    assert [row["trigger_id"] for row in uninspected] == [2]
    assert shell("results", "list").out.count("corrected") == 1
    assert frame.result_id in shell("results", "show", missed.result_id).out
    assert shell("results", "show", missed.result_id, "--json").document["corrected_by"] == frame.result_id


def test_results_list_in_a_pipe_cuts_nothing_off(shell: Callable[..., Any], record: Callable[..., None]) -> None:
    verdict = verdict_of_part(1, product="a-product-with-quite-a-long-name-that-still-counts", **REJECT)
    record([verdict])
    shown = shell("results", "list").out
    assert "a-product-with-quite-a-long-name-that-still-counts" in shown
    assert verdict.result_id[: results_view.SHORT_ID] in shown


def test_results_list_in_a_pipe_leaves_no_blanks_at_line_ends(
    shell: Callable[..., Any], record: Callable[..., None]
) -> None:
    record([verdict_of_part(1, published=False, simulated=True)])
    lines = shell("results", "list").out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert " no " not in lines[-1]  # a simulated frame that no gate was told of is no failure


LATE_REJECT: dict[str, Any] = {
    "gate": "g1",
    "outcome": Outcome.UNJUDGED,
    "cause": Cause.LATE,
    "published": False,
    "late_outcome": LateOutcome.REJECT,
    "late_cause": Cause.ANOMALY,
    "judged_at": START,
}


def test_results_list_of_late_frames_says_what_they_showed(
    shell: Callable[..., Any], record: Callable[..., None]
) -> None:
    waiting = {**LATE_REJECT, "late_outcome": LateOutcome.WAITING, "late_cause": None, "judged_at": None}
    record([verdict_of_part(1, **LATE_REJECT), verdict_of_part(2, **waiting), verdict_of_part(3)])
    (_, second, first) = shell("results", "list").out.splitlines()[-3:]
    assert "late: reject" in first
    assert "late: waiting" in second
    only = json.loads(shell("results", "list", "--late", "reject", "--json").out)
    assert [(row["trigger_id"], row["late_cause"]) for row in only] == [(1, "anomaly")]


def test_results_show_of_a_late_frame_says_what_it_showed(
    shell: Callable[..., Any], record: Callable[..., None]
) -> None:
    given_up = {**LATE_REJECT, "late_outcome": LateOutcome.UNJUDGED, "late_cause": None, "late_detail": "not judged: x"}
    bad, dropped = verdict_of_part(1, **LATE_REJECT), verdict_of_part(2, **given_up)
    record([bad, dropped])
    assert "reject (anomaly), judged 2025-01-01" in shell("results", "show", bad.result_id).out
    assert "not judged: x" in shell("results", "show", dropped.result_id).out


def test_results_show_of_a_waiting_frame_names_its_picture(
    shell: Callable[..., Any], record: Callable[..., None], line: Config
) -> None:
    verdict = verdict_of_part(1, **{**LATE_REJECT, "late_outcome": LateOutcome.WAITING, "judged_at": None})
    record([verdict])
    folder = line.agent.state_dir / "late"
    folder.mkdir()
    for suffix in ("jpg", "json"):
        (folder / f"{verdict.result_id}.{suffix}").write_bytes(b"x")
    shown = json.loads(shell("results", "show", verdict.result_id, "--json").out)
    assert shown["files"] == [str(folder / f"{verdict.result_id}.jpg")]
    assert "waits to be judged" in shell("results", "show", verdict.result_id).out


def test_results_list_of_a_decision_without_an_answer_says_unknown(
    shell: Callable[..., Any], record: Callable[..., None]
) -> None:
    record([verdict_of_part(1, gate="g1", published=None), verdict_of_part(2, published=None)])
    (free, gated) = shell("results", "list").out.splitlines()[-2:]
    assert "unknown" in gated
    assert "unknown" not in free


def test_results_show_of_a_unique_start_shows_all_of_it(
    shell: Callable[..., Any], record: Callable[..., None], line: Config
) -> None:
    verdict = verdict_of_part(1, regions=(Region(10, 20, 30, 40, 700, 1.4),), simulated=True, **REJECT)
    record([verdict])
    day = line.agent.state_dir / "images" / "2025-03-01" / "cam1"
    day.mkdir(parents=True)
    (day / f"{verdict.result_id}.png").write_bytes(b"")
    answer = shell("results", "show", verdict.result_id[:8].upper())
    assert answer.code == 0
    for shown in ("anomaly", "simulated", "700", f"{verdict.result_id}.png", verdict.config_digest):
        assert shown in answer.out
    document = shell("results", "show", verdict.result_id, "--json").document
    assert document["regions"][0]["area"] == 700
    assert [Path(path).name for path in document["files"]] == [f"{verdict.result_id}.png"]


def test_results_show_of_an_unknown_or_ambiguous_start_is_one_sentence(
    shell: Callable[..., Any], record: Callable[..., None]
) -> None:
    record([verdict_of_part(n) for n in range(1, 40)])
    for start, said in (("zz", "no result"), ("", "Several results")):
        answer = shell("results", "show", start)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err


@pytest.mark.parametrize(("column", "value"), [("received_at", "yesterday"), ("outcome", "maybe"), ("regions", "[3]")])
def test_results_with_a_row_that_can_not_be_read_say_so_in_one_sentence(
    shell: Callable[..., Any], record: Callable[..., None], line: Config, column: str, value: str
) -> None:
    verdict = verdict_of_part(1)
    record([verdict])
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db")) as database, database:
        database.execute(f"UPDATE results SET {column} = ?", (value,))
    for arguments in (["list"], ["list", "--json"], ["show", verdict.result_id]):
        answer = shell("results", *arguments)
        assert (answer.code, answer.out, len(answer.err.splitlines())) == (1, "", 1)
        assert "mend it" in answer.err


def test_results_of_an_age_beyond_the_calendar_are_wrong_use(shell: Callable[..., Any], line: Config) -> None:
    answer = shell("results", "list", "--since", "999999w")
    assert (answer.code, "neither an age" in answer.err) == (2, True)


def test_results_with_a_damaged_database_say_so_in_one_sentence(shell: Callable[..., Any], line: Config) -> None:
    line.agent.state_dir.mkdir(parents=True)
    (line.agent.state_dir / "inspector.db").write_text("this is no database, however long it is " * 100)
    answer = shell("results", "list")
    assert answer.code == 1
    assert "not a SQLite database" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_results_of_a_name_that_is_no_unicode_are_none(shell: Callable[..., Any], record: Callable[..., None]) -> None:
    record([verdict_of_part(1)])
    assert "No result is like that" in shell("results", "list", "--lot", "\udcff").out
    assert shell("results", "show", "\udcff").code == 2


def test_run_with_an_unknown_log_level_is_wrong_use(shell: Callable[..., Any]) -> None:
    assert shell("run", "--log-level", "loud").code == 2
