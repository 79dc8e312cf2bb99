"""Reports the state of the daemon to systemd, over its datagram socket (sd_notify(3)), if systemd runs it."""

from __future__ import annotations

import contextlib
import socket


class Notifier:
    """`address` is `$NOTIFY_SOCKET`: a path, or `@` and an abstract name. None: the daemon is not under systemd."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def send(self, *assignments: str) -> None:
        """Send for example `READY=1`. Errors are ignored, since inspection goes on without its supervisor."""
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as s:
            s.sendto("\n".join(assignments).encode(), self._address)
