"""Writes names from outside in a form that any terminal, database and JSON reader can take.

A file name on Linux is bytes, not text. Python represents bytes that are not UTF-8 as lone surrogates, which no
database and no UTF-8 file takes.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_BYTES_AS_SURROGATES: Final = range(0xDC80, 0xDD00)


def printable(text: str) -> str:
    r"""`text` with all unprintable characters as Python's escapes: `gr\xf6sse.png`, `a\n.png`, `\\`.

    Two different texts never become the same one.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_spelled(char) for char in text)


def _spelled(char: str) -> str:
    if char == "\\":
        return r"\\"
    number = ord(char)
    if number in _BYTES_AS_SURROGATES:
        return f"\\x{number - 0xDC00:02x}"  # a byte of the name, as `os.fsencode` returns it
    if unicodedata.category(char) not in _UNFIT:
        return char
    # Latin-1's control characters take the long form: the short one means a byte here.
    return char.encode("unicode_escape").decode("ascii") if number < 0x80 or number > 0xFF else f"\\u{number:04x}"
