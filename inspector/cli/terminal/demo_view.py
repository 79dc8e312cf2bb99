"""Shows the demo to people: a live table while it runs, the summary at the end."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import PlainTable

if TYPE_CHECKING:
    from connectors.mqtt.broker import EmbeddedBroker
    from inspector.demo.line import Watched
    from inspector.demo.run import DemoRun
    from inspector.enrolment.enrol_product import Enrolled


class TerminalDisplay:
    """The `Display` of a demo on this terminal. With `is_quiet` it shows nothing."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet

    def broker_started(self, broker: EmbeddedBroker, folder: Path) -> None:
        self._say(f"Broker: {broker.name} on {broker.host}:{broker.port}. Files: {folder}")

    def enrolling(self, product: str) -> AbstractContextManager[Callable[[str, int, int], None]]:
        return console.progress(f"Enrolling {product}", quiet=self._is_quiet)

    def enrolled(self, done: Enrolled, n_images: int) -> None:
        self._say(f"Enrolled {done.version.product} from {n_images} good cells. {done.report.statement}")

    @contextlib.contextmanager
    def watching(self, telemetry: Watched) -> Iterator[Callable[[int], None]]:
        if self._is_quiet:
            yield lambda _total: None
            return
        with Live(console=console.out, refresh_per_second=5, transient=True) as live:
            began = time.monotonic()
            yield lambda total: live.update(_table(telemetry, total, time.monotonic() - began))

    def _say(self, line: str) -> None:
        if not self._is_quiet:
            console.err.print(line, markup=False)


def print_run(run: DemoRun) -> None:
    """The figures against the expert labels, and where to look closer."""
    table = PlainTable(title="What the line did, against the expert labels", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    summary = run.summary
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
        ("database", str(run.database)),
        ("rejects with heat maps", str(run.pictures)),
        ("log", str(run.log)),
        ("look closer", f"inspector results list --outcome reject --config {run.config}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    table.caption = "Expert labels are noisy; the figures are printed as they are."
    console.out.print(table)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _table(telemetry: Watched, total: int, seconds: float) -> RenderableType:
    import numpy as np

    verdicts = telemetry.verdicts
    overview = PlainTable(title=f"{len(verdicts)} of {total} parts, {len(verdicts) / max(seconds, 0.1):.1f} a second")
    for column in ("product", "pass", "reject", "unjudged"):
        overview.add_column(column, justify="left" if column == "product" else "right")
    counts = Counter((verdict.product or "unknown", verdict.outcome.value) for verdict in verdicts)
    for product in sorted({product for product, _ in counts}):
        overview.add_row(product, *(str(counts[product, outcome]) for outcome in ("pass", "reject", "unjudged")))
    latencies = [verdict.total_ms for verdict in verdicts[-500:] if verdict.total_ms is not None]
    if latencies:
        p50, p99 = np.percentile(latencies, [50, 99])
        overview.caption = f"frame to decision: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    last = PlainTable(title="last rejects")
    for column in ("camera", "part", "product", "level", "ms"):
        last.add_column(column)
    for verdict in [v for v in verdicts if v.outcome.value == "reject"][-5:]:
        level, ms = f"{verdict.level or 0:.2f}", f"{verdict.total_ms or 0:.0f}"
        last.add_row(verdict.camera, str(verdict.trigger_id), verdict.product, Text(level, style="red"), ms)
    return Group(overview, last)
