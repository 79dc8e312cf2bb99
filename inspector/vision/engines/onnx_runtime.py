"""ONNX Runtime, the default engine on a CPU.

The engine makes an embedder from a `Graph`, a search for nearest prototypes from a `Bank`, and a comparison with the
teacher from a student's weights. Nothing here imports torch; `torch_engine` is loaded only for a torch engine.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.vision.engines.protocols import (
    FLOAT32,
    Answer,
    Bank,
    Compare,
    Embedder,
    JointSearch,
    Patches,
    Precision,
    Search,
    ensure_float32,
    own_places,
)
from inspector.vision.engines.search_graph import BankKind, bank_feeds, is_of_covers
from inspector.vision.engines.stored_graphs import stored_search_graph, stored_student_graph
from inspector.vision.networks.graphs import Graph, ensure_graph, ensure_graphs
from inspector.vision.networks.student_graph import LEVELS, StudentWeights, as_squares


class OnnxEngine:
    """ONNX Runtime on the CPU. Sessions are made once per graph and shared."""

    def __init__(self, cache: Path, threads: int = 0) -> None:
        self._cache = cache
        self._threads = threads or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._embedders: dict[tuple[str, bool], Embedder] = {}
        self._search_sessions: dict[tuple[tuple[BankKind, ...], Answer], Any] = {}
        self._student_sessions: dict[bool, Any] = {}

    @property
    def threads(self) -> int:
        """Threads of a pass that is not small."""
        return self._threads

    @property
    def name(self) -> str:
        return "onnxruntime"

    @property
    def is_batched(self) -> bool:
        """No: on a CPU a batch of 8 costs a quarter more for each frame, and its threads wait for one another."""
        return False

    @property
    def needs_graphs(self) -> bool:
        return True

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("onnxruntime", "numpy")}

    @property
    def precision(self) -> Precision:
        return FLOAT32

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
        ensure_float32(self.name, precision)
        with self._lock:
            found = self._embedders.get((graph.name, small))
            if found is None:
                content = ensure_graph(graph, self._cache, weights_file)
                found = _OnnxEmbedder(_session(content, 1 if small else self._threads), graph.size_px)
                self._embedders[graph.name, small] = found
            return found

    def search(self, bank: Bank) -> Search:
        kinds = (BankKind.of(bank),)
        return _OnnxSearch(self._search_session(kinds, "distance"), partial(self._search_session, kinds, "index"), bank)

    def joint_search(self, banks: Sequence[Bank]) -> JointSearch:
        kinds = tuple(BankKind.of(bank) for bank in banks)
        return _OnnxJointSearch(self._search_session(kinds, "distance"), banks)

    def _search_session(self, kinds: tuple[BankKind, ...], answer: Answer) -> Any:
        with self._lock:
            session = self._search_sessions.get((kinds, answer))
            if session is None:
                # One thread: with two threads on busy cores, a matrix product takes multiples of 8 ms.
                session = self._search_sessions[kinds, answer] = _session(stored_search_graph(kinds, answer), 1)
            return session

    def student(self, weights: StudentWeights) -> Compare:
        with self._lock:
            session = self._student_sessions.get(weights.is_coded)
            if session is None:
                session = _session(stored_student_graph(is_coded=weights.is_coded), self._threads)
                self._student_sessions[weights.is_coded] = session
        return _OnnxCompare(session, weights)


def _session(content: bytes, threads: int) -> Any:
    # Recent builds send telemetry unless this is set before the import; nothing may leave the plant's network.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as faults

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads must not spin on the cores that decode the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (faults.Fail, faults.InvalidGraph, faults.InvalidProtobuf, faults.RuntimeException) as error:
        raise EngineError(f"ONNX Runtime can't load the exported graph: {error}") from error


def _run(session: Any, wanted: list[str] | None, feeds: dict[str, Any]) -> list[Any]:
    """The session's outputs. Raises EngineError where the inputs do not fit the graph or memory does not suffice."""
    from onnxruntime.capi import onnxruntime_pybind11_state as faults

    try:
        return list(session.run(wanted, feeds))
    except (faults.Fail, faults.InvalidArgument, faults.RuntimeException) as error:
        raise EngineError(f"ONNX Runtime can't run the pass: {str(error).splitlines()[0]}") from error


class _OnnxEmbedder:
    def __init__(self, session: Any, size_px: int) -> None:
        self._session = session
        self._size_px = size_px
        self._names = [output.name for output in session.get_outputs()]

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        return _run(self._session, self._names, {"pixels": pixels})


class _OnnxSearch:
    """`naming` makes the session of indices, which an agent never needs."""

    def __init__(self, measuring: Any, naming: Callable[[], Any], bank: Bank) -> None:
        self._measuring, self._naming = measuring, naming
        self._is_placed = bank.is_placed
        self._distance_feeds = bank_feeds(bank)
        # The same arrays, not copies: a bank is the greater part of a product's memory.
        self._index_feeds = {name: each for name, each in self._distance_feeds.items() if not is_of_covers(name)}

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        return np.asarray(self._run(self._measuring, patches, self._distance_feeds), np.float32)

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        if self._is_placed:
            return own_places(patches)
        return np.asarray(self._run(self._naming(), patches, self._index_feeds), np.int64)

    @staticmethod
    def _run(session: Any, patches: Patches, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        return np.stack([_run(session, None, {"patches_0": frame, **feeds})[0] for frame in patches])


class _OnnxJointSearch:
    """Many banks in one run: a run has a cost of its own, which is more than that of a small bank."""

    def __init__(self, session: Any, banks: Sequence[Bank]) -> None:
        self._session = session
        self._places = [f"patches_{number}" for number in range(len(banks))]
        self._feeds: dict[str, NDArray[Any]] = {}
        for number, bank in enumerate(banks):
            self._feeds |= bank_feeds(bank, number)

    def distances(self, patches: Sequence[Patches]) -> list[NDArray[np.float32]]:
        by_frame = [
            _run(self._session, None, {**dict(zip(self._places, frames, strict=True)), **self._feeds})
            for frames in zip(*patches, strict=True)
        ]
        return [np.stack(parts) for parts in zip(*by_frame, strict=True)]


class _OnnxCompare:
    def __init__(self, session: Any, weights: StudentWeights) -> None:
        self._session = session
        self._names = [f"{level}_map" for level in LEVELS]
        self._feeds = {name: np.ascontiguousarray(value, np.float32) for name, value in weights.tensors.items()}

    def __call__(self, embedded: Sequence[Patches]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        found = []
        for row in range(len(embedded[0])):
            low, high = _run(self._session, self._names, {**as_squares(embedded, row), **self._feeds})
            found.append((low, high))
        return found
