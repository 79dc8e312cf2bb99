"""A shadow version scored, compared, promoted and rolled back while frames run, with a real agent and a real broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_line_runs import Listener, listen, named, send
from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

__all__ = ["listen"]  # a fixture

LINE = """
registry_poll_s = 0.2
threshold_share = 10
[mqtt]
port = {port}
[images]
keep_passes = 0.0
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
"""


class Camera:
    """Sends one part after the other, good ones and some bad ones, until it is told to stop."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.sent = 0
        self._broker = broker
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The number of frames that the broker took."""
        self._stop.set()
        self._thread.join(60)
        return self.sent

    def _run(self) -> None:
        while not self._stop.is_set():
            number = self.sent + 1
            payload = encoded("disc", 1000 + number, is_good=number % 7 != 0)
            send(self._broker, self._folder, payload, *named(trigger_id=number))
            self.sent = number
            self._stop.wait(0.05)


def command(agent: Agent, *arguments: str | Path) -> Any:
    done = inspector(*arguments, "--config", agent.config, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def line(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], parts_folder: Path, tmp_path: Path
) -> Iterator[tuple[Agent, Mosquitto, Camera]]:
    """A line whose product has a shadow version that rejects far more parts than the live one."""
    broker = mosquitto()
    running = agent(LINE.format(port=broker.port))
    enrolled = command(
        running, "enroll", "disc", parts_folder / "disc", "--shadow", "--no-detectability", "--full-speed"
    )
    assert (enrolled["version"], enrolled["shadow"]) == (2, True)
    strict = ("--version", "2", "--level", "0.05", "--reason", "a difference that is seen")
    command(running, "products", "threshold", "disc", *strict)
    running.start()
    camera = Camera(broker, tmp_path)
    yield running, broker, camera
    camera.stop()


def test_shadow_compared_and_promoted_under_load_loses_no_frame(
    line: tuple[Agent, Mosquitto, Camera], listen: Callable[[Mosquitto, str], Listener]
) -> None:
    agent, broker, camera = line
    gate = listen(broker, "t/gate/+/decision")
    agent.until(lambda: len(agent.rows("shadow_results")) >= 20, 90, "frames scored in shadow")

    compared = command(agent, "products", "compare", "disc")
    assert (compared["live_version"], compared["shadow_version"]) == (1, 2)
    assert compared["compared"] >= 20
    assert compared["flips"]["pass_to_reject"] > 0
    assert (compared["finding"], compared["labels"]["labelled"]) == ("unlabelled", 0)
    assert "can't be called an improvement" in compared["statement"]
    assert all(flip["pictures"] for flip in compared["shown_flips"]), "a flip is a reason to keep the picture"

    command(agent, "products", "promote", "disc", "--reason", "to see it decide")
    agent.until(lambda: 2 in versions(agent), 60, "frames judged by the promoted version")
    command(agent, "products", "rollback", "disc", "--reason", "too many rejects")
    agent.until(lambda: versions(agent)[-1:] == [1] and 2 in versions(agent), 60, "frames judged by the version before")
    sent = camera.stop()
    agent.has_rows(sent, 90)
    assert agent.end() == 0

    rows = agent.rows()
    assert sorted(row["trigger_id"] for row in rows) == list(range(1, sent + 1)), "every frame has one row"
    assert {row["cause"] for row in rows} <= {"ok", "anomaly"}, "none late, none unjudged, none of no product"
    assert (versions(agent)[0], set(versions(agent)), versions(agent)[-1]) == (1, {1, 2}, 1)
    assert all(row["published"] for row in rows), "each decision left in time"
    decisions = agent.rows("decisions")
    assert sorted(decision["trigger_id"] for decision in decisions) == list(range(1, sent + 1))
    assert_no_shadow_reached_the_gate(agent, gate)
    shadows = agent.rows("shadow_results")
    assert {result["product_version"] for result in shadows} == {2}
    by_id = {row["result_id"]: row for row in rows}
    assert {by_id[result["result_id"]]["product_version"] for result in shadows} == {1}
    audited = [
        (entry["object"], entry["new_value"] and entry["new_value"].partition(":")[0], entry["reason"])
        for entry in agent.rows("audit")
    ][-3:]
    assert audited == [
        ("product/disc/live", "version 2", "to see it decide"),
        ("product/disc/shadow", None, "to see it decide"),
        ("product/disc/live", "version 1", "too many rejects"),
    ]


def versions(agent: Agent) -> list[int]:
    """Which version judged each frame, in the order of their rows."""
    return [row["product_version"] for row in agent.rows()]


def assert_no_shadow_reached_the_gate(agent: Agent, gate: Listener) -> None:
    """What the gate heard of each part is what the row of its live version says."""
    actions = {row["trigger_id"]: {"pass": 1, "reject": 2}[row["action"]] for row in agent.rows()}
    heard = gate.heard()
    assert heard
    for topic, decision in heard:
        assert topic == "t/gate/gate1/decision"
        assert decision["act"] == actions[decision["trig"]]  # type: ignore[index]  # an integer by the contract
