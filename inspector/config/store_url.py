"""Finds faults in `store.url` before any driver sees it. Pure; no sentence repeats text that may be a password.

The form is SQLAlchemy's: `backend+driver://user:password@host:port/database?parameter=value`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"
POSTGRESQL_PORT: Final = 5432
LONGEST_NAME: Final = 255
_DRIVERS: Final = {POSTGRESQL: "asyncpg", SQLITE: "aiosqlite"}

_URL: Final = re.compile(
    r"(?P<name>[\w+]+)://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<host>\[[^/?]*\]|[^/:?]*)(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_NO_URL: Final = "it is not a database URL, for example postgresql+asyncpg://host/db"

_ELSEWHERE: Final = {
    "sslmode": "set store.tls = true, which checks the server's certificate and name, or false for no TLS",
    "ssl": "set store.tls = true, which checks the server's certificate and name, or false for no TLS",
    "sslrootcert": "set store.ca_file",
    "sslcert": "set store.cert_file",
    "sslkey": "set store.key_file",
    "user": "set store.user",
    "password": "name the credential in store.password_secret",
    "dbname": "write the database behind the host: postgresql+asyncpg://host/db",
    "database": "write the database behind the host: postgresql+asyncpg://host/db",
    "port": "write the port behind the host: postgresql+asyncpg://host:5432/db",
}
"""Parameters of other clients, and the settings that replace them here."""


def is_postgresql(url: str | None) -> bool:
    return url is not None and url.partition(":")[0].partition("+")[0] == POSTGRESQL


def is_socket(url: str | None) -> bool:
    """Whether the server is reached over a Unix socket of this machine."""
    return url is not None and any(key == "host" for key, _ in parse_qsl(url.partition("?")[2]))


def address_of(url: str | None) -> tuple[str, int] | None:
    """Host and port of the PostgreSQL server; None for a file, a socket of this machine, or no URL."""
    host, match = host_of(url), _URL.fullmatch(url or "")
    return (host, int(match["port"] or POSTGRESQL_PORT)) if host is not None and match is not None else None


def host_of(url: str | None) -> str | None:
    """The host of the server, without brackets; None for a file, a socket of this machine, or no URL."""
    match = _URL.fullmatch(url or "")
    return match["host"].strip("[]") or None if match is not None else None


def holds_password(url: str | None) -> bool:
    """Whether the password stands in the URL itself, so that whoever reads the configuration reads it."""
    match = _URL.fullmatch(url or "")
    return match is not None and bool(match["password"])


def url_faults(url: str) -> Iterator[str]:
    """The faults as sentences without the key in front; empty for a usable URL."""
    match = _URL.fullmatch(url)
    if match is None:
        yield _NO_URL
        return
    backend, _, driver = match["name"].partition("+")
    if backend not in _DRIVERS:
        instead = "write postgresql" if backend == "postgres" else "use sqlite or postgresql"
        yield f"{backend} is not supported; {instead}"
        return
    if driver not in ("", _DRIVERS[backend]):
        yield f"the driver {driver} is not used here; write {backend}+{_DRIVERS[backend]}://"
    if not all(_is_encoded(part or "") for part in match.group("user", "password", "database", "query")):
        yield "it has a % that no two digits of a UTF-8 character follow; write % itself as %25"
        return
    yield from _sqlite_faults(match) if backend == SQLITE else _postgresql_faults(match)


def _sqlite_faults(match: re.Match[str]) -> Iterator[str]:
    database = unquote(match["database"] or "")
    if match["host"] or match["port"] is not None or match["user"]:
        yield "a SQLite file has no host; write three slashes before its path, as in sqlite:////var/lib/inspector.db"
    elif database in ("", ":memory:"):
        yield "SQLite needs a file, for example sqlite:////var/lib/inspector/inspector.db"
    elif database.startswith("~"):
        yield "~ is no home folder here; write the whole path, as in sqlite:////home/ada/inspector.db"
    elif any(len(part.encode()) > LONGEST_NAME for part in database.split("/")):
        yield f"a file's or folder's name has at most {LONGEST_NAME} bytes"
    if match["query"] is not None:
        yield "a SQLite file takes no parameters; remove the ? and what follows (a ? in a name is written %3F)"


def _postgresql_faults(match: re.Match[str]) -> Iterator[str]:
    parameters = parse_qsl(match["query"] or "", keep_blank_values=True)
    names = [name for name, _ in parameters]
    if "@" in match["host"]:
        yield "write an @ in the user's name or the password as %40"
    elif not match["host"] and "host" not in names:
        yield "it names no host; for a server's socket on this machine write postgresql+asyncpg:///db?host=/run/postgresql"
    elif match["host"] and "host" in names:
        yield "it names two hosts; leave one away"
    elif match["host"] and not _is_host(match["host"]):
        yield "its host is neither one name nor one address; an address of IPv6 stands in [ ]"
    port = match["port"]
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        yield "its port is no number from 1 to 65535"
    for name, value in parameters:
        yield from _parameter_faults(name, value)
    yield from (f"the parameter {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)


def _parameter_faults(name: str, value: str) -> Iterator[str]:
    if name in PARAMETERS:
        wanted, is_right = PARAMETERS[name]
        if not is_right(value):
            yield f"the parameter {name} has to be {wanted}"
    elif name in _ELSEWHERE:
        yield f"the parameter {name} is not taken here; {_ELSEWHERE[name]}"
    else:
        known = ", ".join(PARAMETERS)
        yield f"there is no parameter {name if re.fullmatch('[a-z_]{1,40}', name) else 'of that name'}; known: {known}"


def _is_whole(least: int, most: int) -> Callable[[str], bool]:
    return lambda value: re.fullmatch("[0-9]{1,6}", value) is not None and least <= int(value) <= most


PARAMETERS: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "host": ("the folder of a socket, for example /run/postgresql", lambda value: value.startswith("/")),
    "connect_timeout": ("seconds from 1 to 60", _is_whole(1, 60)),
    "application_name": (
        "1 to 63 printable ASCII characters",
        lambda value: re.fullmatch("[ -~]{1,63}", value) is not None,
    ),
    "statement_cache_size": ("a whole number from 0 to 100000", _is_whole(0, 100_000)),
    "prepared_statement_cache_size": ("a whole number from 0 to 100000", _is_whole(0, 100_000)),
}
"""PostgreSQL's URL parameters, with their allowed values. The last two are 0 behind a pooler of connections."""


def _is_encoded(text: str) -> bool:
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        return False
    try:
        return "\0" not in unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return False


def _is_host(host: str) -> bool:
    if host.startswith("["):
        try:
            return ipaddress.ip_address(host.strip("[]")).version == 6
        except ValueError:
            return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.search(r"[\s,@#%\[\]\\\x00-\x20]", host) is None
