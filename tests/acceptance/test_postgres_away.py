"""PostgreSQL stopped while frames come: the gate is told all the same, and the rows follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.faults.account import Account, of_frames
from tests.faults.cameras import Ear, MqttCamera
from tests.plant_database import PlantDatabase

pytestmark = pytest.mark.acceptance

LINE = """
[mqtt]
port = {port}
[[camera]]
name = "cam1"
on_unjudged = "reject"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
"""


class Line:
    """A gated camera, a subscriber of its own, and an agent whose ledger is the plant's."""

    def __init__(self, make: Callable[[str], Agent], broker: Mosquitto, database: PlantDatabase) -> None:
        self.database = database
        self.account = Account()
        address = (broker.host, broker.port)
        self.ear = Ear(address, self.account)
        self.camera = MqttCamera(address, self.account)
        self.agent = make(LINE.format(port=broker.port) + database.config).start()

    def has_told(self, count: int) -> None:
        """So many decisions have reached the subscriber."""
        self.agent.until(lambda: len(self.account.heard("/decision")) >= count, 90, f"{count} decisions")

    def has_rows(self, count: int) -> None:
        self.agent.until(lambda: self.database.count() >= count, 90, f"{count} rows")

    def state(self) -> dict[str, object]:
        """What the agent last said of itself."""
        return self.account.heard("agent/agent/state")[-1]

    def close(self) -> None:
        self.camera.close()
        self.ear.close()


@pytest.fixture
def line(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], plant_database: PlantDatabase
) -> Iterator[Line]:
    made = Line(agent, mosquitto(), plant_database)
    yield made
    made.close()


def test_postgres_stopped_under_load_every_part_is_told_and_rows_are_complete_afterwards(line: Line) -> None:
    line.camera.shoot(20, 0.01)
    line.has_rows(20)
    line.database.server.stop(at_once=True)
    line.camera.shoot(80, 0.02)
    line.has_told(100)
    line.agent.until(lambda: line.state()["gauges"]["rows_spooled"] == 80, 30, "the rows wait in the journal")  # type: ignore[index]  # JSON
    assert line.state()["ledger"] == "down"
    line.database.server.start()
    line.camera.shoot(20, 0.01)
    line.has_rows(120)
    line.has_told(120)
    line.agent.until(lambda: line.state()["ledger"] == "up", 30, "the state says so")
    assert line.agent.end() == 0
    rows = line.database.rows()
    assert line.account.missing(rows) == []
    assert (len(of_frames(rows)), line.account.rejects_without_row(rows)) == (120, 0)
    assert line.account.broken_on_wire(rows) == []
    assert [row["trigger_id"] for row in rows] == list(range(1, 121)), "in the order of the line"
    assert all(row["published"] for row in rows)
    assert [line.agent.log.count(f"event={kind} ") for kind in ("ledger_down", "ledger_up")] == [1, 1]
