"""Opens the database of a configuration, and the registry of products in it.

A SQLite database that is there is migrated on the way, as the agent does it. One that is not there is made only for a
caller that has something to put into it: for a reader it is a mistyped path. A PostgreSQL database at another revision
is refused with a sentence that says which command to run.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

# The clock alone: the composition root beside it loads whatever a running agent needs.
from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.errors import DatabaseUnusable, StateUnusable
from inspector.operation.user import current_user
from inspector.store.database import Database, configured, ensure_schema
from inspector.store.registry.registry import SqlRegistry


def shown_url(database: Database) -> str:
    """Which database it is, for people: the file, or the URL without its password."""
    return str(database.path) if database.path else database.url.render_as_string(hide_password=True)


def has_file(database: Database) -> bool:
    """Whether the SQLite file exists; always true for PostgreSQL.

    Raises StateUnusable where its folder is closed to this user, DatabaseUnusable where the path is a folder.
    """
    try:
        database.check_place()
        return database.path is None or database.path.is_file()
    except PermissionError:
        raise StateUnusable(
            f"The database {database.path} is in a folder that is closed to {current_user()}; run this as its owner."
        ) from None


@contextlib.asynccontextmanager
async def database_of(config: Config, *, creates: bool = False) -> AsyncIterator[Database]:
    """The database at this software's revision. Raises LedgerUnavailable, SchemaOutdated or StateUnusable.

    Raises DatabaseUnusable for a SQLite file that is not there, unless the caller `creates` it.
    """
    async with configured(config) as database:
        if not has_file(database) and not creates:
            raise DatabaseUnusable(
                f"There is no database {database.path}: check store.url and --config; "
                "`inspector run`, `inspector enroll` and `inspector db upgrade` make a new one."
            )
        await ensure_schema(database)
        yield database


@contextlib.asynccontextmanager
async def registry_of(config: Config, *, creates: bool = False) -> AsyncIterator[SqlRegistry]:
    """The registry of products in that database. Raises as `database_of`."""
    async with database_of(config, creates=creates) as database, SqlRegistry(database, SystemClock()) as registry:
        yield registry
