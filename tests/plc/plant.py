"""The real parts of a run: a mosquitto, an enrolled product and an `inspector run`, all in one folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.agents import Agent
from tests.brokers import Mosquitto

PREFIX: Final = "t"
"""The prefix that `tests.agents.Agent` writes."""

YIELDING: Final = ("nice", "-n", "10")
"""Runs the agent below the simulated machines. In a plant, cameras, broker and PLC have processors of their own."""

CONFIG = """
[mqtt]
port = {port}
protocol = "{protocol}"
keepalive_s = 5
reconnect_max_s = 1
"""

STATION = """
[[camera]]
name = "{camera}"
on_unjudged = "reject"
trigger_from = "{trigger_from}"
clock = "{clock}"
[[gate]]
name = "{gate}"
cameras = ["{camera}"]
window_ms = {window_ms}
transport_ms = 20
match = "{match}"
trigger_modulus = {modulus}
"""


@dataclass(frozen=True, slots=True)
class Station:
    """One camera and its gate, as the agent's configuration says."""

    name: str
    match: str
    trigger_from: str
    clock: str
    window_ms: float
    modulus: int

    @property
    def camera(self) -> str:
        return f"cam-{self.name}"

    @property
    def gate(self) -> str:
        return f"gate-{self.name}"

    @property
    def gate_topic(self) -> str:
        return f"{PREFIX}/gate/{self.gate}"

    @property
    def frame_topic(self) -> str:
        return f"{PREFIX}/{self.camera}/frame"

    def section(self) -> str:
        return STATION.format(
            camera=self.camera,
            gate=self.gate,
            trigger_from=self.trigger_from,
            clock=self.clock,
            window_ms=self.window_ms,
            match=self.match,
            modulus=self.modulus,
        )


class AgentUnderFault(Agent):
    """An agent that can be sent a signal without waiting for its end."""

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class Plant:
    """Everything it starts is gone when it is left. `protocol` is the agent's; `enrolled` is a state folder."""

    def __init__(self, folder: Path, protocol: str, stations: Sequence[Station], enrolled: Path) -> None:
        self._resources = contextlib.ExitStack()
        # Saved each second: a save at each change writes all waiting frames anew, and the broker would stand still.
        self.broker = Mosquitto(folder / "mosquitto", saves_each_change=False)
        self._resources.callback(self.broker.kill)
        config = CONFIG.format(port=self.broker.port, protocol=protocol)
        config += "".join(station.section() for station in stations)
        (folder / "agent").mkdir()
        self.agent = AgentUnderFault(folder / "agent", config, enrolled)
        self.agent.runs_under = YIELDING
        self._resources.callback(self.agent.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()

    @property
    def address(self) -> tuple[str, int]:
        return self.broker.host, self.broker.port

    def settle(self, shas: set[str], limit_s: float) -> None:
        """Until each of these frames has its row, or the time is over: the account tells what is missing."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if shas <= {row["frame_sha256"] for row in self.agent.rows()}:
                return
            time.sleep(0.25)
