"""The plan of a simulated line, and how its faults are written."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.plc.faults import Fault, parse_fault
from tests.plc.plan import Burst, LineOptions, plan_parts

LINE = LineOptions(parts=40, rate=10, window_ms=150, exposure_ms=10, first_trigger=65530)


def test_plan_parts_come_at_the_rate_and_reach_the_gate_after_the_window() -> None:
    parts = plan_parts(LINE)
    assert [part.number for part in parts] == list(range(1, 41))
    assert parts[10].trigger_s == pytest.approx(1.0)
    assert parts[10].frame_s == pytest.approx(1.01)
    assert parts[10].gate_s == pytest.approx(1.15)


def test_plan_triggers_wrap_at_the_modulus() -> None:
    assert [part.trigger for part in plan_parts(LINE)][4:8] == [65534, 65535, 0, 1]


def test_plan_more_parts_than_trigger_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="40 parts need more trigger ids than 39"):
        plan_parts(replace(LINE, modulus=39))


def test_plan_blind_part_has_no_frame() -> None:
    parts = plan_parts(replace(LINE, blind_parts=frozenset({3})))
    assert [part.number for part in parts if part.frame_s is None] == [3]


def test_plan_overtaken_frame_leaves_after_the_next_part_s() -> None:
    parts = plan_parts(replace(LINE, overtaken=1.0))
    pairs = itertools.pairwise(parts)
    assert all(part.frame_s is not None and part.frame_s > following.trigger_s for part, following in pairs)


def test_plan_burst_comes_at_ten_times_the_rate_and_then_the_old_one() -> None:
    times = [part.trigger_s for part in plan_parts(replace(LINE, bursts=(Burst(0.95, 5),)))]
    pauses = [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)]
    assert pauses[8:17] == [0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01, 0.1, 0.1]


def test_plan_is_the_same_for_the_same_seed() -> None:
    options = replace(LINE, blind=0.3, duplicated=0.3, overtaken=0.3)
    assert plan_parts(options) == plan_parts(options)
    assert plan_parts(options) != plan_parts(replace(options, seed=2))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("stop-agent@4:0.7", Fault("stop-agent", 4.0, 0.7)),
        ("kill-broker@2.5", Fault("kill-broker", 2.5, 0.5)),
    ],
)
def test_fault_is_read_with_its_times(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize("text", ["stop-plc@4", "stop-agent", "stop-agent@x", "stop-agent@4:-1"])
def test_fault_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"none of|could not convert|negative"):
        parse_fault(text)
