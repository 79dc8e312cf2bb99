"""Whether the agent could serve its figures on the configured address, and who reaches them there."""

from __future__ import annotations

import errno
import http.client
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from inspector.agent.metrics.server import PATH, bound_socket
from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.config.addresses import ListenAddress
from inspector.config.config import Config
from inspector.errors import AddressUnusable

PART: Final = "metrics"
ANSWER_S: Final = 3.0
MOST_READ_BYTES: Final = 64 * 1024


def check(config: Config) -> Iterator[Finding]:
    """Nothing unless the agent is to listen."""
    address = config.metrics.address
    if address is None:
        return
    yield _listening(config, address)
    if not address.is_loopback:
        yield warning(
            PART,
            "network",
            f"other machines reach {address}, without a password and in plain text. Let a firewall admit the "
            "monitoring alone, or listen on 127.0.0.1 behind a reverse proxy.",
        )


def _listening(config: Config, address: ListenAddress) -> Finding:
    try:
        bound_socket(address).close()
    except AddressUnusable as error:
        if error.errno == errno.EADDRINUSE and _answers_as(config.agent.name, address):
            return ok(PART, "listen", f"this agent runs, and answers on http://{address}{PATH}")
        return fault(PART, "listen", str(error))
    return ok(PART, "listen", f"the agent will answer on http://{address}{PATH}")


def _answers_as(agent: str, address: ListenAddress) -> bool:
    """Whether an agent of this name serves its figures there."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=ANSWER_S)
    try:
        with closing(connection):
            connection.request("GET", PATH)
            said = connection.getresponse().read(MOST_READ_BYTES)
    except (OSError, http.client.HTTPException):
        return False
    return f'inspector_build_info{{agent="{agent}",'.encode() in said
