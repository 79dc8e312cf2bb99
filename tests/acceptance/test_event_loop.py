"""The event loop is never held for long, so that no frame waits for another one's work on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

MONITOR = Path(__file__).parent.parent / "loop_monitor"
FRAMES = 300
HELD_MS = 90.0
MOST = FRAMES // 20
"""A start has some callbacks over 5 ms, more on a busy machine. What is done for each frame comes 300 times."""
CAMERAS = "".join(f'[[camera]]\nname = "cam{number}"\non_unjudged = "quarantine"\n' for number in range(2))
BLOCKING = """
import asyncio, time
async def hold():
    until = time.thread_time() + 0.1
    while time.thread_time() < until: pass
async def main():
    await asyncio.gather(*[hold() for _ in range(3)])
    await asyncio.to_thread(time.sleep, 0.1)
asyncio.run(main())
"""


def monitored(report: Path) -> Mapping[str, str]:
    path = os.pathsep.join(filter(None, (str(MONITOR), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "LOOP_REPORT": str(report)}


def long_callbacks(report: Path) -> list[dict[str, Any]]:
    found = json.loads(report.read_text())
    assert found["callbacks"]
    return list(found["long"])


def test_monitor_names_what_holds_the_loop_and_not_what_waits(tmp_path: Path) -> None:
    report = tmp_path / "loop.json"
    subprocess.run([sys.executable, "-c", BLOCKING], env={**os.environ, **monitored(report)}, check=True, timeout=60)
    found = long_callbacks(report)
    assert [each["what"] for each in found if each["ms"] >= HELD_MS] == ["hold"] * 3


def test_no_kind_of_callback_holds_the_loop_again_and_again(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    report = tmp_path / "loop.json"
    running = agent(f"[mqtt]\nport = {broker.port}\n{CAMERAS}").start(**monitored(report))
    camera = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    camera.connect("127.0.0.1", broker.port)
    camera.loop_start()
    for number in range(FRAMES):
        payload = encoded(("disc", "bar")[number % 2], number)
        camera.publish(f"t/cam{number % 2}/frame", payload, qos=1).wait_for_publish(60)
    running.has_rows(FRAMES, limit_s=120)
    camera.loop_stop()
    assert running.end() == 0
    often = {what: n for what, n in Counter(each["what"] for each in long_callbacks(report)).items() if n > MOST}
    assert not often
