"""`inspector parts`: every part is counted once, in the right class, gate, lot and hour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.loading import load
from inspector.domain import Action, Cause, Outcome
from inspector.operation.opening import database_of
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.samples import decision_for, gate_action_of, verdict_of_part

LINE = """
[[camera]]
name = "cam1"
on_unjudged = "reject"
[[gate]]
name = "g1"
cameras = ["cam1"]
window_ms = 100
reject_sensor = true
"""


@pytest.fixture
def filled(shell: Callable[..., Any], tmp_path: Path) -> Path:
    """Six parts of ten minutes ago, one of a class each; two of three hours ago; one of now."""
    assert shell("db", "check").code in (0, 1)
    config = tmp_path / "inspector.toml"
    config.write_text(LINE)
    asyncio.run(fill(config))
    return config


async def fill(config: Path) -> None:
    now = datetime.now(UTC)
    at, early = now - timedelta(minutes=10), now - timedelta(hours=3)
    good = [verdict_of_part(number, gate="g1", lot="L1", received_at=at) for number in range(1, 5)]
    bad = verdict_of_part(5, gate="g1", outcome=Outcome.REJECT, cause=Cause.ANOMALY, received_at=at)
    old = [verdict_of_part(number, gate="g1", lot="L0", received_at=early) for number in (21, 22)]
    new = verdict_of_part(9, gate="g1", received_at=now + timedelta(minutes=10))  # young however slow this machine is
    told = [(decision_for(part), True) for part in (*good, *old, new)]
    acks = [
        gate_action_of(1, action=1, received_at=at),
        gate_action_of(2, action=2, received_at=at),
        gate_action_of(3, action=1, source=2, received_at=at),
        gate_action_of(5, done=0, received_at=at),
        gate_action_of(6, action=1, source=2, received_at=at, lot="L1"),
        *(gate_action_of(number, action=1, received_at=early) for number in (21, 22)),
    ]
    async with database_of(load(config), creates=True) as database, SqlLedger(database, SystemClock()) as ledger:
        await ledger.record([*good, bad, *old, new], [*told, (decision_for(bad, Action.REJECT), True)], [])
        await ledger.record_gate_actions(acks)


NONE = dict.fromkeys(
    (
        "done_as_told",
        "done_otherwise",
        "default_though_told",
        "passed_unjudged",
        "passed_without_frame",
        "never_acknowledged",
        "never_told",
        "told_elsewhere",
        "open",
    ),
    0,
)
LAST_HOUR = NONE | {
    "done_as_told": 1,
    "done_otherwise": 2,
    "default_though_told": 1,
    "passed_without_frame": 1,
    "never_acknowledged": 1,
    "open": 1,
}


@pytest.mark.usefixtures("filled")
def test_parts_of_the_last_hour_are_each_in_one_class(shell: Callable[..., Any]) -> None:
    account = shell("parts", "--json").document
    assert account["classes"] == LAST_HOUR
    assert account["gates"] == {"g1": LAST_HOUR}
    assert account["parts"] == 7
    assert "hours" not in account


@pytest.mark.usefixtures("filled")
def test_parts_of_a_lot_are_all_of_it_and_hours_add_up(shell: Callable[..., Any]) -> None:
    assert shell("parts", "--lot", "L0", "--json").document["classes"] == NONE | {"done_as_told": 2}
    assert shell("parts", "--lot", "L1", "--json").document["parts"] == 5
    account = shell("parts", "--since", "1d", "--hours", "--json").document
    assert account["parts"] == 9
    assert sum(sum(hour["classes"].values()) for hour in account["hours"]) == 9
    assert shell("parts", "--since", "1d", "--until", "2h", "--json").document["parts"] == 2


@pytest.mark.usefixtures("filled")
def test_parts_of_a_class_are_listed(shell: Callable[..., Any]) -> None:
    listed = shell("parts", "--class", "done_otherwise", "--json").document["listed"]
    assert sorted((part["trigger_id"], part["decided"], part["act"], part["done"]) for part in listed) == [
        (2, "pass", 2, 1),
        (5, "reject", 2, 0),
    ]
    assert len(shell("parts", "--class", "done_otherwise", "--limit", "1", "--json").document["listed"]) == 1
    shown = shell("parts", "--class", "passed_without_frame", "--hours").out
    assert "pass by default" in shown
    assert "never acknowledged" in shown
    assert "No part is in the class never told." in shell("parts", "--class", "never_told").out


@pytest.mark.usefixtures("filled")
def test_parts_lists_contradictions_by_number_without_being_asked_for_a_class(shell: Callable[..., Any]) -> None:
    account = shell("parts", "--json").document
    assert sorted((part["trigger_id"], part["class"]) for part in account["contradicted"]) == [
        (2, "done_otherwise"),
        (3, "default_though_told"),
        (4, "never_acknowledged"),
        (5, "done_otherwise"),
        (6, "passed_without_frame"),
    ]
    assert account["contradictions"] == 5
    assert account["excused"] == {}
    bounded = shell("parts", "--limit", "1", "--json").document
    assert (bounded["contradictions"], len(bounded["contradicted"])) == (5, 1)
    shown = shell("parts").out
    listed = shown[shown.index("Contradictions (5):") :]
    assert "reject by decision, not seen by the sensor" in listed
    assert "passed without frame" in listed
    assert "the newest 1 of 5" in shell("parts", "--limit", "1").out
    assert "Contradictions" not in shell("parts", "--lot", "L0").out


@pytest.mark.usefixtures("filled")
def test_parts_of_what_is_not_there_says_so(shell: Callable[..., Any]) -> None:
    assert shell("parts", "--lot", "L9").out == "There are no parts of lot L9.\n"
    nothing = shell("parts", "--gate", "g1", "--since", "4d", "--until", "3d").out
    assert nothing.startswith("There are no parts of gate g1 since ")
    assert nothing.endswith("looks further back.\n")
    assert shell("parts", "--gate", "g9").code == 2
    assert shell("parts", "--class", "lost").code == 2
    assert shell("parts", "--since", "yesterday").code == 2
