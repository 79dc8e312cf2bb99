"""What the road promises, shown with clients that are not ours against a real agent and a real broker."""

from __future__ import annotations

import json
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

Listen = Callable[[Mosquitto, str], "Listener"]

GATED = """
[mqtt]
port = {port}
protocol = "{protocol}"
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
trigger_from = "{trigger_from}"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
match = "single_in_flight"
"""


def gated(broker: Mosquitto, protocol: str = "5", trigger_from: str = "property") -> str:
    return GATED.format(port=broker.port, protocol=protocol, trigger_from=trigger_from)


def send(broker: Mosquitto, folder: Path, payload: bytes, *more: str, topic: str = "t/cam1/frame") -> None:
    """`mosquitto_pub -f` on the camera's topic, QoS 1."""
    file = folder / "frame.bin"
    file.write_bytes(payload)
    broker.publish("-t", topic, "-f", str(file), "-q", "1", *more)


def named(**ids: object) -> list[str]:
    """MQTT 5 user properties for mosquitto_pub."""
    out = ["-V", "mqttv5"]
    for key, value in ids.items():
        out += ["-D", "publish", "user-property", key.replace("_", "-"), str(value)]
    return out


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[[Mosquitto, str], Listener]]:
    """`mosquitto_sub` on topics; all are gone when the test ends."""
    made: list[Listener] = []

    def start(broker: Mosquitto, topic: str) -> Listener:
        made.append(Listener(broker, topic, tmp_path / f"heard{len(made)}"))
        return made[-1]

    yield start
    for each in made:
        each.close()


class Listener:
    """`mosquitto_sub` on a topic, and what it has heard."""

    def __init__(self, broker: Mosquitto, topic: str, file: Path) -> None:
        self._file = file
        subscribed = f"{topic} (QoS 1)"
        known = broker.log().count(subscribed)
        command = ["mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-t", topic]
        with file.open("wb") as out:
            self._process = subprocess.Popen([*command, "-q", "1", "-F", "%t %p", "-V", "5"], stdout=out)
        deadline = time.monotonic() + 30
        while broker.log().count(subscribed) == known:  # mosquitto_sub does not say when it is subscribed
            assert time.monotonic() < deadline, broker.log()
            time.sleep(0.02)

    def heard(self) -> list[tuple[str, dict[str, object]]]:
        lines = [line.split(" ", 1) for line in self._file.read_text().splitlines() if " " in line]
        return [(topic, json.loads(body)) for topic, body in lines]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def huge_png_header() -> bytes:
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_run_frame_brings_a_verdict_a_decision_and_a_row(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], listen: Listen, tmp_path: Path, protocol: str
) -> None:
    broker = mosquitto()
    running = agent(gated(broker, protocol)).start()
    verdicts = listen(broker, "t/cam1/verdict")
    rejects = listen(broker, "t/cam1/reject")
    decisions = listen(broker, "t/gate/gate1/decision")
    send(broker, tmp_path, encoded("disc", 900))
    running.has_rows(1)
    send(broker, tmp_path, encoded("bar", 901, is_good=False))
    rows = running.has_rows(2)
    running.until(lambda: len(decisions.heard()) == 2 and len(verdicts.heard()) == 2, 30, "both are told")
    assert [(row["product"], row["outcome"], row["published"]) for row in rows] == [
        ("disc", "pass", 1),
        ("bar", "reject", 1),
    ]
    assert [body["result_id"] for _, body in verdicts.heard()] == [row["result_id"] for row in rows]
    assert [body["result_id"] for _, body in rejects.heard()] == [rows[1]["result_id"]]
    assert [list(body) for _, body in decisions.heard()] == [["v", "ep", "trig", "act", "code", "left_ms"]] * 2
    assert [body["act"] for _, body in decisions.heard()] == [1, 2]
    assert running.end() == 0


def test_run_each_bad_input_is_unjudged_with_a_dead_letter_and_the_next_frame_is_judged(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(gated(broker)).start()
    good = encoded("disc", 900)
    bad = [b"\x5a\x17" * 512, b"", good[: len(good) // 2], huge_png_header(), b"just some text\n" * 20]
    for number, payload in enumerate(bad):
        send(broker, tmp_path, payload)
        send(broker, tmp_path, encoded("disc", 901 + number))
    rows = running.has_rows(10)
    assert [row["cause"] for row in rows] == ["undecodable", "ok"] * 5
    assert all(row["outcome"] == "unjudged" and row["action"] == "quarantine" for row in rows[::2])
    details = [row["cause_detail"] for row in rows[::2]]
    assert len(set(details)) == 4, "each says what is wrong with it"
    assert details[0] == details[4] == "The frame is neither JPEG nor PNG.", "and quotes none of its bytes"
    letters = running.dead_letters()
    assert [letters[row["result_id"]] for row in rows[::2]] == bad
    assert running.end() == 0


def test_run_identity_of_frames_is_as_in_the_contract(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], listen: Listen, tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(gated(broker)).start()
    decisions = listen(broker, "t/gate/gate1/decision")
    image, other = encoded("disc", 900), encoded("disc", 901, is_good=False)
    send(broker, tmp_path, image, *named(frame_id="a", trigger_id=17))
    send(broker, tmp_path, image, *named(frame_id="b", trigger_id=18))
    running.has_rows(2)
    send(broker, tmp_path, image, *named(frame_id="b", trigger_id=18))
    send(broker, tmp_path, other, *named(frame_id="b", trigger_id=18))
    rows = running.has_rows(3)
    assert [(row["trigger_id"], row["id_conflict"]) for row in rows] == [(17, 0), (18, 0), (18, 1)]
    send(broker, tmp_path, image, *named(frame_id="e", trigger_id=21))
    rows = running.has_rows(6)
    assert sorted((r["trigger_id"], r["outcome"]) for r in rows[3:]) == [
        (19, "uninspected"),
        (20, "uninspected"),
        (21, "pass"),
    ]
    send(broker, tmp_path, image, *named(frame_id="f", trigger_id=3))
    rows = running.has_rows(7)
    assert (rows[-1]["epoch"], rows[-1]["trigger_id"]) == (2, 3)
    running.until(lambda: len(decisions.heard()) >= 5, 30, "decisions")
    told = [(body["ep"], body["trig"], body["act"]) for _, body in decisions.heard()]
    # Parts 17 and 18 were under way at once: a gate tells them apart by number, not by order.
    assert sorted(told[:2]) == [(1, 17, 1), (1, 18, 1)]
    assert told[2:] == [(1, 18, 2), (1, 21, 1), (2, 3, 1)]
    running.until(lambda: "counter_reset" in {e["kind"] for e in running.rows("events")}, 30, "the event is stored")
    assert running.end() == 0


def test_run_frozen_camera_is_told_by_its_fifth_picture_and_gets_no_pass_any_more(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], listen: Listen, tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(gated(broker, trigger_from="topic")).start()
    decisions, health = listen(broker, "t/gate/gate1/decision"), listen(broker, "t/cam1/health")
    picture = encoded("disc", 900)
    for number in range(12):
        send(broker, tmp_path, picture, topic=f"t/cam1/frame/{1000 + number}")
        running.has_rows(number + 1)
    rows = sorted(running.rows(), key=lambda row: row["trigger_id"])
    assert [row["cause"] for row in rows] == ["ok"] * 4 + ["frame_health"] * 8
    assert {(row["outcome"], row["action"]) for row in rows[4:]} == {("unjudged", "quarantine")}
    assert all(row["cause_detail"].startswith("frozen: ") for row in rows[4:])
    running.until(lambda: len(decisions.heard()) == 12, 30, "each part is told")
    assert [(body["act"], body["code"]) for _, body in decisions.heard()] == [(1, 0)] * 4 + [(3, 8)] * 8
    running.until(lambda: health.heard()[-1][1]["frame_health"] == "frozen", 30, "the camera's state says it")
    running.until(lambda: {"camera_repeats"} <= {event["kind"] for event in running.rows("events")}, 30, "events")
    assert running.end() == 0


def test_run_frame_from_before_the_start_is_late_and_never_told(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], listen: Listen, tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(gated(broker)).start()
    assert running.end() == 0
    decisions = listen(broker, "t/gate/gate1/decision")
    send(broker, tmp_path, encoded("disc", 900, is_good=False), *named(trigger_id=5))
    running.start()
    running.has_rows(1)
    running.until(lambda: running.rows()[0]["late_outcome"] != "waiting", 60, "the late frame is judged afterwards")
    (row,) = running.rows()
    assert (row["cause"], row["outcome"], row["published"]) == ("late", "unjudged", 0)
    assert row["late_outcome"] == "reject"
    assert row["level"] > 1
    assert decisions.heard() == []
    assert running.end() == 0


def test_run_retained_frame_makes_an_event_and_no_row(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    send(broker, tmp_path, encoded("disc", 900), "-r")
    running = agent(gated(broker)).start()
    running.until(lambda: "retained_dropped" in running.log, 30, "the event")
    send(broker, tmp_path, encoded("disc", 902), "-r")
    running.until(
        lambda: running.log.count("event=retained_dropped") == 2, 30, "the event of one sent to a running agent"
    )
    broker.publish("-t", "t/cam1/frame", "-n", "-r")  # clearing it is no part either
    send(broker, tmp_path, encoded("disc", 901))
    rows = running.has_rows(1)
    assert len(rows) == 1
    running.until(lambda: "retained_dropped" in {e["kind"] for e in running.rows("events")}, 30, "the stored event")
    assert running.end() == 0


def test_run_trigger_from_the_topic_serves_a_camera_of_mqtt_3(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    running = agent(gated(broker, "3.1.1", "topic")).start()
    send(broker, tmp_path, encoded("disc", 900), "-V", "mqttv311", topic="t/cam1/frame/4711")
    assert running.has_rows(1)[0]["trigger_id"] == 4711
    assert running.end() == 0


def test_enroll_while_running_is_live_within_seconds_and_loses_no_frame(
    agent: Callable[[str], Agent],
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    parts_folder: Path,
) -> None:
    broker = mosquitto()
    running = agent(gated(broker)).start()
    sent = 0

    def send_one() -> None:
        nonlocal sent
        sent += 1
        send(broker, tmp_path, encoded("disc", 2000 + sent))

    command = [
        "enroll",
        "disc2",
        parts_folder / "bar",
        "--no-detectability",
        "--full-speed",
        "--insist",  # they are the parts of another product
        "--config",
        running.config,
    ]
    done: list[int] = []
    enrolling = threading.Thread(target=lambda: done.append(inspector(*command).returncode))
    enrolling.start()
    while enrolling.is_alive():
        send_one()
        time.sleep(0.1)
    enrolling.join()
    assert done == [0]
    running.until(lambda: "disc2" in running.log, 30, "the new product is live")
    send_one()
    rows = running.has_rows(sent)
    assert len(rows) == sent
    assert {row["product"] for row in rows if row["outcome"] == "pass"} == {"disc"}
    assert running.end() == 0


def test_run_on_onnxruntime_loads_no_torch(agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]) -> None:
    running = agent(gated(mosquitto()) + '\n[engine]\nname = "onnxruntime"\n').start()
    assert running.process is not None
    maps = Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "libtorch" not in maps
    assert running.end() == 0
