"""What people who watch the line cost its agent: processor time per frame with 50 line views open, and with none.

    python -m benchmarks.console_viewers [--viewers 50] [--windows 6] [--window-s 15] [--rate-fps 20]

A real agent has frames at a steady rate, and a real console runs beside it on the same store all the time. Windows take
turns: in one, so many browsers hold the line page's stream open and read it; in the other, nobody does. Printed are the
medians and the ratio of pairs of windows that lie side by side, and what a viewer was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import statistics
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2
from rich.console import Console
from rich.table import Table

from inspector.benching.children import child, last_line
from inspector.benching.line import Line
from inspector.benching.plant import Plant, plant, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.schedule import Arrivals, schedule
from inspector.config.config import Config
from inspector.config.sections import AgentSection
from inspector.console.access import COOKIE
from inspector.console.passwords import hashed
from inspector.domain import Role
from inspector.errors import InspectorError
from inspector.store.console import people
from inspector.store.database import configured

CAMERAS: Final = 4
GATE_WINDOW_MS: Final = 2000.0
PASSWORD: Final = "a good long password"
START_S: Final = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50, help="line views that are open (50)")
    parser.add_argument("--windows", type=int, default=6, help="pairs of windows (6)")
    parser.add_argument("--window-s", type=float, default=15.0, help="length of a window (15)")
    parser.add_argument("--rate-fps", type=float, default=20.0, help="frames a second of all cameras (20)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="console-viewers-") as folder:
        asyncio.run(_measure(Path(folder), asked))


async def _measure(folder: Path, asked: argparse.Namespace) -> None:
    config = Config(agent=AgentSection(name="viewers", state_dir=folder / "own"))
    setting = PlantSetting(config=config, cameras=CAMERAS, gate_window_ms=GATE_WINDOW_MS, state=folder / "plant")
    without, watched, sent = [], [], []
    async with plant(setting, lambda *_: None) as made, running(made, lambda *_: None) as line:
        await _add_person(made.config)
        async with _console(made) as address:
            cookie = await _signed_in(address)
            for number in range(asked.windows):
                for is_watched in (False, True) if number % 2 == 0 else (True, False):
                    if not is_watched:
                        without.append(await _window(line, asked))
                        continue
                    async with _viewers(address, cookie, asked.viewers) as counts:
                        watched.append(await _window(line, asked))
                        sent.append(statistics.median(counts) / asked.window_s)
    Console().print(_table(without, watched, sent, asked))


def _table(without: list[float], watched: list[float], sent: list[float], asked: argparse.Namespace) -> Table:
    ratios = sorted(one / other for one, other in zip(watched, without, strict=True))
    shown = Table(title=f"{asked.rate_fps:g} frames a second, a console beside the agent")
    for column in ("line views", "agent's processor ms per frame, median", "ratio, median of pairs", "all pairs"):
        shown.add_column(column, justify="right")
    shown.add_row("0", f"{statistics.median(without):.2f}", "1", "")
    shown.add_row(
        str(asked.viewers),
        f"{statistics.median(watched):.2f}",
        f"{statistics.median(ratios):.3f}",
        f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
    )
    shown.caption = f"each viewer was sent {statistics.median(sent) / 1024:.1f} KiB a second"
    return shown


async def _add_person(config: Config) -> None:
    async with configured(config) as database:
        now = datetime.now(UTC)
        await people.add_person(
            database, "vera", Role.VIEWER, hashed(PASSWORD), now=now, by="bench", reason="to measure"
        )


@contextlib.asynccontextmanager
async def _console(made: Plant) -> AsyncIterator[str]:
    """The address of a console over the plant's store."""
    log, file = made.folder / "console.log", made.folder / "console.toml"
    file.write_text(made.config_file.read_text(encoding="utf-8") + '\n[console]\nlisten = "127.0.0.1:0"\n')
    async with child(("console", "--config", str(file)), log) as process:
        for _ in range(round(START_S / 0.1)):
            if found := re.search(r"The console is at (\S+)/", log.read_text(encoding="utf-8")):
                yield found[1]
                return
            if process.returncode is not None:
                break
            await asyncio.sleep(0.1)
        raise InspectorError(f"The console did not start; its log ends with: {last_line(log)}")


async def _signed_in(address: str) -> str:
    """The session's cookie."""
    async with httpx2.AsyncClient(base_url=address, headers={"accept": "text/html"}) as client:
        form = await client.get("/sign-in")
        ticket = re.search(r'name="ticket" value="([^"]+)"', form.text)
        if ticket is None:
            raise InspectorError("The console's form for signing in has no ticket.")
        fields = {"ticket": ticket[1], "name": "vera", "password": PASSWORD, "next": "/"}
        answer = await client.post("/sign-in", data=fields)
        if answer.status_code != 303:
            raise InspectorError(f"The console answered {answer.status_code} to the person who signed in.")
        return client.cookies[COOKIE]


@contextlib.asynccontextmanager
async def _viewers(address: str, cookie: str, count: int) -> AsyncIterator[list[int]]:
    """So many open streams, each with the bytes that it was sent."""
    counts = [0] * count

    async def watch(client: httpx2.AsyncClient, number: int) -> None:
        async with client.stream("GET", "/line/events", timeout=None) as answer:
            if answer.status_code != 200:
                raise InspectorError(f"The console answered {answer.status_code} to a viewer.")
            async for piece in answer.aiter_raw():
                counts[number] += len(piece)

    limits = httpx2.Limits(max_connections=count)
    headers = {"cookie": f"{COOKIE}={cookie}", "accept": "text/event-stream"}
    async with httpx2.AsyncClient(base_url=address, headers=headers, limits=limits) as client:
        watching = [asyncio.create_task(watch(client, number)) for number in range(count)]
        try:
            yield counts
            for ended in (task for task in watching if task.done()):
                ended.result()
            if not all(counts):
                raise InspectorError("A viewer was sent nothing.")
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def _window(line: Line, asked: argparse.Namespace) -> float:
    """Processor milliseconds of the agent per frame."""
    frames = max(1, round(asked.rate_fps * asked.window_s))
    shown = await line.follow(schedule(asked.rate_fps, frames, line.cameras, Arrivals.PERIODIC, 1))
    if shown.processor_s is None:
        raise InspectorError("This system does not say how much processor time a process has used.")
    return 1e3 * shown.processor_s / len(shown.parts)


if __name__ == "__main__":
    main()
