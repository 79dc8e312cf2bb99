"""The configuration that `inspector init` writes loads, says everything, and never overwrites by itself."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.init import configuration_text
from inspector.config import keys
from inspector.config.loading import load, parse


def test_init_in_new_folder_writes_a_configuration_that_loads(shell: Callable[..., Any]) -> None:
    answer = shell("init", "line1", "--json")
    assert answer.code == 0
    config = load(Path(answer.document["config"]))
    assert config.camera[0].name == "cam1"
    assert config.gate[0].match == "trigger_id"
    assert config.agent.state_dir == Path("line1/state").absolute()
    assert answer.document["frame_topic"] == config.topic_of(config.camera[0])


def test_init_without_json_prints_what_comes_next(shell: Callable[..., Any]) -> None:
    answer = shell("init", "my line")
    assert "inspector doctor --config 'my line/inspector.toml'" in answer.out
    assert "user-property trigger-id 1 -t 'plant/site/area/line/cam1/frame' -f part.png" in answer.out


def test_init_says_in_the_file_what_single_in_flight_needs(shell: Callable[..., Any]) -> None:
    shell("init")
    text = Path("inspector.toml").read_text()
    remark = " ".join(text.split("\nmatch = ")[0].rsplit("\n\n", 1)[1].replace("# ", "").split())
    for need in ("more than one part", "further apart than window_ms", "markers", "third of the window"):
        assert need in remark


def test_init_where_a_file_is_refuses_until_forced(shell: Callable[..., Any]) -> None:
    Path("inspector.toml").write_text("mine")
    assert shell("init").code == 2
    assert Path("inspector.toml").read_text() == "mine"
    assert shell("init", "--force").code == 0


@pytest.mark.parametrize("name", ["name", 'qu"ote', "back\\slash", "täb\t", "new\nline"])
def test_toml_value_of_any_text_reads_back(name: str) -> None:
    assert tomllib.loads(f"x = {keys.toml_value(name)}") == {"x": name}


def test_configuration_text_names_every_key_once() -> None:
    text = configuration_text({})
    for table in keys.tables():
        header = f"\n#{table.header}\n" if table.is_list else f"\n{table.header}\n"  # a list without a chosen key
        section = re.split(r"\n#?\[", text.split(header)[1])[0]
        for key in table.keys:
            assert len(re.findall(rf"^#{key.name} = ", section, re.MULTILINE)) == 1


TLS = {"security": "ssl", "cert_file": "c", "key_file": "k", "ca_file": "a"}
SCRAM = {"security": "sasl_ssl", "username": "u", "password_secret": "p"}
STORE_TLS = {"url": "postgresql://db/plant", "tls": True, "cert_file": "agent.pem", "key_file": "agent.key"}
MQTT_TLS = {"tls": True, "cert_file": "agent.pem", "key_file": "agent.key"}
NEEDS: dict[str, dict[str, Any]] = {
    **{f"kafka.{name}": TLS for name in ("ca_file", "cert_file", "key_file")},
    **{f"kafka.{name}": SCRAM for name in ("username", "password_secret")},
    **{f"store.{name}": STORE_TLS for name in ("tls", "ca_file", "cert_file", "key_file")},
    **{f"mqtt.{name}": MQTT_TLS for name in ("ca_file", "cert_file", "key_file")},
    **{f"console.{name}": {"cert_file": "c.pem", "key_file": "c.key"} for name in ("cert_file", "key_file")},
    "mqtt.password_secret": {"username": "agent"},
    "camera.folder": {"source": "folder"},
    "gate.golden_zone": {"golden_at": ["06:00"]},
    "gate.golden_within_min": {"golden_after_activation": True},
}
"""Keys that mean something only beside others."""


def test_every_example_of_a_key_is_a_value_it_takes() -> None:
    camera = {"name": "cam1", "on_unjudged": "pass"}
    gate = {"name": "g", "cameras": ["cam1"], "window_ms": 1000}
    for table in keys.tables():
        for key in table.keys:
            value = tomllib.loads(f"x = {key.example}")["x"]
            given: dict[str, Any] = {"camera": [camera]}
            keyed = {**NEEDS.get(f"{table.name}.{key.name}", {}), key.name: value}
            if table.name == "gate":
                given["gate"] = [gate | keyed]
            elif table.name == "camera":
                given["camera"] = [camera | keyed]
            elif table.name == "command_key":
                given["command_key"] = [{"name": "mes", "key_secret": "command-mes"} | keyed]
            else:
                given[table.name] = keyed
            parse(given, None)


def test_keys_tell_unit_and_range_of_a_field() -> None:
    kinds = {f"{key.section}.{key.name}": key.kind for table in keys.tables() for key in table.keys}
    assert kinds["agent.heartbeat_ms"] == "whole milliseconds, 100 to 5000"
    assert kinds["gate.window_ms"] == "milliseconds, above 0 to 600000"
    assert kinds["camera.on_unjudged"] == "one of pass, reject, quarantine"
    assert kinds["mqtt.tls"] == "true or false"


def test_init_writes_a_file_that_is_closed_to_others_whatever_the_umask(shell: Callable[..., Any]) -> None:
    before = os.umask(0)
    try:
        shell("init", "line1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("line1/inspector.toml").stat().st_mode) == 0o640
