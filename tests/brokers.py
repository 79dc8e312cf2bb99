"""A real mosquitto for tests, on a port of its own, that can be stopped, killed and started again.

Registered as a pytest plugin by tests/conftest.py. A test asks for the fixture `mosquitto` and starts
as many brokers as it needs; all of them are gone when the test ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Event

START_TIMEOUT_S = 10.0


class Mosquitto:
    """One broker; started when made. Its persistence survives `stop`, `kill` and `start`."""

    def __init__(
        self,
        folder: Path,
        lines: tuple[str, ...] = (),
        *,
        is_persistent: bool = True,
        saves_each_change: bool = True,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self._folder = folder
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        config = [*self._basics(is_persistent, saves_each_change), *lines]
        if not any(line.startswith("allow_anonymous") for line in config):
            config.append("allow_anonymous true")
        (folder / "mosquitto.conf").write_text("\n".join(config) + "\n")
        self.start()

    def _basics(self, is_persistent: bool, saves_each_change: bool) -> list[str]:
        basics = [
            f"listener {self.port} {self.host}",
            "max_queued_messages 0",
            "log_type all",
            f"log_dest file {self._log}",
            f"persistence {'true' if is_persistent else 'false'}",
            f"persistence_location {self._folder}/",
            f"autosave_on_changes {'true' if saves_each_change else 'false'}",
            "autosave_interval 1",
        ]
        if os.geteuid() == 0:
            basics.append("user root")
        return basics

    def start(self) -> None:
        """Running and reachable when it returns."""
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        output = (self._folder / "output.txt").open("ab")
        with output:
            self._process = subprocess.Popen(
                [binary, "-c", str(self._folder / "mosquitto.conf")], stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.host, self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start: {self.log()} {(self._folder / 'output.txt').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """An orderly end: everything is saved."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Alive but answering nothing, as a broker behind a dead switch."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def publish(self, *arguments: str) -> None:
        """With mosquitto_pub, a client that is not ours."""
        subprocess.run(["mosquitto_pub", "-h", self.host, "-p", str(self.port), *arguments], check=True, timeout=30)

    def receive(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A mosquitto_sub, running; its caller reads and ends it."""
        return subprocess.Popen(
            ["mosquitto_sub", "-h", self.host, "-p", str(self.port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if number != signal.SIGKILL:  # which ends a frozen one as well; thawed, it would still answer what waits
            self._signal(signal.SIGCONT)
        self._signal(number)
        if self._process is not None:
            self._process.wait(timeout=10)
            self._process = None


class Notebook:
    """A Telemetry that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.counts: dict[str, int] = {}
        self.gauged: dict[tuple[str, ...], float] = {}

    def event(self, event: Event) -> None:
        self.events.append(event)

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + amount

    def observe_ms(self, name: str, value: float) -> None: ...

    def gauge(self, name: str, value: float | None, **labels: str) -> None:
        key = (name, *labels.values())
        if value is None:
            self.gauged.pop(key, None)
        else:
            self.gauged[key] = value

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


class RunningClock:
    """The port `Clock` over the real clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Returns when the condition holds. Raises TimeoutError where it never does."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def line_config(broker: Mosquitto, tmp_path: Path, **mqtt: object) -> Config:
    """One gated camera cam1 at gate g1 and one free camera cam2, on that broker, quick to reconnect."""
    # Over MQTT 3.1.1 an image has no place for a trigger id, unless it is in the topic.
    is_old = mqtt.get("protocol") == "3.1.1"
    # The windows are such that both have markers at the same rate.
    match, window_ms = ("single_in_flight", 1000) if is_old else ("trigger_id", 500)
    return parse(
        {
            "agent": {"name": "agent1", "prefix": "p/s", "state_dir": str(tmp_path / "state")},
            "mqtt": {
                "host": broker.host,
                "port": broker.port,
                "reconnect_min_s": 0.05,
                "reconnect_max_s": 0.2,
                **mqtt,
            },
            "camera": [
                {"name": "cam1", "on_unjudged": "reject"},
                {"name": "cam2", "on_unjudged": "pass", "trigger_from": "topic"},
            ],
            "gate": [{"name": "g1", "cameras": ["cam1"], "window_ms": window_ms, "match": match}],
        },
        None,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Starts brokers: `mosquitto(*extra configuration lines, is_persistent=True)`."""
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        pytest.skip("mosquitto is not installed")
    started: list[Mosquitto] = []

    def start(*lines: str, is_persistent: bool = True) -> Mosquitto:
        broker = Mosquitto(tmp_path / f"mosquitto-{len(started)}", lines, is_persistent=is_persistent)
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def running_clock() -> RunningClock:
    return RunningClock()
