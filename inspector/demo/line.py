"""The demo's production line: a broker, an agent, two cameras at two gates with their PLC, all on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from connectors.mqtt.broker import EmbeddedBroker
from connectors.mqtt.listener import MqttListener
from connectors.mqtt.publisher import MqttPublisher
from inspector import __version__
from inspector.agent import build as app
from inspector.agent.clock import SystemClock
from inspector.agent.presence import end_presence, watch_presence
from inspector.agent.telemetry import LogTelemetry
from inspector.config.broker_sections import MqttSection
from inspector.config.config import Config
from inspector.config.loading import load
from inspector.demo.cells import Cell
from inspector.domain import Event, Verdict
from inspector.errors import UsageError
from inspector.files import MOST_IMAGE_BYTES, entries, make_folder, read_regular, remove_tree, write_text

SOFTWARE = f"inspector {__version__}"
CAMERAS = ("cam1", "cam2")
WINDOW_MS = 1000
SETTLE_S = 30.0
MOST_WAITING = 6
_REJECT = 2
_BY_DECISION, _BY_DEFAULT = 1, 2
"""Numbers of the contract: `act` and `src`."""


@dataclass(eq=False)
class Watched(LogTelemetry):
    """Telemetry that also keeps verdicts and events for the table on the screen."""

    verdicts: list[Verdict] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def verdict(self, verdict: Verdict) -> None:
        super().verdict(verdict)
        self.verdicts.append(verdict)

    def event(self, event: Event) -> None:
        super().event(event)
        self.events.append(event)


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell as a camera showed it: camera and trigger id name the part."""

    camera: str
    trigger_id: int
    cell: Cell


class Belt:
    """Brings parts to the cameras in turn, at most `rate_fps` a second. It stops while many parts await verdicts."""

    def __init__(self, telemetry: Watched, rate_fps: float) -> None:
        self._telemetry = telemetry
        self._period_s = 1.0 / rate_fps
        self._next_s = time.monotonic()
        self._brought = 0
        self._turn = asyncio.Lock()

    async def next_part(self) -> None:
        """Returns when the next part is in front of a camera."""
        async with self._turn:
            while self._brought - len(self._telemetry.verdicts) >= MOST_WAITING:  # noqa: ASYNC110 - a demo may poll
                await asyncio.sleep(0.005)
            await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = max(self._next_s + self._period_s, time.monotonic())
            self._brought += 1


class Gates:
    """The PLC of both gates: it does what it is told, and acknowledges each part as docs/gate.md says.

    A part that it is told nothing of within the window leaves by the gate's default, which is the reject bin.
    """

    def __init__(self, prefix: str, publisher: MqttPublisher) -> None:
        self._prefix = prefix
        self._publisher = publisher
        self._epoch = 1
        self._done: set[tuple[str, int]] = set()
        self._acknowledging: set[asyncio.Task[None]] = set()

    def hear(self, topic: str, payload: bytes) -> None:
        """A decision. The same one twice is one part."""
        decision = json.loads(payload)
        self._epoch = decision["ep"]
        self._acknowledge(topic.split("/")[-2], decision["trig"], decision["act"], _BY_DECISION)

    async def let_pass(self, camera: str, trigger_id: int) -> None:
        """The part has reached its gate."""
        await asyncio.sleep(WINDOW_MS / 1000)
        self._acknowledge(f"gate-{camera}", trigger_id, _REJECT, _BY_DEFAULT)

    async def end(self) -> None:
        """Returns when all acknowledgements are with the broker."""
        while self._acknowledging:
            await asyncio.wait(set(self._acknowledging))

    def _acknowledge(self, gate: str, trigger_id: int, action: int, source: int) -> None:
        if (gate, trigger_id) in self._done:
            return
        self._done.add((gate, trigger_id))
        ack = {"v": 1, "ep": self._epoch, "trig": trigger_id, "act": action, "src": source, "done": 1}
        topic, payload = f"{self._prefix}/gate/{gate}/ack", json.dumps(ack, separators=(",", ":")).encode()
        sending = asyncio.create_task(self._publisher.publish(topic, payload))
        self._acknowledging.add(sending)
        sending.add_done_callback(self._acknowledging.discard)


def fresh_folder(folder: Path) -> Path:
    """An empty folder for one run. Files of an earlier demo are removed. Raises UsageError if there are other files."""
    marker = folder / ".inspector-demo"
    try:
        if folder.is_dir() and entries(folder):
            if not marker.exists():
                raise UsageError(f"{folder} holds files that are not the demo's; name another folder with --state.")
            remove_tree(folder)
        make_folder(folder)
        write_text(marker, "")
    except OSError as error:
        raise UsageError(f"{folder} can't be made ({error.strerror}); name a folder with --state.") from None
    return folder


def line_config(folder: Path, broker: EmbeddedBroker) -> Config:
    """Two cameras, each with a gate of its own. The topic carries the trigger id, so that MQTT 3.1.1 is enough.

    The configuration is written to `folder`, so that other commands can look at the demo with `--config`.
    """
    lines = [
        "[agent]",
        'name = "demo"',
        'prefix = "demo/line1"',
        f"state_dir = {json.dumps(str(folder))}",
        "[mqtt]",
        f'host = "{broker.host}"',
        f"port = {broker.port}",
        f'protocol = "{broker.protocol}"',
        "[images]",
        "keep_passes = 0.02",
    ]
    for camera in CAMERAS:
        lines += ["[[camera]]", f'name = "{camera}"', 'on_unjudged = "quarantine"', 'trigger_from = "topic"']
    for camera in CAMERAS:
        lines += ["[[gate]]", f'name = "gate-{camera}"', f'cameras = ["{camera}"]', f"window_ms = {WINDOW_MS}"]
        lines += ['trigger_source = "camera"']
    path = folder / "inspector.toml"
    write_text(path, "\n".join(lines) + "\n")
    return load(path)


@contextlib.asynccontextmanager
async def running(config: Config, telemetry: Watched) -> AsyncIterator[None]:
    """An agent that takes frames. On exit the agent finishes its frames."""
    async with app.opened(config, telemetry, lambda: False) as agent:
        run = asyncio.create_task(agent.pipeline.run())
        presence = asyncio.create_task(watch_presence(agent.database, config, SOFTWARE, SystemClock()))
        try:
            started = asyncio.create_task(agent.pipeline.has_started.wait())
            await asyncio.wait({run, started}, return_when=asyncio.FIRST_COMPLETED)
            started.cancel()
            yield
        finally:
            agent.pipeline.stop()
            await run
            presence.cancel()
            await asyncio.wait({presence})
            await end_presence(agent.database, config, SystemClock(), "the end of the demo")


async def show(
    cells: list[Cell], config: Config, rate_fps: float, telemetry: Watched, tick: Callable[[int], None]
) -> list[Shown]:
    """Publishes the cells on both cameras in turn. Returns what was shown.

    `rate_fps` is an upper limit: a machine that is busy with other work slows the belt down, so that the demo shows
    verdicts and no overload. `inspector bench pipeline` measures with arrivals that don't wait.
    """
    plan = [Shown(CAMERAS[n % 2], n // 2 + 1, cell) for n, cell in enumerate(cells)]
    prefix = config.agent.prefix
    belt = Belt(telemetry, rate_fps)
    async with MqttPublisher(config.mqtt, "demo:plc") as publisher:
        gates = Gates(prefix, publisher)
        async with MqttListener(config.mqtt, "demo:plc:decisions", [f"{prefix}/gate/+/decision"], gates.hear):
            gathered = asyncio.gather(*(_shoot(name, plan, config.mqtt, prefix, belt, gates) for name in CAMERAS))
            while not gathered.done():
                tick(len(plan))
                await asyncio.wait({gathered}, timeout=0.2)
            await gathered
            await gates.end()
    return plan


async def all_judged(count: int, telemetry: Watched, tick: Callable[[int], None]) -> None:
    """Returns when every part that was shown has its verdict, or after `SETTLE_S` seconds."""
    deadline = time.monotonic() + SETTLE_S
    while len(telemetry.verdicts) < count and time.monotonic() < deadline:
        tick(count)
        await asyncio.sleep(0.1)


async def _shoot(camera: str, plan: list[Shown], mqtt: MqttSection, prefix: str, belt: Belt, gates: Gates) -> None:
    async with MqttPublisher(mqtt, f"{camera}:camera") as publisher, asyncio.TaskGroup() as parts:
        for shown in plan:
            if shown.camera == camera:
                await belt.next_part()
                content = read_regular(shown.cell.path, MOST_IMAGE_BYTES, follows_links=True)
                await publisher.publish(f"{prefix}/{camera}/frame/{shown.trigger_id}", content)
                parts.create_task(gates.let_pass(camera, shown.trigger_id))
