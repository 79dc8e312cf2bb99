"""Translates database errors for the operator: the database is unavailable, of another version, or unusable.

It is based on the messages of SQLite and the error classes of PostgreSQL. Each translation is one sentence.
"""

from __future__ import annotations

import sqlite3
import ssl
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from inspector.errors import DatabaseReadOnly, DatabaseUnusable, InspectorError, LedgerUnavailable, SchemaOutdated

_SQLITE_SENTENCES: Final = {
    "locked": "The database is locked by another process; end whatever holds it open.",
    "disk is full": "The disk of the database is full; free some space.",
    "disk i/o": "The disk of the database reports errors; check it before it loses more.",
    "unable to open": "The database file can't be opened; check that its folder exists and may be written.",
}
_READ_ONLY_SENTENCE: Final = (
    "{file} can't be written; check the owner and permissions of it, and of the files of this name with -wal and -shm."
)
_UNUSABLE_SENTENCES: Final = {
    "malformed": "{file} is damaged; restore it from a backup.",
    "not a database": "{file} is not a SQLite database; move it away, or check store.url.",
}
_OUTDATED_WORDS: Final = ("no such table", "no such column", "has no column named")
_OUTDATED_STATES: Final = ("42P01", "42703")  # undefined table, undefined column
_OF_ANOTHER_NAME: Final = (62, 64)  # OpenSSL: the certificate is for another host, for another address
_CERTIFICATE_REASONS: Final = {10: "has expired", 9: "is not valid yet by this machine's clock"}
"""Reasons by OpenSSL's number of the error."""

_ACCESS_SENTENCES: Final = {
    ("no encryption", "SSL off"): "The database server takes no connection without TLS; set store.tls = true.",
    ("valid client certificate",): "The database server wants a certificate of this agent; set store.cert_file.",
    ("no pg_hba.conf entry",): "The database server's pg_hba.conf has no entry for this user and machine; add one.",
}
"""Sentences by words in the message of SQLSTATE 28000. A wrong user gets the same code."""

_SQLSTATE_SENTENCES: Final = {
    "28": "The database refuses this user or password; check store.user and store.password_secret.",
    "3D": "The server has no database of that name; create it or check store.url.",
    "53100": "The disk of the database server is full; free some space.",
    "53": "The database server has no connection or memory left for this agent.",
    "25006": "The database server takes no writes (it is a read-only standby); check store.url.",
    "55P03": "The table of results is locked by somebody else; end the session that holds it.",
    "57": "The database server is shutting down or starting up.",
    "42501": "The database user lacks a permission; grant it on all tables of the schema.",
}


def explain(error: Exception, path: Path | None = None) -> InspectorError:
    """The error for the operator: SchemaOutdated if tables or columns are missing, else LedgerUnavailable.

    For a SQLite file `path` it is DatabaseReadOnly if the file can't be written, and DatabaseUnusable if it is damaged
    or is no database; both are LedgerUnavailable.
    """
    if isinstance(error, PoolTimeout):
        return LedgerUnavailable("The database does not answer: all connections are busy.")
    foreign = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(foreign).split())
    if (sentence := _tls_sentence(foreign, text)) is not None:
        return LedgerUnavailable(sentence)
    state = _sqlstate(foreign)
    if state in _OUTDATED_STATES or any(word in text for word in _OUTDATED_WORDS):
        return SchemaOutdated(f"The database's tables are of another version ({text}); run `inspector db upgrade`.")
    if isinstance(foreign, sqlite3.Error):
        lowered = text.lower()
        file = f"The database file {path or ''}".strip()
        if "readonly" in lowered:
            return DatabaseReadOnly(_READ_ONLY_SENTENCE.format(file=file))
        for word, sentence in _UNUSABLE_SENTENCES.items():
            if word in lowered:
                return DatabaseUnusable(sentence.format(file=file))
        for word, sentence in _SQLITE_SENTENCES.items():
            if word in lowered:
                return LedgerUnavailable(sentence)
    if is_sequence_behind(foreign):
        return LedgerUnavailable(
            f"A sequence of the database lies behind its rows, as after a restore ({text}); set it by setval."
        )
    for length in (5, 2):
        if (known := _SQLSTATE_SENTENCES.get((state or "")[:length])) is not None:
            return LedgerUnavailable(known)
    return LedgerUnavailable(f"The database does not answer: {text or type(foreign).__name__}.")


def _tls_sentence(error: BaseException, text: str) -> str | None:
    """A sentence about TLS between the agent and PostgreSQL; None if TLS is not the cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OF_ANOTHER_NAME:
            return "The database server shows a certificate of another name; write that name in store.url."
        reason = _CERTIFICATE_REASONS.get(error.verify_code, f"is not trusted ({error.verify_message})")
        return f"The certificate of the database server {reason}; check store.ca_file."
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no reason given").lower().replace("_", " ")
        return f"The database server and this agent do not agree on TLS ({reason}); check the store's TLS keys."
    if "rejected SSL upgrade" in text:
        return "The database server speaks no TLS; turn it on there, or set store.tls = false."
    if _sqlstate(error) == "28000":
        for words, sentence in _ACCESS_SENTENCES.items():
            if any(word in text for word in words):
                return sentence
    return None


def is_refused_row(error: Exception) -> bool:
    """Whether a working database refused the row for a value or a constraint (SQLSTATE class 22 or 23)."""
    foreign = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(foreign, sqlite3.IntegrityError | sqlite3.DataError):
        return True
    return (_sqlstate(foreign) or "")[:2] in ("22", "23") and not is_sequence_behind(foreign)


def is_sequence_behind(foreign: BaseException) -> bool:
    """Whether a PostgreSQL sequence gave a number that another row has already. A retry advances the sequence."""
    return _sqlstate(foreign) == "23505" and '"pk_' in str(foreign)


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None
