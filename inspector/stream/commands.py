"""Commands of a person or a MES to a line, read from the payload of a command topic. Pure.

The payload is `{"v":1,"cmd_id":"...","sent_at":"...","by":"...","reason":"...", ...}`. A command with an unknown key
is refused: the key may be mistyped, and the command would then be obeyed without it. So is one with
a key that comes twice. Each refusal is one sentence for
the reply.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from inspector.config.section import NAME_PATTERN
from inspector.domain import CommandName, CommandRequest, GateMode, Master, Outcome, printable
from inspector.errors import CommandRefused
from inspector.stream.rfc_3339 import parse_rfc_3339

VERSION: Final = 1
MOST_BYTES: Final = 4096
LONGEST_TEXT: Final = 128
LONGEST_REASON: Final = 500
LARGEST_TRIGGER: Final = 2**63 - 1
MOST_MASTERS: Final = 50
LONGEST_CHALLENGE_S: Final = 3600
FORM: Final = "form"
TIME: Final = "time"
REPEATED: Final = "repeated"
USED_BEFORE: Final = "Its cmd_id was used before; each command needs one of its own."
NO_CHALLENGE: Final = (
    "The command golden is a challenge and needs good, bad and within_s; to show reference parts without one, send "
    "the command mode with the mode golden."
)

_COMMON: Final = frozenset({"v", "cmd_id", "sent_at", "by", "reason", "gate", "camera", "key", "hmac"})
_OWN: Final[dict[CommandName, frozenset[str]]] = {
    CommandName.JOB: frozenset({"job_id", "lot", "product", "effective_from_trig"}),
    CommandName.MODE: frozenset({"mode", "expires_at"}),
    CommandName.RESYNC: frozenset(),
    CommandName.GOLDEN: frozenset({"product", "good", "bad", "within_s", "good_parts", "bad_parts"}),
    CommandName.RELEASE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Command:
    """A well-formed command. `owner` names a gate or a camera without a gate; None means all of the agent's.

    `key` names the key that the command says it is signed with, which is not checked here. `masters`: the reference
    parts of the command `golden`, in their order. `job_id` None ends the current job.
    `from_trigger` None means from the next part on.
    """

    name: CommandName
    cmd_id: str
    sent_at: datetime
    by: str
    reason: str
    owner: str | None = None
    mode: GateMode | None = None
    expires_at: datetime | None = None
    job_id: str | None = None
    lot: str | None = None
    product: str | None = None
    from_trigger: int | None = None
    masters: tuple[Master, ...] = ()
    within_s: float | None = None
    key: str | None = None


def read(request: CommandRequest) -> Command:
    """The command in a payload. Raises CommandRefused for a payload that is not a well-formed command."""
    try:
        return _command(request)
    except CommandRefused as refusal:
        raise CommandRefused(str(refusal), FORM) from None


def _command(request: CommandRequest) -> Command:
    table = _table(request)
    gate, camera = _name(table, "gate"), _name(table, "camera")
    if gate is not None and camera is not None:
        raise CommandRefused("It names a gate and a camera; name one of them, or neither for all of the line.")
    return Command(
        name=request.name,
        cmd_id=_text(table, "cmd_id"),
        sent_at=_time(table, "sent_at"),
        by=_text(table, "by"),
        reason=_text(table, "reason", LONGEST_REASON),
        owner=gate or camera,
        mode=_mode(request.name, table),
        expires_at=_time(table, "expires_at") if table.get("expires_at") is not None else None,
        job_id=_text(table, "job_id") if table.get("job_id") is not None else None,
        lot=_text(table, "lot") if table.get("lot") is not None else None,
        product=_name(table, "product"),
        from_trigger=_trigger(table),
        masters=_masters(table) if request.name is CommandName.GOLDEN else (),
        within_s=_within(table) if request.name is CommandName.GOLDEN else None,
        key=_name(table, "key"),
    )


def check_time(command: Command, now: datetime, largest_age_s: float, longest_mode_h: float) -> None:
    """Raises CommandRefused for a command that is too old or from the future.

    Raises CommandRefused also for a mode that has expired, or that lasts longer than `longest_mode_h` from now.
    """
    age_s = (now - command.sent_at).total_seconds()
    if age_s > largest_age_s:
        raise CommandRefused(
            f"It was sent {age_s:.0f} s ago and has expired after {largest_age_s:g} s; send it under a new cmd_id.",
            TIME,
        )
    if age_s < -largest_age_s:
        raise CommandRefused(f"Its sent_at is {-age_s:.0f} s ahead of this agent's clock; set the clocks right.", TIME)
    if command.mode in (None, GateMode.AUTO):
        return
    if command.expires_at is None:
        raise CommandRefused(f"The mode {command.mode} needs expires_at, so that no line stays in it unnoticed.", FORM)
    if command.expires_at <= now:
        raise CommandRefused("Its expires_at is over already.", TIME)
    if command.expires_at > now + timedelta(hours=longest_mode_h):
        raise CommandRefused(
            f"Its expires_at is more than {longest_mode_h:g} h away, the longest that this agent takes "
            "(commands.max_mode_h); send an earlier one, and the command again before it is over.",
            TIME,
        )


def cmd_id_of(payload: bytes) -> str | None:
    """The id of a command that is otherwise unreadable, for the reply; None if the id is unreadable too."""
    try:
        table = orjson.loads(payload) if len(payload) <= MOST_BYTES else None
    except orjson.JSONDecodeError:
        return None
    cmd_id = table.get("cmd_id") if isinstance(table, dict) else None
    return cmd_id if isinstance(cmd_id, str) and len(cmd_id) <= LONGEST_TEXT and cmd_id.isprintable() else None


def _table(request: CommandRequest) -> dict[str, Any]:
    if len(request.payload) > MOST_BYTES:
        raise CommandRefused(f"It has more than {MOST_BYTES} bytes.")
    try:
        table = orjson.loads(request.payload)
    except orjson.JSONDecodeError:
        raise CommandRefused("It is not valid JSON.") from None
    if not isinstance(table, dict):
        raise CommandRefused("It is not a JSON object.")
    _ensure_once(request.payload)
    if type(table.get("v")) is not int or table["v"] != VERSION:
        raise CommandRefused(f"Its v is not {VERSION}, the only version this software reads.")
    if request.name is CommandName.GOLDEN and ("expires_at" in table or "good" not in table):
        raise CommandRefused(NO_CHALLENGE)
    known = _COMMON | _OWN[request.name]
    if strange := sorted(table.keys() - known):
        raise CommandRefused(f"The command {request.name} has no key {', '.join(strange)[:LONGEST_TEXT]}.")
    if request.name is CommandName.JOB and "job_id" not in table:
        raise CommandRefused("It has no job_id; null ends the job that runs.")
    return table


def _ensure_once(payload: bytes) -> None:
    """Raises CommandRefused where a key comes twice: readers take the first or the last, and people read either."""
    try:
        json.loads(payload.decode(), object_pairs_hook=_members)
    except (ValueError, RecursionError):
        raise CommandRefused("It is not valid JSON.") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise CommandRefused(f"Its key {printable(key)[:LONGEST_TEXT]} comes twice.")
        table[key] = value
    return table


def _mode(name: CommandName, table: dict[str, Any]) -> GateMode | None:
    if name is not CommandName.MODE:
        return None
    try:
        return GateMode(str(table.get("mode")))
    except ValueError:
        raise CommandRefused(f"Its mode is none of {', '.join(GateMode)}.") from None


def _text(table: dict[str, Any], key: str, longest: int = LONGEST_TEXT) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > longest or not value.isprintable():
        raise CommandRefused(f"Its {key} is not a text of 1 to {longest} printable characters.")
    return value


def _name(table: dict[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value):
        raise CommandRefused(f"Its {key} is not a name of letters, digits, '_', '.' and '-'.")
    return value


def _time(table: dict[str, Any], key: str) -> datetime:
    value = table.get(key)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return parse_rfc_3339(value)
    raise CommandRefused(f"Its {key} is not an RFC 3339 time with its offset, such as 2025-03-01T06:00:00Z.")


def _masters(table: dict[str, Any]) -> tuple[Master, ...]:
    """The reference parts: all good ones first, then all bad ones; or found by their part ids, in any order."""
    counts = {key: _count(table, key) for key in ("good", "bad")}
    named = {key: _part_ids(table, f"{key}_parts") for key in counts}
    if (named["good"] is None) != (named["bad"] is None):
        raise CommandRefused("It has good_parts or bad_parts; send both, or neither for parts that come in order.")
    masters: list[Master] = []
    for key, outcome in (("good", Outcome.PASS), ("bad", Outcome.REJECT)):
        ids = named[key]
        if ids is not None and len(ids) != counts[key]:
            raise CommandRefused(f"Its {key}_parts are {len(ids)} and its {key} is {counts[key]}; make them equal.")
        masters += [Master(outcome, part_id) for part_id in (ids if ids is not None else [None] * counts[key])]
    part_ids = [master.part_id for master in masters if master.part_id is not None]
    if len(set(part_ids)) < len(part_ids):
        raise CommandRefused("A part id comes twice in its good_parts and bad_parts.")
    return tuple(masters)


def _count(table: dict[str, Any], key: str) -> int:
    value = table.get(key)
    if type(value) is not int or not 1 <= value <= MOST_MASTERS:
        raise CommandRefused(f"Its {key} is not a whole number from 1 to {MOST_MASTERS}.")
    return value


def _part_ids(table: dict[str, Any], key: str) -> list[str] | None:
    if table.get(key) is None:
        return None
    values = table[key]
    if not isinstance(values, list):
        raise CommandRefused(f"Its {key} is not a list of part ids.")
    return [_text({key: value}, key) for value in values]


def _within(table: dict[str, Any]) -> float:
    value = table.get("within_s")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 <= float(value or 0) <= LONGEST_CHALLENGE_S:
        raise CommandRefused(f"Its within_s is not a number of seconds from 1 to {LONGEST_CHALLENGE_S}.")
    return float(value or 0)


def _trigger(table: dict[str, Any]) -> int | None:
    value = table.get("effective_from_trig")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= LARGEST_TRIGGER:
        raise CommandRefused("Its effective_from_trig is not a whole number from 0 on.")
    return value
