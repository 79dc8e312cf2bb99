"""INSERT with ON CONFLICT, which SQLAlchemy has for each dialect by itself, with the same methods."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: sa.Table, dialect: str) -> Any:
    """An INSERT into `table` for the database of this dialect: `sqlite` or `postgresql`."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)
