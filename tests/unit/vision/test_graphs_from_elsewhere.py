"""A graph from a file or a registry is taken only if it is what its key says, and whole in itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from inspector.domain import ExportedGraph
from inspector.errors import ArtifactError
from inspector.vision.networks.graphs import (
    EXPORTER_VERSION,
    INPUT,
    Embedding,
    Graph,
    cached_graph,
    ensure_graph,
    keep_graph,
)

GRAPH = Graph("lite0", "0" * 64, 64, (Embedding((8,), 8),))


def model(**changed: Any) -> onnx.ModelProto:
    """A graph with the input and output of the pass; what it computes is of no account here."""
    pixels = helper.make_tensor_value_info(changed.get("input", INPUT), TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info(changed.get("output", "embedding_0"), TensorProto.FLOAT, [1])
    weight = changed.get("weight") or helper.make_tensor("weight", TensorProto.FLOAT, [1], [2.0])
    node = helper.make_node("Mul", [pixels.name, "weight"], [out.name], domain=changed.get("domain", ""))
    domains = [helper.make_opsetid(name, 18) for name in {"", changed.get("domain", "")}]
    return helper.make_model(helper.make_graph([node], "pass", [pixels], [out], [weight]), opset_imports=domains)


def exported(content: bytes | None = None, **changed: Any) -> ExportedGraph:
    body = model(**changed).SerializeToString() if content is None else content
    return ExportedGraph(GRAPH.key, body, GRAPH.to_manifest(), EXPORTER_VERSION, {"torch": "2.9"})


def test_keep_graph_is_found_as_if_it_had_been_exported_here(tmp_path: Path) -> None:
    assert cached_graph(GRAPH, tmp_path) is None
    keep_graph(exported(), tmp_path)
    assert cached_graph(GRAPH, tmp_path) == exported()
    assert ensure_graph(GRAPH, tmp_path) == exported().content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"content": b"\xff no graph"}, "no ONNX graph"),
        ({"content": b""}, "takes or gives something else"),
        ({"input": "frames"}, "takes or gives something else"),
        ({"output": "embedding_1"}, "takes or gives something else"),
        ({"domain": "com.elsewhere"}, "operators that are not ONNX's own"),
    ],
)
def test_keep_graph_that_is_something_else_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        keep_graph(exported(**change), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_keep_graph_whose_weights_are_a_file_is_refused(tmp_path: Path) -> None:
    outside = helper.make_tensor("weight", TensorProto.FLOAT, [1], [2.0])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ArtifactError, match="names files as its weights"):
        keep_graph(exported(weight=outside), tmp_path)


def test_keep_graph_with_such_weights_inside_a_branch_is_refused(tmp_path: Path) -> None:
    hidden = helper.make_tensor("inside", TensorProto.FLOAT, [1], [2.0])
    hidden.external_data.add(key="location", value="/etc/passwd")
    taken = helper.make_tensor_value_info("taken", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Identity", ["inside"], ["taken"])], "branch", [], [taken], [hidden])
    whole = model()
    whole.graph.node.append(helper.make_node("If", ["never"], ["unused"], then_branch=branch, else_branch=branch))
    with pytest.raises(ArtifactError, match="names files as its weights"):
        keep_graph(exported(whole.SerializeToString()), tmp_path)


def test_keep_graph_of_another_exporter_is_refused(tmp_path: Path) -> None:
    other = replace(exported(), key="f" * 16, exporter=EXPORTER_VERSION - 1)
    with pytest.raises(ArtifactError, match=f"exporter {EXPORTER_VERSION - 1}, here {EXPORTER_VERSION}"):
        keep_graph(other, tmp_path)
