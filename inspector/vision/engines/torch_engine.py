"""The torch engines: eager on a CPU, channels-last, and CUDA.

The torch engines give the same numbers as ONNX Runtime; the probes of every artifact check this. On a GPU the input is
pinned and copied asynchronously, and features stay on the device until the distances are known. All numbers are
float32. In bfloat16 levels are up to 0.27 off (H200): probes fail, and one engine would refuse a version that another
engine enrolled. On a GPU a pass of this size is limited by kernel launches, not by arithmetic. So passes are captured
once per batch size and replayed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.errors import EngineError, WeightsMissing
from inspector.vision.engines.pooling import pooled
from inspector.vision.engines.protocols import (
    FLOAT32,
    Bank,
    Compare,
    Embedder,
    JointSearch,
    OneByOne,
    Patches,
    Precision,
    Search,
    ensure_float32,
    own_places,
)
from inspector.vision.networks.backbone import Backbone, weights_digest
from inspector.vision.networks.embedding_network import EmbeddingNetwork
from inspector.vision.networks.graphs import Graph
from inspector.vision.networks.student_graph import StudentWeights
from inspector.vision.networks.student_network import Comparison, compare


def create_torch_engine(name: str, threads: int) -> TorchEngine:
    """The torch engine of that name. Raises EngineError where there is no usable GPU for it."""
    if name == "torch-cuda" and not torch.cuda.is_available():
        raise EngineError("The engine torch-cuda needs a GPU that torch can use; choose onnxruntime.")
    return TorchEngine(name, threads)


class TorchEngine:
    """Runs `EmbeddingNetwork` itself. Networks are made once per graph and shared."""

    def __init__(self, name: str, threads: int = 0) -> None:
        self._name = name
        self._device = torch.device("cuda" if name == "torch-cuda" else "cpu")
        self._lock = threading.Lock()
        self._embedders: dict[str, _TorchEmbedder] = {}
        if self._device.type == "cpu":
            torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        else:  # TF32 cuts operands to ten bits, with which the probes would fail
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def is_batched(self) -> bool:
        """Yes: a GPU wants many frames, and on a CPU torch has one pool of threads for all passes."""
        return True

    @property
    def needs_graphs(self) -> bool:
        return False

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")}

    @property
    def precision(self) -> Precision:
        return FLOAT32

    def ensure_graphs(self, graphs: Sequence[tuple[Graph, Path | None]]) -> None:
        """Nothing to do: passes run from the backbone's own code."""

    def embedder(
        self,
        graph: Graph,
        weights_file: Path | None = None,
        *,
        small: bool = False,
        precision: Precision | None = None,
    ) -> Embedder:
        ensure_float32(self.name, precision)
        del small  # torch has one pool of threads for all passes
        with self._lock:
            found = self._embedders.get(graph.key)
            if found is None:
                backbone = Backbone(graph.backbone, weights_file)
                if weights_digest(backbone) != graph.weights_sha256:
                    raise WeightsMissing(
                        f"The weights of {graph.backbone} here are not those the product was enrolled with."
                    )
                network = EmbeddingNetwork(graph, backbone).eval().to(self._device)
                if self._name != "torch":
                    network = network.to(memory_format=torch.channels_last)
                found = self._embedders[graph.key] = _TorchEmbedder(network, self._device)
            return found

    def search(self, bank: Bank) -> Search:
        return _TorchSearch(bank, self._device)

    def joint_search(self, banks: Sequence[Bank]) -> JointSearch:
        return OneByOne([self.search(bank) for bank in banks])

    def student(self, weights: StudentWeights) -> Compare:
        return _TorchCompare(weights, self._device)


def _in_parts(frames: torch.Tensor, count: int) -> list[torch.Tensor]:
    return [frames[start : start + count] for start in range(0, len(frames), count)]


@contextlib.contextmanager
def _faults_named() -> Iterator[None]:
    """Turns torch's errors into EngineError: the input does not fit the pass, or memory does not suffice."""
    try:
        yield
    except RuntimeError as error:
        raise EngineError(f"torch can't run the pass: {str(error).splitlines()[0]}") from error


class _TorchEmbedder:
    """A pass in torch. On a GPU one call runs at a time, because a captured pass has one buffer for its input."""

    def __init__(self, network: EmbeddingNetwork, device: torch.device) -> None:
        self._network = network
        self._device = device
        self._lock = threading.Lock()
        self._captured: dict[int, _Captured] = {}

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        on_host = torch.from_numpy(pixels)
        with _faults_named(), torch.inference_mode():
            if self._device.type == "cpu":
                return list(self._network(on_host))
            with self._lock:
                return [
                    torch.cat(parts) if len(parts) > 1 else parts[0]
                    for parts in zip(
                        *(self._replayed(each) for each in _in_parts(on_host, LARGEST_CAPTURE)), strict=True
                    )
                ]

    def _replayed(self, on_host: torch.Tensor) -> list[torch.Tensor]:
        """Patches of at most LARGEST_CAPTURE frames, from the pass captured for the next power of two."""
        size = 1 << (len(on_host) - 1).bit_length()
        found = self._captured.get(size)
        if found is None:
            shape = (size, *on_host.shape[1:])
            found = self._captured[size] = _Captured(self._network, torch.zeros(shape, dtype=torch.uint8), self._device)
        return found(on_host)


LARGEST_CAPTURE = 64
_CAPTURING = threading.Lock()


class _Captured:
    """One pass as a CUDA graph. Called by one thread at a time, in inference mode."""

    def __init__(self, network: EmbeddingNetwork, example: torch.Tensor, device: torch.device) -> None:
        self._pixels = example.to(device)
        self._graph = torch.cuda.CUDAGraph()
        with _CAPTURING:
            beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # as torch declares it
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(3):  # before the capture, libraries choose algorithms and allocate memory
                    network(self._pixels)
            torch.cuda.current_stream().wait_stream(beside)
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._patches = network(self._pixels)

    def __call__(self, on_host: torch.Tensor) -> list[torch.Tensor]:
        self._pixels[: len(on_host)].copy_(on_host.pin_memory(), non_blocking=True)
        self._graph.replay()
        return [each[: len(on_host)].clone() for each in self._patches]


class _TorchCompare:
    """A comparison in torch, in float32 on every device: bfloat16 would round the small differences away."""

    def __init__(self, weights: StudentWeights, device: torch.device) -> None:
        self._comparison = Comparison(weights).eval().to(device)
        self._device = device

    def __call__(self, embedded: Sequence[Patches]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        with _faults_named():
            return compare(self._comparison, [torch.as_tensor(each, device=self._device) for each in embedded])


class _TorchSearch:
    def __init__(self, bank: Bank, device: torch.device) -> None:
        self._mean = torch.from_numpy(bank.mean).to(device)
        self._projection = None if bank.projection is None else torch.from_numpy(bank.projection).to(device)
        self._prototypes = torch.from_numpy(bank.prototypes).to(device)  # [K, D]
        self._squares = self._prototypes.square().sum(dim=1)
        self._unit_length = bank.unit_length
        self._covers = bank.covers
        self._is_pooled = bank.is_pooled
        self._scales = None if bank.scales is None else torch.from_numpy(bank.scales).to(device)  # [P, D]

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        with _faults_named(), torch.inference_mode():
            if self._mean.device.type == "cpu":
                found = torch.stack([self._distances(frame) for frame in patches])
            else:  # many frames at once: on a GPU the number of launches sets the cost
                found = torch.cat(
                    [self._distances(some) for some in _in_parts(self._on_device(patches), FRAMES_AT_ONCE)]
                )
        return np.asarray(found.cpu().numpy(), np.float32)

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        if self._scales is not None:
            return own_places(patches)
        with _faults_named(), torch.inference_mode():
            found = torch.stack([self._brackets(frame)[0].argmin(dim=-1) for frame in patches])
        return np.asarray(found.cpu().numpy(), np.int64)

    def _distances(self, cells: torch.Tensor) -> torch.Tensor:
        """Distances to the nearest prototype of each cover: [..., P, C] -> [..., covers, P]."""
        if self._scales is not None:
            apart: torch.Tensor = self._compared(cells) * self._scales - self._prototypes
            return apart.square().sum(dim=-1).sqrt()[..., None, :]
        brackets, length2 = self._brackets(cells)
        least = brackets.reshape(*brackets.shape[:-1], self._covers, -1).amin(dim=-1)
        return (least + length2[..., None]).clamp_min(0).sqrt().transpose(-1, -2)

    def _on_device(self, cells: Patches) -> torch.Tensor:
        """Patches as a tensor on the device; patches kept on the host as arrays are copied there."""
        return torch.as_tensor(cells, device=self._mean.device)

    def _brackets(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches [..., P, C] -> two tensors.

        The first, [..., P, K], is the squared distance to each prototype minus the squared length of the patch. The
        second, [..., P], is the squared length of the patch.
        """
        y = self._compared(cells)
        return self._squares - 2.0 * (y @ self._prototypes.T), y.square().sum(dim=-1)

    def _compared(self, cells: Patches) -> torch.Tensor:
        """The vectors that are compared with the prototypes, [..., P, D]."""
        cells = self._on_device(cells)
        if self._is_pooled:
            cells = pooled(cells.reshape(-1, *cells.shape[-2:])).reshape(*cells.shape[:-2], 1, -1)
        y: torch.Tensor = cells - self._mean
        if self._projection is not None:
            y = y @ self._projection
        if self._unit_length:
            y = torch.nn.functional.normalize(y, dim=-1)
        return y


FRAMES_AT_ONCE = 16
"""Frames searched together on a GPU. With 768 prototypes, each frame of 1,024 patches takes 3 MB of memory."""
