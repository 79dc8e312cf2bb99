"""Reads the head of an artifact with the reader that is registered for the head's kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.vision.heads.base import HeadModel
from inspector.vision.heads.prototype import read_prototype_model
from inspector.vision.heads.student import read_student_model
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph

ModelReader = Callable[[Mapping[str, Any], Mapping[str, NDArray[Any]], Graph, Preparation], HeadModel]
"""Makes a model from the head's part of the manifest and the head's tensors, for a pass and a preparation.

Raises ArtifactError where parts do not fit together. A reader may raise KeyError, TypeError or ValueError where a part
is missing or of another type; the code that reads the artifact turns these into ArtifactError.
"""

_READERS: dict[str, ModelReader] = {"prototype": read_prototype_model, "student": read_student_model}


def register(kind: str, reader: ModelReader) -> None:
    """Register the reader for heads of this kind. Raises ValueError where the kind has a reader already."""
    if kind in _READERS:
        raise ValueError(f"heads of the kind {kind} have a reader")
    _READERS[kind] = reader


@contextlib.contextmanager
def registered(kind: str, reader: ModelReader) -> Iterator[None]:
    """Register the reader as `register` does, until the end of the block."""
    register(kind, reader)
    try:
        yield
    finally:
        del _READERS[kind]


def read_model(
    stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], graph: Graph, preparation: Preparation
) -> HeadModel:
    """The head that an artifact holds. `stored`: the head's part of the manifest, with its kind.

    Raises as `ModelReader`.
    """
    reader = _READERS.get(stored["kind"])
    if reader is None:
        raise ArtifactError(f"The artifact has a head of an unknown kind, {stored['kind']!r}.")
    model = reader(stored, tensors, graph, preparation)
    if not all(0 <= use.index < len(graph.embeddings) for use in model.embeddings):
        raise ArtifactError("The artifact's head stands on embeddings that its pass does not give.")
    return model
