"""Reads text from outside as editors on any system write it, and shows it without effect on the terminal. Pure.

File names, imported names and messages of brokers and databases may hold any characters. Characters that would move a
terminal's cursor or reverse its text are spelt out.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Final

_WIDE: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_FORMAT: Final = (
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f"
)
"""Characters that order, join or hide others: bidirectional controls, other lines, no width, tags (Cf, Zl and Zp)."""

_SURROGATES: Final = "\ud800-\udfff"
"""Alone they are bytes of a file name that are not UTF-8."""

_UNSEEN: Final = re.compile(f"[\x00-\x1f\x7f-\x9f{_FORMAT}{_SURROGATES}]")
_UNDRIVEN: Final = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f{_FORMAT}{_SURROGATES}]")
"""The same without what this project's own tables and bars drive a terminal by: line ends, tabs and escapes."""

_LAYOUT: Final = "\n\t"

MOST_TEXT_BYTES: Final = 4 * 1024 * 1024
"""Of a file that a person wrote. Readers take one byte more, so that a device or a huge file fills no memory."""


def decoded(content: bytes) -> str:
    """The text of UTF-8 without its byte-order mark. Raises ValueError, which says how to save the file.

    Of more than `MOST_TEXT_BYTES` nothing is looked at.
    """
    if len(content) > MOST_TEXT_BYTES:
        raise ValueError(f"it has more than {MOST_TEXT_BYTES >> 20} MiB; name the right file")
    if content.startswith(_WIDE) or _looks_wide(content):
        raise ValueError("it is written in UTF-16 or UTF-32; save it as UTF-8")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} holds bytes that are not UTF-8; save it as UTF-8") from None


def _looks_wide(content: bytes) -> bool:
    """Whether the bytes look like UTF-16 without its mark: in mostly ASCII text every other byte is zero."""
    start = content[:64]
    return len(start) >= 4 and (not any(start[0::2]) or not any(start[1::2]))


def visible(text: str, *, keeps_layout: bool = False) -> str:
    """The text with each control character as Python writes it, for example \\x1b; a byte that is not UTF-8 as \\xff.

    `keeps_layout`: line ends and tabs stay, for this project's own texts of several lines. A result that is passed in
    again stays the same.
    """
    return _UNSEEN.sub(lambda match: _written(match[0], keeps_layout), text)


def undriven(text: str) -> str:
    """Text that is ready for a terminal, colours and all, with every other control character spelt out.

    The last of two nets: what holds an escape from outside must have passed `visible` before.
    """
    return _UNDRIVEN.sub(lambda match: _written(match[0], keeps_layout=False), text)


def escaped_json(document: str) -> str:
    """The same JSON document with every character that a terminal may obey in its escaped form."""
    return _UNSEEN.sub(lambda match: _written_in_json(match[0]), document)


def _written_in_json(char: str) -> str:
    if char in _LAYOUT:
        return char
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"  # which JSON takes as it is


def _written(char: str, keeps_layout: bool) -> str:
    if keeps_layout and char in _LAYOUT:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python represents this byte in a file's name
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
