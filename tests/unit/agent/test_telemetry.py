"""Gauges: the latest value stands, and all of them make one line."""

from __future__ import annotations

import io

from inspector.agent.telemetry import LogTelemetry, configure_logging


def test_gauges_the_latest_value_of_each_stands_and_none_ends_it() -> None:
    telemetry = LogTelemetry()
    telemetry.gauge("lag", 3, partition="frames/0", camera="cam1")
    telemetry.gauge("journal_bytes", 10)
    telemetry.gauge("journal_bytes", 20)
    assert telemetry.gauges() == {"journal_bytes": 20, "lag,camera=cam1,partition=frames/0": 3}
    telemetry.gauge("lag", None, camera="cam1", partition="frames/0")
    telemetry.gauge("lag", None, camera="never told")
    assert telemetry.gauges() == {"journal_bytes": 20}


def test_report_is_one_line_of_all_gauges() -> None:
    lines = io.StringIO()
    configure_logging("info", file=lines)
    telemetry = LogTelemetry()
    telemetry.gauge("ledger_away", 0)
    telemetry.gauge("kafka_lag_frames", 7, partition="frames/0")
    telemetry.report()
    (line,) = lines.getvalue().splitlines()
    assert "event=gauges" in line
    assert "ledger_away=0" in line
    assert "7" in line.split("kafka_lag_frames", 1)[1]
