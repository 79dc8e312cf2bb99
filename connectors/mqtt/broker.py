"""A broker for the demo: mosquitto as a child of this process where it is installed, else amqtt in process.

It listens on 127.0.0.1 only, without passwords and without persistence, and ends with the demo. Plants run a
broker of their own. amqtt speaks MQTT 3.1.1 only and keeps no messages for an absent client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from inspector.errors import InspectorError
from inspector.files import make_folder, write_text
from inspector.lifetime import environment_without_secrets

if TYPE_CHECKING:
    from amqtt.broker import Broker

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 5.0
_VERSION: Final = re.compile(r"mosquitto version (\S+) starting")
_RUNNING: Final = re.compile(r"mosquitto version \S+ running")


class EmbeddedBroker:
    """A broker that takes connections at `host` and `port` while entered, and is gone when left.

    `port` 0 means any free port. Entering raises InspectorError if the port is taken or no broker starts.
    """

    def __init__(self, state_dir: Path, port: int = 0) -> None:
        self.host = HOST
        self.port = port
        self._running: _Mosquitto | _Amqtt
        binary = mosquitto_binary()
        if binary is not None:
            self._running = _Mosquitto(binary, state_dir / "mosquitto.conf")
        else:
            self._running = _Amqtt()

    @property
    def name(self) -> str:
        """The broker and its version: `mosquitto 2.0.11`, `amqtt 0.12.1`. Known once entered."""
        return self._running.name

    @property
    def protocol(self) -> Literal["3.1.1", "5"]:
        """The newest MQTT it speaks, as `mqtt.protocol` names it."""
        return self._running.protocol

    async def __aenter__(self) -> Self:
        self.port = _free_port(self.port)
        await self._running.start(self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._running.stop()


def mosquitto_binary() -> str | None:
    """Path of mosquitto; Debian installs it where a user's PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class _Mosquitto:
    protocol: Literal["5"] = "5"

    def __init__(self, binary: str, config_file: Path) -> None:
        self.name = "mosquitto"
        self._binary = binary
        self._config_file = config_file
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        make_folder(self._config_file.parent)
        write_text(self._config_file, "\n".join(_mosquitto_config(port)) + "\n")
        self._process = await asyncio.create_subprocess_exec(
            *dying_with_us(),
            self._binary,
            "-c",
            str(self._config_file),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment_without_secrets(),
            # Ctrl-C goes to all processes of the terminal; the broker must live until the agent has drained.
            start_new_session=True,
        )
        is_up = False
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._wait_until_running(port)
            is_up = True
        except TimeoutError:
            raise InspectorError(f"The embedded mosquitto did not start on port {port} in time.") from None
        finally:
            if not is_up:
                await self.stop()
        self._drain = asyncio.create_task(self._read_on(), name="mosquitto log")

    async def stop(self) -> None:
        if self._drain is not None:
            self._drain.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._drain
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _wait_until_running(self, port: int) -> None:
        lines: list[str] = []
        while (line := await self._next_line()) is not None:
            lines.append(line)
            if version := _VERSION.search(line):
                self.name = f"mosquitto {version[1]}"
            if _RUNNING.search(line):
                return
        last = next((line for line in reversed(lines) if "Error" in line), "it gave no reason")
        raise InspectorError(f"The embedded mosquitto did not start on port {port}: {last}.")

    async def _next_line(self) -> str | None:
        if self._process is None or self._process.stderr is None:
            return None
        line = await self._process.stderr.readline()
        return line.decode(errors="replace").strip() if line else None

    async def _read_on(self) -> None:
        """Read the broker's output until it ends: a full pipe would stop the broker."""
        while await self._next_line() is not None:
            pass


def _mosquitto_config(port: int) -> list[str]:
    lines = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "persistence false",
        "max_queued_messages 0",
        "max_inflight_messages 200",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
        "connection_messages false",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # else it becomes the user mosquitto, who may not read our state folder
    return lines


def dying_with_us() -> list[str]:
    """A command prefix that ends the child when this process is killed; empty if the system has no such command."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    # Not TERM: mosquitto 2.0.11 ignores a TERM while it starts. The broker stores nothing, so KILL loses nothing.
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


class _Amqtt:
    protocol: Literal["3.1.1"] = "3.1.1"

    def __init__(self) -> None:
        self.name = "amqtt"
        self._broker: Broker | None = None

    async def start(self, port: int) -> None:
        try:
            from amqtt import __version__ as version
            from amqtt.broker import Broker
            from amqtt.errors import AMQTTError
        except ImportError:
            raise InspectorError(
                "No MQTT broker is installed; install mosquitto, or the Python package amqtt."
            ) from None
        for noisy in ("amqtt", "transitions"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        self.name = f"amqtt {version}"
        self._broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await self._broker.start()
        except (AMQTTError, OSError) as error:
            raise InspectorError(f"The embedded amqtt did not start on port {port}: {error}.") from error

    async def stop(self) -> None:
        if self._broker is not None:
            await self._broker.shutdown()


def _free_port(wanted: int) -> int:
    """The wanted port, or a free one for 0. Raises InspectorError if the wanted port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise InspectorError(
                f"Port {wanted} on {HOST} can't be used ({error.strerror}); choose another."
            ) from error
        return int(probe.getsockname()[1])
