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
from inspector.config.store_url import host_of
from inspector.errors import InspectorError

if TYPE_CHECKING:
    from connectors.mqtt.access_probe import Rights
    from inspector.store.database import Database

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
    async for finding in _versions(config):
        yield finding
    for finding in (*_kafka(config), *_keys(config)):
        yield finding
    async for finding in certificates.check(config):
        yield finding
    for finding in file_modes.check(config, file):
        yield finding


async def _database(config: Config) -> AsyncIterator[Finding]:
    """Whether the audit can be believed, and what this user may do. Nothing of a database that is away or outdated."""
    from inspector.operation.opening import has_file
    from inspector.store.database import configured
    from inspector.store.rights import missing_guards, too_much

    try:
        async with configured(config) as database:
            if not has_file(database):  # opening it would make it
                return
            await database.check_schema()
            guards, found = await missing_guards(database), await too_much(database)
            user = None if database.is_sqlite else database.url.username
            is_open = user is not None and await _takes_strangers(config, database)
    except InspectorError:  # as the checks of the store say
        return
    yield _guards(guards)
    if found:
        advice = "Give it the role inspector_agent of configs/postgresql/roles.sql (docs/postgresql.md)."
        yield warning(PART, "database user", f"{user} may {_listed(found)}, and an agent need not. {advice}")
    elif user is not None:
        yield ok(PART, "database user", f"{user} can change neither the audit nor what judges")
    if is_open:
        level = warning if is_loopback(host_of(config.store.url) or "localhost") else fault
        what = f"the server takes {user} without a password"
        advice = "Set scram-sha-256 for it in pg_hba.conf (docs/postgresql.md)."
        yield level(PART, "database password", f"{what}, so whoever reaches it can be this agent. {advice}")


async def _versions(config: Config) -> AsyncIterator[Finding]:
    """Whether somebody vouches for what judges. Nothing of a database that is away, outdated or not made yet."""
    from inspector.operation.opening import has_file
    from inspector.operation.signing_keys import vouching
    from inspector.store.database import configured

    try:
        async with configured(config) as database:
            if not has_file(database):  # opening it would make it, or upgrade it
                return
            await database.check_schema()
        live = [(version, found) for version, found in await vouching(config) if version.is_live]
    except InspectorError:  # as the checks of the store say
        return
    for version, found in live:
        subject, named = f"product {version.product}", f"version {version.version} is live and {found.words}"
        signing = f"`inspector keys sign {version.product} --reason ...`"
        advice = f"Look at it, then sign it with {signing} (docs/signing.md)."
        if found.is_signed:
            yield ok(PART, subject, named)
        elif found.is_doubtful:
            yield fault(PART, subject, f"{named}: somebody else may have put it there. {advice}")
        else:
            yield warning(PART, subject, f"{named}, so whoever can write to the database can change it. {advice}")


async def _takes_strangers(config: Config, database: Database) -> bool:
    """Whether this user gets in without the password that the agent has. An agent without one is a stranger itself."""
    from inspector.store.database import configured

    url = database.url.set(password=None).render_as_string()
    store = config.store.model_copy(update={"url": url, "password_secret": None, "cert_file": None, "key_file": None})
    try:
        async with configured(config.model_copy(update={"store": store})) as bare:
            await bare.revision()
    except InspectorError:
        return False
    return True


def _guards(missing: list[str]) -> Finding:
    subject = "audit guards"
    if not missing:
        return ok(PART, subject, "the database refuses to change or remove entries")
    return fault(
        PART,
        subject,
        f"entries of the audit can be changed: the trigger {_listed(missing)} is gone or off. Find out who did it, run "
        "`inspector audit verify --head FILE` with a head that is kept elsewhere, and make the trigger again "
        "(docs/audit.md).",
    )


def _keys(config: Config) -> Iterator[Finding]:
    """Whether audit and commands are kept with keys, where others could write or publish."""
    if config.audit.key_secret is None:
        what = "entries are sealed without a key, so whoever can write to the database can make the whole chain anew"
        yield warning(PART, "audit key", f"{what}. Set audit.key_secret (docs/audit.md).")
    else:
        yield ok(PART, "audit key", "entries are sealed with a key")
    if not config.gate or not config.commands.allow:
        return
    if config.command_key:
        yield ok(PART, "command keys", f"commands are signed by {_listed([key.name for key in config.command_key])}")
    elif not is_loopback(config.mqtt.host):
        what = f"whoever may publish below {config.agent.prefix}/cmd can put a gate into bypass, in any name"
        advice = "Add a [[command_key]] for each sender, and leave in commands.allow what is sent (docs/commands.md)."
        yield warning(PART, "command keys", f"commands are not signed: {what}. {advice}")


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


def _kafka(config: Config) -> Iterator[Finding]:
    """Whether the cluster asks its clients who they are: if it does not ask this agent, it asks nobody."""
    kafka = config.kafka
    is_used = kafka.verdict_topic or kafka.dead_letter_topic or any(each.source == "kafka" for each in config.camera)
    is_known = kafka.security.startswith("sasl") or kafka.cert_file is not None
    away = [host for host in (each.rpartition(":")[0] for each in kafka.bootstrap.split(",")) if not is_loopback(host)]
    if is_used and away and not is_known:
        what = (
            f"the agent needs neither user nor certificate, so whoever reaches {away[0]} can write frames and verdicts"
        )
        advice = 'Set kafka.security = "sasl_ssl" and give each user its rights (configs/kafka, docs/kafka.md).'
        yield fault(PART, "anonymous kafka clients", f"{what}. {advice}")


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
