"""From a file to its score in batches of one: our heads beside anomalib's PatchCore, in turn in one run.

`python -m benchmarks.file_to_score ROOT --product bottle`, in an environment with the extra `[peer]`. Same backbone
weights, same good images, same squares. PatchCore runs as torch runs it and as OpenVINO runs its converted graph, as
the library exports it. Every method decodes, prepares, scores and draws its map; ours routes too. With `--callers 1`
one image after another has all cores. With as many callers as cores, each has an image and one core, as the workers of
an agent have; the peer's graphs then run so as well. In each round every method judges the same images, so that the
ratios of a round are of one state of the machine. OpenVINO computes in bfloat16 by itself where the processor can, so
ours has a row of that engine and precision too, and the precision of the peer's graph is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino
import torch

from benchmarks.peer_models import PeerModel, fit_peer, peer_tensor
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, EncodedImage, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.routing_pass import RoutingPass, RoutingView
from inspector.vision.serving.product_inspector import ProductInspector

PROFILES = ("fast", "standard")
RUN_BY = (("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
"""Engines and precisions of ours."""
Score = Callable[[bytes], object]
"""Judges an image from the bytes of its file, its map included. Several threads may call it."""


def main() -> None:
    """Prints one row per method: milliseconds an image, and images a second as a multiple of PatchCore's in torch."""
    options = _options()
    warnings.simplefilter("ignore")  # the peer's own deprecations
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, cores // options.callers))
    (labelled,) = read_layout(options.root, (options.product,))
    files = [image.path.read_bytes() for image in labelled.test[: options.images]]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.callers) as pool:
        scores = _scores(labelled, options.train, Path(folder), options.callers)
        rounds = [_round(scores, files, pool) for _ in range(options.rounds + 1)][1:]
    train = len(labelled.train[: options.train])
    print(f"{train} good images of {labelled.name}, {len(files)} judged in each of {len(rounds)} rounds, ", end="")
    print(f"{options.callers} at a time")
    print("\n| method | ms an image | images a second, beside PatchCore torch | beside PatchCore OpenVINO |")
    print("|---|---|---|---|")
    for name in scores:
        ms = statistics.median(each[name] for each in rounds)
        ratios = [
            statistics.median(each[peer] / each[name] for each in rounds)
            for peer in ("PatchCore torch", "PatchCore OpenVINO")
        ]
        print(f"| {name} | {ms:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def _scores(labelled: LabelledProduct, train: int, folder: Path, callers: int) -> dict[str, Score]:
    found = {
        f"{profile}, {name} {precision}": _ours(
            labelled, train, profile, create_engine(name, folder, 0, precision), is_alone=callers == 1
        )
        for profile in PROFILES
        for name, precision in RUN_BY
    }
    preparation = Preparation()
    pixels = (decode(path.read_bytes(), DecodeLimits()) for path in labelled.train[:train])
    peer = fit_peer("PatchCore", [prepare(each, preparation) for each in pixels])
    for name, score in (("torch", peer.judge), ("OpenVINO", _exported(peer, preparation.size_px, callers))):
        found[f"PatchCore {name}"] = _of_file(preparation, score)
    return found


def _ours(labelled: LabelledProduct, train: int, profile: str, engine: Engine, *, is_alone: bool) -> Score:
    sources = [ImageSource.of(path) for path in labelled.train[:train]]
    asked = EnrolmentOptions(profile=profile, measures_detectability=False)
    artifact = unpack(enrol(labelled.name, sources, asked, engine).artifact)
    embedder = engine.embedder(artifact.graph, small=not is_alone, precision=artifact.precision)
    inspector, routing_pass = ProductInspector(artifact, engine), RoutingPass.on(engine)
    index = AnchorIndex([artifact.anchors], halvings=[artifact.preparation.halving])

    def score(payload: bytes) -> object:
        image = EncodedImage(payload, DecodeLimits())
        index.route(RoutingView(image, index.halvings).patches(routing_pass))
        (judgement,) = inspector.judge(embedder(prepare(image, artifact.preparation)[None]))
        return judgement.drawn()

    return score


def _exported(peer: PeerModel, size_px: int, callers: int) -> Callable[[np.ndarray], object]:
    """The peer's graph as OpenVINO compiles it for the least latency, or for several callers."""
    example = peer_tensor([np.zeros((size_px, size_px, 3), np.uint8)])
    graph = openvino.convert_model(_Tupled(peer.model), example_input=example)
    hints = {"PERFORMANCE_HINT": "LATENCY"}
    if callers > 1:
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": str(callers)}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)
    print("PatchCore in OpenVINO computes in", compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    own = threading.local()

    def score(square: np.ndarray) -> object:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer(peer_tensor([square]).numpy())

    return score


class _Tupled(torch.nn.Module):
    """The same model with outputs that can be traced: score and map."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._model(planes)
        return found.pred_score, found.anomaly_map


def _of_file(preparation: Preparation, score: Callable[[np.ndarray], object]) -> Score:
    return lambda payload: score(prepare(decode(payload, DecodeLimits()), preparation))


def _round(scores: dict[str, Score], files: Sequence[bytes], pool: ThreadPoolExecutor) -> dict[str, float]:
    """Milliseconds an image, by method."""
    found = {}
    for name, score in scores.items():
        began = time.perf_counter()
        for _ in pool.map(score, files):
            pass
        found[name] = (time.perf_counter() - began) * 1e3 / len(files)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in MVTec AD layout")
    parser.add_argument("--product", default="bottle")
    parser.add_argument("--train", type=int, default=60, help="good images that every method is fitted on")
    parser.add_argument("--images", type=int, default=20, help="test images of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--callers", type=int, default=1, help="images that are judged at a time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
