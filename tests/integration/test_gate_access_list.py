"""The access list of `docs/gate.md`, given to a real mosquitto: each role may do its work and nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brokers import Mosquitto

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"
PREFIX = "acme/hamburg/filling/line1"
ACCESS_LIST = re.findall(r"```\n(user .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]

AGENT, PLC, CAMERA, MES = "line1-agent", "plc-gate1", "camera-cam1", "mes"


@pytest.fixture
def broker(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    file = tmp_path / "access-list"
    file.write_text(ACCESS_LIST)
    file.chmod(0o644)
    return mosquitto(f"acl_file {file}", "allow_anonymous true")


def may_publish(broker: Mosquitto, user: str, topic: str) -> bool:
    said = run("mosquitto_pub", broker, user, "-q", "1", "-t", f"{PREFIX}/{topic}", "-m", "x", "-d")
    answer = re.search(r"received PUBACK \(Mid: 1, RC:(\d+)\)", said)
    assert answer is not None, said
    return int(answer.group(1)) < 128


def may_receive(broker: Mosquitto, writer: str, user: str, topic: str) -> bool:
    """Whether `user` gets what `writer` has published, retained so that nobody has to be there in time.

    mosquitto answers a subscription with yes and then delivers nothing, so its answer says nothing.
    """
    run("mosquitto_pub", broker, writer, "-q", "1", "-r", "-t", f"{PREFIX}/{topic}", "-m", "the message")
    return "the message" in run("mosquitto_sub", broker, user, "-C", "1", "-W", "1", "-t", f"{PREFIX}/{topic}")


def run(client: str, broker: Mosquitto, user: str, *arguments: str) -> str:
    command = [client, "-V", "5", "-h", broker.host, "-p", str(broker.port), "-u", user, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        (AGENT, "gate/gate1/decision"),
        (AGENT, "gate/gate1/heartbeat"),
        (AGENT, "gate/gate1/owner"),
        (AGENT, "gate/gate1/owner/line1-agent"),
        (AGENT, "cam1/marker/line1-agent-cam1"),
        (AGENT, "cam1/verdict"),
        (AGENT, "cam1/reject"),
        (AGENT, "cam1/health"),
        (AGENT, "agent/line1-agent/state"),
        (AGENT, "agent/line1-agent/doctor"),
        (AGENT, "cmd/mode/reply"),
        (PLC, "gate/gate1/ack"),
        (CAMERA, "cam1/frame"),
        (CAMERA, "cam1/frame/4711"),
        (MES, "cmd/job"),
    ],
)
def test_access_list_lets_a_role_publish_what_it_has_to(broker: Mosquitto, user: str, topic: str) -> None:
    assert may_publish(broker, user, topic)


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        (AGENT, "gate/gate1/ack"),
        (AGENT, "cmd/mode"),
        (PLC, "gate/gate1/decision"),
        (PLC, "gate/gate1/heartbeat"),
        (PLC, "gate/gate1/owner"),
        (MES, "gate/gate1/owner"),
        (PLC, "gate/gate2/ack"),
        (PLC, "cmd/mode"),
        (CAMERA, "cam2/frame"),
        (CAMERA, "gate/gate1/decision"),
        (MES, "gate/gate1/decision"),
        (MES, "cam1/frame"),
        ("stranger", "gate/gate1/decision"),
    ],
)
def test_access_list_refuses_what_a_role_must_not_publish(broker: Mosquitto, user: str, topic: str) -> None:
    assert not may_publish(broker, user, topic)


@pytest.mark.parametrize(
    ("writer", "user", "topic", "is_allowed"),
    [
        (CAMERA, AGENT, "cam1/frame/4711", True),
        (PLC, AGENT, "gate/gate1/ack", True),
        (MES, AGENT, "cmd/mode", True),
        (AGENT, AGENT, "gate/gate1/owner", True),
        (AGENT, PLC, "gate/gate1/owner", False),
        (AGENT, PLC, "gate/gate1/decision", True),
        (AGENT, PLC, "gate/gate1/heartbeat", True),
        (AGENT, PLC, "gate/gate2/decision", False),
        (AGENT, MES, "cmd/mode/reply", True),
        (AGENT, CAMERA, "gate/gate1/decision", False),
        (PLC, "stranger", "gate/gate1/ack", False),
    ],
)
def test_access_list_says_who_receives_what(
    broker: Mosquitto, writer: str, user: str, topic: str, is_allowed: bool
) -> None:
    assert may_receive(broker, writer, user, topic) is is_allowed
