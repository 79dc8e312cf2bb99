"""The families about whom the agent believes: commands that it obeys and refuses, and the chain of its audit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inspector.agent.metrics.family import Family, Kind, Part
from inspector.agent.metrics.readers import counted, gauged
from inspector.agent.metrics.sources import Sources
from inspector.domain import CommandName
from inspector.stream.command_rights import NOT_ALLOWED, NOT_SIGNED

REFUSALS: Final = {
    "form": "it can't be read",
    "retained": "it was kept by the broker",
    NOT_SIGNED: "it has no signature, or a wrong one",
    NOT_ALLOWED: "this command, gate or sender is not on the list",
    "time": "too old, too early, or for too long",
    "repeated": "its cmd_id was used before",
    "too_many": "more in a short time than one sender may send",
    "state": "the line can't obey it now",
}
"""Why commands are refused."""


def _unsigned(_: Sources) -> Iterator[tuple[str, str]]:
    return ((name.value, NOT_SIGNED) for name in CommandName)


TRUST: Final = Part(
    "Commands and the audit",
    (
        Family(
            "inspector_commands_obeyed_total",
            Kind.COUNTER,
            "Commands that the line has obeyed.",
            counted("commands_obeyed", "command", zeros=lambda _: ((name.value,) for name in CommandName)),
            ("command",),
            ("commands_obeyed",),
        ),
        Family(
            "inspector_commands_refused_total",
            Kind.COUNTER,
            "Commands that were refused, by reason: "
            + ", ".join(f"{reason} ({what})" for reason, what in REFUSALS.items())
            + ". Any of unsigned: somebody tries, or a sender has the wrong key.",
            counted("commands_refused", "command", "reason", zeros=_unsigned),
            ("command", "reason"),
            ("commands_refused",),
        ),
        Family(
            "inspector_audit_entries",
            Kind.GAUGE,
            "Entries of the audit, when its head was told last. The number never falls.",
            gauged("audit_entries"),
            reads=("audit_entries",),
        ),
        Family(
            "inspector_audit_broken",
            Kind.GAUGE,
            "1 after a look at the audit that found its chain broken, cut off or made anew (docs/audit.md).",
            gauged("audit_broken"),
            reads=("audit_broken",),
        ),
    ),
)
