"""What a security officer asks about this agent: who could take its place, and what is open to others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from inspector.cli.checks import file_modes
from inspector.cli.checks.finding import Finding, fault, ok
from inspector.config.config import Config
from inspector.config.plain_text import plain_passwords

PART: Final = "security"


async def check(config: Config, file: Path | None) -> AsyncIterator[Finding]:
    """Findings about secrecy and access. `file`: the configuration's own file, None for the built-in defaults."""
    for finding in _passwords(config):
        yield finding
    for finding in file_modes.check(config, file):
        yield finding


def _passwords(config: Config) -> Iterator[Finding]:
    found = list(plain_passwords(config))
    for section, words in found:
        yield fault(PART, f"{section} password", words)
    if not found:
        yield ok(PART, "passwords", "none leaves this machine unencrypted")
