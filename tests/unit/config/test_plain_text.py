"""Passwords that would leave this machine unencrypted are named, each with what to do; on the loopback none is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.run import plain_text_warnings
from inspector.config.addresses import is_loopback
from inspector.config.loading import parse
from inspector.config.plain_text import plain_passwords

ROOT = Path(__file__).parents[3]
MQTT: dict[str, Any] = {"host": "broker.plant.example", "username": "agent", "password_secret": "p"}
KAFKA: dict[str, Any] = {
    "bootstrap": "localhost:9092,kafka1.plant.example:9092",
    "security": "sasl_plaintext",
    "username": "agent",
    "password_secret": "p",
}
STORE: dict[str, Any] = {"url": "postgresql://db.plant.example/i", "user": "agent", "password_secret": "p"}


@pytest.mark.parametrize(
    ("section", "keys", "advice"),
    [
        ("mqtt", MQTT, "mqtt.tls = true"),
        ("mqtt", MQTT | {"host": "192.0.2.7"}, "mqtt.tls = true"),
        ("kafka", KAFKA, 'kafka.security = "sasl_ssl"'),
        ("store", STORE, "encrypted only if that server wants it. Set store.tls = true"),
        ("store", STORE | {"tls": False}, "in plain text. Set store.tls = true"),
        ("store", {"url": "postgresql://agent:secret@db.plant.example/i"}, "store.tls = true"),
    ],
)
def test_password_without_tls_is_named_with_what_to_do(section: str, keys: dict[str, Any], advice: str) -> None:
    ((named, words),) = plain_passwords(parse({section: keys}, None))
    assert named == section
    assert advice in words
    assert "secret@" not in words


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"mqtt": MQTT | {"tls": True}},
        {"mqtt": MQTT | {"host": "127.0.0.1"}},
        {"mqtt": MQTT | {"host": "::1"}},
        {"mqtt": {"host": "broker.plant.example"}},
        {"kafka": KAFKA | {"security": "sasl_ssl"}},
        {"kafka": KAFKA | {"bootstrap": "localhost:9092,127.0.0.1:9093"}},
        {"store": STORE | {"tls": True}},
        {"store": STORE | {"url": "postgresql://localhost/i"}},
        {"store": STORE | {"url": "postgresql:///i?host=/run/postgresql"}},
        {"store": {"url": "sqlite:////var/lib/i.db"}},
    ],
)
def test_password_that_is_encrypted_or_stays_here_is_not_named(table: dict[str, Any]) -> None:
    assert list(plain_passwords(parse(table, None))) == []


def test_run_warns_of_each_password_in_plain_text() -> None:
    events = plain_text_warnings(parse({"mqtt": MQTT, "store": STORE}, None))
    assert [(event.kind, event.severity.value, event.subject) for event in events] == [
        ("password_unencrypted", "warning", "mqtt"),
        ("password_unencrypted", "warning", "store"),
    ]


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda file: file.name)
def test_example_sends_no_password_in_plain_text(file: Path) -> None:
    assert list(plain_passwords(parse(tomllib.loads(file.read_text(encoding="utf-8")), file))) == []


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("LOCALHOST", True), ("[::1]", True), ("127.plant.example", False)],
)
def test_host_is_of_this_machine_by_its_address_and_not_by_how_it_begins(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here
