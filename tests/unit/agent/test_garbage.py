"""The garbage collector is measured, and what the start made is set apart."""

from __future__ import annotations

import gc

from inspector.agent.garbage import GAUGE, WINDOW_NS, GarbageWatch, set_start_apart, watched
from inspector.agent.telemetry import LogTelemetry


def test_gauge_is_longest_pause_of_this_and_last_minute() -> None:
    telemetry, now = LogTelemetry(), [0]
    watch = GarbageWatch(telemetry, lambda: now[0])

    def pause(at_ns: int, ms: int) -> float:
        now[0] = at_ns
        watch.on_collection("start", {})
        now[0] += ms * 1_000_000
        watch.on_collection("stop", {})
        return telemetry.gauges()[GAUGE]

    assert pause(0, 30) == 30
    assert pause(10, 5) == 30
    assert pause(WINDOW_NS + 1, 7) == 30
    assert pause(2 * WINDOW_NS + 1, 2) == 7
    assert pause(9 * WINDOW_NS, 1) == 1


def test_collections_are_measured_until_the_end_of_the_block() -> None:
    telemetry = LogTelemetry()
    with watched(telemetry):
        gc.collect()
        assert telemetry.gauges()[GAUGE] >= 0
    telemetry.gauge(GAUGE, None)
    gc.collect()
    assert GAUGE not in telemetry.gauges()


def test_objects_of_the_start_are_not_looked_at_again() -> None:
    with watched(LogTelemetry()):
        kept = [[] for _ in range(1000)]
        set_start_apart()
        assert gc.get_freeze_count() > len(kept)
        assert not any(each is kept for each in gc.get_objects())
    assert gc.get_freeze_count() == 0
