"""The head of the audit's chain as a file or a message, so that it can be kept where the database can't reach."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from inspector.errors import UsageError
from inspector.files import make_folder, read_regular, write_whole
from inspector.store.audit import AuditHead
from inspector.stream.verdict_record import format_time

SCHEMA: Final = 1
MOST_BYTES: Final = 4096


def head_document(head: AuditHead) -> dict[str, Any]:
    """The head as JSON has it: in a file, and as `audit` of an agent's state topic."""
    return {
        "schema": SCHEMA,
        "at": format_time(head.at),
        "entries": head.entries,
        "seq": head.seq,
        "hash": head.hash,
        "sealed": head.is_sealed,
    }


def head_of(content: bytes) -> AuditHead:
    """The head in a document. Raises UsageError for anything else."""
    try:
        table = orjson.loads(content)
        head = AuditHead(datetime.fromisoformat(table["at"]), table["entries"], table["seq"], table["hash"])
        is_whole = table["schema"] == SCHEMA and head.at.tzinfo is not None and isinstance(head.hash, str)
        is_whole = is_whole and all(type(number) is int and 0 <= number < 2**63 for number in (head.entries, head.seq))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        is_whole = False
    if not is_whole:
        raise UsageError("This is no head of the audit; name a file that `inspector audit head FILE` wrote.")
    return head


def read_head(path: Path) -> AuditHead:
    """The head in a file. Raises UsageError if there is none that can be read."""
    try:
        content = read_regular(path, MOST_BYTES, follows_links=True)
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}); name a file of `inspector audit head`.") from error
    return head_of(content)


def write_head(path: Path, head: AuditHead) -> None:
    """Put the head into a file, whole or not at all; a link in its place is replaced and not followed."""
    try:
        make_folder(path.parent)
        write_whole(path, orjson.dumps(head_document(head)) + b"\n", durable=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}); name a file of your own.") from error
