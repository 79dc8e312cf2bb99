"""Lists of allowed commands name commands and places that exist, and keys of commands are whole."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.agent.build import command_keys
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import ConfigError

LINE: dict[str, Any] = {
    "camera": [{"name": "cam1", "on_unjudged": "pass"}, {"name": "cam2", "on_unjudged": "pass"}],
    "gate": [{"name": "gate1", "cameras": ["cam1"], "window_ms": 100}],
}


def faults(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        parse(LINE | table, None)
    return wrong.value.faults


def keyed(**key: Any) -> dict[str, Any]:
    return {"command_key": [{"name": "leads", "key_secret": "command-leads", **key}]}


def test_all_commands_are_taken_everywhere_by_default() -> None:
    assert Config().commands.allow == ("job", "mode", "resync", "golden", "release")


def test_allowed_command_at_a_gate_or_a_camera_without_one_is_right() -> None:
    parse(LINE | {"commands": {"allow": ["job", "mode:gate1", "mode:cam2"]}} | keyed(allow=["mode:gate1"]), None)


def test_allowed_command_of_another_form_or_at_no_place_is_a_fault() -> None:
    form = "write job, mode, resync, golden or release, and after a colon the gate if it is for one only"
    assert faults({"commands": {"allow": ["modes"]}}) == [f"commands.allow 1: {form}"]
    nowhere = "which is no gate and no camera without a gate"
    assert faults({"commands": {"allow": ["mode:gate2"]}}) == [f"commands.allow names 'gate2', {nowhere}"]
    assert faults({"commands": {"allow": ["mode:cam1"]}}) == [f"commands.allow names 'cam1', {nowhere}"]
    assert faults(keyed(allow=["job:gate9"])) == [f"command_key 'leads' names 'gate9', {nowhere}"]


def test_two_keys_of_one_name_and_a_key_without_its_secret_are_faults() -> None:
    two = keyed()["command_key"] * 2
    assert faults({"command_key": two}) == ["command_key 'leads' is configured twice"]
    assert faults({"command_key": [{"name": "leads"}]}) == ["command_key 'leads', key_secret: missing"]


def test_keys_are_read_from_credentials_and_a_short_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse(LINE | keyed(by=["ada"]), None)
    with pytest.raises(ConfigError, match="INSPECTOR_SECRET_COMMAND_LEADS"):
        command_keys(config)
    monkeypatch.setenv("INSPECTOR_SECRET_COMMAND_LEADS", "15 characters..")
    with pytest.raises(ConfigError, match="less than 16 characters"):
        command_keys(config)
    monkeypatch.setenv("INSPECTOR_SECRET_COMMAND_LEADS", "16 characters...")
    (key,) = command_keys(config)
    assert (key.name, key.secret, list(key.by)) == ("leads", b"16 characters...", ["ada"])
