"""Reads the members of a JSON object one by one from bytes, up to the first unreadable place. Pure.

This reader is for messages that a strict parser refuses: truncated ones, a NaN in a key that nobody needs,
line breaks inside a string, bytes that are not UTF-8. Nested values are not built and no text is copied, so
a message takes no more memory than its own bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]++")
_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(["\[\]{}])')
_PADDING: Final = re.compile(rb"[ \t\r\n\0]*+")

MOST_MEMBERS: Final = 1000
MOST_BRACKETS: Final = 10_000
"""Most brackets and strings of nested values that are skipped in one message; more would delay other frames."""

LONGEST_KEY: Final = 256


@dataclass(slots=True)
class Members:
    """One pass over the members of `source`. `is_whole`: the object was read to its end, and nothing follows it."""

    source: bytes
    is_whole: bool = False
    _brackets: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Each key with the bytes of its value, up to the first place that can't be read."""
        at = self._after_space(0)
        if self.source[at : at + 1] != b"{":
            return
        at = self._after_space(at + 1)
        for _ in range(MOST_MEMBERS):
            if self.source[at : at + 1] == b"}":
                padding = _PADDING.match(self.source, at + 1)
                self.is_whole = padding is not None and padding.end() == len(self.source)
                return
            name = _TEXT.match(self.source, at)
            if name is None:
                return
            at = self._after_space(name.end())
            if self.source[at : at + 1] != b":":
                return
            start = self._after_space(at + 1)
            end = self._end_of_value(start)
            if end is None:
                return
            key = text_of(name[0]) if len(name[0]) <= LONGEST_KEY else None
            if key is not None:
                yield key, self.source[start:end]
            at = self._after_space(end)
            if self.source[at : at + 1] == b",":
                at = self._after_space(at + 1)
            elif self.source[at : at + 1] != b"}":
                return

    def _after_space(self, at: int) -> int:
        space = _SPACE.match(self.source, at)
        return at if space is None else space.end()

    def _end_of_value(self, start: int) -> int | None:
        """The position where the value that begins at `start` ends; None if the value has no end."""
        if self.source[start : start + 1] in (b"{", b"["):
            return self._end_of_nested(start)
        value = _TEXT.match(self.source, start) or _SCALAR.match(self.source, start)
        return None if value is None else value.end()

    def _end_of_nested(self, start: int) -> int | None:
        depth, at = 0, start
        while self._brackets < MOST_BRACKETS:
            self._brackets += 1
            found = _BRACKET.match(self.source, at)
            if found is None:
                return None
            at = found.end()
            if found[1] == b'"':
                text = _TEXT.match(self.source, at - 1)
                if text is None:
                    return None
                at = text.end()
            elif found[1] in b"[{":
                depth += 1
            else:
                depth -= 1
                if depth == 0:
                    return at
        return None


def text_of(quoted: bytes) -> str | None:
    """The text between the quotes, with its escapes resolved; None if it is not UTF-8 or has an invalid escape."""
    try:
        text = json.loads(quoted.decode(), strict=False)
    except ValueError:  # also UnicodeDecodeError
        return None
    return text if isinstance(text, str) else None
