"""Joins one paho client to the event loop: the loop reads and writes its socket, and no paho thread runs.

Only name lookup and the TCP and TLS handshakes run on a thread. If connecting is given up, nobody waits for that
thread. This module knows sockets and bytes; `connection` knows the packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import MQTTErrorCode

from connectors.mqtt.wire.client import Role, connect_properties, run_on_thread
from connectors.mqtt.wire.keepalive import TICK_S, KeepAlive
from connectors.mqtt.wire.refusal import broken_link
from inspector.config.broker_sections import MqttSection
from inspector.errors import BrokerRefused

CONNECT_TIMEOUT_S: Final = 5.0


class Bridge:
    """Attached to the loop from `open` until either side closes the socket, and never attached twice.

    `broken` is called with the reason when the bridge finds the link dead. paho reports other losses by its callback.
    """

    def __init__(self, client: paho.Client, settings: MqttSection, role: Role, broken: Callable[[str], None]) -> None:
        self._client = client
        self._settings = settings
        self._role = role
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._fd: int | None = None
        self._is_reading = True
        self._is_in_callback = False
        self._is_write_due = False
        self._awaits_room = False
        self._timer: asyncio.TimerHandle | None = None
        self.keepalive = KeepAlive(client, settings.keepalive_s, self._loop.time, broken)
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write

    @property
    def is_attached(self) -> bool:
        return self._fd is not None

    @property
    def address(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def unsent_bytes(self) -> int:
        """Bytes that have not reached the broker's machine. paho's own queue counts as one byte if it isn't empty."""
        if self._fd is None:
            return 0
        queued = fcntl.ioctl(self._fd, termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", queued)[0]) + int(self._client.want_write())

    @property
    def is_jammed(self) -> bool:
        """Whether the kernel takes no more bytes for now."""
        return self._client.want_write()

    async def open(self) -> None:
        """Connect up to TLS and send the CONNECT packet. Raises BrokerUnavailable or BrokerRefused."""
        opening = run_on_thread(self._connect_blocking, abandoned=self._close_abandoned)
        try:
            await asyncio.wrap_future(opening)
        except ssl.SSLCertVerificationError as error:
            raise BrokerRefused(
                f"The certificate of the broker at {self.address} is not trusted ({error.verify_message}); "
                "check mqtt.ca_file and that mqtt.host is the name in the certificate."
            ) from error
        except ssl.SSLError as error:
            raise BrokerRefused(f"The broker at {self.address} does not agree on TLS: {error.reason}.") from error
        except OSError as error:
            raise broken_link(self.address, error.strerror or str(error)) from error
        except ValueError as error:
            raise broken_link(self.address, f"its host can't be looked up ({error})") from error
        self._attach()

    def set_reading(self, wanted: bool) -> None:
        """Read the socket, or stop reading it. While it is not read, the broker's window fills and no more is sent."""
        if wanted == self._is_reading or self._fd is None:
            return
        self._is_reading = wanted
        self.keepalive.note_reading(wanted)
        if wanted:
            self._loop.add_reader(self._fd, self._on_readable)
            # TLS may hold decrypted bytes that the kernel no longer announces.
            self._loop.call_soon(self._on_readable)
        else:
            self._loop.remove_reader(self._fd)

    def flush(self) -> None:
        """Write now rather than at the loop's next turn, because a decision has only milliseconds."""
        # Inside a callback paho holds a lock that writing a QoS 0 message would take again.
        if self._fd is not None and self._client.want_write() and not self._is_in_callback:
            self._client.loop_write()

    def close(self, *, destroying_unsent: bool = False) -> None:
        """Close at once. With `destroying_unsent`, bytes that are still in this machine's kernel are never sent."""
        if self._timer is not None:
            self._timer.cancel()
        sock = self._client.socket()
        if sock is None:
            return
        if destroying_unsent and isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._detach()
        sock.close()

    def _connect_blocking(self) -> None:
        is_five = self._settings.protocol == "5"
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.connect(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keepalive_s,
            clean_start=not self._role.persistent if is_five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=connect_properties(self._settings, self._role) if is_five else None,
        )

    def _close_abandoned(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _attach(self) -> None:
        sock = self._client.socket()
        if not isinstance(sock, socket.socket):
            raise broken_link(self.address, "closed while connecting")
        # Nagle's algorithm would hold back decisions and acknowledgements, which are small and come singly.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fd = sock.fileno()
        self._loop.add_reader(self._fd, self._on_readable)
        self._await_room(self._fd)
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _detach(self) -> None:
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = None
            self._awaits_room = False

    def _tick(self) -> None:
        if self._fd is not None:
            self._timer = self._loop.call_later(TICK_S, self._tick)
            self.keepalive.tick()

    def _on_readable(self) -> None:
        if not self._is_reading or self._fd is None:
            return
        self.keepalive.note_read()
        self._is_in_callback = True
        try:
            outcome = self._client.loop_read()
            while outcome == MQTTErrorCode.MQTT_ERR_SUCCESS and self._is_reading and self._has_decrypted():
                outcome = self._client.loop_read()
        except (OSError, ValueError, MQTTException) as error:
            self._broken(str(error))
        finally:
            self._is_in_callback = False

    def _has_decrypted(self) -> bool:
        sock = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _on_register_write(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        # Nearly every packet leaves at once. To have the loop watch for room takes two calls of the system for each, so
        # that is done only if the kernel has none.
        if self._fd is not None and not self._is_write_due:  # None while the connecting thread still owns the client
            self._is_write_due = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_write_due = False
        self.flush()
        if self._fd is not None and self._client.want_write():
            self._await_room(self._fd)

    def _await_room(self, fd: int) -> None:
        self._awaits_room = True
        self._loop.add_writer(fd, self._client.loop_write)

    def _on_unregister_write(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        if self._fd is not None and self._awaits_room:
            self._awaits_room = False
            self._loop.remove_writer(self._fd)

    def _on_socket_close(self, _client: paho.Client, _userdata: Any, _sock: Any) -> None:
        self._detach()
