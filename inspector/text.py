"""Reads text from outside as editors on any system write it, and shows it without effect on the terminal. Pure.

File names, imported names and messages of brokers and databases may hold any characters. Characters that would move a
terminal's cursor or reverse its text are spelt out.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_WIDE: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # bidirectional controls, other lines, no width
    "\ud800-\udfff]"  # lone surrogates: bytes of a file name that are not UTF-8
)
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


def _written(char: str, keeps_layout: bool) -> str:
    if keeps_layout and char in _LAYOUT:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python represents this byte in a file's name
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
