"""Refuses commands when they come, for every reason that needs no state of the line: so a flood of them stays outside.

A command that is retained, malformed, unsigned, not allowed, expired, repeated, or one of too many takes no place among
those that wait to be obeyed, and writes nothing to the database. It is counted. Events come at a bounded rate, and so
do replies. Each key has a budget of its own, so that a sender who floods spends none of another's.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final

from inspector.domain import CommandName, CommandRequest, Severity
from inspector.errors import CommandRefused
from inspector.ports import CommandChannel
from inspector.stream.command_rights import CommandRights
from inspector.stream.commands import REPEATED, USED_BEFORE, check_time, cmd_id_of, read
from inspector.stream.pipeline.alarms import Alarms
from inspector.stream.pipeline.ticket import Shared, Signal
from inspector.stream.verdict_record import format_time
from inspector.stream.wording import counted

REPLIES_KEPT: Final = 100
"""Replies to refused commands that wait for the broker. Of a flood, the further ones are not answered."""

IDS_KEPT: Final = 10_000
"""Ids of commands that are remembered without the database."""


BURST: Final = 200
PER_S: Final = 5.0
"""Commands at once, and each second from then on, that each key may send; without keys all senders together."""

TOO_MANY: Final = "too_many"


@dataclass(slots=True)
class _Budget:
    """What one sender may still send."""

    left: float = BURST
    seen_ns: int = 0

    def spends(self, now_ns: int) -> bool:
        """Whether one more command is within the budget, which it then takes."""
        self.left = min(BURST, self.left + (now_ns - self.seen_ns) / 1e9 * PER_S)
        self.seen_ns = now_ns
        if self.left < 1:
            return False
        self.left -= 1
        return True


class CommandSieve:
    """Takes or refuses each command at receipt, and answers what it refuses."""

    def __init__(self, shared: Shared, rights: CommandRights, channel: CommandChannel | None) -> None:
        self._shared = shared
        self._rights = rights
        self._channel = channel
        self._alarms = Alarms(shared, is_kept=False)
        self._replies: deque[tuple[CommandName, dict[str, Any]]] = deque()
        self._has_reply = Signal()
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._budgets: dict[str, _Budget] = {}

    @property
    def checks_keys(self) -> bool:
        """Whether every command that comes through was signed with the key that it names."""
        return self._rights.has_keys

    def takes(self, request: CommandRequest) -> bool:
        """Whether the command may wait to be obeyed. Else it has been refused."""
        try:
            self._check(request)
        except CommandRefused as refusal:
            self.note_refused(request, refusal)
            if len(self._replies) < REPLIES_KEPT:
                self._replies.append((request.name, self.reply(request, refusal)))
                self._has_reply.set()
            else:
                self._shared.telemetry.count("command_replies_lost")
            return False
        return True

    def note_refused(self, request: CommandRequest, refusal: CommandRefused) -> None:
        """Count a refused command, and tell of it now or with the next ones."""
        self._shared.telemetry.count("commands_refused", command=request.name.value, reason=refusal.reason)
        case = f"{cmd_id_of(request.payload) or 'no cmd_id'}: {refusal}"
        kind = "command_unsigned" if refusal.reason == "unsigned" else "command_refused"
        severity = Severity.ALARM if refusal.reason == "unsigned" else Severity.WARNING
        self._alarms.tell(kind, severity, f"cmd/{request.name}", case, sentence=_refused)

    def reply(self, request: CommandRequest, refusal: CommandRefused) -> dict[str, Any]:
        """The answer to a refused command."""
        return {
            "v": 1,
            "cmd_id": cmd_id_of(request.payload),
            "ok": 0,
            "agent": self._shared.config.agent.name,
            "at": format_time(self._shared.clock.now()),
            "detail": str(refusal),
            "gates": [],
        }

    async def run(self) -> None:
        """Answer what was refused, and tell what is due, until cancelled."""
        while True:
            await self._has_reply.wait(1.0)
            self._alarms.tell_due()
            while self._replies and self._channel is not None:
                name, payload = self._replies.popleft()
                await self._channel.reply(name, payload)

    def finish(self) -> None:
        """Tell at the end what has not been told."""
        self._alarms.tell_due(is_last=True)

    def _check(self, request: CommandRequest) -> None:
        if request.is_retained:
            raise CommandRefused("It is retained, so it may be of any age; send it without retain.", "retained")
        command = read(request)
        self._rights.ensure(command, request)
        config = self._shared.config
        is_known = self._is_known(command.cmd_id)  # also of one that is too early: what was refused is never obeyed
        check_time(command, self._shared.clock.now(), config.agent.command_age_s, config.commands.max_mode_h)
        if is_known:
            raise CommandRefused(USED_BEFORE, REPEATED)
        sender = command.key if self.checks_keys and command.key is not None else ""
        if not self._budgets.setdefault(sender, _Budget()).spends(self._shared.clock.monotonic_ns()):
            raise CommandRefused(
                f"More than {BURST} commands came at once, or {PER_S:g} a second for long; send it again under a new "
                "cmd_id in a few seconds.",
                TOO_MANY,
            )

    def _is_known(self, cmd_id: str) -> bool:
        """Whether a command of this id has come before. From now on it has."""
        is_known = cmd_id in self._ids
        self._ids[cmd_id] = None
        while len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)
        return is_known


def _refused(count: int, cases: str) -> str:
    return cases if count == 1 else f"{counted(count, 'command')} refused: {cases}"
