"""The board of the line: what is counted, what is stale, which shift it is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from inspector.config.loading import parse
from inspector.console.board import LineBoard
from inspector.console.live import Hub, Live, encoded_event
from inspector.console.rendering import Pages
from inspector.console.shifts import shift_at, shifts_before
from inspector.console.wording import ago, level, percent
from inspector.store.console.agents import SeenAgent, SeenGate
from inspector.store.console.rows import MinuteCount, SeenRow
from inspector.store.database import Database
from inspector.store.pictures.kept import KeptPictures

NOW = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
SHIFT = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
ROW = SeenRow(
    seq=1,
    result_id="r1",
    camera="cam1",
    gate=None,
    mode="auto",
    trigger_id=1,
    part_id=None,
    inspection_no=None,
    lot=None,
    product="bolt",
    product_version=1,
    outcome="pass",
    cause="ok",
    cause_detail=None,
    action="pass",
    level=0.5,
    received_at=NOW,
    decided_at=NOW,
    total_ms=10.0,
    published=None,
    simulated=False,
    agent="a",
    corrected_by=None,
)
REJECT = {"outcome": "reject", "cause": "anomaly", "action": "reject"}


def rows(count: int, gap_s: float = 2.0, **changes: object) -> list[SeenRow]:
    """`count` rows that end now."""
    return [
        replace(
            ROW, seq=n + 1, result_id=f"r{n}", received_at=NOW - timedelta(seconds=gap_s * (count - 1 - n)), **changes
        )
        for n in range(count)
    ]


def test_card_counts_first_inspections_for_the_yield() -> None:
    board = LineBoard(["cam1"])
    board.take([*rows(3), *rows(1, **REJECT), *rows(2, inspection_no=2)])
    card = board.card("cam1", NOW, SHIFT)
    assert card.first_pass_yield == 3 / 4
    assert card.counts["pass"] == 5


def test_card_without_a_judged_part_has_no_yield() -> None:
    board = LineBoard(["cam1"])
    board.take(rows(2, outcome="unjudged", cause="late", action="pass"))
    assert board.card("cam1", NOW, SHIFT).first_pass_yield is None


def test_card_shows_the_newest_frame_and_not_a_part_without_one() -> None:
    board = LineBoard(["cam1"])
    board.take([*rows(2), replace(ROW, seq=9, result_id="missed", outcome="uninspected", cause="not_received")])
    card = board.card("cam1", NOW, SHIFT)
    assert card.shown is not None
    assert card.shown.result_id == "r1"
    assert card.newest[-1].result_id == "missed"


def test_card_is_stale_after_twice_the_usual_gap() -> None:
    board = LineBoard(["cam1"])
    board.take(rows(10, gap_s=7.0))
    assert board.card("cam1", NOW, SHIFT).stale_after_s == pytest.approx(14.0)


def test_card_of_a_fast_camera_is_not_stale_at_once() -> None:
    board = LineBoard(["cam1"])
    board.take(rows(10, gap_s=0.05))
    assert board.card("cam1", NOW, SHIFT).stale_after_s == 3.0


def test_strip_counts_what_needs_a_person_and_no_bypass_and_no_simulated_frame() -> None:
    board = LineBoard()
    board.take(rows(4, outcome="uninspected", cause="not_received", action="none"))
    board.take(rows(3, outcome="uninspected", cause="bypass", action="none"))
    board.take(rows(2, outcome="unjudged", cause="late", action="pass"))
    board.take(rows(5, outcome="unjudged", cause="late", action="pass", simulated=True))
    board.take(rows(1, outcome="unjudged", cause="overload", action="reject"))
    strip = board.strip(SHIFT, [], [], [])
    assert (strip.uninspected, strip.passed_unjudged, strip.late, strip.is_calm) == (4, 2, 3, False)


def test_strip_forgets_the_shift_before() -> None:
    board = LineBoard()
    minute = SHIFT - timedelta(minutes=5)
    board.take_counts([MinuteCount(minute, "cam1", "unjudged", "late", "pass", True, 7)])
    assert board.strip(SHIFT, [], [], []).is_calm


def test_strip_names_what_a_person_stopped_apart_from_what_died() -> None:
    strip = LineBoard().strip(SHIFT, [], [], [], stopped=[SeenAgent("a", "s", NOW, NOW, NOW, "SIGTERM")])
    assert ([each.name for each in strip.stopped], strip.silent, strip.is_calm) == (["a"], (), False)
    assert not LineBoard().strip(SHIFT, [], [], [], given_up=["g1"]).is_calm


@pytest.mark.parametrize("what", ["held", "silent", "ownerless"])
def test_strip_is_not_calm_with_a_gate_or_an_agent_in_trouble(what: str) -> None:
    gate = SeenGate("g1", what == "held", "account", NOW, "auto", "a", NOW)
    silent = [SeenAgent("a", "s", NOW, NOW)] if what == "silent" else []
    ownerless = ["g1"] if what == "ownerless" else []
    assert not LineBoard().strip(SHIFT, [gate], ownerless, silent).is_calm
    assert LineBoard().strip(SHIFT, [replace(gate, held=False)], [], []).is_calm


def test_rejects_of_the_last_hour_and_rate_of_the_last_minutes() -> None:
    board = LineBoard()
    hour_ago = NOW - timedelta(minutes=70)
    board.take_counts([MinuteCount(hour_ago, "cam1", "reject", "anomaly", "reject", True, 9)])
    board.take(rows(10, gap_s=6.0, **REJECT))
    card = board.card("cam1", NOW, SHIFT)
    assert (card.rejects_last_hour, card.per_minute) == (10, 2.0)


def test_shift_across_midnight_began_the_day_before() -> None:
    shift = shift_at(datetime(2026, 3, 3, 2, 0, tzinfo=UTC), ("06:00", "14:00", "22:00"), ZoneInfo("UTC"))
    assert (shift.begin.hour, shift.begin.day, shift.end.hour) == (22, 2, 6)


def test_shift_of_the_night_in_which_the_clock_is_put_forward_is_an_hour_shorter() -> None:
    zone = ZoneInfo("Europe/Berlin")
    shift = shift_at(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), ("22:00", "06:00"), zone)
    assert shift.end - shift.begin == timedelta(hours=7)


def test_shifts_before_follow_each_other() -> None:
    shifts = shifts_before(NOW, ("06:00", "18:00"), ZoneInfo("Europe/Berlin"), 5)
    assert all(later.begin == earlier.end for later, earlier in itertools.pairwise(shifts))


def test_one_reject_among_many_is_not_rounded_away() -> None:
    assert percent(1 - 1e-6) == "> 99.99 %"
    assert percent(1.0) == "100 %"
    assert percent(0.992) == "99.2 %"


def test_ago_is_never_in_the_future() -> None:
    assert ago(NOW + timedelta(seconds=5), NOW) == "just now"


def test_strip_before_the_first_look_does_not_say_that_all_is_quiet(tmp_path: Path) -> None:
    config = parse({"agent": {"state_dir": str(tmp_path)}}, None)
    zone = ZoneInfo("UTC")
    live = Live(config, Database(f"sqlite:///{tmp_path / 'a.db'}"), KeptPictures(tmp_path), zone)
    rendering = Pages(zone).live()
    assert "All quiet" not in rendering.strip(live)
    live.is_ready = True
    assert "All quiet" in rendering.strip(live)
    live.fault = "The database is away."
    assert "All quiet" not in rendering.strip(live)


def test_viewer_that_does_not_read_is_dropped_and_others_are_not() -> None:
    hub = Hub(10)
    with hub.joined() as slow, hub.joined():
        for _ in range(300):
            hub.send(encoded_event("beat", "1"))
        assert slow.is_dropped
        assert not hub.is_full


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.934, "0.93"),
        (0.994, "0.99"),
        (0.997, "0.997"),
        (1.0, "1.00"),
        (1.0004, "1.0004"),
        (1.204, "1.20"),
        (-0.2, "-0.20"),
    ],
)
def test_level_beside_its_threshold_never_reads_as_the_threshold(value: float, shown: str) -> None:
    assert level(value) == shown
