"""The gauges of the agent's own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.agent.process_figures import measure_disk
from inspector.agent.telemetry import LogTelemetry

FIGURES = """
import asyncio, json, os, sys, threading
from inspector.agent.process_figures import measure_process
from inspector.agent.telemetry import LogTelemetry

def figures():
    telemetry = LogTelemetry()
    measure_process(telemetry)
    return telemetry.gauges()

async def scenario():
    before, end = figures(), threading.Event()
    thread, task = threading.Thread(target=end.wait), asyncio.create_task(asyncio.sleep(3600))
    thread.start()
    files = [open(os.devnull, "rb") for _ in range(5)]
    kept = os.urandom(64 * 1024 * 1024)
    more = figures()
    end.set()
    return before, more

json.dump(asyncio.run(scenario()), sys.stdout)
"""


@pytest.fixture(scope="module")
def before_and_more() -> tuple[dict[str, float], dict[str, float]]:
    """The gauges before and after a thread, a task, five files and 64 MiB more.

    They are those of a process of its own: in that of the tests a thread of an earlier test may end in between.
    """
    done = subprocess.run([sys.executable, "-c", FIGURES], capture_output=True, text=True, timeout=120, check=True)
    before, more = json.loads(done.stdout)
    return before, more


def test_gauges_follow_threads_and_tasks(before_and_more: tuple[dict[str, float], dict[str, float]]) -> None:
    before, more = before_and_more
    assert more["process_threads"] == before["process_threads"] + 1
    assert more["process_tasks"] == before["process_tasks"] + 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc")
def test_gauges_follow_descriptors_and_memory(before_and_more: tuple[dict[str, float], dict[str, float]]) -> None:
    before, more = before_and_more
    assert more["process_descriptors"] == before["process_descriptors"] + 5
    assert more["process_resident_mib"] >= before["process_resident_mib"] + 60


async def test_disk_of_the_state_folder_is_measured_and_one_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    telemetry = LogTelemetry()
    await measure_disk(telemetry, tmp_path / "none")
    assert telemetry.gauges() == {}
    await measure_disk(telemetry, tmp_path)
    gauges = telemetry.gauges()
    assert 0 < gauges["state_disk_free_bytes"] <= gauges["state_disk_bytes"]
