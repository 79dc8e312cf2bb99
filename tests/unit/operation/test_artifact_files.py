"""Exported versions as files: what was written is read back, and damage on the way is noticed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from inspector.domain import ExportedGraph
from inspector.errors import ArtifactError, UsageError
from inspector.operation.artifact_files import digest_file, read_artifact, write_artifact
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.vision.artifacts.envelope import seal
from inspector.vision.artifacts.format import read_manifest
from inspector.vision.networks.graphs import EXPORTER_VERSION
from inspector.vision.serving.needed_graphs import needed_graphs
from tests.unit.drawings import FakeEngine, good_images


@pytest.fixture(scope="module")
def artifact() -> bytes:
    """An artifact that loads."""
    return enrol("disc", good_images("disc", 6), EnrolmentOptions(profile="fast"), FakeEngine()).artifact


def test_write_artifact_then_read_returns_the_checked_version(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / "disc-1.artifact"
    assert write_artifact(path, artifact, overwrites=False) == hashlib.sha256(path.read_bytes()).hexdigest()
    offered = read_artifact(path)
    assert (offered.product, offered.artifact) == ("disc", artifact)
    assert offered.digest == hashlib.sha256(artifact).hexdigest()
    assert offered.origin == "disc-1.artifact, checked by the SHA-256 at its end, disc-1.artifact.sha256"
    assert digest_file(path).read_text().split()[1] == "disc-1.artifact"


def test_write_artifact_over_a_file_needs_permission(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, b"first", overwrites=False)
    with pytest.raises(UsageError, match="--force"):
        write_artifact(path, artifact, overwrites=False)
    assert path.read_bytes().startswith(b"first")
    write_artifact(path, artifact, overwrites=True)
    assert read_artifact(path).artifact == artifact


def test_read_artifact_without_any_digest_needs_one_or_trust(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / "disc-1.artifact"
    path.write_bytes(artifact)
    with pytest.raises(UsageError, match="Nothing says whether"):
        read_artifact(path)
    assert read_artifact(path, is_trusted=True).origin == "disc-1.artifact, trusted, not checked"
    assert read_artifact(path, hashlib.sha256(artifact).hexdigest()).origin == "disc-1.artifact, checked by --sha256"
    with pytest.raises(UsageError, match="can't be read"):
        read_artifact(tmp_path / "none")


@pytest.mark.parametrize("form", [b"{}\n", b"\xef\xbb\xbf{}  bottle.artifact\r\n", b"\\{}  gr\\\\n\xf6.artifact\n"])
def test_read_artifact_beside_a_digest_file_of_any_tool_is_checked(
    tmp_path: Path, artifact: bytes, form: bytes
) -> None:
    path = tmp_path / "bottle.artifact"
    path.write_bytes(artifact)
    digest_file(path).write_bytes(form.replace(b"{}", hashlib.sha256(artifact).hexdigest().upper().encode()))
    assert "checked by bottle.artifact.sha256" in read_artifact(path).origin
    path.write_bytes(artifact[:-1])
    with pytest.raises(ArtifactError, match="damaged"):
        read_artifact(path)


def test_write_artifact_of_a_name_that_is_not_utf8_is_read_back(tmp_path: Path, artifact: bytes) -> None:
    path = tmp_path / os.fsdecode(b"gr\xf6.artifact")
    write_artifact(path, artifact, overwrites=False)
    assert read_artifact(path).origin.startswith(r"gr\xf6.artifact, checked by ")


@pytest.fixture(scope="module")
def graphs(artifact: bytes) -> tuple[ExportedGraph, ...]:
    """A graph of each pass that the artifact needs."""
    needed = needed_graphs([read_manifest(artifact)])
    return tuple(
        ExportedGraph(key, _onnx(len(graph.embeddings)), graph.to_manifest(), EXPORTER_VERSION, {"torch": "2.9"})
        for key, graph in needed.items()
    )


def _onnx(outputs: int) -> bytes:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1])
    names = [f"embedding_{number}" for number in range(outputs)]
    nodes = [helper.make_node("Identity", ["pixels"], [name]) for name in names]
    out = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1]) for name in names]
    return bytes(helper.make_model(helper.make_graph(nodes, "pass", [pixels], out)).SerializeToString())


def test_write_artifact_carries_the_graphs(tmp_path: Path, artifact: bytes, graphs: tuple[ExportedGraph, ...]) -> None:
    path = tmp_path / "disc-1.artifact"
    sha256 = write_artifact(path, artifact, graphs, overwrites=False)
    offered = read_artifact(path, sha256)
    assert offered.artifact == artifact
    assert sorted(offered.graphs, key=lambda each: each.key) == sorted(graphs, key=lambda each: each.key)
    assert len(offered.graphs) == 2


@pytest.mark.parametrize("place", ["artifact", "graphs", "line"])
def test_read_artifact_with_damaged_graphs_is_refused(
    tmp_path: Path, artifact: bytes, graphs: tuple[ExportedGraph, ...], place: str
) -> None:
    content = bytearray(seal(artifact, graphs))
    at = {"artifact": len(artifact) // 2, "graphs": len(artifact) + 500, "line": len(content) - 120}[place]
    content[at] ^= 1
    path = tmp_path / "disc-1.artifact"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged on its way"):
        read_artifact(path)


def test_read_artifact_leaves_out_graphs_that_it_does_not_need(
    tmp_path: Path, artifact: bytes, graphs: tuple[ExportedGraph, ...]
) -> None:
    """Another software names its graphs by other keys; a graph of another pass is no business of this version."""
    stranger = replace(graphs[0], key="f" * 16)
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, artifact, (stranger,), overwrites=False)
    assert read_artifact(path).graphs == ()


def test_read_artifact_with_a_graph_that_is_something_else_is_refused(
    tmp_path: Path, artifact: bytes, graphs: tuple[ExportedGraph, ...]
) -> None:
    path = tmp_path / "disc-1.artifact"
    write_artifact(path, artifact, (replace(graphs[0], content=b"\xff no graph"),), overwrites=False)
    with pytest.raises(ArtifactError, match="no ONNX graph"):
        read_artifact(path)
