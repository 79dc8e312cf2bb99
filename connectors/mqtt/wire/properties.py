"""Reads the texts of MQTT 5 properties as they come.

paho refuses a whole packet where one text of one property holds a NUL, a byte order mark or bytes that are
not UTF-8, and hangs up: the frame comes again, and is refused again. Which names matter is not known down
here, so every text is taken; `stream.envelope` judges those of the contract.
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
    """From now on every connection of this process reads texts as described above."""
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
    """Where the text that begins with its length at `start` ends; None where that is past the properties."""
    end = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
    return end if start + 2 <= size and end <= size else None


def _text(content: bytes) -> str:
    """What is not UTF-8 becomes lone surrogates, which no value of the contract may hold."""
    return bytes(content).decode("utf-8", "surrogateescape")
