"""Reads the texts of MQTT 5 properties without refusing any.

If one text of one property holds a NUL, a byte order mark or bytes that are not UTF-8, paho refuses the whole packet
and hangs up. The broker then sends the frame again, and paho refuses it again. This module does not know which names
matter, so it accepts every text; `stream.envelope` checks the names of the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

STRICT_READING: Final[Callable[..., tuple[Any, int]]] = Properties.readProperty
"""How paho reads a property by itself."""

_TYPES: Final = list(Properties(PacketTypes.PUBLISH).types)  # type: ignore[no-untyped-call]  # untyped in paho
_TEXT: Final = _TYPES.index("UTF-8 Encoded String")
_PAIR: Final = _TYPES.index("UTF-8 String Pair")


def ensure_texts_are_taken() -> None:
    """Make every connection of this process read texts as described above."""
    if Properties.readProperty is STRICT_READING:
        Properties.readProperty = _read_property  # type: ignore[method-assign]  # paho has no place to hook it in


def _read_property(self: Properties, buffer: bytes, kind: int, size: int) -> tuple[Any, int]:
    if kind == _TEXT and (end := _end_of_text(buffer, 0, size)) is not None:
        return _text(buffer[2:end]), end
    if kind == _PAIR and (end := _end_of_text(buffer, 0, size)) is not None:
        second = _end_of_text(buffer, end, size)
        if second is not None:
            return (_text(buffer[2:end]), _text(buffer[end + 2 : second])), second
    return STRICT_READING(self, buffer, kind, size)


def _end_of_text(buffer: bytes, start: int, size: int) -> int | None:
    """The end of the text whose length field is at `start`; None if it lies past the end of the properties."""
    end = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
    return end if start + 2 <= size and end <= size else None


def _text(content: bytes) -> str:
    """The text, with lone surrogates for bytes that are not UTF-8. No value of the contract may hold those."""
    return bytes(content).decode("utf-8", "surrogateescape")
