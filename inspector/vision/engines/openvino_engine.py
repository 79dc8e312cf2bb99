"""OpenVINO on the CPU, an extra: passes in float32, or in bfloat16 where the processor computes it.

Only passes run here. Searches and students stay on ONNX Runtime in float32: they are small, and bfloat16 would round
the differences away that they measure. A pass over one frame has one thread and runs in the thread that calls it, so
that workers neither wait for one another nor hand frames over.
"""

from __future__ import annotations

import importlib.metadata
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.protocols import (
    FLOAT32,
    Bank,
    Compare,
    Embedder,
    JointSearch,
    Patches,
    Precision,
    Search,
)
from inspector.vision.networks.graphs import INPUT, Graph, ensure_graph, ensure_graphs
from inspector.vision.networks.student_graph import StudentWeights

INSTALL_OPENVINO = "pip install 'inspector[openvino]'"
LANES_BESIDE_WORKERS = 1
"""The canary, late frames and shadow versions pass beside the workers; one of them at a time need not wait."""

_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
_CAPABILITIES: dict[Precision, str] = {"float32": "FP32", "bfloat16": "BF16"}


def create_openvino_engine(cache: Path, threads: int, precision: Precision) -> OpenVinoEngine:
    """Raises EngineError where OpenVINO is not installed, or the processor does not compute in this precision."""
    engine = OpenVinoEngine(cache, threads, precision)
    engine.ensure_computes(precision)
    return engine


class OpenVinoEngine:
    """Each version's pass runs in the precision that the version was enrolled in. Passes are made once and shared."""

    def __init__(self, cache: Path, threads: int = 0, precision: Precision = FLOAT32) -> None:
        self._cache = cache
        self._precision = precision
        self._beside = OnnxEngine(cache, threads)
        self._threads = self._beside.threads
        self._core = _core()
        self._lock = threading.Lock()
        self._embedders: dict[tuple[str, bool, Precision], Embedder] = {}

    @property
    def name(self) -> str:
        return "openvino"

    @property
    def precision(self) -> Precision:
        return self._precision

    @property
    def is_batched(self) -> bool:
        """No, as on ONNX Runtime: on a CPU a frame costs least alone."""
        return False

    @property
    def needs_graphs(self) -> bool:
        return True

    def versions(self) -> dict[str, str]:
        return {"openvino": importlib.metadata.version("openvino"), **self._beside.versions()}

    def ensure_computes(self, precision: str) -> None:
        """Raises EngineError where this engine, or this processor, has no passes of this precision."""
        known = next((each for each in _CAPABILITIES if each == precision), None)
        if known is None:
            raise EngineError(f"OpenVINO passes in {precision} are not offered; take {', '.join(_CAPABILITIES)}.")
        if _CAPABILITIES[known] not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError(
                f"This processor does not compute in {precision}, so a pass would only be slower. Set engine.precision "
                "to float32, and enrol products for it here."
            )

    def ensure_graphs(self, graphs: Sequence[tuple[Graph, Path | None]]) -> None:
        ensure_graphs(graphs, self._cache)

    def embedder(
        self,
        graph: Graph,
        weights_file: Path | None = None,
        *,
        small: bool = False,
        precision: Precision | None = None,
    ) -> Embedder:
        chosen = precision or self._precision
        self.ensure_computes(chosen)
        with self._lock:
            found = self._embedders.get((graph.name, small, chosen))
            if found is None:
                content = ensure_graph(graph, self._cache, weights_file)
                found = self._lanes(content, graph, chosen) if small else self._whole(content, chosen)
                self._embedders[graph.name, small, chosen] = found
            return found

    def search(self, bank: Bank) -> Search:
        return self._beside.search(bank)

    def joint_search(self, banks: Sequence[Bank]) -> JointSearch:
        return self._beside.joint_search(banks)

    def student(self, weights: StudentWeights) -> Compare:
        return self._beside.student(weights)

    def _lanes(self, content: bytes, graph: Graph, precision: Precision) -> Embedder:
        side = graph.size_px
        most = max(self._threads, len(os.sched_getaffinity(0))) + LANES_BESIDE_WORKERS
        return _Lanes(lambda: self._request(content, 1, precision, [1, side, side, 3]), self._threads, most)

    def _whole(self, content: bytes, precision: Precision) -> Embedder:
        return _Whole(self._request(content, self._threads, precision, None))

    def _request(self, content: bytes, threads: int, precision: Precision, shape: list[int] | None) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # pinned threads of several passes would share one core
        }
        try:
            model = self._core.read_model(model=content, weights=b"")
            if shape is not None:
                model.reshape(shape)
            return self._core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO can't load the exported graph: {_first_line(error)}") from error


class _Lanes:
    """A pass over one frame at a time for each of several threads; each lane is a compiled pass of one thread.

    With one thread and one stream, OpenVINO computes in the thread that calls it. `count` lanes are made at once, more
    when all are in use, up to `most`; beyond that a caller waits.
    """

    def __init__(self, make: Callable[[], Any], count: int, most: int) -> None:
        self._make = make
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        self._to_be_made = threading.Semaphore(most - count)
        for _ in range(count):
            self._free.put(make())

    def _lane(self) -> Any:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return self._make() if self._to_be_made.acquire(blocking=False) else self._free.get()

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        request = self._lane()
        try:
            by_frame = [_run(request, pixels[row : row + 1]) for row in range(len(pixels))]
        finally:
            self._free.put(request)
        return by_frame[0] if len(by_frame) == 1 else [np.concatenate(parts) for parts in zip(*by_frame, strict=True)]


class _Whole:
    """A pass over any number of frames on all cores. One call runs at a time."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._lock = threading.Lock()

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        with self._lock:
            return _run(self._request, pixels)


def _run(request: Any, pixels: NDArray[np.uint8]) -> list[Patches]:
    """Copies of the outputs, in the order of the graph."""
    try:
        found = request.infer({INPUT: np.ascontiguousarray(pixels)})
    except (RuntimeError, TypeError, ValueError) as error:
        raise EngineError(f"OpenVINO can't run the pass: {_first_line(error)}") from error
    return [np.array(found[number], np.float32) for number in range(len(found))]


def _core() -> Any:
    """OpenVINO's own entry point. Raises EngineError where it is not installed or can't be loaded."""
    # Its converter, which is not used here, loads a package that reports usage; nothing may leave the plant's network.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None refuses the import
    try:
        import openvino
    except (ImportError, OSError) as error:
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"can't be loaded ({error})"
        raise EngineError(
            f"The engine openvino needs OpenVINO, which {why}. Run `{INSTALL_OPENVINO}`, or set engine.name to "
            "onnxruntime."
        ) from error
    return openvino.Core()


def _first_line(error: Exception) -> str:
    """What OpenVINO says, without the places in its source that it says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    spoken = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (spoken or lines or [type(error).__name__])[0]
