"""The backbone alone: passes over tensors in memory, by so many callers with so many threads and so large batches.

No frame is decoded, routed or scored here. This is the bound that a whole line is compared with.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import FLOAT32, Embedder, Precision
from inspector.vision.networks.graphs import BackboneFile, Embedding, Graph

BATCHES: Final = (1, 2, 4, 8, 16, 32)
INPUT_PX: Final = 256


@dataclass(frozen=True, slots=True)
class Arrangement:
    """`callers` at once, each with passes of `threads` threads over `batch` frames."""

    callers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        callers = f"{self.callers} caller{'s' if self.callers > 1 else ''}"
        return f"{callers}, {self.threads} thread{'s' if self.threads > 1 else ''} each, batch {self.batch}"


@dataclass(frozen=True, slots=True)
class Passed:
    """What one window gave. `calls_ms`: the time of each call."""

    images: int
    seconds: float
    calls_ms: tuple[float, ...]

    @property
    def fps(self) -> float:
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def call_p50_ms(self) -> float | None:
        return statistics.median(self.calls_ms) if self.calls_ms else None


def bare_backbone() -> Graph:
    """The default backbone at 256 px to stride 16, without the joins that heads want. Raises WeightsMissing."""
    installed = BackboneFile.installed()
    return Graph(installed.backbone.name, installed.sha256, INPUT_PX, (Embedding((16,), 16, pool=1),))


def arrangements(cores: int, batches: Iterable[int] = BATCHES, *, one_caller: bool = False) -> list[Arrangement]:
    """All that keep every core busy: callers times threads is the number of cores, threads by powers of two.

    `one_caller`: for an engine with one pool of threads for all passes, as torch has, or one device.
    """
    powers = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    threads = [cores] if one_caller else [*powers, cores]
    pairs = [(cores // each, each) for each in threads]
    return [Arrangement(callers, each, batch) for callers, each in pairs for batch in batches]


class Alone:
    """One graph on one engine, run by itself. Sessions are made when they are first needed, and kept.

    With one thread a call all callers share a session, as the agent's workers do; with more, each has its own.
    """

    def __init__(
        self,
        engine: str,
        cache: Path,
        graph: Graph,
        weights_file: Path | None = None,
        precision: Precision = FLOAT32,
    ) -> None:
        self._engine_name, self._cache, self.precision = engine, cache, precision
        self._graph, self._weights_file = graph, weights_file
        self._embedders: dict[tuple[int, int], Embedder] = {}
        self.stop = threading.Event()
        """Set to end a window early, from any thread."""

        first = create_engine(engine, cache, 1, precision)
        self.engine = first.name
        self.is_one_caller = first.is_batched

    def best(self, cores: int, probe_s: float, batches: Sequence[int] = BATCHES) -> dict[Arrangement, Passed]:
        """Each arrangement for a short window, the fastest one first."""
        tried = {
            each: self.window(each, probe_s)
            for each in arrangements(cores, batches, one_caller=self.is_one_caller)
            if not self.stop.is_set()
        }
        return dict(sorted(tried.items(), key=lambda item: -item[1].fps))

    def window(self, arrangement: Arrangement, window_s: float) -> Passed:
        """Passes for so long, after one that is not counted. Blocks; at least one call of each caller is counted."""
        embedders = [self.embedder(arrangement, number) for number in range(arrangement.callers)]
        shape = (arrangement.batch, self._graph.size_px, self._graph.size_px, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for embedder in {id(each): each for each in embedders}.values():
            embedder(pixels)
        together = threading.Barrier(arrangement.callers)

        def call(embedder: Embedder) -> tuple[float, float, list[float]]:
            together.wait()
            began = last = time.perf_counter()
            took: list[float] = []
            while not took or (last < began + window_s and not self.stop.is_set()):
                embedder(pixels)
                now = time.perf_counter()
                took.append((now - last) * 1e3)
                last = now
            return began, last, took

        with ThreadPoolExecutor(arrangement.callers) as pool:
            done = list(pool.map(call, embedders))
        calls_ms = [each for _, _, took in done for each in took]
        seconds = max(end for _, end, _ in done) - min(begin for begin, _, _ in done)
        return Passed(len(calls_ms) * arrangement.batch, seconds, tuple(calls_ms))

    def frame_p50_ms(self, cores: int, window_s: float) -> float:
        """Median time of a pass of one frame by a single caller, with one thread or all cores: the shorter one."""
        threads = (cores,) if self.is_one_caller else sorted({1, cores})
        found = [self.window(Arrangement(1, each, 1), window_s).call_p50_ms for each in threads]
        return min(each for each in found if each is not None)

    def embedder(self, arrangement: Arrangement, caller: int) -> Embedder:
        """The pass that caller number `caller` of this arrangement runs."""
        threads = arrangement.threads
        key = (threads, caller if threads > 1 else 0)
        found = self._embedders.get(key)
        if found is None:
            engine = create_engine(self._engine_name, self._cache, threads, self.precision)
            found = engine.embedder(self._graph, self._weights_file, small=threads == 1, precision=self.precision)
            self._embedders[key] = found
        return found
