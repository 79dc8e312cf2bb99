"""Frames go out by the schedule, and latencies count from it, whatever stands still on the way."""

from __future__ import annotations

import asyncio

import pytest

from inspector.benching.open_loop import Observed, Part, Show, shoot
from inspector.benching.schedule import Arrivals, schedule
from inspector.errors import BrokerUnavailable
from inspector.testing.clock import FakeClock

SECOND_NS = 1_000_000_000


class StalledLine:
    """An agent that answers at once, but not between 1 s and 3 s: what came in then, it answers at 3 s."""

    def __init__(self, observed: Observed, clock: FakeClock) -> None:
        self._observed, self._clock = observed, clock
        self._began_ns = clock.monotonic_ns()
        self.sent_at_s: list[float] = []

    async def send(self, part: Part) -> None:
        now_s = (self._clock.monotonic_ns() - self._began_ns) / SECOND_NS
        self.sent_at_s.append(now_s)
        if 1.0 <= now_s < 3.0:
            await self._clock.sleep(3.0 - now_s)
        self._observed.verdict(part.camera, {"trigger_id": part.trigger_id, "outcome": "pass", "cause": "ok"})


def shower(observed: Observed) -> tuple[dict[int, int], Show]:
    counts: dict[int, int] = {}

    def show(camera: int, due_ns: int) -> Part:
        counts[camera] = counts.get(camera, 0) + 1
        return observed.show(camera, counts[camera], due_ns)

    return counts, show


async def test_shoot_agent_stalls_frames_still_go_out_and_each_shows_its_wait() -> None:
    clock = FakeClock()
    observed = Observed(clock)
    line = StalledLine(observed, clock)
    _, show = shower(observed)
    shooting = asyncio.create_task(shoot(schedule(2, 8, 2, Arrivals.PERIODIC), show, line.send, clock))
    await clock.elapse(10)
    parts = await shooting
    assert line.sent_at_s == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    # The frames that were due in the stall, not just one, waited: 2 s, 1.5 s, 1 s, 0.5 s.
    assert [part.latency_ms for part in parts] == [0.0, 0.0, 2000.0, 1500.0, 1000.0, 500.0, 0.0, 0.0]
    assert observed.pending == 0


async def test_shoot_sender_comes_late_latency_counts_from_the_due_instant() -> None:
    clock = FakeClock()
    observed = Observed(clock)
    _, show = shower(observed)

    async def send(part: Part) -> None:
        if part.trigger_id == 1:
            clock.advance(4.0)  # the sender's own process stood still
        observed.verdict(part.camera, {"trigger_id": part.trigger_id, "outcome": "pass"})

    shooting = asyncio.create_task(shoot(schedule(1, 3, 1, Arrivals.PERIODIC), show, send, clock))
    await clock.elapse(10)
    parts = await shooting
    assert [part.latency_ms for part in parts] == [4000.0, 3000.0, 2000.0]
    assert parts[1].sent_ns is not None
    assert parts[1].sent_ns - parts[1].due_ns == 3 * SECOND_NS


async def test_shoot_ends_early_when_told_so() -> None:
    clock = FakeClock()
    observed = Observed(clock)
    counts, show = shower(observed)
    line = StalledLine(observed, clock)
    plan = schedule(1, 100, 1, Arrivals.PERIODIC)
    shooting = asyncio.create_task(shoot(plan, show, line.send, clock, lambda: counts.get(0, 0) >= 3))
    await clock.elapse(5)
    assert len(await shooting) == 3


async def test_shoot_broker_is_lost_raises_its_own_error() -> None:
    clock = FakeClock()
    observed = Observed(clock)
    _, show = shower(observed)

    async def send(_part: Part) -> None:
        raise BrokerUnavailable("the broker is away")

    with pytest.raises(BrokerUnavailable, match="is away"):
        await shoot(schedule(1, 1, 1, Arrivals.PERIODIC), show, send, clock)


def test_observed_counts_repeats_and_leaves_missed_and_strange_parts_alone() -> None:
    observed = Observed(FakeClock())
    part = observed.show(0, 1, 0)
    observed.verdict(0, {"trigger_id": 1, "outcome": "uninspected"})
    observed.verdict(0, {"trigger_id": 2, "outcome": "pass"})
    observed.verdict(0, {"trigger_id": None, "outcome": "pass"})
    assert (part.record, observed.pending) == (None, 1)
    for _ in range(3):
        observed.verdict(0, {"trigger_id": 1, "outcome": "pass"})
    assert (part.repeats, observed.pending) == (2, 0)


def test_observed_at_a_gate_the_first_decision_is_the_answer() -> None:
    clock = FakeClock()
    observed = Observed(clock, has_gates=True)
    part = observed.show(1, 7, clock.monotonic_ns())
    clock.advance(0.01)
    observed.decision(1, {"trig": 7, "act": 1})
    clock.advance(0.01)
    observed.decision(1, {"trig": 7, "act": 2})
    observed.verdict(1, {"trigger_id": 7, "outcome": "unjudged", "cause": "late"})
    assert (part.latency_ms, part.is_shed, observed.pending) == (10.0, True, 0)
