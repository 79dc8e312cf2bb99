"""TLS to a real PostgreSQL: the right authority works, everything else is refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.checks import store as store_checks
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import ConfigError, LedgerUnavailable
from inspector.store import database as databases
from inspector.store.database import configured
from inspector.testing.postgres import PostgresServer
from tests.certificates import make_certificates
from tests.plant_database import start_server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[PostgresServer]:
    """Nobody is let in without TLS."""
    with start_server() as running:
        running.require_tls(certificates / "server.pem", certificates / "server.key")
        yield running


def line(server: PostgresServer, tmp_path: Path, parameters: str = "", **keys: Any) -> Config:
    store = {"url": server.url() + parameters, **{key: _written(value) for key, value in keys.items()}}
    return parse({"agent": {"state_dir": str(tmp_path)}, "store": store}, None)


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


async def test_store_with_the_right_authority_is_encrypted(
    server: PostgresServer, certificates: Path, tmp_path: Path
) -> None:
    async with configured(line(server, tmp_path, tls=True, ca_file=certificates / "ca.pem")) as database:
        await databases.upgrade(database)
        assert (await database.tls_version() or "").startswith("TLSv1.")


async def test_store_with_a_foreign_authority_is_refused_with_a_sentence(
    server: PostgresServer, certificates: Path, tmp_path: Path
) -> None:
    for keys in ({"ca_file": certificates / "other.pem"}, {}):
        async with configured(line(server, tmp_path, tls=True, **keys)) as database:
            with pytest.raises(LedgerUnavailable, match=r"certificate of the database server.*check store\.ca_file"):
                await database.revision()


async def test_store_without_tls_is_refused_with_a_sentence(server: PostgresServer, tmp_path: Path) -> None:
    async with configured(line(server, tmp_path, tls=False)) as database:
        with pytest.raises(LedgerUnavailable, match=r"no connection without TLS; set store\.tls = true"):
            await database.revision()


async def test_store_without_a_word_on_tls_takes_what_is_offered(server: PostgresServer, tmp_path: Path) -> None:
    async with configured(line(server, tmp_path)) as database:
        assert await database.tls_version() is not None


async def test_store_that_speaks_no_tls_is_refused_with_a_sentence(certificates: Path, tmp_path: Path) -> None:
    with start_server() as plain:
        config = line(plain, tmp_path, tls=True, ca_file=certificates / "ca.pem")
        async with configured(config) as database:
            with pytest.raises(LedgerUnavailable, match=r"speaks no TLS; turn it on there, or set store\.tls = false"):
                await database.revision()


async def test_store_of_another_name_or_without_our_certificate_is_refused_with_a_sentence(
    certificates: Path, tmp_path: Path
) -> None:
    with start_server() as strict:
        ca = certificates / "ca.pem"
        strict.require_tls(certificates / "server.pem", certificates / "server.key", client_authority=ca)
        async with configured(line(strict, tmp_path, tls=True, ca_file=ca)) as database:
            with pytest.raises(LedgerUnavailable, match=r"certificate of this agent; set store\.cert_file"):
                await database.revision()
        own = {"cert_file": certificates / "client.pem", "key_file": certificates / "client.key"}
        async with configured(line(strict, tmp_path, tls=True, ca_file=ca, **own)) as database:
            assert await database.tls_version() is not None
        strict.require_tls(certificates / "elsewhere.pem", certificates / "elsewhere.key")
        async with configured(line(strict, tmp_path, tls=True, ca_file=ca)) as database:
            with pytest.raises(LedgerUnavailable, match="certificate of another name"):
                await database.revision()


async def test_store_parameters_of_its_url_reach_the_server(server: PostgresServer, tmp_path: Path) -> None:
    parameters = "?application_name=line%201&connect_timeout=7&statement_cache_size=0&prepared_statement_cache_size=0"
    async with configured(line(server, tmp_path, parameters)) as database, database.reading() as connection:
        assert (await connection.exec_driver_sql("SHOW application_name")).scalar_one() == "line 1"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ca_file": "nowhere.pem"}, r"store\.ca_file: nowhere\.pem can't be read: No such file"),
        ({"ca_file": "client.key"}, r"store\.ca_file: .* holds no certificate in PEM form"),
        ({"cert_file": "client.pem", "key_file": "server.key"}, r"store\.cert_file and store\.key_file"),
        ({"cert_file": "client.pem", "key_file": "locked.key"}, "or the key has a passphrase"),
    ],
)
def test_store_with_files_of_no_use_is_a_wrong_configuration(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(certificates)
    table = {"agent": {"state_dir": str(tmp_path)}, "store": {"url": "postgresql://db/plant", "tls": True, **keys}}
    with pytest.raises(ConfigError, match=said):
        configured(parse(table, None))


async def test_doctor_says_how_the_store_is_spoken_to(
    server: PostgresServer, certificates: Path, tmp_path: Path
) -> None:
    async def told(**keys: Any) -> dict[str, tuple[str, str]]:
        findings = [finding async for finding in store_checks.check(line(server, tmp_path, **keys))]
        return {finding.subject: (finding.level.value, finding.detail) for finding in findings}

    assert "certificate is checked" in (await told(tls=True, ca_file=certificates / "ca.pem"))["encryption"][1]
    level, detail = (await told(tls=True, ca_file=certificates / "other.pem"))["database"]
    assert (level, "store.ca_file" in detail) == ("fault", True)
    level, detail = (await told(tls=False))["database"]
    assert (level, "store.tls = true" in detail) == ("fault", True)
