"""Does an enrolment beside a running agent cost it deadlines? Windows without and with one, in turn, in one run.

    python -m benchmarks.enrolment_beside ROOT [--windows 12] [--window-s 30] [--deadline-ms 150] [--full-speed]

A real agent (`inspector run`, a session of its own) judges the test images of two products for two cameras, each at a
gate with a deadline. It is first offered all that it takes, for `--probe-s`; then half of that rate, frames coming
whether or not the one before is decided. In every second window a third product is enrolled by the command line, as a
person would do it, over and over. A deadline is missed where the gate was not told in time (`late`, `overload`, not
published) or where no row came. `--full-speed` enrols with all cores and no courtesy, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from connectors.mqtt.broker import EmbeddedBroker
from connectors.mqtt.publisher import MqttPublisher
from inspector.config.config import Config
from inspector.config.loading import load
from inspector.evaluation.layouts import LabelledProduct, read_layout

CAMERAS = ("cam1", "cam2")
PROBE_WAITING = 4
START_S, SETTLE_S = 120.0, 20.0
MISSED = ("late", "overload")
WINDOWS = ("alone", "beside")


@dataclass(slots=True)
class Line:
    """The line under test. `shown`: the window's kind by (camera, trigger id)."""

    config: Config
    film: Sequence[bytes]
    publishers: dict[str, MqttPublisher]
    shown: dict[tuple[str, int], str] = field(default_factory=dict)
    count: int = 0

    async def shoot(self, kind: str) -> None:
        camera = CAMERAS[self.count % 2]
        trigger = self.count // 2 + 1
        self.shown[camera, trigger] = kind
        payload = self.film[self.count % len(self.film)]
        self.count += 1
        await self.publishers[camera].publish(f"{self.config.agent.prefix}/{camera}/frame/{trigger}", payload)

    def rows(self) -> list[sqlite3.Row]:
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return database.execute("SELECT camera, trigger_id, cause, published, total_ms FROM results").fetchall()

    def count_rows(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
            return int(database.execute("SELECT count(*) FROM results").fetchone()[0])

    @property
    def database(self) -> Path:
        return self.config.agent.state_dir / "inspector.db"


def main() -> None:
    options = _options()
    names = options.products.split(",")
    labelled = {each.name: each for each in read_layout(options.root, tuple(names))}
    *judged, enrolled = (labelled[name] for name in names)
    with tempfile.TemporaryDirectory(prefix="beside-") as folder:
        asyncio.run(_measure(Path(folder), judged, enrolled, options))


async def _measure(
    folder: Path, judged: Sequence[LabelledProduct], enrolled: LabelledProduct, options: argparse.Namespace
) -> None:
    async with EmbeddedBroker(folder / "broker") as broker:
        config = _config(folder, broker, options.deadline_ms)
        for each in (*judged, enrolled):  # the third too, so that no window has to export a graph
            command = _enrol(each, config, "--full-speed", "--no-detectability")
            if await (await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)).wait():
                raise SystemExit(f"{each.name} could not be enrolled.")
        film = [
            image.path.read_bytes() for pair in zip(*(each.test for each in judged), strict=False) for image in pair
        ]
        async with _agent(folder), _cameras(config) as publishers:
            line = Line(config, film, publishers)
            rate_fps = await _capacity(line, options.probe_s) / 2
            print(f"half load: {rate_fps:.1f} frames a second, deadline {options.deadline_ms} ms", flush=True)
            before, more = _children_s(), ("--full-speed",) if options.full_speed else ()
            for number in range(options.windows):
                kind = WINDOWS[number % 2]
                async with contextlib.AsyncExitStack() as beside:
                    if kind == "beside":
                        await beside.enter_async_context(_enrolments(enrolled, config, *more))
                    await _window(line, kind, rate_fps, options.window_s)
            await _settled(line)
            print(_table(line, options, _children_s() - before))


async def _capacity(line: Line, probe_s: float) -> float:
    """Frames a second with a few always waiting; the first half warms up and does not count."""
    began, first, at = time.monotonic(), 0, 0.0
    while (now := time.monotonic()) < began + probe_s:
        judged = line.count_rows()
        if not first and now > began + probe_s / 2:
            first, at = judged, now
        if line.count - judged < PROBE_WAITING:
            await line.shoot("probe")
        else:
            await asyncio.sleep(0.002)
    await _settled(line)
    return max(1.0, (judged - first) / (now - at))


async def _window(line: Line, kind: str, rate_fps: float, window_s: float) -> None:
    """Frames at their own pace, however long the agent takes for them."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as shots:
        for number in range(round(rate_fps * window_s)):
            await asyncio.sleep(max(0.0, began + number / rate_fps - time.monotonic()))
            shots.create_task(line.shoot(kind))
    await asyncio.sleep(1.0)  # the last ones are still of this window


async def _settled(line: Line) -> None:
    deadline = time.monotonic() + SETTLE_S
    while line.count_rows() < line.count and time.monotonic() < deadline:  # noqa: ASYNC110 - the agent is another process
        await asyncio.sleep(0.1)


def _table(line: Line, options: argparse.Namespace, enrolling_s: float) -> str:
    """Markdown: one row for each kind of window."""
    rows = {(row["camera"], row["trigger_id"]): row for row in line.rows()}
    lines = [
        "| windows | parts | deadlines missed | frame to decision p50 / p99 / most, ms | processor of enrolments |",
        "|---|---|---|---|---|",
    ]
    windows = {"alone": -(-options.windows // 2), "beside": options.windows // 2}
    whens: dict[str, str] = {}
    for kind, count in windows.items():
        parts = [rows.get(part) for part, of in line.shown.items() if of == kind]
        missed = Counter(_missed(row) for row in parts)
        del missed[""]
        named = ", ".join(f"{number} {why}" for why, number in sorted(missed.items()))
        took = [row["total_ms"] for row in parts if row is not None and row["total_ms"] is not None] or [float("nan")]
        share = enrolling_s / max(1, count) / options.window_s if kind == "beside" else 0.0
        told = " / ".join(f"{value:.0f}" for value in (*np.percentile(took, [50, 99]), max(took)))
        misses = f"{missed.total()} ({named})" if named else "0"
        lines.append(f"| {count} {kind} | {len(parts)} | {misses} | {told} | {share:.2f} cores |")
        whens[kind] = _whens(parts, max(1, len(parts) // max(1, count)), options.window_s)
    return "\n".join([*lines, "", *(f"missed {kind}: {when}" for kind, when in whens.items() if when)])


def _whens(parts: Sequence[sqlite3.Row | None], in_window: int, window_s: float) -> str:
    """Second and window of each miss: many in one second tell of a stall, one here and there of a crowd."""
    found = Counter(
        (number // in_window, int(number % in_window * window_s / in_window))
        for number, row in enumerate(parts)
        if _missed(row)
    )
    return ", ".join(
        f"{count} in second {second} of window {window + 1}" for (window, second), count in sorted(found.items())
    )


def _missed(row: sqlite3.Row | None) -> str:
    """Why the gate was not told in time; empty where it was."""
    if row is None:
        return "without a row"
    if row["cause"] in MISSED:
        return str(row["cause"])
    return "" if row["published"] else "not published"


@contextlib.asynccontextmanager
async def _enrolments(product: LabelledProduct, config: Config, *more: str) -> AsyncIterator[None]:
    """The product is enrolled again and again until left; the one under way is then broken off, as by Ctrl-C."""

    async def again() -> None:
        while True:
            process = await asyncio.create_subprocess_exec(
                *_enrol(product, config, "--shadow", *more),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                await process.wait()
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGINT)
                    await process.wait()

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _children_s() -> float:
    """Processor seconds of all children that have ended: of the agent nothing before the end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _enrol(product: LabelledProduct, config: Config, *more: str) -> list[str]:
    folder = str(product.train[0].parent)
    place = str(config.agent.state_dir / "inspector.toml")
    return [sys.executable, "-m", "inspector", "enroll", product.name, folder, "--config", place, "--json", *more]


@contextlib.asynccontextmanager
async def _agent(folder: Path) -> AsyncIterator[None]:
    """A running agent, taking frames, in a session of its own as a service would be."""
    log = folder / "agent.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inspector", "run", "--config", str(folder / "inspector.toml")),
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while "ready" not in log.read_text(errors="replace"):
            if process.returncode is not None or time.monotonic() > deadline:
                raise SystemExit(f"The agent did not start:\n{log.read_text(errors='replace')[-2000:]}")
            await asyncio.sleep(0.1)
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


@contextlib.asynccontextmanager
async def _cameras(config: Config) -> AsyncIterator[dict[str, MqttPublisher]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(MqttPublisher(config.mqtt, f"{name}:camera")) for name in CAMERAS}


def _config(folder: Path, broker: EmbeddedBroker, deadline_ms: int) -> Config:
    lines = ["[agent]", 'name = "beside"', 'prefix = "beside/line1"', f"state_dir = {json.dumps(str(folder))}"]
    lines += ["[mqtt]", f'host = "{broker.host}"', f"port = {broker.port}", f'protocol = "{broker.protocol}"']
    for camera in CAMERAS:
        lines += ["[[camera]]", f'name = "{camera}"', 'on_unjudged = "quarantine"', 'trigger_from = "topic"']
    for camera in CAMERAS:
        lines += ["[[gate]]", f'name = "gate-{camera}"', f'cameras = ["{camera}"]', f"window_ms = {deadline_ms}"]
        lines += ['trigger_source = "camera"']
    path = folder / "inspector.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--products", default="bottle,solar_mono,fabric", help="two to judge, the third to enrol")
    parser.add_argument("--windows", type=int, default=12, help="without and with an enrolment in turn")
    parser.add_argument("--window-s", type=float, default=30.0)
    parser.add_argument("--probe-s", type=float, default=20.0, help="how long the agent's rate is looked for")
    parser.add_argument("--deadline-ms", type=int, default=150)
    parser.add_argument("--full-speed", action="store_true", help="enrol without giving way")
    return parser.parse_args()


if __name__ == "__main__":
    main()
