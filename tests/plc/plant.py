"""The real parts of a run: a mosquitto, an enrolled product and an `inspector run`, all in one folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.agents import Agent, enrol, make_parts
from tests.brokers import Mosquitto

PREFIX: Final = "t"
"""The prefix that `tests.agents.Agent` writes."""

CAMERA, GATE = "cam1", "gate1"

CONFIG = """
[mqtt]
port = {port}
protocol = "{protocol}"
keepalive_s = 5
reconnect_max_s = 1
[[camera]]
name = "{camera}"
on_unjudged = "reject"
trigger_from = "{trigger_from}"
clock = "{clock}"
[[gate]]
name = "{gate}"
cameras = ["{camera}"]
window_ms = {window_ms}
match = "{match}"
trigger_modulus = {modulus}
"""


@dataclass(frozen=True, slots=True)
class PlantOptions:
    """What the agent's configuration says."""

    protocol: str
    match: str
    trigger_from: str
    clock: str
    window_ms: float
    modulus: int


class AgentUnderFault(Agent):
    """An agent that can be sent a signal without waiting for its end."""

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class Plant:
    """Everything it starts is gone when it is left. `enrolled` None: a product is enrolled first."""

    def __init__(self, folder: Path, options: PlantOptions, enrolled: Path | None) -> None:
        self._resources = contextlib.ExitStack()
        enrolled = enrolled or enrol(folder / "enrolled", make_parts(folder / "parts"), ("disc",))
        self.broker = Mosquitto(folder / "mosquitto")
        self._resources.callback(self.broker.kill)
        config = CONFIG.format(
            port=self.broker.port,
            protocol=options.protocol,
            camera=CAMERA,
            gate=GATE,
            trigger_from=options.trigger_from,
            clock=options.clock,
            window_ms=options.window_ms,
            match=options.match,
            modulus=options.modulus,
        )
        (folder / "agent").mkdir()
        self.agent = AgentUnderFault(folder / "agent", config, enrolled)
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
