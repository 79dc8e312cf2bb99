"""Keys that are valid each and can never work together are refused; the same keys with what they need are taken."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.config.loading import parse
from inspector.errors import ConfigError

CAMERA: dict[str, Any] = {"name": "c", "on_unjudged": "reject"}
GATE: dict[str, Any] = {"name": "g", "cameras": ["c"], "window_ms": 300}
BOTH = GATE | {"cameras": ["c", "d"], "match": "single_in_flight"}
OLD: dict[str, Any] = {"protocol": "3.1.1"}
P = "plant/site/area/line"


def line(camera: dict[str, Any] | None = None, gate: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """A line with one camera, and a gate if its keys are given."""
    return {"camera": [CAMERA | (camera or {})], **({} if gate is None else {"gate": [GATE | gate]}), **sections}


def two(of_first: str | None = None, **second: Any) -> dict[str, Any]:
    """Two cameras; `of_first`: the topic of the first."""
    return {"camera": [CAMERA | {"topic": of_first}, CAMERA | {"name": "d"} | second]}


FOLDER = {"source": "folder", "folder": "/frames"}
TRUSTED = {"clock": "trusted"}
OPEN = {"listen": "0.0.0.0:9464"}

REFUSED: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"metrics": OPEN}, "without a password", {"metrics": OPEN | {"open_to_network": True}}),
    ({"metrics": OPEN}, "without a password", {"metrics": {"listen": "[::1]:9464"}}),
    (line(TRUSTED, mqtt=OLD), "carry no captured-at", line(TRUSTED, mqtt={"protocol": "5"})),
    (line(TRUSTED, mqtt=OLD), "carry no captured-at", line(TRUSTED | {"encoding": "json"}, mqtt=OLD)),
    (line(TRUSTED, mqtt=OLD), "carry no captured-at", line(TRUSTED | FOLDER, mqtt=OLD)),
    (line(TRUSTED | {"trigger_from": "topic"}, mqtt=OLD), "carry no captured-at", line({"trigger_from": "topic"})),
    (line({}, {}, mqtt=OLD), "MQTT 3.1.1 does not have", line({"trigger_from": "topic"}, {}, mqtt=OLD)),
    (line({"trigger_from": "header"}, {}, mqtt=OLD), "3.1.1", line({"encoding": "json"}, {}, mqtt=OLD)),
    (line({}, {}, mqtt=OLD), "MQTT 3.1.1 does not have", line({}, {"match": "single_in_flight"}, mqtt=OLD)),
    (
        two(trigger_from="topic") | {"gate": [BOTH], "mqtt": OLD},
        "camera 'c' carries its trigger id in a user property",
        two() | {"gate": [BOTH]},
    ),
    (line(FOLDER, {}), "files carry no trigger id", line(FOLDER | {"trigger_from": "topic"}, {})),
    (line(FOLDER, {}), "files carry no trigger id", line(FOLDER, {"match": "single_in_flight"})),
    (line({"folder": "/frames"}), 'set source = "folder"', line(FOLDER)),
    (line(FOLDER | {"encoding": "json"}), "no JSON", line(FOLDER)),
    (line(FOLDER | {"topic": "a/b"}), "has no topic", line({"topic": "a/b"})),
    (line({"topic": f"{P}/c/verdict"}), "one of its own", line({"topic": f"{P}/c/verdicts"})),
    (line({"topic": f"{P}/c/+", "trigger_from": "topic"}), "one of its own", line({"trigger_from": "topic"})),
    (line({"topic": f"{P}/gate/g/ack"}, {}), "one of its own", line({"topic": f"{P}/gate/h/ack"}, {})),
    (two(topic=f"{P}/c/frame"), "judged twice", two(topic=f"{P}/d/frame")),
    (two(topic="q/+", trigger_from="topic", of_first="q/1"), "judged twice", two(topic="q/2", of_first="q/1")),
    (two(name="g") | {"gate": [GATE]}, "the name of a gate", two(name="c2") | {"gate": [GATE]}),
    (line({}, {}, agent={"heartbeat_ms": 1500}), "for not ready", line({}, {}, agent={"heartbeat_ms": 700})),
    (line({}, {}, agent={"heartbeat_ms": 2000}), "for not ready", line({}, agent={"heartbeat_ms": 2000})),
    (line({}, {}, mqtt={"session_expiry_s": 0}), "no acknowledgement", line({}, mqtt={"session_expiry_s": 0})),
    (line({}, {"trigger_modulus": 200}), "less than half", line({}, {"trigger_modulus": 201})),
    (line({}, {"trigger_modulus": 64}), "less than half", line({}, {"trigger_modulus": 64, "max_gap": 31})),
    (line({}, {"account_holds": True}), "set account_share", line({}, {"account_holds": True, "account_share": 0.1})),
    (line({}, {"golden_acks": False, "account_share": 0.1}), "sends none", line({}, {"account_share": 0.1})),
    (line({}, {"golden_acks": False, "reject_sensor": True}), "sends none", line({}, {"golden_acks": False})),
    (line({}, {"golden_within_min": 5}), "no challenge is ever due", line({}, {"golden_after_changeover": True})),
    (line({}, {"golden_zone": "UTC"}), "without golden_at", line({}, {"golden_zone": "UTC", "golden_at": ["06:00"]})),
    ({"mqtt": {"password_secret": "p"}}, "mqtt.username", {"mqtt": {"password_secret": "p", "username": "u"}}),
    ({"mqtt": {"tls": True, "cert_file": "c"}}, "go together", {"mqtt": {"tls": True, "ca_file": "c"}}),
    ({"mqtt": {"cert_file": "c", "key_file": "k"}}, "plain text", {"mqtt": {"ca_file": "c"}}),
    ({"mqtt": {"reconnect_min_s": 9}}, "not be longer", {"mqtt": {"reconnect_min_s": 5}}),
    ({"kafka": {"reconnect_min_s": 9}}, "not be longer", {"kafka": {"reconnect_min_s": 5}}),
]  # fmt: skip


@pytest.mark.parametrize(("refused", "said", "taken"), REFUSED)
def test_parse_of_keys_that_never_work_together_is_refused(
    refused: dict[str, Any], said: str, taken: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse(refused, None)
    assert len(wrong.value.faults) == 1
    assert said in wrong.value.faults[0]
    parse(taken, None)


def test_parse_tells_what_never_works_with_faults_of_keys() -> None:
    with pytest.raises(ConfigError) as wrong:
        parse(line(TRUSTED, {"window_ms": -1}, mqtt=OLD), None)
    assert ["captured-at" in fault for fault in wrong.value.faults] == [False, False, True]
