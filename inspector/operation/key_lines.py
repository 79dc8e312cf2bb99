"""Reads the public key of another plant: one line in a small file, or on standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from inspector.domain import printable
from inspector.errors import UsageError
from inspector.text import decoded
from inspector.vision.artifacts.envelope import read_bounded

MOST_LINE_BYTES: Final = 4096


def read_key_line(path: Path) -> str:
    """The text of the file; of standard input for "-". Raises UsageError."""
    try:
        if str(path) == "-":
            return decoded(sys.stdin.buffer.read(MOST_LINE_BYTES))
        return decoded(read_bounded(path, MOST_LINE_BYTES))
    except ValueError as error:
        raise UsageError(f"{printable(str(path))} can't be read: {error}.") from error
