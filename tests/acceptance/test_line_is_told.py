"""A line that a MES tells its lot and mode: a real agent, a real broker, and a client that is not ours."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
trigger_from = "topic"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
[retention]
events_days = 1
"""


def obeyed(agent: Agent) -> int:
    """How many commands the agent has carried out. A command has its row a moment before."""
    return sum(row["kind"] == "command_obeyed" for row in agent.rows("events"))


class Mes:
    """Sends commands with mosquitto_pub and reads replies with mosquitto_sub."""

    def __init__(self, broker: Mosquitto, agent: Agent, replies: int) -> None:
        self._broker = broker
        self._process: subprocess.Popen[bytes] = broker.receive(
            "-t", "t/cmd/+/reply", "-q", "1", "-C", str(replies), "-W", "100", "-F", "%p"
        )
        agent.until(lambda: "t/cmd/+/reply (QoS 1)" in broker.log(), 20, "the replies are listened to")
        self._count = 0

    def tell(self, name: str, *options: str, **keys: Any) -> None:
        self._count += 1
        now = datetime.now(UTC).isoformat()
        table = {"v": 1, "cmd_id": f"c{self._count}", "sent_at": now, "by": "mes", "reason": "order 7", **keys}
        self._broker.publish("-t", f"t/cmd/{name}", "-q", "1", "-m", json.dumps(table), *options)

    def replies(self) -> list[dict[str, Any]]:
        """All of them, once as many have come as were asked for."""
        output, _ = self._process.communicate(timeout=110)
        return [json.loads(line) for line in output.decode().splitlines()]


def test_run_is_told_lot_and_mode_and_rows_and_audit_say_so(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(LINE.format(port=broker.port))
    with sqlite3.connect(running.state / "inspector.db") as database:
        old = ("2020-01-01T00:00:00.000Z", "storm", "alarm", "gate1", "long ago")
        database.execute("INSERT INTO events (at, kind, severity, subject, detail) VALUES (?, ?, ?, ?, ?)", old)
    running.start()
    mes = Mes(broker, running, replies=4)
    decisions = broker.receive("-t", "t/gate/gate1/decision", "-q", "1", "-C", "2", "-W", "100", "-F", "%p")
    running.until(lambda: "t/gate/gate1/decision (QoS 1)" in broker.log(), 20, "the decisions are listened to")

    def show(trigger: int, seed: int) -> None:
        file = tmp_path / "frame.jpg"
        file.write_bytes(encoded("disc", seed))
        broker.publish("-t", f"t/cam1/frame/{trigger}", "-f", str(file), "-q", "1")

    show(1, 900)
    running.has_rows(1)
    mes.tell("job", job_id="J7", lot="L2291", product="disc", effective_from_trig=2)
    running.until(lambda: obeyed(running) == 1, 60, "the job is taken")
    show(2, 901)
    running.has_rows(2)
    mes.tell("mode", mode="golden", expires_at=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    running.until(lambda: obeyed(running) == 2, 60, "the mode is taken")
    running.until(lambda: running.rows("gates")[0]["mode"] == "golden", 20, "the mode is stored")
    show(3, 902)
    running.has_rows(3)
    mes.tell("resync", "-r")
    mes.tell("resync", cmd_id="c2")
    replies = mes.replies()
    output, _ = decisions.communicate(timeout=110)
    assert [(reply["cmd_id"], reply["ok"]) for reply in replies[:2]] == [("c1", 1), ("c2", 1)]
    assert sorted((reply["cmd_id"], reply["ok"]) for reply in replies[2:]) == [("c2", 0), ("c3", 0)]
    assert [json.loads(line)["trig"] for line in output.decode().splitlines()] == [1, 2]
    rows = running.rows()
    assert [(row["lot"], row["job_id"], row["mode"]) for row in rows] == [
        (None, None, "auto"),
        ("L2291", "J7", "auto"),
        ("L2291", "J7", "golden"),
    ]
    assert [row["action"] for row in rows][2] == "none"
    told = [(row["user_name"], row["object"]) for row in running.rows("audit") if row["user_name"] == "mes"]
    assert told == [("mes", "gate/gate1/job"), ("mes", "gate/gate1/mode")]
    running.until(lambda: "pruned" in [row["kind"] for row in running.rows("events")], 60, "what is old is taken out")
    assert "long ago" not in [row["detail"] for row in running.rows("events")]
    assert running.end() == 0
