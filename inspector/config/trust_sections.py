"""The sections that say whom the agent believes: whose commands it takes, and how its audit is sealed."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from inspector.config.section import Name, Section

ALLOWED_PATTERN: Final = r"^(job|mode|resync|golden|release)(:[A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$"
"""A command at all gates, or a command, a colon and the name of a gate (or of a camera without one)."""

ALL_COMMANDS: Final = ("job", "mode", "resync", "golden", "release")

LEAST_KEY_CHARACTERS: Final = 16
"""A shorter key can be found by trying."""

AllowedCommand = Annotated[str, Field(pattern=ALLOWED_PATTERN)]
Person = Annotated[str, Field(min_length=1, max_length=128)]


class CommandsSection(Section):
    """Which commands the line takes (docs/commands.md). They come over MQTT only, each on its own topic."""

    allow: tuple[AllowedCommand, ...] = Field(
        default=ALL_COMMANDS,
        description='Commands that are taken: "job" at all gates, "mode:gate1" only at this gate (or camera without '
        "one). All others are refused; the agent does not listen on the topic of a command that stands nowhere here.",
    )
    max_mode_h: float = Field(
        default=12, ge=0.1, le=168, description="Longest time that a command may set a mode other than auto for."
    )


class CommandKeySection(Section):
    """A secret key that commands are signed with. As soon as there is one, unsigned commands are refused."""

    name: Name = Field(description="Name of the key, which a command has in its key `key`.")
    key_secret: Name = Field(description="Name of the credential holding the key, of 16 or more characters.")
    by: tuple[Person, ...] = Field(
        default=(), description="Who holds the key: the names that its commands may have in `by`; empty = any name."
    )
    allow: tuple[AllowedCommand, ...] = Field(
        default=ALL_COMMANDS, description="Commands that the key is good for, within commands.allow."
    )


class AuditSection(Section):
    """The audit: who changed what, when and why. Each entry seals the one before it (docs/audit.md)."""

    key_secret: Name | None = Field(
        default=None,
        description="Name of the credential holding the key that entries are sealed with, of 16 or more characters; "
        "unset = plain hashes, which whoever can write to the database can make too.",
    )
    old_key_secrets: tuple[Name, ...] = Field(
        default=(), description="Credentials of earlier keys, oldest first, which older entries are checked with."
    )
    every_h: float = Field(
        default=24,
        ge=0.01,
        le=168,
        description="Time between two checks of the whole chain by a running agent, each of which tells the head.",
    )
