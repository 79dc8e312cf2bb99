"""Does a shadow version cost a running agent deadlines? Windows without and with one, in turn, in one run.

    python -m benchmarks.shadow_beside ROOT [--windows 8] [--window-s 20] [--deadline-ms 150] [--rate-fps 24]

A real agent judges the test images of two products for two cameras, each at a gate with a deadline, at a fixed rate or
at half of what it takes. Both products have a second version, enrolled with `--profile`: with `standard` it shares the
pass of the live version, with another it needs its own. In every second window both are scored in shadow. At the end
the shadow of the first product is promoted and rolled back while frames run. A deadline is missed where the gate was
not told in time or where no row came.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import enrolment_beside as beside
from benchmarks.enrolment_beside import Line
from connectors.mqtt.broker import EmbeddedBroker
from inspector.config.config import Config
from inspector.evaluation.layouts import LabelledProduct, read_layout

LOADING_S = 15.0
"""Longer than an agent takes to notice a new revision and to load a version on a busy machine."""


def main() -> None:
    options = _options()
    labelled = list(read_layout(options.root, tuple(options.products.split(","))))
    with tempfile.TemporaryDirectory(prefix="shadow-") as folder:
        asyncio.run(_measure(Path(folder), labelled, options))


async def _measure(folder: Path, products: Sequence[LabelledProduct], options: argparse.Namespace) -> None:
    async with EmbeddedBroker(folder / "broker") as broker:
        config = beside._config(folder, broker, options.deadline_ms)
        for product in products:
            enrolled = ("enroll", product.name, str(product.train[0].parent), "--no-detectability", "--full-speed")
            await _command(config, *enrolled)
            await _command(config, *enrolled, "--shadow", "--profile", options.profile)
        film = [
            image.path.read_bytes() for pair in zip(*(each.test for each in products), strict=False) for image in pair
        ]
        async with beside._agent(folder), beside._cameras(config) as publishers:
            line = Line(config, film, publishers)
            rate_fps = options.rate_fps or await beside._capacity(line, 20.0) / 2
            print(f"{rate_fps:.1f} frames a second, deadline {options.deadline_ms} ms", flush=True)
            for number in range(options.windows):
                kind = beside.WINDOWS[number % 2]
                await _set_shadows(config, products, is_on=kind == "beside")
                await beside._window(line, kind, rate_fps, options.window_s)
            await _promote_under_load(line, products[0].name, rate_fps, options.window_s)
            await beside._settled(line)
            print(_table(line))


async def _set_shadows(config: Config, products: Sequence[LabelledProduct], *, is_on: bool) -> None:
    for product in products:
        await _command(config, "products", "shadow", product.name, "2" if is_on else "--off", "--reason", "measured")
    await asyncio.sleep(LOADING_S)


async def _promote_under_load(line: Line, product: str, rate_fps: float, window_s: float) -> None:
    async def change() -> None:
        await asyncio.sleep(window_s / 4)
        await _command(line.config, "products", "promote", product, "--reason", "measured")
        await asyncio.sleep(window_s / 4)
        await _command(line.config, "products", "rollback", product, "--reason", "measured")

    async with asyncio.TaskGroup() as both:
        both.create_task(change())
        both.create_task(beside._window(line, "promoted", rate_fps, window_s))


async def _command(config: Config, *words: str) -> None:
    place = str(config.agent.state_dir / "inspector.toml")
    command = [sys.executable, "-m", "inspector", *words, "--config", place, "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit(f"inspector {' '.join(words)} failed.")


def _table(line: Line) -> str:
    """Markdown: one row for each kind of window, then how many frames were scored in shadow."""
    rows = {(row["camera"], row["trigger_id"]): row for row in line.rows()}
    lines = ["| windows | parts | deadlines missed | frame to decision p50 / p99 / most, ms |", "|---|---|---|---|"]
    for kind in (*beside.WINDOWS, "promoted"):
        parts = [rows.get(part) for part, of in line.shown.items() if of == kind]
        missed = Counter(filter(None, map(beside._missed, parts)))
        named = ", ".join(f"{number} {why}" for why, number in sorted(missed.items())) or "0"
        took = [row["total_ms"] for row in parts if row is not None and row["total_ms"] is not None] or [float("nan")]
        told = " / ".join(f"{value:.0f}" for value in (*np.percentile(took, [50, 99]), max(took)))
        lines.append(f"| {kind} | {len(parts)} | {named} | {told} |")
    with contextlib.closing(sqlite3.connect(f"file:{line.database}?mode=ro", uri=True, timeout=30)) as database:
        scored = database.execute("SELECT count(*), avg(score_ms) FROM shadow_results").fetchone()
    mean = "" if scored[1] is None else f", {scored[1]:.0f} ms each"
    return "\n".join([*lines, "", f"scored in shadow: {scored[0]}{mean}"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--products", default="bottle,solar_mono", help="two to judge")
    parser.add_argument("--profile", default="fast", help="of the shadow versions; the live ones are standard")
    parser.add_argument("--windows", type=int, default=8, help="without and with the shadow versions in turn")
    parser.add_argument("--window-s", type=float, default=20.0)
    parser.add_argument("--rate-fps", type=float, help="frames a second of both cameras; else half of the capacity")
    parser.add_argument("--deadline-ms", type=int, default=150)
    return parser.parse_args()


if __name__ == "__main__":
    main()
