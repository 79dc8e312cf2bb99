"""The gate's messages as `docs/gate.md` describes them, read strictly.

Pure, and written from that page alone: nothing is shared with the agent's own codec, so that a slip there shows here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 128
PASS, REJECT, QUARANTINE = 1, 2, 3
BY_DECISION, BY_DEFAULT = 1, 2

ACTIONS: Final = {0: "none", PASS: "pass", REJECT: "reject", QUARANTINE: "quarantine"}
CAUSES: Final = (
    "ok",
    "anomaly",
    "unknown_product",
    "wrong_product",
    "undecodable",
    "scorer_error",
    "no_trigger_id",
    "not_released",
    "frame_health",
    "late",
    "overload",
    "view_missing",
    "not_received",
    "bypass",
)
"""The cause of each `code`, in the order of the page's table."""

_NUMBER = rb"(0|[1-9]\d*)"
_DECISION = re.compile(
    rb'\{"v":1,"ep":%b,"trig":%b,"act":([0-3]),"code":%b,"left_ms":%b\}' % (_NUMBER, _NUMBER, _NUMBER, _NUMBER)
)
_HEARTBEAT = re.compile(rb'\{"v":1,"ready":([01]),"fault":%b,"hb":%b,"mode":([1-5]),"ep":%b\}' % ((_NUMBER,) * 3))


@dataclass(frozen=True, slots=True)
class Decision:
    epoch: int
    trigger: int
    action: int
    code: int
    left_ms: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    is_ready: bool
    fault: int
    count: int
    mode: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Ack:
    epoch: int
    trigger: int
    action: int
    source: int
    done: int

    def payload(self) -> bytes:
        return (
            f'{{"v":1,"ep":{self.epoch},"trig":{self.trigger},"act":{self.action},'
            f'"src":{self.source},"done":{self.done}}}'
        ).encode("ascii")


def cause_of(code: int) -> str:
    """The page's word for a code; a number that was added later stands for itself."""
    return CAUSES[code] if code < len(CAUSES) else str(code)


def read_decision(payload: bytes) -> Decision | None:
    """None for anything that is not exactly the page's form."""
    match = _DECISION.fullmatch(payload) if len(payload) <= MOST_BYTES else None
    return None if match is None else Decision(*map(int, match.groups()))


def read_heartbeat(payload: bytes) -> Heartbeat | None:
    """None for anything that is not exactly the page's form."""
    match = _HEARTBEAT.fullmatch(payload) if len(payload) <= MOST_BYTES else None
    if match is None:
        return None
    ready, fault, count, mode, epoch = map(int, match.groups())
    return Heartbeat(ready == 1, fault, count, mode, epoch)
