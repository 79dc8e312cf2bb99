"""`inspector doctor` on certificates: files, and what brokers and databases present, before and after their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inspector.cli.checks import certificates
from inspector.cli.checks.finding import Finding, Level
from inspector.config.loading import parse
from tests.brokers import Mosquitto, free_port
from tests.plant_broker import PlantBroker
from tests.plant_database import start_server

DAYS = [(-1, Level.FAULT), (10, Level.WARNING), (29, Level.WARNING), (31, Level.OK), (400, Level.OK)]


def make(folder: Path, name: str, days: float, begins_in_days: float = -500) -> Path:
    """A self-signed certificate that ends in so many days, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_in_days))
        .not_valid_after(now + timedelta(days=days, minutes=5))
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / f"{name}.pem"


def look(**sections: Any) -> dict[str, Finding]:
    async def collect() -> list[Finding]:
        return [finding async for finding in certificates.check(parse(sections, None))]

    return {finding.subject: finding for finding in asyncio.run(collect())}


@pytest.mark.parametrize(("days", "level"), DAYS)
@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_certificate_file_is_judged_by_its_end(tmp_path: Path, key: str, days: float, level: Level) -> None:
    file = make(tmp_path, "agent", days)
    mqtt = {"host": "localhost", "port": free_port(), "tls": True, key: str(file)}
    mqtt |= {"key_file": str(tmp_path / "agent.key")} if key == "cert_file" else {}
    finding = look(mqtt=mqtt)[f"mqtt.{key}"]
    assert finding.level is level
    assert ("Renew it" in finding.detail) == (level is not Level.OK)


def test_certificate_of_the_future_is_a_fault(tmp_path: Path) -> None:
    mqtt = {"port": free_port(), "tls": True, "ca_file": str(make(tmp_path, "ca", 400, begins_in_days=1))}
    finding = look(mqtt=mqtt)["mqtt.ca_file"]
    assert (finding.level, "clock" in finding.detail) == (Level.FAULT, True)


def test_file_of_several_authorities_is_judged_by_the_one_that_ends_first(tmp_path: Path) -> None:
    both = make(tmp_path, "new", 4000).read_text() + make(tmp_path, "old", 5).read_text()
    (tmp_path / "both.pem").write_text(both)
    finding = look(mqtt={"port": free_port(), "tls": True, "ca_file": str(tmp_path / "both.pem")})["mqtt.ca_file"]
    assert (finding.level, "CN=old" in finding.detail) == (Level.WARNING, True)


@pytest.mark.parametrize(("days", "level"), DAYS)
def test_certificate_that_a_broker_presents_is_judged_by_its_end(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, days: float, level: Level
) -> None:
    file = make(tmp_path, "broker", days)
    for each in (file, file.with_suffix(".key")):
        each.chmod(0o644)
    broker = mosquitto(f"certfile {file}", f"keyfile {file.with_suffix('.key')}")
    found = look(mqtt={"host": broker.host, "port": broker.port, "tls": True})
    assert found[f"certificate of {broker.host}:{broker.port}"].level is level


@pytest.mark.parametrize(("days", "level"), DAYS[:2])
def test_certificate_that_a_database_presents_is_judged_by_its_end(tmp_path: Path, days: float, level: Level) -> None:
    file = make(tmp_path, "database", days)
    with start_server() as server:
        server.require_tls(file, file.with_suffix(".key"))
        found = look(store={"url": server.url()})
    assert found[f"certificate of 127.0.0.1:{server.port}"].level is level


def test_server_without_tls_and_one_that_is_away_are_left_to_other_checks(mosquitto: Callable[..., Mosquitto]) -> None:
    plain = mosquitto()
    assert look(mqtt={"host": plain.host, "port": plain.port, "tls": True}) == {}
    assert look(mqtt={"host": plain.host, "port": free_port(), "tls": True}) == {}
    assert look() == {}


def test_certificates_of_the_example_are_good_for_a_year(plant_broker: PlantBroker) -> None:
    mqtt = {"host": "localhost", "port": plant_broker.port, "tls": True, "ca_file": str(plant_broker.authority)}
    assert {finding.level for finding in look(mqtt=mqtt).values()} == {Level.OK}
