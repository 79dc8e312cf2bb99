"""`inspector demo`: the whole thing on this machine, with a live table and an honest summary."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from inspector.config.config import Config
    from inspector.demo.cells import Split
    from inspector.demo.line import Watched
    from inspector.demo.summary import Summary

NAME = "demo"
HELP = "Show a production line on this machine: broker, cameras, agent, store, real images."
EXAMPLE = "Example: inspector demo --frames 200"


def command(
    frames: Annotated[int, typer.Option(min=4, max=100_000, help="Frames that the two cameras show.")] = 400,
    rate: Annotated[float, typer.Option(min=0.5, max=500, help="Most frames a second, both cameras together.")] = 16,
    train: Annotated[int, typer.Option(min=20, max=400, help="Good cells each product is enrolled from.")] = 120,
    state: Annotated[Path | None, typer.Option(help="Folder of the demo's files; made anew each time.")] = None,
    as_json: console.JsonOption = False,
) -> None:
    summary, where = asyncio.run(_run(frames, rate, train, state, as_json))
    if as_json:
        console.print_json(_document(summary, where))
    else:
        console.out.print(_report(summary, where))


async def _run(
    frames: int, rate: float, train: int, state: Path | None, as_json: bool
) -> tuple[Summary, dict[str, str]]:
    from connectors.mqtt.broker import EmbeddedBroker
    from inspector.agent.telemetry import configure_logging
    from inspector.config.sections import default_state_dir
    from inspector.demo import cells, line
    from inspector.demo.summary import summarise
    from inspector.store.database import configured
    from inspector.store.ledger.queries import ResultFilter, each_result

    folder = line.fresh_folder(state or default_state_dir() / "demo")
    splits = {product: cells.split(cells.load_cells(), product, train) for product in cells.PRODUCTS}
    with (folder / "agent.log").open("w", encoding="utf-8") as log:
        configure_logging(file=log)
        async with EmbeddedBroker(folder / "broker") as broker:
            config = line.line_config(folder, broker)
            if not as_json:
                console.err.print(
                    f"Broker: {broker.name} on {broker.host}:{broker.port}. Files: {folder}", markup=False
                )
            await _enrol(config, splits, as_json)
            telemetry = line.Watched()
            async with line.running(config, telemetry):
                with _live(telemetry, as_json) as tick:
                    shown = await line.show(cells.schedule(splits, frames), config, rate, telemetry, tick)
                    await line.all_judged(len(shown), telemetry, tick)
            async with configured(config) as database:
                rows = [row async for row in each_result(database, ResultFilter())]
    where = {
        "database": str(folder / "inspector.db"),
        "pictures": str(folder / "images"),
        "log": str(folder / "agent.log"),
        "config": str(folder / "inspector.toml"),
        "broker": broker.name,
    }
    return summarise(shown, rows), where


async def _enrol(config: Config, splits: dict[str, Split], as_json: bool) -> None:
    from inspector.enrolment.service import EnrolmentOrder, enrol_into
    from inspector.training.dataset.folders import ImageSource
    from inspector.training.enrol import EnrolmentOptions

    for product, parts in splits.items():
        images = [ImageSource(cell.path.name, path=cell.path) for cell in parts.train]
        with console.progress(f"Enrolling {product}", quiet=as_json) as report:
            done = await enrol_into(config, product, images, EnrolmentOptions(), EnrolmentOrder(by="demo"), report)
        if not as_json:
            console.err.print(
                f"Enrolled {product} from {len(images)} good cells. {done.report.statement}", markup=False
            )


@contextlib.contextmanager
def _live(telemetry: Watched, as_json: bool) -> Iterator[Callable[[int], None]]:
    """Yields what is to be called now and then with the number of frames to come."""
    from rich.live import Live

    if as_json:
        yield lambda _total: None
        return
    with Live(console=console.out, refresh_per_second=5, transient=True) as live:
        began = time.monotonic()
        yield lambda total: live.update(_table(telemetry, total, time.monotonic() - began))


def _table(telemetry: Watched, total: int, seconds: float) -> RenderableType:
    import numpy as np
    from rich.console import Group
    from rich.table import Table

    verdicts = telemetry.verdicts
    overview = Table(title=f"{len(verdicts)} of {total} parts, {len(verdicts) / max(seconds, 0.1):.1f} a second")
    for column in ("product", "pass", "reject", "unjudged"):
        overview.add_column(column, justify="left" if column == "product" else "right")
    counts = Counter((verdict.product or "unknown", verdict.outcome.value) for verdict in verdicts)
    for product in sorted({product for product, _ in counts}):
        overview.add_row(product, *(str(counts[product, outcome]) for outcome in ("pass", "reject", "unjudged")))
    latencies = [verdict.total_ms for verdict in verdicts[-500:] if verdict.total_ms is not None]
    if latencies:
        p50, p99 = np.percentile(latencies, [50, 99])
        overview.caption = f"frame to decision: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    last = Table(title="last rejects")
    for column in ("camera", "part", "product", "level", "ms"):
        last.add_column(column)
    for verdict in [v for v in verdicts if v.outcome.value == "reject"][-5:]:
        level, ms = f"{verdict.level or 0:.2f}", f"{verdict.total_ms or 0:.0f}"
        last.add_row(verdict.camera, str(verdict.trigger_id), verdict.product, f"[red]{shown(level)}[/]", ms)
    return Group(overview, last)


def _document(summary: Summary, where: dict[str, str]) -> dict[str, Any]:
    document = dataclasses.asdict(summary)
    del document["counts"]
    return {**document, "database": where["database"], "broker": where["broker"]}


def _report(summary: Summary, where: dict[str, str]) -> RenderableType:
    from rich.table import Table

    table = Table(title="What the line did, against the expert labels", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    good, defective = summary.counts["good"], summary.counts["defective"]
    latency = summary.latency_ms
    rows = [
        ("parts shown", f"{summary.frames} ({good} good, {defective} defective)"),
        ("verdicts", f"{summary.passes} pass, {summary.rejects} reject, {summary.unjudged} unjudged"),
        ("missed / duplicated", f"{summary.missed} / {summary.duplicates}"),
        ("good cells rejected", _percent(summary.false_reject_share)),
        ("defective cells missed", _percent(summary.missed_defect_share)),
        ("image AUROC", "-" if summary.image_auroc is None else f"{summary.image_auroc:.3f}"),
        ("routed rightly", f"{_percent(summary.routing_accuracy)} (good: {_percent(summary.routing_accuracy_good)})"),
        ("frame to decision", f"p50 {latency['p50']} ms, p95 {latency['p95']} ms, p99 {latency['p99']} ms"),
        ("decisions not in time", str(summary.deadline_misses)),
        ("database", where["database"]),
        ("rejects with heat maps", where["pictures"]),
        ("log", where["log"]),
        ("look closer", f"inspector results list --outcome reject --config {where['config']}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    table.caption = "Expert labels are noisy; the figures are printed as they are."
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
