"""Values as cells of a CSV file that a person may open in a spreadsheet."""

from __future__ import annotations

from typing import Any, Final

from inspector.domain import printable

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> Any:
    """The value as a cell. Text that a spreadsheet would run as a formula, as a camera may send, gets an apostrophe."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
