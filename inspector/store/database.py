"""One database as the rest of the store sees it: transactions that raise only errors of this project.

`sqlite_connections` prepares those to SQLite; PostgreSQL runs with its defaults. `translated` turns all errors of the
drivers into errors of this project.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.resources
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from inspector.config.config import Config
from inspector.config.loading import secret
from inspector.config.store_url import SQLITE, url_faults
from inspector.config.trust_sections import LEAST_KEY_CHARACTERS
from inspector.errors import (
    ConfigError,
    DatabaseMoved,
    DatabaseReadOnly,
    DatabaseUnusable,
    LedgerUnavailable,
    RowDamaged,
    SchemaOutdated,
)
from inspector.files import make_folder
from inspector.store.chain import ChainKeys
from inspector.store.faults import explain
from inspector.store.sqlite_connections import ALONE, WRITES, SqliteConnections, connect_arguments
from inspector.store.tables import SCHEMA_REVISION
from inspector.store.tls import client_context
from inspector.store.uses import Uses

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 15.0
"""Longest time for PostgreSQL to connect, or to answer one statement; after this time it counts as unavailable."""

KEPT_CONNECTIONS: Final = 5
"""This many connections stay open after use; further ones are closed."""

LONGEST_RENEWAL_S: Final = 1.0
"""Longest time that new transactions wait for those in use, so that all connections can be closed together."""

LOCK_WAIT_S: Final = 5.0
"""Longest wait for rows that another session has locked; after this time the lock is reported."""

_CHAIN: Final = "inspector_chain"
PLAIN_CHAIN: Final = ChainKeys()
T = TypeVar("T")


class Database:
    """A pool of connections to one database, opened when first used, closed when left.

    `url` has SQLAlchemy's form; a URL without a driver gets the asynchronous driver. `user` and `password` are used if
    the URL has none. `tls`: None accepts the server's TLS without a check; False uses no TLS. `chain`: what new rows of
    the audit are sealed with.
    Raises ConfigError for a URL of anything but SQLite or PostgreSQL, and for a URL that no driver could use.
    If all `connections` are in use, a caller waits for one, and gets LedgerUnavailable if none becomes free.
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        user: str | None = None,
        password: str | None = None,
        connections: int = 15,
        tls: ssl.SSLContext | bool | None = None,
        chain: ChainKeys = PLAIN_CHAIN,
    ) -> None:
        self.chain = chain
        self.url = database_url(url, user=user, password=password)
        self._engine = _engine(self.url, connections, tls)
        self._writing = self._engine.execution_options(**{WRITES: True, _CHAIN: chain})
        self._reading_once = self._engine.execution_options(**{ALONE: True})
        self._is_current = False
        self._uses = Uses()
        self._sqlite = None if self.path is None else SqliteConnections(self._engine.sync_engine, self.path)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, None for PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that may write: committed and durable when left, rolled back on any exception.

        Raises LedgerUnavailable or SchemaOutdated for every error of the database, also at commit.
        """
        try:
            async with self._transaction(self._writing) as connection:
                yield connection
        except LedgerUnavailable as error:
            if self._sqlite is not None:
                self._sqlite.renew()
                await self._close_all(together=isinstance(error, DatabaseReadOnly | DatabaseMoved))
            raise

    async def _close_all(self, *, together: bool) -> None:
        """Close all connections; those that are in use are closed after it.

        `together` keeps new transactions waiting until the last one has ended. While one connection is open that found
        the file read-only, all others of this process are read-only too. And SQLite writes a log that has lost its name
        into the database when the last connection is closed, which must be before a new one makes another log.
        """
        async with self._uses.none(longest_s=LONGEST_RENEWAL_S) if together else contextlib.nullcontext():
            await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One read-only transaction on one consistent state. Raises as `writing` does."""
        async with self._transaction(self._engine) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def reading_once(self) -> AsyncIterator[AsyncConnection]:
        """For one statement, which sees one state of SQLite without a transaction around it. Raises as `writing` does.

        It saves three of nine hand-overs between the event loop and the thread of SQLite's driver.
        """
        async with self._transaction(self._reading_once) as connection:
            yield connection

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction, as `writing`, and return its result. Raises as `writing` does."""
        async with self.writing() as connection:
            return await connection.run_sync(work)

    def check_place(self) -> None:
        """Raises DatabaseUnusable if the path of the SQLite file is a folder."""
        if self.path is not None and self.path.is_dir():
            raise DatabaseUnusable(f"The database file {self.path} is a folder; move it away, or check store.url.")

    def check_file(self) -> None:
        """Raises LedgerUnavailable where a log without its database, or of another one, lies beside the SQLite file."""
        if self._sqlite is not None:
            self._sqlite.check()

    async def check_writable(self) -> None:
        """Check that a row could be written now, without writing one. Raises LedgerUnavailable if it could not."""
        async with self.writing() as connection:
            if not self.is_sqlite:  # SQLite's transaction has the file's one lock by now
                wait_ms = int(LOCK_WAIT_S * 1000)
                await connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait_ms}")
                await connection.exec_driver_sql("LOCK TABLE results IN ROW EXCLUSIVE MODE")

    async def tls_version(self) -> str | None:
        """The connection's version of TLS, for example TLSv1.3. None without encryption, and for SQLite."""
        if self.is_sqlite:
            return None
        async with self.reading() as connection:
            query = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return (await connection.exec_driver_sql(query)).scalar_one_or_none()

    async def revision(self) -> str | None:
        """The migration the database is at; None if it has no tables of this software."""
        async with self.reading() as connection:
            return await connection.run_sync(_stored_revision)

    async def check_schema(self) -> None:
        """Raises SchemaOutdated unless the database is at exactly the migration this software was made for."""
        found = await self.revision()
        if found is None:
            raise SchemaOutdated("The database has no tables yet; run `inspector db upgrade`.")
        if found != SCHEMA_REVISION:
            raise SchemaOutdated(
                f"The database is at revision {found}, this software needs {SCHEMA_REVISION}: run `inspector db"
                " upgrade` or, where the database is newer, install the newer software."
            )

    async def ensure_current(self) -> None:
        """As `check_schema`, but only once in the life of this object.

        From then on a missing table or column is LedgerUnavailable: what was there may come back, and an agent whose
        tables are taken away under it must keep its verdicts, and its cameras.
        """
        if not self._is_current:
            await self.check_schema()
            self._is_current = True

    @contextlib.asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            with translated(self.path):
                async with self._uses.one():
                    async with engine.begin() as connection:
                        file = SqliteConnections.file_of(connection.info)
                        yield connection
                    if self._sqlite is not None:
                        self._sqlite.ensure_found(file)
        except SchemaOutdated as error:
            if self._is_current:
                raise LedgerUnavailable(str(error)) from error
            raise


@contextlib.contextmanager
def translated(path: Path | None = None) -> Iterator[None]:
    """Turns every error of a database driver into LedgerUnavailable or SchemaOutdated, in one sentence.

    `path` is the SQLite file; the sentence names it if the file is to blame.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (SQLAlchemyError, OSError, *_driver_errors())):
            raise explain(error, path) from error
        raise


def _driver_errors() -> tuple[type[Exception], ...]:
    """The errors of PostgreSQL's driver. Where it is not loaded it has raised none, and its import would take time."""
    if "asyncpg" not in sys.modules:
        return ()
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError)


def chain_of(connection: AsyncConnection) -> ChainKeys:
    """What rows of the audit are sealed with in this transaction."""
    options = connection.sync_connection.get_execution_options() if connection.sync_connection is not None else {}
    chain: ChainKeys = options.get(_CHAIN, PLAIN_CHAIN)
    return chain


def chain_keys(config: Config) -> ChainKeys:
    """The keys of the audit. A person without the right to read them may look at the database all the same."""
    section = config.audit
    if section.key_secret is None:
        return PLAIN_CHAIN
    keys = []
    for name in (*section.old_key_secrets, section.key_secret):
        try:
            key = secret(name).get_secret_value()
        except ConfigError as error:
            return ChainKeys(fault=error.faults[0])
        if len(key) < LEAST_KEY_CHARACTERS:
            return ChainKeys(fault=f"the secret {name!r} has less than {LEAST_KEY_CHARACTERS} characters")
        keys.append(key.encode())
    return ChainKeys(tuple(keys))


def configured(config: Config) -> Database:
    """The database that the configuration names, not connected yet.

    Raises ConfigError for a bad URL, a missing secret, and TLS files that can't be used. A missing key of the audit is
    an error only where an entry is added.
    """
    store, chain = config.store, chain_keys(config)
    if not store.url:  # in the text of a URL, a path with % or ? would mean another path
        file = str(sqlite_file(config))
        return Database(sa.URL.create("sqlite", database=file), connections=store.connections, chain=chain)
    password = secret(store.password_secret).get_secret_value() if store.password_secret else None
    tls = client_context(store) if store.tls else store.tls
    return Database(store.url, user=store.user, password=password, connections=store.connections, tls=tls, chain=chain)


def sqlite_file(config: Config) -> Path | None:
    """The file of the SQLite database that the configuration names; None for PostgreSQL."""
    if not config.store.url:
        return config.agent.state_dir / "inspector.db"
    url = sa.make_url(config.store.url)
    return Path(url.database or "") if url.get_backend_name() == SQLITE else None


def database_url(url: str | sa.URL, *, user: str | None = None, password: str | None = None) -> sa.URL:
    """The URL with an asynchronous driver and the credentials filled in. Raises ConfigError for other databases."""
    if isinstance(url, str) and (faults := list(url_faults(url))):
        raise ConfigError([f"store.url: {fault}" for fault in faults])
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == SQLITE:
        return parsed.set(drivername="sqlite+aiosqlite")
    return parsed.set(
        drivername="postgresql+asyncpg",
        username=parsed.username or user or _system_user(),
        password=parsed.password or password,
    )


def _system_user() -> str | None:
    """The user of the database; None if the environment names one for the driver. Raises ConfigError without a user."""
    if os.environ.get("PGUSER"):
        return None
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError(["store.user: missing; this user of the system has no name either"]) from None


def migrations_dir() -> Path:
    """The folder of the migrations: in the installed package if it is there, else at the top of the source tree."""
    installed = Path(str(importlib.resources.files("inspector"))) / "_data" / "migrations"
    if installed.is_dir():
        return installed
    return Path(__file__).parents[2] / "migrations"


async def upgrade(database: Database) -> None:
    """Bring the database to `SCHEMA_REVISION` in one transaction, unless it is there already. All rows are kept."""
    path = database.path
    if path is not None:
        with translated():
            make_folder(path.parent)
            database.check_file()
            # The group may write if the umask allows it, because a person's enrolment and the service share the file.
            path.touch(mode=0o660, exist_ok=True)
    async with database.writing() as connection:
        await connection.run_sync(_run_migrations)


async def ensure_schema(database: Database) -> None:
    """Bring SQLite to `SCHEMA_REVISION`, with a new file if needed. Only check PostgreSQL: a plant upgrades by hand.

    Raises SchemaOutdated if PostgreSQL is at another revision or a SQLite file was made by newer software, and
    DatabaseUnusable if the file is no database.
    """
    path = database.path
    database.check_place()
    if path is not None and not (path.is_file() and await database.revision() == SCHEMA_REVISION):
        await upgrade(database)
    await database.check_schema()


def _run_migrations(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config as AlembicConfig
    from alembic.util import CommandError

    settings = AlembicConfig()
    settings.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except CommandError as error:
        raise SchemaOutdated(
            f"The database can't be upgraded by this software ({error}); install the software that made it."
        ) from error


def _stored_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _connect_arguments(url: sa.URL, tls: ssl.SSLContext | bool | None) -> dict[str, Any]:
    """asyncpg's arguments beside host, user and database. asyncpg has other names for the URL's parameters."""
    wanted = {name: str(value) for name, value in url.query.items()}
    arguments: dict[str, Any] = {
        "timeout": float(wanted.pop("connect_timeout", CONNECT_TIMEOUT_S)),
        "command_timeout": COMMAND_TIMEOUT_S,
    }
    if (name := wanted.pop("application_name", None)) is not None:
        arguments["server_settings"] = {"application_name": name}
    if (folder := wanted.pop("host", None)) is not None:
        arguments["host"] = folder
    if tls is not None:
        arguments["ssl"] = tls
    return arguments | {name: int(value) for name, value in wanted.items()}  # sizes of caches


def _engine(url: sa.URL, connections: int, tls: ssl.SSLContext | bool | None) -> AsyncEngine:
    kept = min(KEPT_CONNECTIONS, connections)
    options: dict[str, Any] = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": _from_json,
        "pool_timeout": CONNECT_TIMEOUT_S,
        "pool_size": kept,
        "max_overflow": connections - kept,
    }
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url.set(query={}), connect_args=_connect_arguments(url, tls), **options)
    return create_async_engine(url, connect_args=connect_arguments(), **options)


def _from_json(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        raise RowDamaged(
            f"A row of the database holds {text!r:.60} where a document in JSON belongs; mend it there, or restore the "
            "database from a backup."
        ) from None
