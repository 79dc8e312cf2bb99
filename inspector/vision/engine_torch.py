"""The torch engines: eager on a CPU, channels-last, and CUDA in bfloat16.

The other way to the same numbers: parity with ONNX Runtime is checked by every artifact's probes.
On a GPU: pinned input, asynchronous copy, features kept on the device until the distances are known.
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
from inspector.vision.backbone import Backbone, weights_digest
from inspector.vision.engines import Bank, Compare, Embedder, Patches, Search
from inspector.vision.graphs import Graph
from inspector.vision.network import EmbeddingNetwork
from inspector.vision.student_graph import StudentWeights
from inspector.vision.student_training import Comparison, compare


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

    @property
    def name(self) -> str:
        return self._name

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")}

    def embedder(self, graph: Graph, weights_file: Path | None = None, *, small: bool = False) -> Embedder:
        del small  # torch has one pool of threads for all
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

    def student(self, weights: StudentWeights) -> Compare:
        return _TorchCompare(weights, self._device)


@contextlib.contextmanager
def _faults_named() -> Iterator[None]:
    """Raises EngineError where what a pass is fed does not fit it, or memory does not suffice."""
    try:
        yield
    except RuntimeError as error:
        raise EngineError(f"torch can't run the pass: {str(error).splitlines()[0]}") from error


class _TorchEmbedder:
    def __init__(self, network: EmbeddingNetwork, device: torch.device) -> None:
        self._network = network
        self._device = device

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        on_host = torch.from_numpy(pixels)
        with _faults_named(), torch.inference_mode():
            if self._device.type == "cpu":
                return list(self._network(on_host))
            on_device = on_host.pin_memory().to(self._device, non_blocking=True)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                return [patches.float() for patches in self._network(on_device)]


class _TorchCompare:
    """In float32 on every device: what is compared is small, and bfloat16 would round it away."""

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

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        with _faults_named(), torch.inference_mode():
            found = torch.stack([self._distances(frame) for frame in patches])
        return np.asarray(found.cpu().numpy(), np.float32)

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        with _faults_named(), torch.inference_mode():
            found = torch.stack([self._brackets(frame)[0].argmin(dim=1) for frame in patches])
        return np.asarray(found.cpu().numpy(), np.int64)

    def _distances(self, cells: torch.Tensor) -> torch.Tensor:
        """[P, C] -> [covers, P]."""
        brackets, length2 = self._brackets(cells)
        least = brackets.reshape(len(brackets), self._covers, -1).amin(dim=2)
        return (least + length2[:, None]).clamp_min(0).sqrt().T

    def _brackets(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[P, C] -> squared distances to the prototypes less the patch's squared length, [P, K]; and that, [P]."""
        cells = torch.as_tensor(cells, device=self._mean.device)  # an array too, where features were kept on the host
        if self._unit_length:
            cells = torch.nn.functional.normalize(cells, dim=-1)
        y = cells - self._mean
        if self._projection is not None:
            y = y @ self._projection
        return torch.addmm(self._squares, y, self._prototypes.T, alpha=-2.0), y.square().sum(dim=1)
