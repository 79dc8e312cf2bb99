"""Who may command what: the commands that are taken at all, and the keys that they have to be signed with. Pure.

A signed command ends with `,"hmac":"`, 64 hexadecimal digits and `"}`. The digits are the HMAC-SHA-256 of the topic, a
line feed, and the bytes of the payload before that end. So a signature is of one topic, and nothing has to be parsed or
put into another order to check it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from inspector.config.trust_sections import ALL_COMMANDS
from inspector.domain import CommandName, CommandRequest
from inspector.errors import CommandRefused
from inspector.stream.commands import Command

NOT_SIGNED: Final = "unsigned"
NOT_ALLOWED: Final = "not_allowed"

_SIGNED: Final = re.compile(rb'(.*),"hmac":"([0-9a-f]{64})"\}\s*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class CommandKey:
    """A key of commands. `by`: the names that it may speak for; empty means any. `allow`: what it is good for."""

    name: str
    secret: bytes = field(repr=False)
    by: Collection[str] = ()
    allow: Collection[str] = ALL_COMMANDS


class CommandRights:
    """What an agent with this prefix takes. With keys, only what is signed with one of them."""

    def __init__(self, prefix: str, allow: Collection[str] = ALL_COMMANDS, keys: Sequence[CommandKey] = ()) -> None:
        self._prefix = prefix
        self._allow = frozenset(allow)
        self._keys = {key.name: key for key in keys}

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    def ensure(self, command: Command, request: CommandRequest) -> None:
        """Raises CommandRefused for a command that is not allowed, or that nobody with a key has signed."""
        key = self._signer(command, request) if self._keys else None
        for allow, where in ((self._allow, "commands.allow"), (key.allow if key else None, f"key {command.key}")):
            if allow is not None:
                _ensure_allowed(command, allow, where)

    def _signer(self, command: Command, request: CommandRequest) -> CommandKey:
        parts = _SIGNED.fullmatch(request.payload)
        if parts is None or command.key is None:
            raise CommandRefused(
                "It is not signed: it needs key, and hmac as its last key (docs/commands.md).", NOT_SIGNED
            )
        key = self._keys.get(command.key)
        signed = b"%s/cmd/%s\n%s" % (self._prefix.encode(), request.name.encode(), parts[1])
        # The unknown key is tried too, so that the answer does not come sooner for it.
        expected = hmac.digest(key.secret if key else b"none", signed, hashlib.sha256).hex()
        if not hmac.compare_digest(expected.encode(), parts[2]) or key is None:
            raise CommandRefused(
                f"Its hmac is not that of the key {command.key}: another key or topic, or its bytes were changed.",
                NOT_SIGNED,
            )
        if key.by and command.by not in key.by:
            raise CommandRefused(f"The key {key.name} does not speak for {command.by}.", NOT_ALLOWED)
        return key


def topics_of(prefix: str, allow: Collection[str]) -> dict[str, CommandName]:
    """The topics on which commands are taken, and the command of each."""
    names = {entry.partition(":")[0] for entry in allow}
    return {f"{prefix}/cmd/{name}": name for name in CommandName if name.value in names}


def _ensure_allowed(command: Command, allow: Collection[str], where: str) -> None:
    name = command.name.value
    if name in allow or (command.owner is not None and f"{name}:{command.owner}" in allow):
        return
    places = sorted(entry.partition(":")[2] for entry in allow if entry.startswith(f"{name}:"))
    if places and command.owner is None:
        said = f"It names no gate, and {name} is taken at {', '.join(places)} only ({where})."
    elif places:
        said = f"The command {name} is not taken at {command.owner} ({where})."
    else:
        said = f"The command {name} is not taken here ({where})."
    raise CommandRefused(said, NOT_ALLOWED)
