"""What metrics cost an agent: processor time per frame with and without them, in alternating windows of one run.

    python -m benchmarks.metrics_cost [--rounds 2] [--windows 4] [--window-s 15] [--rate-fps 20] [--every-s 5]

Two real agents with the same product and the same cameras run side by side: one listens and is scraped, the other does
not listen. Windows take turns, and only one of the two has frames at a time. In the next round the two change places.
A scrape costs the same whatever the line does, so its share falls with the rate. Counting goes on in an agent that does
not listen as well; its share of a frame is measured beside it and printed for itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from inspector.agent.metrics.server import PATH
from inspector.agent.telemetry import LogTelemetry, configure_logging
from inspector.benching.line import Line
from inspector.benching.plant import Plant, plant, reconfigured, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.schedule import Arrivals, schedule
from inspector.config.config import Config
from inspector.config.sections import AgentSection
from inspector.domain import Verdict
from inspector.errors import InspectorError
from inspector.testing.samples import verdict_of_part

CAMERAS: Final = 4
GATE_WINDOW_MS: Final = 2000.0
COUNTED: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`rounds` of `windows` pairs of windows, each `window_s` long, at `rate_fps`; a scrape every `every_s`."""

    rounds: int = 2
    windows: int = 4
    window_s: float = 15.0
    rate_fps: float = 20.0
    every_s: float = 5.0


@dataclass(slots=True)
class Cost:
    """Milliseconds of processor time per frame, a value a window; values at one place were measured side by side."""

    without_ms: list[float] = field(default_factory=list)
    with_ms: list[float] = field(default_factory=list)
    counting_ms: float = 0.0
    scrapes: int = 0
    text_bytes: int = 0

    @property
    def ratios(self) -> list[float]:
        return [with_ms / without_ms for with_ms, without_ms in zip(self.with_ms, self.without_ms, strict=True)]


def main() -> None:
    Console().print(table(_options()))


def table(request: Request) -> Table:
    """The figures of one run. Raises InspectorError."""
    with tempfile.TemporaryDirectory(prefix="metrics-cost-") as folder:
        cost = asyncio.run(_measure(Path(folder), request))
    shown = Table(title=f"metrics, {request.rate_fps:g} frames a second, a scrape every {request.every_s:g} s")
    for column in ("", "processor ms per frame, median", "ratio, median of pairs", "all pairs"):
        shown.add_column(column, justify="right" if column else "left")
    ratios = sorted(cost.ratios)
    pairs = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
    counting = cost.counting_ms / statistics.median(cost.without_ms)
    shown.add_row("without", f"{statistics.median(cost.without_ms):.2f}", "1", "")
    shown.add_row("with", f"{statistics.median(cost.with_ms):.2f}", f"{statistics.median(ratios):.3f}", pairs)
    shown.add_row("counting a verdict, in both", f"{cost.counting_ms:.4f}", f"{counting:.4f}", "")
    shown.caption = f"{cost.scrapes} scrapes of {cost.text_bytes / 1024:.0f} KiB"
    return shown


async def _measure(folder: Path, request: Request) -> Cost:
    cost = Cost(counting_ms=_counting_ms())
    config = Config(agent=AgentSection(name="metrics-cost", state_dir=folder / "own"))
    setting = PlantSetting(config=config, cameras=CAMERAS, gate_window_ms=GATE_WINDOW_MS, state=folder / "plant")
    async with plant(setting, lambda *_: None) as first:
        for number in range(request.rounds):
            pair = [_copy(setting, first, folder / f"round{number}-{name}") for name in "ab"]
            listens = number % 2
            address = _free_address()
            with pair[listens].config_file.open("a", encoding="utf-8") as file:
                file.write(f'[metrics]\nlisten = "{address}"\n')
            async with _both(pair) as lines:
                await _windows(cost, lines[1 - listens], lines[listens], address, request)
    return cost


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _copy(setting: PlantSetting, first: Plant, folder: Path) -> Plant:
    folder.mkdir()
    shutil.copytree(first.config.agent.state_dir, folder / "state", symlinks=True)
    return reconfigured(replace(setting, state=folder), first, folder)


@contextlib.asynccontextmanager
async def _both(plants: list[Plant]) -> AsyncIterator[list[Line]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(each, lambda *_: None)) for each in plants]


async def _windows(cost: Cost, plain: Line, listening: Line, address: str, request: Request) -> None:
    for number in range(request.windows):
        for is_listening in (False, True) if number % 2 == 0 else (True, False):
            if is_listening:
                async with _scraped(cost, address, request.every_s):
                    cost.with_ms.append(await _window(listening, request))
            else:
                cost.without_ms.append(await _window(plain, request))


async def _window(line: Line, request: Request) -> float:
    plan = schedule(
        request.rate_fps, max(1, round(request.rate_fps * request.window_s)), line.cameras, Arrivals.PERIODIC, 1
    )
    shown = await line.follow(plan)
    if shown.processor_s is None:
        raise InspectorError("This system does not say how much processor time a process has used.")
    return 1e3 * shown.processor_s / len(shown.parts)


@contextlib.asynccontextmanager
async def _scraped(cost: Cost, address: str, every_s: float) -> AsyncIterator[None]:
    """Scrape again and again until the end of the block, the first time at once."""

    async def scrape() -> None:
        while True:
            cost.text_bytes = len(await asyncio.to_thread(_text, address))
            cost.scrapes += 1
            await asyncio.sleep(every_s)

    scraping = asyncio.create_task(scrape())
    try:
        yield
    finally:
        scraping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scraping  # an agent that does not answer ends the benchmark


def _text(address: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        if answer.status != 200:
            raise InspectorError(f"The agent answers {answer.status} at {address}.")
        return answer.read()


def _counting_ms() -> float:
    """Processor time of the figures that each verdict changes, without its log line."""
    configure_logging("critical")
    telemetry = LogTelemetry()
    verdict = verdict_of_part(1, decode_ms=2.0, route_ms=3.0, embed_ms=7.0, score_ms=1.0)
    return statistics.median(_timed_ms(telemetry, verdict) for _ in range(9))


def _timed_ms(telemetry: LogTelemetry, verdict: Verdict) -> float:
    began = time.process_time()
    for _ in range(COUNTED):
        telemetry.verdict(verdict)
    return 1e3 * (time.process_time() - began) / COUNTED


def _options() -> Request:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Request()
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="the two agents change places in each")
    parser.add_argument("--windows", type=int, default=usual.windows, help="pairs of windows in a round")
    parser.add_argument("--window-s", type=float, default=usual.window_s)
    parser.add_argument("--rate-fps", type=float, default=usual.rate_fps, help="frames a second of all cameras")
    parser.add_argument("--every-s", type=float, default=usual.every_s, help="time between two scrapes")
    return Request(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
