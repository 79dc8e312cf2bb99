"""The scene of one fault: a folder, real processes that end with it, and the account of what happened there."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self, TypeVar

from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.faults.account import Account, Row, key_of_row, of_frames
from tests.faults.cameras import Ear, MqttCamera
from tests.faults.outcome import Fault, Outcome
from tests.faults.proxy import FaultProxy
from tests.kafka_broker import Kafka

SETTLE_S = 300.0

LINE = """
[mqtt]
port = {port}
keepalive_s = 2
reconnect_max_s = 1
[[camera]]
name = "cam1"
on_unjudged = "reject"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = {window_ms}
"""


class Closing(Protocol):
    def close(self) -> None: ...


ClosingT = TypeVar("ClosingT", bound=Closing)


class Workshop(Protocol):
    """What scenes share because it takes long to make: an enrolled state folder, and a Kafka broker."""

    @property
    def enrolled(self) -> Path: ...

    def kafka(self) -> Kafka:
        """Running. Raises pytest.skip.Exception where Kafka can't be had here."""


class Scene:
    """Made for one fault. Everything it starts is gone when it is left."""

    def __init__(self, folder: Path, workshop: Workshop) -> None:
        self.folder = folder
        self.workshop = workshop
        self.account = Account()
        self.recovery_s: float | None = None
        self._broken: list[str] = []
        self._resources = contextlib.ExitStack()
        self._read_rows: Callable[[], list[Row]] = list

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, mode=0o755)
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()

    # ---------------------------------------------------------------- what stands in it

    def mosquitto(self, *lines: str, is_persistent: bool = True) -> Mosquitto:
        """A broker of its own. It saves what it has acknowledged."""
        broker = Mosquitto(self.folder / "mosquitto", lines, is_persistent=is_persistent)
        self._resources.callback(broker.kill)
        return broker

    def proxy(self, to: int, port: int = 0) -> FaultProxy:
        """Before the server on port `to` of this machine; `port` is its own, 0 means any."""
        return self._resources.enter_context(FaultProxy(("127.0.0.1", to), port))

    def agent(self, config: str, name: str = "agent") -> Agent:
        """Not started. The first one's rows are those that count, unless `read_rows_by` says otherwise."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        made = self.keep(Agent(folder, config, self.workshop.enrolled))
        made.config.write_text(made.config.read_text().replace('name = "agent"', f'name = "{name}"', 1))
        if self._read_rows is list:
            self._read_rows = made.rows
        return made

    def keep(self, resource: ClosingT) -> ClosingT:
        """Closed when the scene is left."""
        self._resources.callback(resource.close)
        return resource

    def at_end(self, undo: Callable[[], object]) -> None:
        """Called when the scene is left, in the reverse order."""
        self._resources.callback(undo)

    def read_rows_by(self, read: Callable[[], list[Row]]) -> None:
        """Where the rows stand, if not in the SQLite file of the only agent: oldest first, all columns."""
        self._read_rows = read

    # ---------------------------------------------------------------- what is found in it

    def rows(self) -> list[Row]:
        return self._read_rows()

    def check(self, holds: bool, what: str) -> None:
        """A promise besides the numbers. One that does not hold makes the fault fail; the scene goes on."""
        if not holds:
            self._broken.append(what)

    def check_edges(self, agent: Agent, **counts: int) -> None:
        """One log line for each edge: so many of each event, by the end. A later one would be seen as well."""
        for kind, count in counts.items():
            found = agent.log.count(f"event={kind} ")
            self.check(found == count, f"{found} lines of {kind} in the log, not {count}")

    def settle(self, agent: Agent, limit_s: float = SETTLE_S) -> list[Row]:
        """Until every delivery has its row. Raises AssertionError where some have none when the time is over."""
        agent.until(lambda: not self._missing(), limit_s, "every delivery has its row")
        return self.rows()

    def recover(self, agent: Agent, shoot: Callable[[], object], since: float) -> None:
        """The cause was gone at `since` (time.monotonic): until a frame of now, and all before it, have rows."""
        shoot()
        self.settle(agent)
        if self.recovery_s is None:
            self.recovery_s = round(time.monotonic() - since, 2)

    def note_recovery(self, agent: Agent, since: float) -> None:
        """The same while frames go on coming: until one of them that was sent after this has its row."""
        before = set(self.account.deliveries)

        def is_back() -> bool:
            written = {key_of_row(row) for row in self._rows_or_none()}
            return any(key in written and key not in before for key in self.account.deliveries)

        agent.until(is_back, SETTLE_S, "a frame of now has its row")
        self.recovery_s = round(time.monotonic() - since, 2)

    def outcome(self, fault: Fault, failure: str | None = None) -> Outcome:
        """The numbers as they are now; `failure` is what ended the scene before its end."""
        try:
            rows = self.rows()
        except (sqlite3.Error, OSError) as error:
            rows, failure = [], f"{failure or ''} the rows can't be read: {error}".strip()
        broken = [*self._broken, *self.account.broken_on_wire(rows), *([failure] if failure else [])]
        return Outcome(
            fault=fault.name,
            deliveries=len(self.account.deliveries),
            rows=len(of_frames(rows)),
            missed=len(self.account.missing(rows)),
            double_rows=self.account.double_rows(rows),
            rejects_without_row=self.account.rejects_without_row(rows),
            recovery_s=None if failure else self.recovery_s,
            broken=tuple(broken),
        )

    def _missing(self) -> bool:
        return bool(self.account.missing(self._rows_or_none()))

    def _rows_or_none(self) -> list[Row]:
        """A database that is away is asked again."""
        try:
            return self.rows()
        except (sqlite3.Error, OSError):
            return []

    # ---------------------------------------------------------------- the usual line

    def line(
        self, *, through_proxy: bool = False, window_ms: int = 20_000, more: str = "", is_persistent: bool = True
    ) -> Line:
        """A broker, a gated camera, a subscriber, an agent that is not started; `more` goes into its configuration.

        A broker that does not end needs no file; with one, mosquitto writes all it holds anew at each change.
        """
        config = LINE.replace("{window_ms}", str(window_ms)) + more
        return Line(self, through_proxy, config, is_persistent)


class Line:
    """One gated camera `cam1` on MQTT, at gate `gate1`. The camera and the subscriber go past the proxy."""

    def __init__(self, scene: Scene, through_proxy: bool, config: str, is_persistent: bool) -> None:
        self.scene = scene
        self.broker = scene.mosquitto(is_persistent=is_persistent)
        self.proxy = scene.proxy(self.broker.port) if through_proxy else None
        port = self.proxy.port if self.proxy else self.broker.port
        self.agent = scene.agent(config.format(port=port))
        address = (self.broker.host, self.broker.port)
        self.ear = scene.keep(Ear(address, scene.account))
        self.camera = scene.keep(MqttCamera(address, scene.account))

    def start(self, **env: str) -> Self:
        self.agent.start(**env)
        return self

    def settle(self) -> list[Row]:
        return self.scene.settle(self.agent)

    def note_recovery(self, since: float) -> None:
        """While frames are being shot."""
        self.scene.note_recovery(self.agent, since)

    def recover(self, since: float) -> None:
        """One more frame, and until all have rows."""
        self.scene.recover(self.agent, lambda: self.camera.shoot(1), since)

    def finish(self) -> None:
        """Ends the agent by SIGTERM; it has to drain and exit 0."""
        code = self.agent.end(signal.SIGTERM)
        self.scene.check(code == 0, f"the agent ended with {code} after SIGTERM")

    @contextlib.contextmanager
    def shooting(self, frames: int, pause_s: float) -> Iterator[None]:
        """Frames come while the block runs; they are all delivered when it is left."""
        shots = self.camera.shoot_beside(frames, pause_s)
        yield
        shots.result()
