"""`inspector demo` from its broker to its report, as a newcomer starts it; only smaller."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sqlite3
from pathlib import Path

import pytest

from tests.agents import inspector

FRAMES = 40
KEYS = {
    "frames", "verdicts", "passes", "rejects", "unjudged", "missed", "duplicates", "image_auroc", "false_reject_share",
    "missed_defect_share", "routing_accuracy", "routing_accuracy_good", "latency_ms", "deadline_misses", "database",
    "broker",
}  # fmt: skip

pytestmark = [pytest.mark.acceptance, pytest.mark.long, pytest.mark.timeout(300)]


def test_demo_judges_every_frame_once_and_reports(tmp_path: Path) -> None:
    if importlib.util.find_spec("elpv_dataset") is None:
        reason = "the demo's images are not installed (pip install -e .[demo])"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    done = inspector("demo", "--frames", str(FRAMES), "--train", "40", "--state", tmp_path / "demo", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.keys() == KEYS
    assert (report["frames"], report["verdicts"], report["missed"], report["duplicates"]) == (FRAMES, FRAMES, 0, 0)
    assert report["passes"] + report["rejects"] + report["unjudged"] == FRAMES
    assert report["latency_ms"].keys() == {"p50", "p95", "p99"}
    with contextlib.closing(sqlite3.connect(tmp_path / "demo" / "inspector.db")) as database:
        ended = database.execute("SELECT name, ended_by FROM agents WHERE ended_at IS NOT NULL").fetchall()
    assert ended == [("demo", "the end of the demo")], "the console after it calls no agent silent"
    rows = inspector("results", "list", "--config", tmp_path / "demo" / "inspector.toml", "--json")
    assert len(json.loads(rows.stdout)) == FRAMES
    parts = inspector("parts", "--since", "1h", "--config", tmp_path / "demo" / "inspector.toml", "--json")
    classes = json.loads(parts.stdout)["classes"]
    assert sum(classes.values()) == FRAMES
    assert (classes["never_acknowledged"], classes["done_otherwise"], classes["passed_without_frame"]) == (0, 0, 0)
