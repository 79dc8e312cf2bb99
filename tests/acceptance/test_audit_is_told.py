"""A running agent seals its audit, tells its head where the database can't reach, and finds what was cut off since."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
[audit]
key_secret = "audit-key"
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
"""
KEY = {"INSPECTOR_SECRET_AUDIT_KEY": "a key of the audit, for a test"}


def state_of(broker: Mosquitto) -> dict[str, Any]:
    """What the broker keeps on the agent's state topic."""
    listener = broker.receive("-t", "t/agent/agent/state", "-C", "1", "-W", "10")
    said, _ = listener.communicate(timeout=20)
    state: dict[str, Any] = json.loads(said)
    return state


def events(agent: Agent, kind: str) -> list[str]:
    return [row["detail"] for row in agent.rows("events") if row["kind"] == kind]


def test_run_tells_the_head_of_a_sealed_audit_and_finds_a_cut_end_at_its_next_start(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    running = agent(LINE.format(port=broker.port))
    running.start(**KEY)
    running.until(lambda: "audit_head" in running.log, 30, "the head")
    assert state_of(broker)["audit"]["sealed"]
    assert running.end() == 0
    state = state_of(broker)
    rows = running.rows("audit")
    assert state["state"] == "offline"
    assert (state["audit"]["entries"], state["audit"]["hash"]) == (len(rows), rows[-1]["hash"])
    assert len(events(running, "audit_head")) == 2, "once at the start and once at the stop, also in the store"
    kept = running.folder / "head.json"
    kept.write_text(json.dumps(state["audit"]))
    verify = ("audit", "verify", "--head", kept, "--config", running.config)
    assert inspector(*verify, env=KEY).returncode == 0
    execute(running, "DROP TRIGGER audit_no_delete", "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    assert inspector(*verify, env=KEY).returncode == 1
    running.start(**KEY)
    running.until(lambda: "audit_broken" in running.log, 30, "the alarm")
    assert running.end() == 0
    assert "is gone" in events(running, "audit_broken")[0]


def execute(agent: Agent, *statements: str) -> None:
    """As somebody who may write to the database's file."""
    with contextlib.closing(sqlite3.connect(agent.state / "inspector.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def test_run_without_the_configured_key_of_the_audit_does_not_start(agent: Callable[[str], Agent]) -> None:
    running = agent(LINE.format(port=1))
    done = inspector("run", "--config", running.config)
    assert (done.returncode, "INSPECTOR_SECRET_AUDIT_KEY" in done.stderr) == (78, True)
