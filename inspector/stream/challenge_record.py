"""The one JSON form of a golden challenge, in replies and for people's scripts. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inspector.domain import Challenge
from inspector.stream.verdict_record import plain


def challenge_record(challenge: Challenge) -> dict[str, Any]:
    """A challenge for replies and for the terminal's JSON. All keys are always there."""
    return {
        "challenge_id": plain(challenge.challenge_id),
        "gate": challenge.gate,
        "agent": plain(challenge.agent),
        "by": plain(challenge.by),
        "reason": plain(challenge.reason),
        "begun": plain(challenge.begun),
        "ended": plain(challenge.ended),
        "within_s": challenge.within_s,
        "product": plain(challenge.product),
        "version": challenge.version,
        "expected": [_plain_table(master) for master in challenge.expected],
        "seen": [_plain_table(seen) for seen in challenge.seen],
        "acks": [_plain_table(ack) for ack in challenge.acks],
        "result": challenge.result.value,
        "detail": plain(challenge.detail),
    }


def _plain_table(part: Any) -> dict[str, Any]:
    return {name: plain(value) for name, value in asdict(part).items()}
