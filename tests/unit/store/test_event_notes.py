"""Warnings and alarms that the database does not have yet: what a killed process leaves, the next run tells."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from inspector.agent.telemetry import LogTelemetry
from inspector.domain import Event, Severity
from inspector.errors import StateUnusable
from inspector.store.event_notes import BEFORE, FILE, EventNotes
from inspector.testing.clock import START


def event(number: int, kind: str = "storm", severity: Severity = Severity.ALARM, subject: str = "gate1") -> Event:
    return Event(START + timedelta(seconds=number), kind, severity, subject, f"number {number}")


def left(folder: Path) -> list[Event]:
    with EventNotes(folder) as notes:
        return notes.left


def test_told_events_outlive_a_kill_until_they_are_stored(tmp_path: Path) -> None:
    killed = EventNotes(tmp_path).__enter__()
    for number in range(3):
        killed.told(event(number))
    assert left(tmp_path) == [event(0), event(1), event(2)]
    with EventNotes(tmp_path) as notes:
        notes.keep([event(2)])
    assert left(tmp_path) == [event(2)]


def test_event_that_waited_is_told_by_the_next_run_in_its_last_form(tmp_path: Path) -> None:
    killed = EventNotes(tmp_path).__enter__()
    killed.waits(event(1, "ack_contradicts"))
    killed.waits(event(2, "ack_contradicts"))
    killed.waits(event(3, "ack_contradicts", subject="gate2"))
    assert [(each.subject, each.detail) for each in left(tmp_path)] == [
        ("gate1", f"{BEFORE}number 2"),
        ("gate2", f"{BEFORE}number 3"),
    ]


def test_event_that_was_told_waits_no_more(tmp_path: Path) -> None:
    killed = EventNotes(tmp_path).__enter__()
    killed.waits(event(1))
    killed.told(event(2))
    killed.keep([])
    assert left(tmp_path) == []


def test_event_that_waits_stays_when_others_are_stored(tmp_path: Path) -> None:
    killed = EventNotes(tmp_path).__enter__()
    killed.told(event(1))
    killed.waits(event(2, "late_reject"))
    killed.keep([])
    assert [each.kind for each in left(tmp_path)] == ["late_reject"]


def test_half_a_line_of_a_kill_costs_that_line_alone(tmp_path: Path) -> None:
    killed = EventNotes(tmp_path).__enter__()
    killed.told(event(1))
    killed.told(event(2))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-20] + b"\n\x00\xff garbage")
    assert left(tmp_path) == [event(1)]


def test_notes_are_no_news(tmp_path: Path) -> None:
    killed = EventNotes(tmp_path).__enter__()
    killed.told(event(1, severity=Severity.INFO))
    assert left(tmp_path) == []


def test_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StateUnusable, match=FILE):
        left(tmp_path)


def test_folder_that_cant_be_made_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match=r"The folder .*file/state can't be made \(Not a directory\); .*state_dir"):
        left(tmp_path / "file" / "state")


def test_telemetry_gives_what_an_earlier_run_left_to_the_store_first(tmp_path: Path) -> None:
    killed = LogTelemetry()
    killed.note_in(EventNotes(tmp_path).__enter__())
    killed.event(event(1))
    killed.event_waits(event(2, "late_reject"))
    telemetry = LogTelemetry()
    with EventNotes(tmp_path) as notes:
        telemetry.event(event(3, "ready"))
        telemetry.note_in(notes)
        taken = telemetry.take_events()
        telemetry.event(event(4))
        telemetry.events_stored()
    assert [each.kind for each in taken] == ["storm", "late_reject", "ready"]
    assert left(tmp_path) == [event(4)]
