"""When a gate that is not ready becomes an event, and when its return does."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import cast

import pytest

from inspector.domain import Severity
from inspector.stream.gate_fault import WORDS, Fault
from inspector.stream.pipeline.readiness import PATIENCE_NS, PAUSE_NS, STOOD_STILL, Readiness
from inspector.stream.pipeline.ticket import Shared

BEAT_NS = 500_000_000


class Line:
    """A gate whose heartbeats say what the test says, on a clock that moves with them."""

    def __init__(self) -> None:
        self.now_ns = 10 * PAUSE_NS
        self.told: list[tuple[str, str]] = []
        clock = SimpleNamespace(monotonic_ns=lambda: self.now_ns)
        self.readiness = Readiness(cast(Shared, SimpleNamespace(clock=clock, event=self._event)))

    def _event(self, kind: str, _severity: Severity, subject: str, detail: str) -> None:
        assert subject == "g1"
        self.told.append((kind, detail))

    def beats(self, fault: Fault, count: int = 1) -> None:
        for _ in range(count):
            self.readiness.note("g1", fault)
            self.now_ns += BEAT_NS

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


@pytest.fixture
def line() -> Line:
    return Line()


def test_gate_that_is_not_ready_for_less_than_a_plc_waits_is_no_event(line: Line) -> None:
    for _ in range(5):
        line.beats(Fault.BACKLOG, PATIENCE_NS // BEAT_NS)
        line.beats(Fault.NONE)
    assert line.told == []


def test_gate_that_is_not_ready_is_told_once_with_its_fault_and_then_its_return(line: Line) -> None:
    line.beats(Fault.HELD, 20)
    line.beats(Fault.NONE, 2)
    assert line.told == [
        ("gate_not_ready", "not ready, fault 5: the gate is held; the gate's default applies to every part"),
        ("gate_ready", "ready again, after 10.0 s"),
    ]


def test_fault_that_changes_is_told_again_but_not_with_each_heartbeat(line: Line) -> None:
    for _ in range(100):
        line.beats(Fault.BACKLOG)
        line.beats(Fault.LATE)
    assert line.kinds == ["gate_not_ready"] * 2
    assert {detail.split(":")[0] for _, detail in line.told} == {"not ready, fault 6", "not ready, fault 7"}


def test_gate_that_comes_and_goes_is_told_once_a_minute(line: Line) -> None:
    for _ in range(60):
        line.beats(Fault.CAMERA_LINK, 5)
        line.beats(Fault.NONE, 5)
    line.beats(Fault.NONE, 120)
    assert line.told[:3] == [
        ("gate_not_ready", f"not ready, fault 4: {WORDS[Fault.CAMERA_LINK]}; the gate's default applies to every part"),
        ("gate_ready", "ready again, after 2.5 s"),
        ("gate_not_ready", f"was not ready 11 times meanwhile, for 27.5 s in all: fault 4: {WORDS[Fault.CAMERA_LINK]}"),
    ]
    assert len(line.told) == 5 * 3, "three a minute"
    assert sum(_times(detail) for kind, detail in line.told if kind == "gate_not_ready") == 60, "each is counted"


def test_agent_that_stands_still_tells_it_afterwards(line: Line) -> None:
    line.beats(Fault.NONE, 5)
    line.now_ns += 3_000_000_000
    line.beats(Fault.NONE, 5)
    assert line.told == [("gate_not_ready", f"was not ready once meanwhile, for 3.5 s in all: {STOOD_STILL}")]


def test_outages_that_wait_for_their_event_are_told_when_the_agent_stops(line: Line) -> None:
    for _ in range(3):
        line.beats(Fault.HELD, 5)
        line.beats(Fault.NONE)
    line.beats(Fault.STOPPING, 3)
    assert line.kinds == ["gate_not_ready", "gate_ready", "gate_not_ready"]
    assert line.told[-1][1].startswith("was not ready 2 times meanwhile")


def _times(detail: str) -> int:
    found = re.search(r"was not ready (once|(\d+) times)", detail)
    return 1 if found is None or found[2] is None else int(found[2])


def test_agent_that_stops_tells_no_outage(line: Line) -> None:
    line.beats(Fault.STOPPING, 20)
    assert line.told == []


def test_outage_of_a_gate_that_went_to_another_agent_is_forgotten(line: Line) -> None:
    line.beats(Fault.BACKLOG, 3)
    line.readiness.forget("g1")
    line.beats(Fault.BACKLOG, 3)
    line.beats(Fault.NONE)
    assert line.told == []


def test_every_fault_of_a_heartbeat_has_words() -> None:
    assert set(WORDS) == set(Fault) - {Fault.NONE}
