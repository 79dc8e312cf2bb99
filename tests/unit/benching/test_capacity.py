"""Which parts count as in time, what is kept of a search, and whom it warns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.benching.capacity import (
    CapacityRequest,
    CapacityRun,
    document,
    frames_at,
    kept,
    overdue,
    too_high_by,
    trial_of,
)
from inspector.benching.machine import this_machine
from inspector.benching.open_loop import Part
from inspector.benching.plant_setting import PlantSetting
from inspector.cli.checks import capacity as checks
from inspector.cli.checks.finding import Level
from inspector.cli.run import capacity_warnings
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import StateUnusable
from inspector.operation.capacity import FILE, Capacity, keep_capacity, kept_capacity, narrow_gates, said

MS = 1_000_000


def part(number: int, latency_ms: float | None, cause: str = "ok", due_ns: int = 0) -> Part:
    heard_ns = None if latency_ms is None else due_ns + round(latency_ms * MS)
    return Part(0, number, due_ns, due_ns, heard_ns, {"cause": cause})


def capacity(**changes: Any) -> Capacity:
    usual: dict[str, Any] = {
        "deadline_ms": 50.0, "rate_fps": 40.0, "p999_ms": 48.5, "frames": 2000, "cameras": 2, "products": 1,
        "engine": "onnxruntime", "cores": 2, "software": "0.1.0", "measured_at": "2026-03-01T10:00:00Z",
    }  # fmt: skip
    return Capacity(**{**usual, **changes})


def line(folder: Path, *windows_ms: float) -> Config:
    cameras = [{"name": f"cam{n}", "on_unjudged": "reject"} for n in range(len(windows_ms))]
    gates = [{"name": f"g{n}", "cameras": [f"cam{n}"], "window_ms": each} for n, each in enumerate(windows_ms)]
    return parse({"agent": {"state_dir": str(folder)}, "camera": cameras, "gate": gates}, None)


def test_trial_counts_late_shed_unanswered_and_unshown_parts_against_the_rate() -> None:
    parts = [part(1, 10.0), part(2, 50.0), part(3, 50.1), part(4, 20.0, "overload"), part(5, None)]
    trial = trial_of(30.0, 8, parts, 50.0)
    assert (trial.rate_fps, trial.frames, trial.in_time, trial.is_in_time) == (30.0, 8, 2, False)
    assert (trial.p50_ms, trial.p99_ms) == (50.1, None)  # three were not shown and one had no answer


def test_trial_of_parts_all_in_time_is_in_time() -> None:
    trial = trial_of(30.0, 3, [part(number, 5.0 * number) for number in (1, 2, 3)], 50.0)
    assert (trial.in_time, trial.is_in_time, trial.p999_ms) == (3, True, 15.0)


@pytest.mark.parametrize(
    ("rate_fps", "deadline_ms", "frames", "expected"),
    [
        (40.0, 50.0, 2000, 2000),
        (40.0, 500.0, 10, 400),  # ten frames are worked off within the deadline at any rate
        (20_000.0, 500.0, 10, 200_000),
        (2.0, 50.0, 2000, 240),
        (10.0, 30_000.0, 10, 1200),  # no trial takes longer than two minutes
    ],
)
def test_trial_lasts_many_deadlines(rate_fps: float, deadline_ms: float, frames: int, expected: int) -> None:
    request = CapacityRequest(setting=PlantSetting(config=parse({}, None)), deadline_ms=deadline_ms, frames=frames)
    assert frames_at(rate_fps, request) == expected


def test_capacity_says_the_frames_of_the_trial_that_tells_and_what_was_shown() -> None:
    request = CapacityRequest(setting=PlantSetting(config=parse({}, None)), deadline_ms=1000, frames=30)
    run = CapacityRun(request, this_machine(), "broker", "onnxruntime", profile="fast", head="prototype")
    parts = [part(number, 10.0) for number in range(480)]
    run.trials.append(trial_of(24.0, 480, parts, 1000))
    run.best = run.trials[0]
    found = kept(run)
    assert (found.frames, found.profile, found.head) == (480, "fast", "prototype")
    shown = document(run, found, None)
    assert (shown["frames"], shown["profile"], shown["head"]) == (480, "fast", "prototype")
    assert "with profile fast" in said(found)


def test_too_high_by_grows_with_deadlines_that_no_trial_outlasts() -> None:
    assert too_high_by(50.0) == too_high_by(6000.0) == 0.05
    assert too_high_by(60_000.0) == 0.5


def test_overdue_counts_parts_that_can_not_be_in_time_any_more() -> None:
    waiting = [part(1, None, due_ns=0), part(2, None, due_ns=60 * MS), part(3, 70.0), part(4, 10.0)]
    assert overdue(waiting, 100 * MS, 50.0) == 2
    assert overdue(waiting, 111 * MS, 50.0) == 3


def test_capacity_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    assert kept_capacity(tmp_path / "state") is None
    for each in (capacity(), capacity(rate_fps=None, p999_ms=None)):
        keep_capacity(tmp_path / "state", each)
        assert kept_capacity(tmp_path / "state") == each


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "deadline_ms": "x"}', "\x00"])
def test_capacity_that_can_not_be_read_is_told_and_not_believed(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(StateUnusable, match="measure it again"):
        kept_capacity(tmp_path)
    (finding,) = checks.check(line(tmp_path, 50))
    assert (finding.level, "measure it again" in finding.detail) == (Level.WARNING, True)
    (event,) = capacity_warnings(line(tmp_path, 50))
    assert event.kind == "capacity_unreadable"


@pytest.mark.parametrize(
    ("measured", "narrow"),
    [
        (capacity(p999_ms=48.5), ["g0"]),
        (capacity(p999_ms=40.0), []),
        (capacity(p999_ms=300.0), ["g0", "g1"]),
        (capacity(rate_fps=None, p999_ms=None, deadline_ms=40.0), ["g0"]),
        (capacity(rate_fps=None, p999_ms=None, deadline_ms=39.0), []),
    ],
)
def test_narrow_gates_are_those_under_the_measured_p999(tmp_path: Path, measured: Capacity, narrow: list[str]) -> None:
    assert [gate.gate for gate in narrow_gates(line(tmp_path, 40, 200), measured)] == narrow


def test_doctor_warns_of_a_narrow_window_and_run_reports_it_as_an_event(tmp_path: Path) -> None:
    config = line(tmp_path, 40, 200)
    (unmeasured,) = checks.check(config)
    assert (unmeasured.level, "--deadline-ms 40" in unmeasured.detail) == (Level.OK, True)
    assert capacity_warnings(config) == []

    keep_capacity(tmp_path, capacity())
    measured, narrow = checks.check(config)
    assert (measured.level, "48.5 ms at 40 a second" in measured.detail) == (Level.OK, True)
    assert (narrow.level, narrow.subject) == (Level.WARNING, "g0 capacity")
    assert "its window is 40 ms" in narrow.detail
    assert "inspector capacity --deadline-ms 40" in narrow.detail
    (event,) = capacity_warnings(config)
    assert (event.kind, event.subject, event.severity.value) == ("window_below_measured", "g0", "warning")


def test_doctor_without_gates_says_nothing_of_capacity(tmp_path: Path) -> None:
    keep_capacity(tmp_path, capacity())
    assert list(checks.check(line(tmp_path))) == []
