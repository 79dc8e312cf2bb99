"""An agent behind the broker of `configs/mosquitto/`: with no right that its list does not give, the whole line works.

Camera, PLC, MES, supervisor and dashboard are mosquitto's own clients, over TLS, each as its own user.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.parts import encoded
from tests.plant_broker import PREFIX, PlantBroker, PlantListener
from tests.plant_database import PlantDatabase

pytestmark = pytest.mark.acceptance

ROLES = Path(__file__).parents[2] / "configs" / "postgresql" / "roles.sql"

LINE = """
[agent]
name = "line1-agent"
prefix = "{prefix}"
state_dir = "{state}"
[mqtt]
host = "localhost"
port = {port}
tls = true
ca_file = "{ca}"
username = "line1-agent"
password_secret = "mqtt-password"
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
"""


class Line:
    """The agent, running, and who talks with it."""

    def __init__(self, agent: Agent, broker: PlantBroker) -> None:
        self.agent = agent
        self.broker = broker
        self._listeners: list[PlantListener] = []

    def listen(self, user: str, *topics: str) -> PlantListener:
        self._listeners.append(self.broker.listener(user, *(f"{PREFIX}/{topic}" for topic in topics)))
        return self._listeners[-1]

    def command(self, user: str, name: str, **keys: object) -> None:
        body = {
            "v": 1,
            "cmd_id": f"{user}-{name}",
            "sent_at": datetime.now(UTC).isoformat(),
            "by": user,
            "reason": "test",
        }
        self.broker.say(user, f"cmd/{name}", json.dumps({**body, **keys}))

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def line(agent: Callable[[str], Agent], plant_broker: PlantBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setenv("INSPECTOR_SECRET_MQTT_PASSWORD", plant_broker.password("line1-agent"))
    running = agent("")
    running.config.write_text(
        LINE.format(prefix=PREFIX, state=running.state, port=plant_broker.port, ca=plant_broker.authority)
    )
    made = Line(running, plant_broker)
    yield made
    made.close()


def test_guarded_line_is_told_and_acknowledged_and_commanded(line: Line, tmp_path: Path) -> None:
    plc = line.listen("plc-gate1", "gate/gate1/decision", "gate/gate1/heartbeat")
    mes = line.listen("mes", "cmd/job/reply", "cam1/verdict")
    supervisor = line.listen("supervisor", "cmd/+/reply")
    dashboard = line.listen("dashboard", "#")
    agent = line.agent.start()
    frame = tmp_path / "part.jpg"
    frame.write_bytes(encoded("disc", 900))
    line.command("mes", "job", job_id="J7", lot="L1", product="disc")
    # A command has its row a moment before it is carried out.
    agent.until(lambda: "command_obeyed" in [each["kind"] for each in agent.rows("events")], 60, "the job is taken")
    line.broker.show("camera-cam1", "cam1/frame", frame, "-D", "publish", "user-property", "trigger-id", "7")
    (row,) = agent.has_rows(1)
    line.broker.say("plc-gate1", "gate/gate1/ack", f'{{"v":1,"ep":{row["epoch"]},"trig":7,"act":1,"src":1,"done":1}}')
    agent.until(lambda: len(agent.rows("gate_actions")) == 1, 60, "the acknowledgement is stored")
    line.command("supervisor", "mode", mode="setup", expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    agent.until(lambda: len(agent.rows("commands")) == 2, 60, "the second command is stored")
    doctor = inspector("doctor", "--config", agent.config, "--json")
    assert agent.end() == 0

    told = {topic for topic, _ in plc.heard()}
    assert told == {"gate/gate1/decision", "gate/gate1/heartbeat"}
    assert (row["outcome"], row["published"], row["lot"]) == ("pass", 1, "L1")
    assert {topic for topic, _ in mes.heard()} == {"cmd/job/reply", "cam1/verdict"}
    assert {topic for topic, _ in supervisor.heard()} == {"cmd/job/reply", "cmd/mode/reply"}
    seen = {topic for topic, _ in dashboard.heard()}
    assert seen >= {"cam1/verdict", "cam1/health", "agent/line1-agent/state", "gate/gate1/decision", "gate/gate1/ack"}
    assert not {topic for topic in seen if "frame" in topic or topic.startswith("cmd/")}
    refused = [event["kind"] for event in agent.rows("events") if "refused" in event["kind"]]
    assert refused == []
    bad = [entry for entry in json.loads(doctor.stdout) if entry["part"] in ("mqtt", "gates") and not entry["ok"]]
    assert bad == [], doctor.stdout
    levels = {entry["subject"]: entry["level"] for entry in json.loads(doctor.stdout) if entry["part"] == "security"}
    assert (levels["anonymous clients"], levels["access list"], levels["passwords"]) == ("ok", "ok", "ok")


GUARDED_STORE = """
[mqtt]
port = {port}
[store]
url = "{url}"
[retention]
passes_days = 1
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
"""


def test_agent_works_with_the_rights_of_its_role_in_the_database(
    agent: Callable[[str], Agent],
    mosquitto: Callable[..., Mosquitto],
    plant_database: PlantDatabase,
    tmp_path: Path,
) -> None:
    """From the first frame to housekeeping: nothing is refused, and nothing waits in the journal."""
    server, name = plant_database.server, plant_database.name
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "--set", "ON_ERROR_STOP=1", name]
    subprocess.run(
        ["psql", *where, "--quiet", "--single-transaction", "--file", ROLES], check=True, capture_output=True
    )
    user = f"agent_{name}"
    plant_database.execute(f"CREATE ROLE {user} LOGIN IN ROLE inspector_agent")
    broker = mosquitto()
    url = server.url(name).replace("//postgres@", f"//{user}@")
    running = agent(GUARDED_STORE.format(port=broker.port, url=url)).start()
    frame = tmp_path / "part.jpg"
    frame.write_bytes(encoded("disc", 900))
    ids = ("-V", "5", "-q", "1", "-D", "publish", "user-property", "trigger-id", "7")
    broker.publish("-t", "t/cam1/frame", "-f", str(frame), *ids)
    running.until(lambda: plant_database.count() == 1, 60, "the row is written")
    ack = '{"v":1,"ep":1,"trig":7,"act":1,"src":1,"done":1}'
    broker.publish("-t", "t/gate/gate1/ack", "-m", ack, "-q", "1")
    running.until(lambda: plant_database.count("gate_actions") == 1, 60, "the acknowledgement is written")
    command = {"v": 1, "cmd_id": "c1", "sent_at": datetime.now(UTC).isoformat(), "by": "ada", "reason": "test"}
    broker.publish("-t", "t/cmd/job", "-q", "1", "-m", json.dumps({**command, "job_id": "J1"}))
    running.until(lambda: plant_database.count("commands") == 1, 60, "the command is written")
    assert running.end() == 0
    (row,) = plant_database.rows()
    assert (row["outcome"], row["published"]) == ("pass", True)
    assert "permission" not in running.log
    (entry,) = [entry for entry in plant_database.rows("audit") if entry["reason"].startswith("test")]
    assert entry["object"] == "gate/gate1/job"
