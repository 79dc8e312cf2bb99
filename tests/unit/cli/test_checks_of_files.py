"""`inspector doctor` on files: what other users of the machine can read or change, by mode and by the folders above."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.checks import file_modes
from inspector.cli.checks.finding import Finding, Level
from inspector.config.config import Config
from inspector.config.loading import parse

STRANGER = 65_432


@pytest.fixture(autouse=True)
def open_folders(tmp_path: Path) -> None:
    """The folders of the tests can be entered by everybody, as /etc and /var are."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == tmp_path.stat().st_uid and folder != Path(folder.anchor):
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A folder as the installation makes it: /etc/inspector and the state folder, closed to others."""
    for name in ("etc", "state"):
        (tmp_path / name).mkdir(mode=0o755)
    for name in ("inspector.toml", "mqtt-password", "agent.key", "agent.pem", "ca.pem"):
        make(tmp_path / "etc" / name, 0o640)
    make(tmp_path / "state" / "inspector.db", 0o660)
    (tmp_path / "state").chmod(0o750)
    return tmp_path


def make(file: Path, mode: int) -> None:
    file.touch()
    file.chmod(mode)


def config_of(plant: Path, **mqtt: Any) -> Config:
    etc = plant / "etc"
    keys = {"ca_file": etc / "ca.pem", "cert_file": etc / "agent.pem", "key_file": etc / "agent.key"}
    section = {"tls": True, "username": "agent", "password_secret": "mqtt-password", **mqtt}
    section |= {name: str(path) for name, path in keys.items()}
    return parse({"agent": {"state_dir": str(plant / "state")}, "mqtt": section}, None)


def look(plant: Path) -> list[Finding]:
    return list(file_modes.check(config_of(plant), plant / "etc" / "inspector.toml"))


def test_files_closed_to_others_are_ok(plant: Path) -> None:
    (finding,) = look(plant)
    assert finding.level is Level.OK


@pytest.mark.parametrize(
    ("file", "mode", "subject", "level"),
    [
        ("etc/mqtt-password", 0o644, "credential mqtt-password", Level.FAULT),
        ("etc/agent.key", 0o644, "mqtt.key_file", Level.FAULT),
        ("etc/ca.pem", 0o646, "mqtt.ca_file", Level.FAULT),
        ("etc/inspector.toml", 0o646, "configuration", Level.FAULT),
        ("state", 0o755, "state folder", Level.WARNING),
        ("state", 0o757, "state folder", Level.FAULT),
    ],
)
def test_file_that_is_open_to_others_is_named_with_what_to_do(
    plant: Path, file: str, mode: int, subject: str, level: Level
) -> None:
    (plant / file).chmod(mode)
    finding = next(finding for finding in look(plant) if finding.subject == subject)
    assert finding.level is level
    assert f"o-rwx {plant / file}" in finding.detail


@pytest.mark.parametrize("file", ["etc/agent.pem", "etc/ca.pem", "etc/inspector.toml"])
def test_file_without_a_secret_may_be_read_by_all(plant: Path, file: str) -> None:
    (plant / file).chmod(0o644)
    assert [finding.level for finding in look(plant)] == [Level.OK]


def test_configuration_with_a_password_in_it_may_not_be_read_by_others(plant: Path) -> None:
    (plant / "etc" / "inspector.toml").chmod(0o644)
    config = parse(
        {"agent": {"state_dir": str(plant / "state")}, "store": {"url": "postgresql://agent:secret@db/i", "tls": True}},
        None,
    )
    (finding,) = file_modes.check(config, plant / "etc" / "inspector.toml")
    assert (finding.subject, finding.level) == ("configuration", Level.FAULT)


def test_configuration_of_another_user_is_a_warning(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = plant / "etc" / "inspector.toml"
    if os.geteuid() == 0:
        os.chown(file, STRANGER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    (finding,) = look(plant)
    assert (finding.subject, finding.level) == ("configuration", Level.WARNING)
    assert "belongs to user" in finding.detail


def test_open_file_in_a_closed_folder_is_out_of_reach(plant: Path) -> None:
    (plant / "etc" / "agent.key").chmod(0o666)
    (plant / "etc").chmod(0o750)
    assert [finding.level for finding in look(plant)] == [Level.OK]


def test_file_in_a_folder_that_everybody_writes_can_be_replaced(plant: Path) -> None:
    (plant / "etc").chmod(0o777)
    finding = next(finding for finding in look(plant) if finding.subject == "mqtt.key_file")
    assert finding.level is Level.FAULT
    assert "can put another there" in finding.detail
    (plant / "etc").chmod(0o1777)  # as /tmp: others may add files and may not rename these
    assert [finding.level for finding in look(plant)] == [Level.OK]


def test_open_database_below_an_open_state_folder_is_a_warning(plant: Path) -> None:
    (plant / "state").chmod(0o755)
    (plant / "state" / "inspector.db").chmod(0o644)
    found = {finding.subject: finding.level for finding in look(plant)}
    assert found == {"state folder": Level.WARNING, "database": Level.WARNING}


def test_link_to_an_open_file_is_seen_through(plant: Path) -> None:
    target = plant / "elsewhere.key"
    make(target, 0o644)
    (plant / "etc" / "agent.key").unlink()
    (plant / "etc" / "agent.key").symlink_to(target)
    assert [finding.subject for finding in look(plant)] == ["mqtt.key_file"]


@pytest.mark.parametrize(("mode", "level"), [(0o751, Level.FAULT), (0o750, Level.WARNING)])
def test_all_below_the_state_folder_that_others_may_write_is_named(plant: Path, mode: int, level: Level) -> None:
    state = plant / "state"
    (state / "engines").mkdir()
    (state / "engines").chmod(0o777)
    (state / "images" / "latest").mkdir(parents=True)
    make(state / "images" / "latest" / "cam1.jpg", 0o646)
    (state / "images" / "link").symlink_to(plant / "etc")
    state.chmod(mode)
    finding = next(finding for finding in look(plant) if finding.subject == "state files")
    assert finding.level is level
    assert f"{state / 'engines'}, {state / 'images' / 'latest' / 'cam1.jpg'}" in finding.detail
    assert "link" not in finding.detail.replace(str(plant), "")


def test_many_files_that_others_may_write_are_counted(plant: Path) -> None:
    for number in range(30):
        make(plant / "state" / f"{number:02}.jpg", 0o666)
    finding = next(finding for finding in look(plant) if finding.subject == "state files")
    assert "19.jpg and 10 more" in finding.detail
