"""The gauges of the agent's own process."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from inspector.agent.process_figures import measure_disk, measure_process
from inspector.agent.telemetry import LogTelemetry


def figures() -> dict[str, float]:
    telemetry = LogTelemetry()
    measure_process(telemetry)
    return telemetry.gauges()


def test_gauges_follow_threads_and_tasks() -> None:
    async def scenario() -> tuple[dict[str, float], dict[str, float]]:
        before, end = figures(), threading.Event()
        thread, task = threading.Thread(target=end.wait), asyncio.create_task(asyncio.sleep(3600))
        thread.start()
        more = figures()
        task.cancel()
        end.set()
        thread.join()
        return before, more

    before, more = asyncio.run(scenario())
    assert more["process_threads"] == before["process_threads"] + 1
    assert more["process_tasks"] == before["process_tasks"] + 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc")
def test_gauges_follow_descriptors_and_memory(tmp_path: Path) -> None:
    async def scenario() -> tuple[dict[str, float], dict[str, float]]:
        before = figures()
        files = [(tmp_path / str(number)).open("w") for number in range(5)]
        kept = os.urandom(64 * 1024 * 1024)
        more = figures()
        for file in files:
            file.close()
        assert len(kept)
        return before, more

    before, more = asyncio.run(scenario())
    assert more["process_descriptors"] == before["process_descriptors"] + 5
    assert more["process_resident_mib"] >= before["process_resident_mib"] + 60


async def test_disk_of_the_state_folder_is_measured_and_one_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    telemetry = LogTelemetry()
    await measure_disk(telemetry, tmp_path / "none")
    assert telemetry.gauges() == {}
    await measure_disk(telemetry, tmp_path)
    gauges = telemetry.gauges()
    assert 0 < gauges["state_disk_free_bytes"] <= gauges["state_disk_bytes"]
