"""One interface for whatever runs the passes, and ONNX Runtime, the default on a CPU.

An engine turns a `Graph` into an embedder, a `Bank` into a nearest-prototype search and a student's weights
into a comparison with its teacher. Nothing here
imports torch: the torch engines live in `engine_torch` and are loaded by name only.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.vision.graphs import Graph, ensure_graph
from inspector.vision.student_graph import LEVELS, StudentWeights, as_squares, student_graph

ENGINES = ("onnxruntime", "torch", "torch-channels-last", "torch-cuda")

Answer = Literal["distance", "index"]
Patches = Any
"""float32 [B, P, C] of one embedding, on the engine's device; may be indexed by rows."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Prototypes of one embedding, in the space they are compared in.

    `mean`: float32 [C], taken from every patch; `projection`: float32 [C, D] or None (D = C);
    `prototypes`: float32 [K, D]. `unit_length`: patches and prototypes are compared as directions. `covers`: so many
    banks of the same size one after the other, each searched by itself.
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32] | None
    prototypes: NDArray[np.float32]
    unit_length: bool = False
    covers: int = 1


class Embedder(Protocol):
    """One pass: uint8 [B, S, S, 3] -> one `Patches` per embedding of its graph. Safe on several threads."""

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]: ...


class Search(Protocol):
    """The nearest prototype of each patch. Each frame is searched by itself: a batch gives what its frames give."""

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        """Patches [B, P, C] -> Euclidean distance to the nearest prototype of each cover, float32 [B, covers, P]."""

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        """Patches [B, P, C] -> which prototype of all is nearest, int64 [B, P]; dearer, for frames a person sees."""


class Compare(Protocol):
    """A student beside its teacher: stem, low and high [B, P, C] -> low [g8, g8] and high [g16, g16] of each frame.

    float32 difference maps on the host. Each frame is compared by itself, as in `Search`.
    """

    def __call__(self, embedded: Sequence[Patches]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]: ...


class Engine(Protocol):
    """What runs the passes. `name` stands in every verdict's row."""

    @property
    def name(self) -> str: ...

    def versions(self) -> dict[str, str]:
        """Packages that determine the numbers."""

    def embedder(self, graph: Graph, weights_file: Path | None = None, *, small: bool = False) -> Embedder:
        """The pass, ready. `small`: called from many threads at once with one frame each, so one thread a call.

        Raises WeightsMissing, EngineError.
        """

    def search(self, bank: Bank) -> Search: ...

    def student(self, weights: StudentWeights) -> Compare: ...


def create_engine(name: str, cache: Path, threads: int = 0) -> Engine:
    """The engine of that name; `auto` is torch-cuda where a GPU is usable, else onnxruntime.

    `cache` keeps exported graphs, `threads` 0 means all cores. Raises EngineError.
    """
    if name == "auto":
        name = "torch-cuda" if _has_usable_gpu() else "onnxruntime"
    if name == "onnxruntime":
        return OnnxEngine(cache, threads)
    if name in ENGINES:
        from inspector.vision.engine_torch import create_torch_engine

        return create_torch_engine(name, threads)
    raise EngineError(f"There is no engine {name!r}; choose one of auto, {', '.join(ENGINES)}.")


def _has_usable_gpu() -> bool:
    # The device file is looked at first: importing torch takes seconds and memory that a CPU box should keep.
    if not Path("/dev/nvidiactl").exists():
        return False
    import torch

    return torch.cuda.is_available()


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
                # One thread: two-thread products on busy cores come back in steps of 8 ms.
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
    # A plant's network is nobody's business: recent builds send telemetry unless told not to, before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as faults

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads must not burn the cores that decode the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (faults.Fail, faults.InvalidGraph, faults.InvalidProtobuf, faults.RuntimeException) as error:
        raise EngineError(f"ONNX Runtime can't load the exported graph: {error}") from error


def _run(session: Any, wanted: list[str] | None, feeds: dict[str, Any]) -> list[Any]:
    """The session's answers. Raises EngineError where what it is fed does not fit it, or memory does not suffice."""
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


def on_host(patches: Patches) -> NDArray[np.float32]:
    """An embedding as an array in this machine's memory."""
    return patches if isinstance(patches, np.ndarray) else np.asarray(patches.cpu().numpy())


def concatenated(parts: Sequence[Patches]) -> Patches:
    """Embeddings joined along their first axis, where they are."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import torch  # only tensors come here: it is loaded

    return torch.cat(list(parts))


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length one; a zero row stays zero."""
    norms = np.sqrt(np.einsum("...c,...c->...", vectors, vectors))[..., None]
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _search_graph(is_projected: bool, answer: Answer) -> bytes:
    """Distance to the nearest prototype, or its index, as a graph with the bank as inputs: no session per product.

    One graph for each answer: to look for the index takes half as long again, also where nobody fetches it.
    |y - b|^2 = |y|^2 + (|b|^2 - 2 y.b), the bracket being one matrix product.
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
            helper.make_node("Relu", ["signed"], ["distance2"]),  # rounding may go below zero
            helper.make_node("Sqrt", ["distance2"], ["distance_by_patch"]),
            helper.make_node("Transpose", ["distance_by_patch"], ["distance"]),
        ]
        outputs = [vector("distance", "covers", "N")]
        constants = [numpy_helper.from_array(np.array([-1], np.int64), "last")]
    graph = helper.make_graph(nodes, "nearest_prototype", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())
