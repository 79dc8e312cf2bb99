"""The text of a file as editors on any system write it. Pure."""

from __future__ import annotations

import codecs
from typing import Final

_WIDE: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decoded(content: bytes) -> str:
    """The text of UTF-8 without its byte-order mark. Raises ValueError, which says how to save the file."""
    if content.startswith(_WIDE) or _looks_wide(content):
        raise ValueError("it is written in UTF-16 or UTF-32; save it as UTF-8")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} holds bytes that are not UTF-8; save it as UTF-8") from None


def _looks_wide(content: bytes) -> bool:
    """UTF-16 without its mark: in texts of mostly ASCII every other byte is zero."""
    start = content[:64]
    return len(start) >= 4 and (not any(start[0::2]) or not any(start[1::2]))
