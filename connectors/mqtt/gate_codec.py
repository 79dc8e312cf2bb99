"""Encodes the gate's messages as bytes: whole unsigned numbers, ASCII, fixed key order, at most 128 bytes.

Pure. PLCs parse these messages with a handful of string functions, so the form must never change. New codes are
only added at the end of a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import orjson

from inspector.domain import Action, Cause, Decision, GateAction

VERSION: Final = 1
MOST_BYTES: Final = 128
LARGEST: Final = 2**63 - 1
"""Largest number that is accepted from a PLC, which is the largest integer of the store."""

ACTION_CODES: Final[Mapping[Action, int]] = MappingProxyType(
    {Action.NONE: 0, Action.PASS: 1, Action.REJECT: 2, Action.QUARANTINE: 3}
)
CAUSE_CODES: Final[Mapping[Cause, int]] = MappingProxyType(
    {
        Cause.OK: 0,
        Cause.ANOMALY: 1,
        Cause.UNKNOWN_PRODUCT: 2,
        Cause.WRONG_PRODUCT: 3,
        Cause.UNDECODABLE: 4,
        Cause.SCORER_ERROR: 5,
        Cause.NO_TRIGGER_ID: 6,
        Cause.NOT_RELEASED: 7,
        Cause.FRAME_HEALTH: 8,
        Cause.LATE: 9,
        Cause.OVERLOAD: 10,
        Cause.VIEW_MISSING: 11,
        Cause.NOT_RECEIVED: 12,
        Cause.BYPASS: 13,
    }
)
"""The number of each cause. Append-only, because existing PLC programs rely on the numbers."""

HEARTBEAT_KEYS: Final = ("ready", "fault", "hb", "mode", "ep")
_ACTION_LIMITS: Final = MappingProxyType(
    {"v": (1, 1), "ep": (0, LARGEST), "trig": (0, LARGEST), "act": (0, 3), "src": (1, 4), "done": (0, 1)}
)


def encode_decision(decision: Decision, left_ns: int) -> bytes:
    """The payload of a decision. `left_ns` is the time left until `act_before`; it is rounded down to milliseconds."""
    return _encode(
        {
            "v": VERSION,
            "ep": decision.epoch,
            "trig": decision.trigger_id,
            "act": ACTION_CODES[decision.action],
            "code": CAUSE_CODES[decision.cause],
            "left_ms": left_ns // 1_000_000,
        }
    )


def expiry_s(left_ns: int) -> int:
    """Message expiry for MQTT 5, in whole seconds and at least 1. It is too coarse to keep a late decision back."""
    return max(1, math.ceil(left_ns / 1_000_000_000))


def encode_heartbeat(payload: Mapping[str, int]) -> bytes:
    """The payload of a heartbeat, with its keys in the contract's order. Raises KeyError if one is missing."""
    return _encode({"v": VERSION, **{key: payload[key] for key in HEARTBEAT_KEYS}})


def parse_action(gate: str, payload: bytes, received_at: datetime) -> GateAction:
    """The PLC's report on one part. Raises ValueError for a payload that is not exactly of the contract's form."""
    if len(payload) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    table = orjson.loads(payload)  # its JSONDecodeError is a ValueError
    if not isinstance(table, dict) or table.keys() != _ACTION_LIMITS.keys():
        raise ValueError(f"its keys are not {', '.join(_ACTION_LIMITS)}")
    for key, (least, most) in _ACTION_LIMITS.items():
        number = table[key]
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"{key} is not a whole number from {least} to {most}")
    return GateAction(gate, table["ep"], table["trig"], table["act"], table["src"], table["done"], received_at)


def _encode(table: Mapping[str, int]) -> bytes:
    for key, number in table.items():
        if number < 0:
            raise ValueError(f"{key} would be negative on the wire")
    return ("{" + ",".join(f'"{key}":{int(number)}' for key, number in table.items()) + "}").encode("ascii")
