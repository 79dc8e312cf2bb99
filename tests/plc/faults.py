"""Faults of processes, by signals: `KIND@AT` or `KIND@AT:SECONDS`, with times in seconds from the first trigger."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

DEFAULT_S: Final = 0.5


class AgentProcess(Protocol):
    def end(self, number: int = ..., /) -> int: ...

    def start(self, wait: bool = ..., /) -> object: ...

    def signal(self, number: int, /) -> None: ...


class BrokerProcess(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Victims:
    agent: AgentProcess
    broker: BrokerProcess


KINDS: Final[dict[str, tuple[Callable[[Victims], object], Callable[[Victims], object]]]] = {
    "kill-agent": (lambda at: at.agent.end(signal.SIGKILL), lambda at: at.agent.start(True)),
    "restart-agent": (lambda at: at.agent.end(signal.SIGTERM), lambda at: at.agent.start(True)),
    "stop-agent": (lambda at: at.agent.signal(signal.SIGSTOP), lambda at: at.agent.signal(signal.SIGCONT)),
    "kill-broker": (lambda at: at.broker.kill(), lambda at: at.broker.start()),
    "restart-broker": (lambda at: at.broker.stop(), lambda at: at.broker.start()),
    "stop-broker": (lambda at: at.broker.freeze(), lambda at: at.broker.thaw()),
}
"""How each begins and how it ends."""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    at_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Incident:
    """A fault as it was. `ended_s`: the process goes on; an agent that was started is ready again."""

    kind: str
    began_s: float
    ended_s: float
    failure: str | None = None


def parse_fault(text: str) -> Fault:
    """Raises ValueError for another form or an unknown kind."""
    kind, _, when = text.partition("@")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    at, _, lasts = when.partition(":")
    fault = Fault(kind, float(at), float(lasts) if lasts else DEFAULT_S)
    if fault.at_s < 0 or fault.lasts_s < 0:
        raise ValueError("its times can't be negative")
    return fault


class FaultRunner:
    """Causes the faults one after another on a thread of its own; one that is due during another comes after it."""

    def __init__(self, faults: list[Fault], victims: Victims, now_s: Callable[[], float]) -> None:
        self._faults = sorted(faults, key=lambda fault: fault.at_s)
        self._victims = victims
        self._now_s = now_s
        self.incidents: list[Incident] = []
        self._thread = threading.Thread(target=self._run, args=(now_s(),), name="faults", daemon=True)
        self._thread.start()

    def join(self) -> list[Incident]:
        """What happened, once the last fault is over."""
        self._thread.join()
        return self.incidents

    def _run(self, started_s: float) -> None:
        for fault in self._faults:
            time.sleep(max(0.0, started_s + fault.at_s - self._now_s()))
            begin, end = KINDS[fault.kind]
            began_s, failure = self._now_s(), None
            try:
                begin(self._victims)
                time.sleep(fault.lasts_s)
                end(self._victims)
            except (OSError, RuntimeError, AssertionError, subprocess.TimeoutExpired) as error:
                failure = str(error)
            self.incidents.append(Incident(fault.kind, began_s, self._now_s(), failure))
