"""What every engine provides: a pass, a search for nearest prototypes, and a comparison of student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.vision.networks.graphs import Graph
from inspector.vision.networks.student_graph import StudentWeights

Answer = Literal["distance", "index"]
Precision = Literal["float32", "bfloat16"]
FLOAT32: Precision = "float32"
Patches = Any
"""float32 [B, P, C] of one embedding, on the engine's device. Rows can be selected by index."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Prototypes of one embedding, in the space in which they are compared.

    `mean`: float32 [C], subtracted from every patch; `projection`: float32 [C, D] or None (D = C);
    `prototypes`: float32 [K, D]. `unit_length`: patches, once they are projected, and prototypes are compared as
    directions. `covers`: number of covers of equal size that lie one after the other in `prototypes`; each cover is
    searched by itself. `is_pooled`: the patches of a frame are pooled to one vector (`pooling.pooled`) first.
    `scales`: float32 [K, D] of a bank of places, None for all others. Each patch of a frame has a place there, so that
    K = P: patch p is multiplied by the scales of place p, and compared with prototype p alone.
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32] | None
    prototypes: NDArray[np.float32]
    unit_length: bool = False
    covers: int = 1
    is_pooled: bool = False
    scales: NDArray[np.float32] | None = None

    @property
    def is_placed(self) -> bool:
        return self.scales is not None


class Embedder(Protocol):
    """One pass: uint8 [B, S, S, 3] -> one `Patches` per embedding of its graph. Safe on several threads."""

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]: ...


class Search(Protocol):
    """The nearest prototype of each patch. Each frame is searched by itself: its batch does not change its result."""

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        """Patches [B, P, C] -> Euclidean distance to the nearest prototype of each cover, float32 [B, covers, P].

        A pooled bank gives one distance in place of P.
        """

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        """Patches [B, P, C] -> the number of the nearest of all prototypes, int64 [B, P]; p for patch p of a bank of
        places. Slower than `distances`; for frames that a person looks at.
        """


class JointSearch(Protocol):
    """Several banks, each searched for its own patches of the same frames. Frames are apart as in `Search`."""

    def distances(self, patches: Sequence[Patches]) -> list[NDArray[np.float32]]:
        """One [B, P, C] per bank -> what `Search.distances` of each bank gives, in the same order."""


class OneByOne:
    """A `JointSearch` that searches one bank after the other, for engines on which a joint one gains nothing."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches

    def distances(self, patches: Sequence[Patches]) -> list[NDArray[np.float32]]:
        return [search.distances(own) for search, own in zip(self._searches, patches, strict=True)]


class Compare(Protocol):
    """A student compared with its teacher: stem, low and high [B, P, C] -> low [g8, g8], high [g16, g16] of each frame.

    The result is float32 difference maps on the host. Each frame is compared by itself, as in `Search`.
    """

    def __call__(self, embedded: Sequence[Patches]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]: ...


class Engine(Protocol):
    """An engine runs the passes. Its `name` stands in the row of every verdict."""

    @property
    def name(self) -> str: ...

    @property
    def is_batched(self) -> bool:
        """Whether one pass over many frames is faster than many callers with a pass over one frame each."""

    @property
    def needs_graphs(self) -> bool:
        """Whether passes run from exported graphs. If not, they run from the backbone's own code and weights."""

    def versions(self) -> dict[str, str]:
        """Packages that determine the numbers."""

    @property
    def precision(self) -> Precision:
        """The precision of new passes, in which products are enrolled."""

    def ensure_graphs(self, graphs: Sequence[tuple[Graph, Path | None]]) -> None:
        """Export what is missing of the graphs of passes that will be needed, with the files of their weights.

        It saves time where `embedder` would export them one by one. Raises WeightsMissing, EngineError.
        """

    def embedder(
        self,
        graph: Graph,
        weights_file: Path | None = None,
        *,
        small: bool = False,
        precision: Precision | None = None,
    ) -> Embedder:
        """The pass, ready. `small`: called from many threads at once with one frame each, so one thread a call.

        `precision`: None for the engine's own. Raises WeightsMissing; EngineError, also for a precision that the engine
        does not have.
        """

    def search(self, bank: Bank) -> Search: ...

    def joint_search(self, banks: Sequence[Bank]) -> JointSearch: ...

    def student(self, weights: StudentWeights) -> Compare: ...


def ensure_float32(engine: str, precision: str | None) -> None:
    """For engines of one precision. Raises EngineError for any other."""
    if precision not in (None, FLOAT32):
        raise EngineError(
            f"It was enrolled in {precision}, and the engine {engine} computes in {FLOAT32}, which gives other scores. "
            f'Set engine.name = "openvino" on this machine, or enrol it again for {engine}.'
        )


def on_host(patches: Patches) -> NDArray[np.float32]:
    """An embedding as an array in this machine's memory."""
    return patches if isinstance(patches, np.ndarray) else np.asarray(patches.cpu().numpy())


def concatenated(parts: Sequence[Patches]) -> Patches:
    """Embeddings joined along their first axis, on the device that holds them."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import torch  # only tensors get here, so torch is loaded already

    return torch.cat(list(parts))


def own_places(patches: Patches) -> NDArray[np.int64]:
    """Patches [B, P, C] -> the number of each patch's own place, int64 [B, P]."""
    return np.tile(np.arange(patches.shape[1], dtype=np.int64), (len(patches), 1))


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length one; a zero row stays zero."""
    norms = np.sqrt(np.einsum("...c,...c->...", vectors, vectors))[..., None]
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
