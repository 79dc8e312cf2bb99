"""The broker of `configs/mosquitto/`, run as it stands: each cell of the table in docs/broker.md is tried.

Each role publishes to every topic, and a witness who may read everything says what arrived. Then the witness publishes
to every topic, and each role, subscribed to everything, says what it got. So a cell is right if it says what happened.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.plant_broker import FILES, PREFIX, WITNESS, PlantBroker, users

PAGE = (Path(__file__).parents[2] / "docs" / "broker.md").read_text(encoding="utf-8")
MAY = {"writes": (True, False), "reads": (False, True), "both": (True, True), "-": (False, False)}


def table() -> dict[tuple[str, str], tuple[bool, bool]]:
    """Of the page: (role, topic) to whether the role may publish there and whether it may receive from there."""
    rows = [re.split(r" *\| *", row.strip("| \n")) for row in PAGE.splitlines() if row.startswith("| ")]
    start = next(number for number, row in enumerate(rows) if row[0] == "topic")
    roles = [cell.strip("`") for cell in rows[start][1:]]
    cells: dict[tuple[str, str], tuple[bool, bool]] = {}
    for topic, *words in rows[start + 1 :]:
        if not topic.startswith("`"):
            break
        assert len(words) == len(roles), topic
        cells.update({(role, topic.strip("`")): MAY[word] for role, word in zip(roles, words, strict=True)})
    return cells


CELLS = table()
ROLES = list(dict.fromkeys(role for role, _ in CELLS))
TOPICS = list(dict.fromkeys(topic for _, topic in CELLS))


@pytest.fixture(scope="module")
def arrived(plant_broker: PlantBroker) -> set[tuple[str, str]]:
    """(role, topic) of each message of a role that the witness has received."""
    witness = plant_broker.listener(WITNESS)
    for role in ROLES:
        publish_everywhere(plant_broker, role)
    return {(payload, topic) for topic, payload in witness.heard()}


@pytest.fixture(scope="module")
def received(plant_broker: PlantBroker, arrived: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """(role, topic) of each message of the witness that a role has received; after `arrived`."""
    listeners = {role: plant_broker.listener(role) for role in ROLES}
    publish_everywhere(plant_broker, WITNESS)
    return {
        (role, topic)
        for role, listener in listeners.items()
        for topic, payload in listener.heard()
        if payload == WITNESS
    }


def publish_everywhere(broker: PlantBroker, user: str) -> None:
    """The user's name on every topic, each on a new connection: mosquitto 2.0.11 hangs up on what it refuses."""
    for topic in TOPICS:
        broker.say(user, topic, user)


def test_table_has_every_user_of_the_access_list() -> None:
    assert set(users()) == set(ROLES)


def test_table_has_every_topic_of_the_access_list() -> None:
    listed = re.findall(
        rf"^topic \w+ {PREFIX}/(.+)$", (FILES / "access-list").read_text(encoding="utf-8"), re.MULTILINE
    )
    missing = [each for each in listed if not any(re.fullmatch(each.replace("+", "[^/]+"), topic) for topic in TOPICS)]
    assert missing == []


@pytest.mark.parametrize(("role", "topic"), CELLS)
def test_role_publishes_and_receives_what_its_cell_says_and_nothing_else(
    arrived: set[tuple[str, str]], received: set[tuple[str, str]], role: str, topic: str
) -> None:
    assert ((role, topic) in arrived, (role, topic) in received) == CELLS[role, topic]


def try_to_publish(broker: PlantBroker, *more: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        "mosquitto_pub",
        "-h",
        broker.host,
        "-p",
        str(broker.port),
        "-t",
        f"{PREFIX}/cam1/frame",
        "-m",
        "x",
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "credentials", [(), ("-u", "camera-cam1"), ("-u", "camera-cam1", "-P", "wrong"), ("-u", "nobody", "-P", "x")]
)
def test_client_without_the_password_of_a_user_is_not_let_in(
    plant_broker: PlantBroker, credentials: tuple[str, ...]
) -> None:
    done = try_to_publish(plant_broker, "--cafile", plant_broker.authority, *credentials)
    assert done.returncode != 0
    assert "not authori" in (done.stdout + done.stderr).lower()


def test_client_without_tls_is_not_let_in(plant_broker: PlantBroker) -> None:
    done = try_to_publish(plant_broker, "-u", WITNESS, "-P", plant_broker.password(WITNESS))
    assert done.returncode != 0


def test_second_run_of_the_scripts_keeps_authority_and_passwords(plant_broker: PlantBroker) -> None:
    kept = [plant_broker.authority.read_bytes(), (plant_broker.files / "passwords").read_bytes()]
    certs = plant_broker.files / "certs"
    before = (certs / "line1-agent.pem").read_bytes()
    subprocess.run([FILES / "certificates.sh", certs, "localhost", "line1-agent"], check=True, capture_output=True)
    subprocess.run([FILES / "users.sh", plant_broker.files / "access-list", plant_broker.files], check=True)
    assert kept == [plant_broker.authority.read_bytes(), (plant_broker.files / "passwords").read_bytes()]
    assert (certs / "line1-agent.pem").read_bytes() != before
    for file in (*certs.glob("*.key"), *(plant_broker.files / "secrets").iterdir(), plant_broker.files / "passwords"):
        assert file.stat().st_mode & 0o077 == 0, file
