"""What a security officer asks about this agent: who could take its place, and what is open to others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inspector.cli.checks import certificates, file_modes
from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.config.addresses import is_loopback
from inspector.config.config import Config
from inspector.config.plain_text import plain_passwords
from inspector.config.store_url import is_postgresql
from inspector.errors import InspectorError

if TYPE_CHECKING:
    from connectors.mqtt.access_probe import Rights

PART: Final = "security"
BROKER_ADVICE: Final = (
    "Give each client a user, a password and an access list, as configs/mosquitto does (docs/broker.md)."
)


async def check(config: Config, file: Path | None) -> AsyncIterator[Finding]:
    """Findings about secrecy and access. `file`: the configuration's own file, None for the built-in defaults."""
    for finding in _passwords(config):
        yield finding
    async for finding in _broker(config):
        yield finding
    async for finding in _database(config):
        yield finding
    async for finding in certificates.check(config):
        yield finding
    for finding in file_modes.check(config, file):
        yield finding


async def _database(config: Config) -> AsyncIterator[Finding]:
    """Whether this user of PostgreSQL may do more than an agent has to. Nothing if the database is away."""
    from inspector.store.database import configured
    from inspector.store.rights import too_much

    if not is_postgresql(config.store.url):
        return
    try:
        async with configured(config) as database:
            await database.check_schema()
            found = await too_much(database)
            user = database.url.username
    except InspectorError:  # as the checks of the store say
        return
    if found:
        advice = "Give it the role inspector_agent of configs/postgresql/roles.sql (docs/postgresql.md)."
        yield warning(PART, "database user", f"{user} may {_listed(found)}, and an agent need not. {advice}")
    else:
        yield ok(PART, "database user", f"{user} can change neither the audit nor what judges")


async def _broker(config: Config) -> AsyncIterator[Finding]:
    """What a client without a password may do, and what the agent's own user may do beyond its work; both are tried."""
    from connectors.mqtt.access_probe import probe_access

    rights = await probe_access(config)
    if rights is None:
        return
    stranger, own = rights
    yield _stranger(config, stranger)
    if own is not stranger:
        yield _own(own)


def _stranger(config: Config, rights: Rights) -> Finding:
    subject = "anonymous clients"
    if not rights.is_let_in:
        return ok(PART, subject, "are not let in")
    host = config.mqtt.host
    level = warning if is_loopback(host) else fault
    if rights.published:
        what = f"a client without a password is let in and may publish {_listed(rights.published)} ({_tried(rights)})"
        return level(PART, subject, f"{what}: whoever reaches {host} can pass any part. {BROKER_ADVICE}")
    if rights.reads:
        what = "a client without a password is let in and reads what agents say"
        return warning(PART, subject, f"{what}; it could publish nothing ({_tried(rights)}). {BROKER_ADVICE}")
    return ok(PART, subject, f"are let in, and may neither read the agent's topics nor publish ({_tried(rights)})")


def _own(rights: Rights) -> Finding:
    subject = "access list"
    if not rights.published:
        return ok(PART, subject, f"the agent's own user may publish nothing that is not its work ({_tried(rights)})")
    what = f"the agent's own user may publish {_listed(rights.published)} that are not its own ({_tried(rights)})"
    advice = "Give it the lines of configs/mosquitto/access-list and no more (docs/broker.md)."
    return warning(PART, subject, f"{what}: whoever has its password can do it for every line. {advice}")


def _tried(rights: Rights) -> str:
    return f"tried on {', '.join(rights.tried)}, which nobody has"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _passwords(config: Config) -> Iterator[Finding]:
    found = list(plain_passwords(config))
    for section, words in found:
        yield fault(PART, f"{section} password", words)
    if not found:
        yield ok(PART, "passwords", "none leaves this machine unencrypted")
