"""How rows of the audit are sealed: each with a hash over itself and the row before it, keyed where there is a key.

Without a key whoever can write to the database can make a whole new chain. A sealed row is `KEY:HMAC`, where KEY
names the key and not its content. After a sealed row comes no plain one, and after a newer key no older one. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import orjson

from inspector.errors import ConfigError
from inspector.stream.verdict_record import format_time

PLAIN: Final = -1
"""Rank of a row without a key; that of a sealed row is the place of its key among all keys, oldest first."""

_ID_CHARACTERS: Final = 8


@dataclass(frozen=True, slots=True)
class ChainKeys:
    """The keys of the chain, oldest first; new rows are sealed with the last one. Without a key they have plain hashes.

    `fault`: why the configured keys are not here. Then rows can be read, and none can be added.
    """

    keys: tuple[bytes, ...] = field(default=(), repr=False)
    fault: str | None = None

    @property
    def is_sealing(self) -> bool:
        return bool(self.keys)

    def ensure_there(self) -> None:
        """Raises ConfigError if the key is configured and not here, before something is done that needs it."""
        if self.fault is not None:
            raise ConfigError([f"{self.fault}; entries of the audit are sealed with it"])

    def seal(self, prev_hash: str, at: datetime, values: Sequence[str | None]) -> str:
        """The hash of a new row. Raises ConfigError if the key is configured and not here."""
        self.ensure_there()
        return _hash(self.keys[-1] if self.keys else None, prev_hash, at, values)

    def rank(self, sealed: str) -> int | None:
        """Which key a row is sealed with, by its place; PLAIN for none, None for a key that is not here."""
        named, colon, _ = sealed.partition(":")
        if not colon:
            return PLAIN
        return next((place for place, key in enumerate(self.keys) if _id(key) == named), None)

    def fits(self, sealed: str, prev_hash: str, at: datetime, values: Sequence[str | None]) -> bool:
        """Whether the hash is that of the row. A row of a key that is not here can't be told, and fits."""
        rank = self.rank(sealed)
        if rank is None:
            return True
        expected = _hash(None if rank == PLAIN else self.keys[rank], prev_hash, at, values)
        return hmac.compare_digest(expected, sealed)


def is_sealed(sealed: str) -> bool:
    """Whether a row's hash was made with a key."""
    return ":" in sealed


def _hash(key: bytes | None, prev_hash: str, at: datetime, values: Sequence[str | None]) -> str:
    content = orjson.dumps([prev_hash, format_time(at), *values])
    if key is None:
        return hashlib.sha256(content).hexdigest()
    return f"{_id(key)}:{hmac.digest(key, content, hashlib.sha256).hex()}"


def _id(key: bytes) -> str:
    """A name of the key, from which nobody finds the key."""
    return hashlib.sha256(b"inspector audit key\0" + key).hexdigest()[:_ID_CHARACTERS]
