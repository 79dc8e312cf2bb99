"""Text from outside as a terminal may show it: what would move its cursor or turn its letters around is spelt out.

File names, imported names and messages of brokers and databases hold whatever somebody wrote there.
"""

from __future__ import annotations

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # bidirectional controls, other lines, no width
    "\ud800-\udfff]"  # lone surrogates: bytes of a file name that are not UTF-8
)
_LAYOUT: Final = "\n\t"


def visible(text: str, *, keeps_layout: bool = False) -> str:
    """The text with each control character as Python writes it, for example \\x1b; a byte that is no text as \\xff.

    `keeps_layout`: line ends and tabs stay, for text of several lines of our own. The result stays as it is when it
    is passed in again.
    """
    return _UNSEEN.sub(lambda match: _written(match[0], keeps_layout), text)


def _written(char: str, keeps_layout: bool) -> str:
    if keeps_layout and char in _LAYOUT:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries the byte in a file's name
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
