"""A wrong configuration is told in plain sentences, each with its key and what to write."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from inspector.config.broker_sections import KafkaSection
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection, GateSection
from inspector.config.loading import parse
from inspector.config.messages import STAND_INS, patterns
from inspector.config.trust_sections import CommandKeySection
from inspector.errors import ConfigError

LIST = "write a list in [ ], or in [[ ]] the header of a section that may come several times"
PREFIX = "write 1 to 200 characters without + and #, which are wildcards of MQTT"
ANSWER = 'write one of "pass", "reject", "quarantine"'
CAMERA = {"name": "c", "on_unjudged": "pass"}
GATE: dict[str, Any] = {"name": "g", "cameras": ["c"], "window_ms": 100}


def faults(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        parse(table, None)
    return wrong.value.faults


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mqtt": {"port": True}}, "mqtt.port: true or false can't stand here"),
        ({"agent": {"drain_s": False}}, "agent.drain_s: true or false can't stand here"),
        ({"store": {"user": True}}, "store.user: true or false can't stand here"),
        ({"mqtt": {"port": 0}}, "mqtt.port: write 1 or more"),
        ({"mqtt": {"port": 1.5}}, "mqtt.port: write a whole number"),
        ({"mqtt": {"port": "x"}}, "mqtt.port: write a whole number"),
        ({"mqtt": {"tls": "maybe"}}, "mqtt.tls: write true or false"),
        ({"mqtt": {"host": 5}}, "mqtt.host: write a text in quotes"),
        ({"mqtt": {"host": ""}}, "mqtt.host: write 1 or more characters"),
        ({"mqtt": {"protocol": "4"}}, 'mqtt.protocol: write one of "3.1.1", "5"'),
        ({"mqtt": {"prot": "4"}}, "mqtt.prot: there is no such key"),
        ({"agent": {"name": "a", "max_mode_h": 4}}, "agent.max_mode_h: its name is commands.max_mode_h now"),
        ({"agent": {"drain_s": "long"}}, "agent.drain_s: write a number"),
        ({"agent": {"state_dir": 3}}, "agent.state_dir: write a path in quotes"),
        (
            {"agent": {"state_dir": "/a/" + "b" * 256}},
            "agent.state_dir: a file's or folder's name has at most 255 bytes",
        ),
        ({"agent": {"state_dir": "~/inspector"}}, "agent.state_dir: ~ is no home folder here; write the whole path"),
        ({"agent": {"prefix": "a/+"}}, f"agent.prefix: {PREFIX}"),
        ({"store": 5}, "store: write a section with keys of its own"),
        (
            {"camera": [CAMERA], "gate": [GATE | {"golden_at": ["6:00"]}]},
            "gate 'g', golden_at 1: write a time of day as HH:MM, from 00:00 to 23:59",
        ),
        (
            {"camera": [CAMERA], "gate": [GATE | {"golden_zone": "Mars/Base"}]},
            "gate 'g', golden_zone: is no time zone that this machine knows; name one such as Europe/Berlin",
        ),
        (
            {"camera": [CAMERA], "gate": [GATE | {"golden_at": ["06:00"]}]},
            "gate 'g' has golden_at without golden_zone; name the time zone, such as Europe/Berlin",
        ),
        ({"retention": {"passes_days": 0}}, "retention.passes_days: write 1 or more"),
        ({"camera": [{**CAMERA, "max_mib": 0}]}, "camera 'c', max_mib: write more than 0"),
        ({"camera": [{**CAMERA, "on_unjudged": "drop"}]}, f"camera 'c', on_unjudged: {ANSWER}"),
        ({"camera": [{**CAMERA, "view": "x" * 65}]}, "camera 'c', view: write at most 64 characters"),
        ({"camera": CAMERA}, f"camera: {LIST}"),
        (
            {"camera": [CAMERA], "gate": [{"name": "g", "cameras": ["c", "c"], "window_ms": 50}]},
            "gate 'g' names camera 'c' twice",
        ),
        ({"gate": [{"name": "g", "cameras": [], "window_ms": 9}]}, "gate 'g', cameras: name at least 1"),
    ],
)  # fmt: skip
def test_parse_says_what_to_write(table: dict[str, Any], said: str) -> None:
    assert faults(table) == [said]


@pytest.mark.parametrize(
    ("cameras", "which"),
    [
        ([{"name": "left"}, {"name": "right", "max_mib": 0}], "camera 'right'"),
        ([{"name": "left"}, {"max_mib": 0}], "camera 2"),
        ([{"name": "left"}, {"name": "left", "max_mib": 0}], "camera 2"),
        ([{"name": "left"}, {"name": "\x1b[31m", "max_mib": 0}], "camera 2"),
    ],
)
def test_parse_names_the_camera_or_counts_it_from_one(cameras: list[dict[str, Any]], which: str) -> None:
    found = faults({"camera": [{**CAMERA, **own} if "name" in own else own for own in cameras]})
    assert f"{which}, max_mib: write more than 0" in found


GATE = {"name": "g", "cameras": ["c"], "window_ms": 50}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"mqtt": {"port": 0}, "camera": [CAMERA, CAMERA]},
            ["mqtt.port: write 1 or more", "camera 'c' is configured twice"],
        ),
        (
            {"camera": [CAMERA], "gate": [{**GATE, "cameras": ["d"], "reserve_ms": 9, "transport_ms": 50}], "agnt": {}},
            [
                "agnt: there is no such key",
                "gate 'g' names camera 'd', which is not configured",
                "gate 'g' keeps its whole window_ms for reserve_ms and transport_ms; leave time for judging",
            ],
        ),
        (
            {"camera": [{**CAMERA, "window_ms": 9}, {"name": "d"}], "gate": [GATE]},
            [
                "camera 'd', on_unjudged: missing; say what the gate does with an unjudged part: "
                "pass, reject or quarantine",
                "camera 'c' stands at a gate, whose window_ms counts; remove its own",
            ],
        ),
        (
            {"kafka": {"port": 1, "handover_ms": 10_000, "username": "u"}},
            [
                "kafka.port: there is no such key",
                "kafka.username belongs to a kafka.security of sasl_plaintext or sasl_ssl, and to no other",
                "kafka.username and kafka.password_secret go together",
                "kafka.handover_ms must be shorter than kafka.session_timeout_ms",
            ],
        ),
    ],
)  # fmt: skip
def test_parse_tells_faults_between_keys_with_those_of_keys(table: dict[str, Any], said: list[str]) -> None:
    assert faults(table) == said


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"camera": [{**CAMERA, "source": "kafa", "trigger_from": "topic"}]}, "camera 'c', source"),
        ({"camera": [{**CAMERA, "source": "folder", "folder": 3}]}, "camera 'c', folder"),
        ({"camera": [{**CAMERA, "name": "a b"}], "gate": [GATE]}, "camera 1, name"),
        ({"camera": CAMERA, "gate": [GATE]}, "camera:"),
        ({"camera": [CAMERA, 5], "gate": [{**GATE, "cameras": ["c", "d"]}]}, "camera 2:"),
        ({"camera": [CAMERA], "gate": [{**GATE, "window_ms": -1}]}, "gate 'g', window_ms"),
        ({"camera": [CAMERA], "gate": [{"name": "g", "window_ms": 50}]}, "gate 'g', cameras"),
        ({"camera": [CAMERA], "gate": 5}, "gate:"),
        ({"kafka": {"username": 5, "password_secret": "p", "security": "sasl_ssl"}}, "kafka.username"),
        ({"kafka": 5, "camera": [{**CAMERA, "source": "kafka", "max_mib": 9}]}, "kafka:"),
        ({"kafka": {"topics": [5]}, "camera": [{**CAMERA, "source": "kafka"}]}, "kafka.topics 1"),
    ],
)  # fmt: skip
def test_parse_concludes_nothing_from_a_key_that_is_wrong_by_itself(table: dict[str, Any], said: str) -> None:
    (found,) = faults(table)
    assert found.startswith(said)


def test_every_key_without_a_default_has_a_stand_in() -> None:
    models = (CameraSection, GateSection, KafkaSection, CommandKeySection)
    needed = {key for model in models for key, field in model.model_fields.items() if field.is_required()}
    assert needed == STAND_INS.keys()


def test_parse_numbers_and_truths_of_their_own_kind_are_taken() -> None:
    config = parse({"mqtt": {"port": 1, "tls": True}, "agent": {"drain_s": 2}}, None)
    assert (config.mqtt.port, config.mqtt.tls, config.agent.drain_s) == (1, True, 2.0)


def test_every_pattern_of_the_configuration_has_a_sentence() -> None:
    used = set()
    for section in Config.model_fields.values():
        model = section.annotation
        models = [model] if isinstance(model, type) and issubclass(model, BaseModel) else get_args(model)[:1]
        for field in models[0].model_fields.values():
            used |= _patterns(field.metadata) | _patterns(_said(field.annotation))
    assert used == patterns()


def _said(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for part in get_args(annotation):
        found += [part, *_said(part)]
    return found


def _patterns(said: list[Any]) -> set[str]:
    flat = [piece for item in said for piece in (getattr(item, "metadata", None) or [item])]
    found = {getattr(item, "pattern", None) for item in flat}
    return {pattern for pattern in found if isinstance(pattern, str)}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mqtt": {"host": "mqtt://broker"}}, "mqtt.host: the host is a URL"),
        ({"mqtt": {"host": "broker:1883"}}, "mqtt.host: the host has a port or a colon in it"),
        ({"mqtt": {"host": "[::1]"}}, "mqtt.host: the host has a port or a colon in it"),
        ({"mqtt": {"host": "cafe:1883"}}, "mqtt.host: the host has a port or a colon in it"),
        ({"mqtt": {"host": "a b"}}, "mqtt.host: the host holds a space"),
        ({"mqtt": {"host": "a{b}/"}}, "mqtt.host: the host holds a space"),
        ({"mqtt": {"host": "broker..plant"}}, "mqtt.host: the host has an empty part"),
        ({"mqtt": {"host": "a" * 64}}, "mqtt.host: the host has an empty part or one of more than 63"),
        ({"kafka": {"bootstrap": "a:9092,b:99999"}}, "kafka.bootstrap: b:99999 has no port from 1 to 65535"),
        ({"kafka": {"bootstrap": "a:0"}}, "kafka.bootstrap: a:0 has no port"),
        ({"kafka": {"bootstrap": "a..b:9092"}}, "kafka.bootstrap: the host of a..b:9092 has an empty part"),
        ({"kafka": {"bootstrap": "kafka://a:9092"}}, "kafka.bootstrap"),
        ({"kafka": {"bootstrap": "a/b:9092"}}, "kafka.bootstrap: the host of a/b:9092 holds"),
    ],
)
def test_parse_names_hosts_and_ports_that_cant_be(table: dict[str, Any], said: str) -> None:
    (fault,) = faults(table)
    assert fault.startswith(said)
