"""Each alert of deploy/prometheus fires when it should and is quiet before, shown by Prometheus's own promtool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = DEPLOY / "inspector.rules.yml"
AGENT = 'job="inspector",instance="line1:9464"'
BEGINS = "0+0x12 1+0x120"
"""0 for a minute, then 1, a value every 5 s."""

ENDS = "1+0x12 0+0x120"
RISES = "0+0x12 3+0x120"
STAYS = "1+0x140"


@dataclass(frozen=True, slots=True)
class Case:
    """Series by metric and labels. The alert is quiet at `quiet` and fires at `fires`."""

    alert: str
    series: Mapping[str, str]
    quiet: str = "50s"
    fires: str = "9m"
    interval: str = "5s"

    def __str__(self) -> str:
        return f"{self.alert} {next(iter(self.series)).partition('{')[0]}"


CASES = (
    Case("InspectorGateHeld", {'inspector_gate_held{gate="g1",reason="account"}': BEGINS}, fires="65s"),
    Case("InspectorGateNotReady", {'inspector_gate_ready{gate="g1"}': ENDS, "inspector_agent_taking_frames": STAYS}),
    Case(
        "InspectorDecisionsLate",
        {'inspector_decisions_total{gate="g1",action="pass",told="not_in_time"}': RISES},
        fires="75s",
    ),
    Case(
        "InspectorFramesLate",
        {'inspector_verdicts_total{camera="cam1",outcome="unjudged",cause="late"}': RISES},
        fires="75s",
    ),
    Case(
        "InspectorFramesLate",
        {'inspector_verdicts_total{camera="cam1",outcome="unjudged",cause="overload"}': RISES},
        fires="75s",
    ),
    Case("InspectorUnjudgedPasses", {'inspector_unjudged_passes_total{gate="g1"}': RISES}, fires="75s"),
    Case(
        "InspectorUnjudgedPasses",
        {'inspector_parts_at_odds_total{gate="g1",found="passed_without_frame"}': RISES},
        fires="75s",
    ),
    Case("InspectorPartsAtOdds", {'inspector_parts_at_odds_total{gate="g1",found="done_otherwise"}': RISES}),
    Case("InspectorPartsAtOdds", {'inspector_acks_contradicting_total{gate="g1"}': RISES}),
    Case(
        "InspectorPartsUninspected",
        {'inspector_verdicts_total{camera="cam1",outcome="uninspected",cause="not_received"}': RISES},
        fires="75s",
    ),
    Case("InspectorChallengeDue", {'inspector_gate_challenge{gate="g1",state="due"}': BEGINS}),
    Case("InspectorCameraSilent", {'inspector_camera_rhythm{camera="cam1",state="silent"}': BEGINS}, fires="65s"),
    Case("InspectorCameraLinkDown", {'inspector_camera_connected{camera="cam1"}': ENDS}),
    Case("InspectorFrameFault", {'inspector_camera_frame_fault{camera="cam1",fault="dark"}': BEGINS}),
    Case("InspectorCameraClockOff", {'inspector_camera_clock_off{camera="cam1"}': BEGINS}),
    Case("InspectorBacklogGrows", {'inspector_camera_lag_frames{camera="cam1"}': "0+0x12 200+5x120"}),
    Case("InspectorAgentDown", {"up": ENDS}),
    Case("InspectorRestartLoop", {"process_start_time_seconds": "100+0x11 160+0x11 220+0x11 280+0x80"}, quiet="2m50s"),
    Case("InspectorTakesNoFrames", {"inspector_agent_taking_frames": ENDS}),
    Case("InspectorStands", {"inspector_agent_silent_seconds": "0+0x12 0+5x120"}, fires="90s"),
    Case("InspectorFault", {'inspector_agent_fault{fault="canary"}': BEGINS}),
    Case("InspectorDrift", {'inspector_product_drift{product="bolt",camera="cam1",direction="up"}': BEGINS}),
    Case(
        "InspectorLevelsDrift",
        {
            'inspector_level_ratio_bucket{product="bolt",le="0.9"}': "0+99x1500 148580+80x180",
            'inspector_level_ratio_count{product="bolt"}': "0+100x1500 150100+100x180",
        },
        quiet="1500m",
        fires="1600m",
        interval="1m",
    ),
    Case("InspectorDropped", {'inspector_dropped_total{what="records"}': RISES}),
    Case("InspectorDatabaseAway", {"inspector_database_up": ENDS}),
    Case(
        "InspectorJournalGrows",
        {
            "inspector_rows_spooled": "0+0x60 1+100x120",
            "inspector_journal_bytes": "100000+0x60 100000+100000x120",
            "inspector_journal_limit_bytes": "50000000+0x180",
        },
        quiet="4m50s",
        fires="12m",
    ),
    Case("InspectorLinkDown", {'inspector_link_up{link="gates"}': ENDS}),
    Case(
        "InspectorDiskLow",
        {"inspector_state_disk_free_bytes": "50+0x12 5+0x120", "inspector_state_disk_bytes": "100+0x140"},
    ),
    Case(
        "InspectorDiskLow",
        {"inspector_state_disk_free_bytes": "9000+0x60 8990-10x600", "inspector_state_disk_bytes": "10000+0x700"},
        quiet="50m",
        fires="8h",
        interval="1m",
    ),
)


def promtool(*arguments: str | Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian package: prometheus)")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_rules_and_example_of_a_server_are_valid() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", DEPLOY / "prometheus.yml")


def test_each_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_alert_fires_when_it_should_and_is_quiet_before(case: Case, tmp_path: Path) -> None:
    firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    expected = {case.quiet: [], case.fires: [{"labels": "{}", "value": 1}]}
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": case.interval,
        "tests": [
            {
                "interval": case.interval,
                "input_series": [
                    {"series": with_agent(name), "values": values} for name, values in case.series.items()
                ],
                "promql_expr_test": [
                    {"expr": firing, "eval_time": at, "exp_samples": samples} for at, samples in expected.items()
                ],
            }
        ],
    }
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump(test), encoding="utf-8")
    promtool("test", "rules", file)


def with_agent(series: str) -> str:
    """The series with the labels that Prometheus adds for an agent."""
    name, _, labels = series.rstrip("}").partition("{")
    return f"{name}{{{labels},{AGENT}}}" if labels else f"{name}{{{AGENT}}}"
