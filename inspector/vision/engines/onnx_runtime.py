"""ONNX Runtime, the default engine on a CPU.

The engine makes an embedder from a `Graph`, a search for nearest prototypes from a `Bank`, and a comparison with the
teacher from a student's weights. Nothing here imports torch; `torch_engine` is loaded only for a torch engine.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.vision.engines.protocols import Answer, Bank, Compare, Embedder, Patches, Search, unit_length
from inspector.vision.networks.graphs import Graph, ensure_graph
from inspector.vision.networks.student_graph import LEVELS, StudentWeights, as_squares, student_graph


class OnnxEngine:
    """ONNX Runtime on the CPU. Sessions are made once per graph and shared."""

    def __init__(self, cache: Path, threads: int = 0) -> None:
        self._cache = cache
        self._threads = threads or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._embedders: dict[tuple[str, bool], Embedder] = {}
        self._search_sessions: dict[tuple[bool, Answer], Any] = {}
        self._student_sessions: dict[bool, Any] = {}

    @property
    def name(self) -> str:
        return "onnxruntime"

    @property
    def is_batched(self) -> bool:
        """No: on a CPU a batch of 8 costs a quarter more for each frame, and its threads wait for one another."""
        return False

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("onnxruntime", "numpy")}

    def embedder(self, graph: Graph, weights_file: Path | None = None, *, small: bool = False) -> Embedder:
        with self._lock:
            found = self._embedders.get((graph.key, small))
            if found is None:
                content = ensure_graph(graph, self._cache, weights_file)
                found = _OnnxEmbedder(_session(content, 1 if small else self._threads), graph.size_px)
                self._embedders[graph.key, small] = found
            return found

    def search(self, bank: Bank) -> Search:
        is_projected = bank.projection is not None
        return _OnnxSearch(
            self._search_session(is_projected, "distance"), self._search_session(is_projected, "index"), bank
        )

    def _search_session(self, is_projected: bool, answer: Answer) -> Any:
        with self._lock:
            session = self._search_sessions.get((is_projected, answer))
            if session is None:
                # One thread: with two threads on busy cores, a matrix product takes multiples of 8 ms.
                session = _session(_search_graph(is_projected, answer), 1)
                self._search_sessions[is_projected, answer] = session
            return session

    def student(self, weights: StudentWeights) -> Compare:
        with self._lock:
            session = self._student_sessions.get(weights.is_coded)
            if session is None:
                session = _session(student_graph(is_coded=weights.is_coded), self._threads)
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
    def __init__(self, measuring: Any, naming: Any, bank: Bank) -> None:
        self._measuring, self._naming = measuring, naming
        self._unit_length = bank.unit_length
        self._feeds = {
            "mean": np.ascontiguousarray(bank.mean, np.float32),
            "prototypes": np.ascontiguousarray(bank.prototypes.T, np.float32),  # [D, K]
            "squares": np.square(bank.prototypes, dtype=np.float32).sum(axis=1),  # [K]
        }
        self._apart = {"apart": np.array([0, bank.covers, -1], np.int64)}
        if bank.projection is not None:
            self._feeds["projection"] = np.ascontiguousarray(bank.projection, np.float32)

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        return np.asarray(self._run(self._measuring, patches, self._apart), np.float32)

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        return np.asarray(self._run(self._naming, patches, {}), np.int64)

    def _run(self, session: Any, patches: Patches, more: dict[str, Any]) -> NDArray[Any]:
        rows = []
        for frame in patches:
            cells = unit_length(frame) if self._unit_length else frame
            rows += _run(session, None, {"patches": cells, **self._feeds, **more})
        return np.stack(rows)


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


def _search_graph(is_projected: bool, answer: Answer) -> bytes:
    """The ONNX graph that gives the distance to the nearest prototype, or the index of that prototype.

    The bank is an input of the graph, so that all products share one session. Distance and index have a graph each,
    because finding the index as well would take half as long again.
    |y - b|^2 = |y|^2 + (|b|^2 - 2 y.b), and the bracket is one matrix product.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    def vector(name: str, *shape: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    inputs = [vector("patches", "N", "C"), vector("mean", "C"), vector("prototypes", "D", "K"), vector("squares", "K")]
    nodes = [helper.make_node("Sub", ["patches", "mean"], ["centred"])]
    if is_projected:
        inputs.append(vector("projection", "C", "D"))
        nodes.append(helper.make_node("MatMul", ["centred", "projection"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["centred"], ["y"]))
    nodes.append(helper.make_node("Gemm", ["y", "prototypes", "squares"], ["bracket"], alpha=-2.0))
    if answer == "index":
        nodes.append(helper.make_node("ArgMin", ["bracket"], ["index"], axis=1, keepdims=0))
        outputs = [helper.make_tensor_value_info("index", TensorProto.INT64, ["N"])]
        constants = []
    else:
        inputs.append(helper.make_tensor_value_info("apart", TensorProto.INT64, [3]))
        nodes += [
            helper.make_node("Reshape", ["bracket", "apart"], ["by_cover"]),  # [N, covers, K / covers]
            helper.make_node("ReduceMin", ["by_cover", "last"], ["least"], keepdims=0),  # [N, covers]
            helper.make_node("Mul", ["y", "y"], ["y2"]),
            helper.make_node("ReduceSum", ["y2", "last"], ["length2"], keepdims=1),
            helper.make_node("Add", ["least", "length2"], ["signed"]),
            helper.make_node("Relu", ["signed"], ["distance2"]),  # rounding may give a value below zero
            helper.make_node("Sqrt", ["distance2"], ["distance_by_patch"]),
            helper.make_node("Transpose", ["distance_by_patch"], ["distance"]),
        ]
        outputs = [vector("distance", "covers", "N")]
        constants = [numpy_helper.from_array(np.array([-1], np.int64), "last")]
    graph = helper.make_graph(nodes, "nearest_prototype", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())
