"""When a challenge is due: shifts in a zone of their own, activations, changeovers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from inspector.config.line_sections import GateSection
from inspector.domain import GoldenState
from inspector.stream.golden_duties import Made, due_for, has_duties, shift_begun
from inspector.stream.verdict_record import format_time, parse_time

BERLIN = "Europe/Berlin"


def gate(**keys: Any) -> GateSection:
    return GateSection(name="gate", cameras=("cam",), window_ms=100, **keys)


SHIFTS = gate(golden_at=("06:00", "14:00", "22:00"), golden_zone=BERLIN)


def at(text: str) -> datetime:
    return parse_time(text)


@pytest.mark.parametrize(
    ("now", "begun"),
    [
        ("2025-03-01T05:00:00Z", "2025-03-01T05:00:00.000Z"),  # 06:00 in winter
        ("2025-03-01T04:59:59Z", "2025-02-28T21:00:00.000Z"),
        ("2025-07-01T04:00:00Z", "2025-07-01T04:00:00.000Z"),  # 06:00 in summer
        ("2025-07-01T12:30:00Z", "2025-07-01T12:00:00.000Z"),
        ("2025-03-30T23:30:00Z", "2025-03-30T20:00:00.000Z"),  # the day on which summer time begins
    ],
)
def test_shift_begun_is_the_last_time_of_day_in_its_zone(now: str, begun: str) -> None:
    assert format_time(shift_begun(SHIFTS.golden_at, BERLIN, at(now))) == begun


@pytest.mark.parametrize(
    ("settled", "is_due"), [(None, True), ("2025-03-01T04:00:00Z", True), ("2025-03-01T05:00:00Z", False)]
)
def test_due_for_a_shift_until_a_challenge_was_passed_in_it(settled: str | None, is_due: bool) -> None:
    golden = GoldenState(settled_at=None if settled is None else at(settled))
    why = due_for(golden, SHIFTS, Made(None, None), at("2025-03-01T06:30:00Z"))
    assert why == ("the shift of 06:00 (Europe/Berlin)" if is_due else None)


NOW = at("2025-03-01T06:30:00Z")


@pytest.mark.parametrize(
    ("product", "versions", "why"),
    [
        (None, ["bolt:1", "nut:2"], None),
        (None, ["bolt:2", "nut:2"], "the activation of bolt:2"),
        ("nut", ["bolt:2", "nut:2"], None),  # the line makes nuts only
        ("bolt", ["bolt:2", "nut:2"], "the activation of bolt:2"),
        (None, ["bolt:1"], None),  # a product was removed
        ("bolt", None, None),  # not loaded yet
        ("screw", ["screw:1"], "the activation of screw:1"),
    ],
)
def test_due_after_the_activation_of_a_version_that_can_judge(
    product: str | None, versions: list[str] | None, why: str | None
) -> None:
    golden = GoldenState(settled_at=NOW, versions=("bolt:1", "nut:2"))
    assert due_for(golden, gate(golden_after_activation=True), Made(product, versions), NOW) == why
    assert due_for(golden, gate(), Made(product, versions), NOW) is None


@pytest.mark.parametrize(("product", "is_due"), [("bolt", False), ("nut", True), (None, False)])
def test_due_after_a_changeover_to_another_product(product: str | None, is_due: bool) -> None:
    golden = GoldenState(settled_at=NOW, product="bolt")
    why = due_for(golden, gate(golden_after_changeover=True), Made(product, ()), NOW)
    assert why == ("the changeover to nut" if is_due else None)


def test_has_duties_of_a_gate_without_keys_is_false() -> None:
    assert not has_duties(gate())
    assert has_duties(SHIFTS)
    assert has_duties(gate(golden_after_activation=True))
    assert has_duties(gate(golden_after_changeover=True))
