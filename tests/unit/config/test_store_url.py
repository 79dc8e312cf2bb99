"""A store's URL that no driver could use is a fault of the configuration, in a sentence that shows no password."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inspector.config.loading import parse
from inspector.config.store_url import url_faults
from inspector.errors import ConfigError
from inspector.store.database import Database


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+asyncpg://u:hush@h/db?sslmode=require", "sslmode is not taken here; set store.tls = true"),
        ("postgresql://u:hush@h/db?sslrootcert=/ca.pem", "set store.ca_file"),
        ("postgresql://u:hush@h/db?sslcert=/a.pem&sslkey=/a.key", "set store.key_file"),
        ("postgresql://u:hush@h/db?password=hush", "name the credential in store.password_secret"),
        ("postgresql://u:hush@h/db?connect_timeout=hush", "connect_timeout has to be seconds from 1 to 60"),
        ("postgresql://u:hush@h/db?connect_timeout=0", "connect_timeout has to be seconds from 1 to 60"),
        ("postgresql://u:hush@h/db?connect_timeout=5&connect_timeout=6", "connect_timeout is there twice"),
        ("postgresql://u:hush@h/db?application_name=", "application_name has to be 1 to 63 printable ASCII"),
        ("postgresql://u:hush@h/db?keepalives=1", "there is no parameter keepalives"),
        ("postgresql://u:hush@h/db?hush%20=1", "there is no parameter of that name"),
        ("postgresql://u:hush@h:99999/db", "its port is no number from 1 to 65535"),
        ("postgresql://u:hush@h:0/db", "its port is no number from 1 to 65535"),
        ("postgresql://u:hush@h:five/db", "its port is no number from 1 to 65535"),
        ("postgresql://u:hush@h:/db", "its port is no number from 1 to 65535"),
        ("postgresql://u:%zzhush@h/db", "write % itself as %25"),
        ("postgresql://u:hush%ff@h/db", "write % itself as %25"),
        ("postgresql://u:hush%00@h/db", "write % itself as %25"),
        ("postgresql://u:hush@more@h/db", "as %40"),
        ("postgresql+psycopg2://u:hush@h/db", "the driver psycopg2 is not used here; write postgresql+asyncpg://"),
        ("postgres://u:hush@h/db", "postgres is not supported; write postgresql"),
        ("mysql://u:hush@h/db", "mysql is not supported; use sqlite or postgresql"),
        ("postgresql://u:hush@/db", "it names no host"),
        ("postgresql:///db", "it names no host"),
        ("postgresql://u:hush@h/db?host=/run/postgresql", "it names two hosts"),
        ("postgresql:///db?host=other", "host has to be the folder of a socket"),
        ("postgresql://u:hush@h1,h2/db", "its host is neither one name nor one address"),
        ("postgresql://u:hush@two words/db", "its host is neither one name nor one address"),
        (f"postgresql://u:hush@{'h' * 64}/db", "its host is neither one name nor one address"),
        ("postgresql://u:hush@[::1/db", "its host is neither one name nor one address"),
        ("sqlite://host/inspector.db", "a SQLite file has no host"),
        ("sqlite:///a.db?mode=ro", "a SQLite file takes no parameters"),
        (f"sqlite:///{'n' * 256}", "at most 255 bytes"),
        ("sqlite:///", "SQLite needs a file"),
        ("sqlite:///~/inspector.db", "~ is no home folder here; write the whole path"),
        ("hush", "it is not a database URL"),
    ],
)  # fmt: skip
def test_parse_of_a_store_url_of_no_use_says_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse({"store": {"url": url}}, None)
    assert all(fault.startswith("store.url: ") for fault in wrong.value.faults)
    assert said in " ".join(wrong.value.faults)
    assert "hush" not in str(wrong.value)
    with pytest.raises(ConfigError):
        Database(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///inspector.db",
        "sqlite+aiosqlite:////srv/state/inspector.db",
        "postgresql://db.plant.example/inspector",
        "postgresql+asyncpg://me:p%40ss%2F%25@db:6432/inspector?application_name=line%201&connect_timeout=10",
        "postgresql://[::1]:5432/db",
        "postgresql://bücher.example/db",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://db/plant?statement_cache_size=0&prepared_statement_cache_size=0",
    ],
)
def test_parse_of_a_store_url_that_can_be_used_is_content(url: str) -> None:
    assert parse({"store": {"url": url}}, None).store.url == url
    if url:
        Database(url)


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20), st.integers(-1, 70_000))
@example(user="", host="", rest=":/0", port=0)
def test_database_of_any_url_is_made_or_refused_with_sentences(user: str, host: str, rest: str, port: int) -> None:
    for url in (
        host,
        f"postgresql://{user}@{host}:{port}/{rest}",
        f"postgresql://h/d?{user}={rest}",
        f"sqlite://{rest}",
    ):
        faults = list(url_faults(url))
        if faults:
            assert all("\n" not in fault for fault in faults)
        else:
            Database(url)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20))
def test_database_gets_the_password_that_was_written(password: str) -> None:
    assert Database(f"postgresql://me:{quote(password, safe='')}@db/plant").url.password == password


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ({"tls": True}, "store.tls belongs to a store.url of PostgreSQL"),
        ({"tls": True, "url": "sqlite:///a.db"}, "store.tls belongs to a store.url of PostgreSQL"),
        (
            {"tls": True, "url": "postgresql:///db?host=/run/postgresql"},
            "store.tls is of no use on a socket of this machine; remove it",
        ),
        ({"url": "postgresql://h/db", "ca_file": "ca.pem"}, "store.ca_file and store.cert_file need store.tls = true"),
        (
            {"url": "postgresql://h/db", "tls": True, "cert_file": "a.pem"},
            "store.cert_file and store.key_file go together",
        ),
        ({"tls": 5}, "store.tls: write true or false"),
    ],
)
def test_parse_of_tls_keys_that_do_not_fit_says_so(store: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse({"store": store}, None)
    assert wrong.value.faults == [said]
