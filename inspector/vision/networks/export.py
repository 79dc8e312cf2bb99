"""`python -m inspector.vision.networks.export ORDER`: writes passes as ONNX graphs into the cache.

`graphs.ensure_graphs` runs this module as a process of its own, so that the agent never imports torch. ORDER is JSON
with graphs, of which each has graph and weights_file, with cache, and with parent, the id of the process that waits for
it and with which it ends. Exit codes: 0 done, 3 weights missing, 4 torch missing, 1 any other fault. The last line on
stderr names the fault.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from inspector.errors import EngineError, InspectorError, TorchMissing, WeightsMissing
from inspector.lifetime import end_with_parent
from inspector.vision.networks.backbone import Backbone, weights_digest
from inspector.vision.networks.graphs import (
    INPUT,
    TORCH_MISSING_EXIT,
    WEIGHTS_MISSING_EXIT,
    Graph,
    output_name,
    write_cached,
)
from inspector.vision.networks.torch_extra import ensure_torch


def export_graph(graph: Graph, backbone: Backbone) -> bytes:
    """The pass as ONNX bytes: input `pixels`, outputs `embedding_0`, `embedding_1`, ...; any batch size.

    Raises WeightsMissing where the weights are not those that the graph names, TorchMissing.
    """
    ensure_torch(
        f"There is no exported graph of {graph.backbone} at {graph.size_px} px here or in the registry; exporting it",
        "Or enrol, run or import the product on a machine that has them and shares this registry, or import a file "
        "that `inspector products export` wrote there: the graph comes with it.",
    )
    import torch

    from inspector.vision.networks.embedding_network import EmbeddingNetwork

    found = weights_digest(backbone)
    if found != graph.weights_sha256:
        raise WeightsMissing(
            f"The weights of {backbone.name} here have digest {found[:12]}, the product was enrolled with "
            f"{graph.weights_sha256[:12]}; install the same weights or enrol again."
        )
    network = EmbeddingNetwork(graph, backbone).eval()
    example = torch.zeros((2, graph.size_px, graph.size_px, 3), dtype=torch.uint8)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[output_name(number) for number in range(len(graph.embeddings))],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        verbose=False,
    )
    if program is None:
        raise EngineError("The exporter returned nothing.")
    return bytes(program.model_proto.SerializeToString())


def versions() -> dict[str, str]:
    """The packages that made a graph."""
    return {name: importlib.metadata.version(name) for name in ("torch", "timm", "onnx", "onnxscript")}


def main(arguments: list[str]) -> int:
    order: dict[str, Any] = json.loads(arguments[0])
    end_with_parent(order["parent"])
    try:
        for wanted in order["graphs"]:
            graph = Graph.from_manifest(wanted["graph"])
            weights_file = Path(wanted["weights_file"]) if wanted["weights_file"] else None
            content = export_graph(graph, Backbone(graph.backbone, weights_file))
            write_cached(graph.key, content, Path(order["cache"]), versions())
    except WeightsMissing as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the parent process reads this line
        return WEIGHTS_MISSING_EXIT
    except TorchMissing as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the parent process reads this line
        return TORCH_MISSING_EXIT
    except InspectorError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the parent process reads this line
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
