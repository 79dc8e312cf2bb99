"""The certificates of this agent and of the servers that it speaks to: when they expire.

A server is asked for its certificate over a connection that checks nothing and sends nothing, so that one that has
expired is seen as well. Whether a certificate is trusted is what the other checks find.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.config.config import Config
from inspector.config.store_url import address_of

PART: Final = "security"
SOON: Final = timedelta(days=30)
"""A certificate that ends within this time is a warning."""

ANSWER_S: Final = 5.0
MOST_FILE_BYTES: Final = 4 << 20
_POSTGRES_TLS: Final = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
"""PostgreSQL's SSLRequest: its length and its code. The server answers S and then speaks TLS, or N."""


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that speaks TLS to this agent. `section`: of the configuration, with the files of this agent."""

    section: str
    host: str
    port: int

    @property
    def subject(self) -> str:
        return f"certificate of {self.host}:{self.port}"


async def check(config: Config) -> AsyncIterator[Finding]:
    """A finding for each certificate file and for each server that could be asked. Empty without TLS."""
    now = datetime.now(UTC)
    for key, path in _files(config):
        for finding in await asyncio.to_thread(_of_file, key, path, now):
            yield finding
    for server in _servers(config):
        with contextlib.suppress(OSError, ValueError):  # it is away or speaks no TLS, as other checks say
            presented = await asyncio.to_thread(_presented, config, server)
            yield _judged(server.subject, "it", x509.load_der_x509_certificate(presented), now)


def _files(config: Config) -> Iterator[tuple[str, Path]]:
    for section in ("mqtt", "kafka", "store", "console"):
        for key in ("ca_file", "cert_file"):
            path = getattr(getattr(config, section), key, None)
            if path is not None:
                yield f"{section}.{key}", path


def _of_file(key: str, path: Path, now: datetime) -> list[Finding]:
    """One finding: the certificate of the file that ends first. None for a file that other checks complain of."""
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(MOST_FILE_BYTES))
    except (OSError, ValueError):
        return []
    first = min(found, key=lambda certificate: certificate.not_valid_after_utc)
    name = f"{path} ({first.subject.rfc4514_string()})" if len(found) > 1 else str(path)
    return [_judged(key, name, first, now)]


def _judged(subject: str, name: str, certificate: x509.Certificate, now: datetime) -> Finding:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= now:
        return fault(PART, subject, f"{name} has expired on {ends:%Y-%m-%d}, so nothing connects with it. Renew it.")
    if begins > now:
        clock = "Check this machine's clock, or wait."
        return fault(PART, subject, f"{name} is valid only from {begins:%Y-%m-%d %H:%M} UTC on. {clock}")
    if ends - now <= SOON:
        left = f"in {(ends - now).days} days"
        return warning(PART, subject, f"{name} expires {left}, on {ends:%Y-%m-%d}; the line then stops. Renew it now.")
    return ok(PART, subject, f"valid until {ends:%Y-%m-%d}")


def _servers(config: Config) -> Iterator[_Server]:
    if config.mqtt.tls:
        yield _Server("mqtt", config.mqtt.host, config.mqtt.port)
    if config.kafka.security.endswith("ssl"):
        for address in config.kafka.bootstrap.split(","):
            host, _, port = address.rpartition(":")
            yield _Server("kafka", host.strip("[]"), int(port))
    if config.store.tls is not False and (place := address_of(config.store.url)) is not None:
        yield _Server("store", *place)


def _presented(config: Config, server: _Server) -> bytes:
    """The server's certificate in DER form. Raises OSError if it can't be asked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    section = getattr(config, server.section)
    if section.cert_file is not None:
        with contextlib.suppress(OSError):  # a server that wants one then hangs up, perhaps only after its own
            context.load_cert_chain(section.cert_file, section.key_file, password=lambda: "")
    with socket.create_connection((server.host, server.port), timeout=ANSWER_S) as plain:
        if server.section == "store":
            plain.sendall(_POSTGRES_TLS)
            if plain.recv(1) != b"S":
                raise ValueError("the database server speaks no TLS")
        with context.wrap_socket(plain, server_hostname=server.host) as wrapped:
            return wrapped.getpeercert(binary_form=True) or b""
