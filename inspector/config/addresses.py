"""Parses hosts, ports, broker URLs and addresses to listen on, as people write them. A fault is one phrase. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

LARGEST_PORT: Final = 65535
LONGEST_HOST: Final = 253

_NETLOC: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]*))?")
_OF_OTHER_PARTS: Final = re.compile(r"[\s/@?#\\,\[\]]|[^\x20-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Address:
    """A broker's URL. `host` is in lower case without brackets; `port` is None if the URL names no port."""

    scheme: str
    host: str
    port: int | None
    names_user: bool


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address of this machine on which a server listens. `host` is in lower case without brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it. A name other than localhost may stand for any address."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether what is sent to this host stays on this machine. Any name but localhost may stand for another machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen_address(text: str) -> ListenAddress:
    """The parts of `host:port`. Raises ValueError with a phrase that describes the fault."""
    found = _NETLOC.fullmatch(text)
    if found is None or not found["port"]:
        raise ValueError("is no host:port; an IPv6 address stands in [ ]")
    host = found["host"].lower()
    if host.startswith("["):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("has something in [ ] that is no IPv6 address")
    if (wrong := host_fault(host)) is not None:
        raise ValueError(f"names a host that {wrong}")
    port = int(found["port"]) if len(found["port"]) <= 9 else 0
    if not 1 <= port <= LARGEST_PORT:
        raise ValueError(f"has no port from 1 to {LARGEST_PORT}")
    return ListenAddress(host, port)


def broker_address(url: str) -> Address:
    """The parts of `scheme://host:port`. Raises ValueError with a phrase that describes the fault."""
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("holds a space or a character that can't be printed")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("has a bracket that is not closed, or no IPv6 address in it") from None
    if not parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("is no address of a broker")
    user, at, place = parts.netloc.rpartition("@")
    found = _NETLOC.fullmatch(place)
    if found is None:
        raise ValueError("is no host, or host:port; an IPv6 address stands in [ ]")
    host = found["host"].lower()
    if host.startswith("["):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("has something in [ ] that is no IPv6 address")
    if (wrong := host_fault(host)) is not None:
        raise ValueError(f"names a host that {wrong}")
    port = int(found["port"]) if found["port"] and len(found["port"]) <= 9 else None
    if found["port"] and (port is None or not 1 <= port <= LARGEST_PORT):
        raise ValueError(f"has no port from 1 to {LARGEST_PORT}")
    return Address(parts.scheme, host, port, names_user=bool(user or at))


def host_fault(host: str) -> str | None:
    """The fault of a host name, for example `is empty`; None if the name may be looked up."""
    if not host:
        return "is empty"
    if "://" in host:
        return "is a URL; write the host alone"
    if ":" in host:
        return None if _is_ipv6(host) else "has a port or a colon in it; write the host alone"
    if _OF_OTHER_PARTS.search(host):
        return "holds a space or a character that no host has"
    try:
        encoded = host.encode("idna")  # as the host look-up does
    except UnicodeError:
        return "has an empty part or one of more than 63 characters"
    return f"has more than {LONGEST_HOST} characters" if len(encoded) > LONGEST_HOST else None


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
