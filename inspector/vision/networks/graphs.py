"""Describes the computation of a pass, names it by a key, and caches the exported ONNX graphs.

A graph takes uint8 [B, S, S, 3] and holds normalisation, backbone and patch embeddings. It is exported once, in a
separate process, which alone imports torch; other machines get it through the registry. The graph's file is named by
the digest of everything that it was made from. The file is written atomically, and its own digest is checked whenever
it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from inspector.domain import ExportedGraph, content_name
from inspector.errors import ArtifactError, EngineError, GraphMissing, WeightsMissing
from inspector.files import make_folder, read_regular, write_whole
from inspector.lifetime import Children, python_command
from inspector.vision.networks.backbone import Backbone, weights_digest

EXPORTER_VERSION = 4
"""This number is raised with every change of what an exported graph computes."""

Join = Literal["bilinear", "nearest", "checkered"]

EXPORT_TIMEOUT_S = 600
MOST_GRAPH_BYTES = 2 * 1024 * 1024 * 1024
"""The most that one graph without files beside it can have."""
MOST_NOTE_BYTES = 1024 * 1024
INPUT = "pixels"
"""Name of a graph's input."""

_exports = Children()

WEIGHTS_MISSING_EXIT = 3
TORCH_MISSING_EXIT = 4


@dataclass(frozen=True, slots=True)
class Embedding:
    """Patch vectors on one grid: maps of several strides, averaged, brought to the grid and joined.

    `grid_stride` is the distance of patches in input pixels. `pool` is the side of the local average: 3, or 1 for none.
    `join` says how maps of other strides come to the grid. Coarser maps are enlarged, `bilinear` or by repeating the
    `nearest` cell; finer maps are averaged. With `checkered`, coarser maps are repeated, and one cell stands for all
    finer cells of its place, because an average loses what fine textures are known by. The embedding then has every
    second patch, like the fields of one colour of a chess board: in row r the columns r % 2, r % 2 + 2, ...
    """

    strides: tuple[int, ...]
    grid_stride: int
    pool: int = 3
    join: Join = "bilinear"

    def to_manifest(self) -> dict[str, Any]:
        return {
            "strides": list(self.strides),
            "grid_stride": self.grid_stride,
            "pool": self.pool,
            "join": self.join,
        }

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any]) -> Embedding:
        """Raises ArtifactError where a field is missing or of a kind that this software does not know."""
        try:
            strides = tuple(int(stride) for stride in stored["strides"])
            found = cls(strides, int(stored["grid_stride"]), int(stored["pool"]), stored["join"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError("The artifact's embedding can't be read.") from error
        if not strides or found.join not in get_args(Join) or found.pool not in (1, 3) or found.grid_stride <= 0:
            raise ArtifactError("The artifact's embedding is of an unknown kind.")
        return found


@dataclass(frozen=True, slots=True)
class Graph:
    """One pass: a backbone at one input size, and the embeddings that it gives. The pass is identified by its `key`.

    `sha256`: what the exported graph must have, because a version is bound to it; None for any. It is no part of the
    key.
    """

    backbone: str
    weights_sha256: str
    size_px: int
    embeddings: tuple[Embedding, ...]
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The key, with the digest of the exported graph where that is bound."""
        return self.key if self.sha256 is None else content_name(self.key, self.sha256)

    @property
    def key(self) -> str:
        """16 hex digits over all fields and the exporter's version."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()[:16]

    def _canonical(self) -> str:
        return json.dumps({**self.to_manifest(), "exporter": EXPORTER_VERSION}, sort_keys=True)

    def grid(self, index: int) -> int:
        """Patches per side of embedding `index`, before every second is left out with `checkered`."""
        return self.size_px // self.embeddings[index].grid_stride

    def patches(self, index: int) -> int:
        """Patches of embedding `index`."""
        fields = self.grid(index) ** 2
        return (fields + 1) // 2 if self.embeddings[index].join == "checkered" else fields

    def to_manifest(self) -> dict[str, Any]:
        return {
            "backbone": self.backbone,
            "weights_sha256": self.weights_sha256,
            "size_px": self.size_px,
            "embeddings": [embedding.to_manifest() for embedding in self.embeddings],
        }

    @classmethod
    def from_manifest(cls, stored: Mapping[str, Any]) -> Graph:
        """Raises ArtifactError."""
        try:
            name, digest, size_px = str(stored["backbone"]), str(stored["weights_sha256"]), int(stored["size_px"])
            embeddings = tuple(Embedding.from_manifest(item) for item in stored["embeddings"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError("The artifact's backbone pass can't be read.") from error
        return cls(name, digest, size_px, embeddings)


@dataclass(frozen=True, slots=True)
class BackboneFile:
    """A backbone with the digest that its weights must have."""

    backbone: Backbone
    sha256: str

    @classmethod
    def installed(cls, backbone: Backbone | None = None) -> BackboneFile:
        """The backbone as it is on this machine. Raises WeightsMissing."""
        chosen = backbone or Backbone()
        return cls(chosen, weights_digest(chosen))


def output_name(number: int) -> str:
    """The name of a graph's output with embedding `number`."""
    return f"embedding_{number}"


def ensure_graph(graph: Graph, cache: Path, weights_file: Path | None = None) -> bytes:
    """The graph's ONNX bytes, undamaged. The graph is exported now where the cache lacks it; this takes many seconds.

    Raises WeightsMissing, EngineError; GraphMissing where torch is not installed, and where the graph here is not the
    one that a version is bound to.
    """
    ensure_graphs([(graph, weights_file)], cache)
    found = _read_bound(graph, cache)
    if found is None and graph.sha256 is not None:
        raise GraphMissing(
            f"the exported graph {graph.key} that the version is bound to ({graph.sha256[:16]}...) is not here; "
            "import the version again from its file with the graphs"
        )
    if found is None:
        raise EngineError(f"The exported graph in {cache} can't be read back; is the folder writable and not full?")
    return found[0]


def ensure_graphs(graphs: Sequence[tuple[Graph, Path | None]], cache: Path) -> None:
    """Export all of these graphs that the cache lacks in one process, because nearly half of an export is its start.

    With each graph comes the file of its weights, None for the installed ones. Raises as `ensure_graph`, except for a
    bound graph that is another one here.
    """
    # Where another graph of the same pass is here, other versions may run on it.
    missing = [
        (graph, weights_file)
        for graph, weights_file in graphs
        if _read_bound(graph, cache) is None and (graph.sha256 is None or _read_cached(graph.key, cache) is None)
    ]
    if missing:
        _export_in_subprocess(missing, cache)


def cached_graph(graph: Graph, cache: Path) -> ExportedGraph | None:
    """The graph from the cache; None where it is missing or damaged. Raises EngineError for an unreadable folder."""
    found = _read_bound(graph, cache)
    if found is None:
        return None
    content, versions = found
    return ExportedGraph(graph.key, content, graph.to_manifest(), EXPORTER_VERSION, versions)


def keep_graph(found: ExportedGraph, cache: Path, name: str | None = None) -> None:
    """Put a graph that came from elsewhere into the cache. `name`: of a bound graph; None for its key.

    Raises ArtifactError where it is not the graph that its name says, or anything but plain arithmetic.
    """
    name = name or found.key
    if name not in (found.key, content_name(found.key, found.sha256)):
        raise ArtifactError(f"The graph {found.key} is not the one that a version is bound to.")
    ensure_plain(found)
    write_cached(name, found.content, cache, found.versions)


def ensure_plain(found: ExportedGraph) -> None:
    """Raises ArtifactError unless the bytes are a graph of this pass that is whole in itself.

    A graph from elsewhere could name files of this machine as its weights, or operators of other libraries.
    """
    import onnx
    from google.protobuf.message import DecodeError

    graph = Graph.from_manifest(found.described)
    if graph.key != found.key:
        raise ArtifactError(
            f"The graph {found.key} is of another version of this software (exporter {found.exporter}, here "
            f"{EXPORTER_VERSION})."
        )
    try:
        model = onnx.load_model_from_string(found.content)
    except (DecodeError, ValueError, MemoryError) as error:
        raise ArtifactError(f"The graph {found.key} is no ONNX graph; it was damaged on its way.") from error
    inputs = [each.name for each in model.graph.input]
    outputs = [each.name for each in model.graph.output]
    if inputs != [INPUT] or outputs != [output_name(number) for number in range(len(graph.embeddings))]:
        raise ArtifactError(f"The graph {found.key} takes or gives something else than its pass.")
    if any(each.domain not in ("", "ai.onnx") for each in model.opset_import) or model.functions:
        raise ArtifactError(f"The graph {found.key} has operators that are not ONNX's own.")
    if any(tensor.external_data for tensor in _tensors(model.graph)):
        raise ArtifactError(f"The graph {found.key} names files as its weights; it has to hold them itself.")


def _tensors(graph: Any) -> Iterator[Any]:
    """All stored tensors of an ONNX graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def write_cached(name: str, content: bytes, cache: Path, versions: Mapping[str, str]) -> None:
    """Store a graph under its name. Readers see the whole graph or no graph."""
    make_folder(cache, is_shared=True)
    note = json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "versions": dict(versions)})
    for file, body in ((f"{name}.onnx", content), (f"{name}.json", note.encode())):
        write_whole(cache / file, body, durable=True)


def end_exports() -> None:
    """End the exports that threads of this process wait for; those threads get an EngineError."""
    _exports.end()


def _read_bound(graph: Graph, cache: Path) -> tuple[bytes, dict[str, str]] | None:
    """The graph from the cache with the versions that made it; None also where it is another than the bound one."""
    for name in dict.fromkeys((graph.name, graph.key)):
        found = _read_cached(name, cache)
        if found is not None and graph.sha256 in (None, hashlib.sha256(found[0]).hexdigest()):
            return found
    return None


def _read_cached(name: str, cache: Path) -> tuple[bytes, dict[str, str]] | None:
    """The graph from the cache, and the versions that made it.

    None where the graph is missing or damaged; the caller exports it again then.
    """
    try:
        content = read_regular(cache / f"{name}.onnx", MOST_GRAPH_BYTES)
        note = json.loads(read_regular(cache / f"{name}.json", MOST_NOTE_BYTES))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise EngineError(f"The engine cache {cache} can't be read: {error.strerror}.") from error
    if not isinstance(note, dict) or note.get("sha256") != hashlib.sha256(content).hexdigest():
        return None
    return content, dict(note.get("versions") or {})


def _export_in_subprocess(graphs: Sequence[tuple[Graph, Path | None]], cache: Path) -> None:
    order = {
        "graphs": [
            {"graph": graph.to_manifest(), "weights_file": str(weights_file.resolve()) if weights_file else None}
            for graph, weights_file in graphs
        ],
        "cache": str(cache.resolve()),
        "parent": os.getpid(),
    }
    # -W ignore: the exporter's deprecation warnings mean nothing to the operator.
    command = python_command("-W", "ignore", "-m", "inspector.vision.networks.export", json.dumps(order))
    limit_s = EXPORT_TIMEOUT_S * len(graphs)
    try:
        done = _exports.run(command, timeout_s=limit_s)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Exporting the backbone took more than {limit_s} s.") from error
    if done.returncode == 0:
        return
    if (number := -done.returncode) > 0:  # as where a person ends a whole group of processes
        by = f"signal {number} ({signal.strsignal(number)})"
        raise EngineError(f"The export of the backbone was ended by {by} before it was done; start it again.")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode == WEIGHTS_MISSING_EXIT:
        raise WeightsMissing(last)
    if done.returncode == TORCH_MISSING_EXIT:
        raise GraphMissing(last)
    raise EngineError(f"The backbone could not be exported to ONNX: {last}")
