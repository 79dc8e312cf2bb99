"""From a file to its score, one image at a time: our heads beside anomalib's PatchCore, in turn in one run.

`python -m benchmarks.file_to_score ROOT --product bottle`, in an environment with the extra `[peer]`. Same backbone
weights, same good images, same squares. PatchCore runs as torch runs it and as OpenVINO runs its converted graph, as
the library exports it. Every method decodes, prepares, scores and draws its map on all cores; ours routes too. In each
round every method judges the same images, so that the ratios of a round are of one state of the machine. OpenVINO
computes in bfloat16 by itself where the processor can, so ours has a row of that engine and precision too, and the
precision of the peer's graph is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino
import torch

from benchmarks.peer_models import PeerModel, fit_peer, peer_tensor
from inspector.evaluation.contenders import Arena, Contender
from inspector.evaluation.layouts import LabelledImage, LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.routing.routing_pass import RoutingPass

PROFILES = ("fast", "standard")
RUN_BY = (("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
"""Engines and precisions of ours."""
Judge = Callable[[LabelledImage], float]
"""Judges an image from its file, and returns the milliseconds that it took."""


def main() -> None:
    """Prints one row per method: milliseconds an image, and images a second as a multiple of PatchCore's in torch."""
    options = _options()
    warnings.simplefilter("ignore")  # the peer's own deprecations
    torch.set_num_threads(os.cpu_count() or 1)
    (labelled,) = read_layout(options.root, (options.product,))
    with tempfile.TemporaryDirectory() as folder:
        judges = _judges(labelled, options.train, Path(folder))
        images = labelled.test[: options.images]
        rounds = [_round(judges, images) for _ in range(options.rounds + 1)][1:]
    train = len(labelled.train[: options.train])
    print(f"{train} good images of {labelled.name}, {len(images)} judged in each of {len(rounds)} rounds")
    print("\n| method | ms an image | images a second, beside PatchCore torch | beside PatchCore OpenVINO |")
    print("|---|---|---|---|")
    for name in judges:
        ms = statistics.median(each[name] for each in rounds)
        ratios = [
            statistics.median(each[peer] / each[name] for each in rounds)
            for peer in ("PatchCore torch", "PatchCore OpenVINO")
        ]
        print(f"| {name} | {ms:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def _judges(labelled: LabelledProduct, train: int, folder: Path) -> dict[str, Judge]:
    found = {
        f"{profile}, {name} {precision}": _ours(labelled, train, profile, create_engine(name, folder, 0, precision))
        for profile in PROFILES
        for name, precision in RUN_BY
    }
    preparation = Preparation()
    pixels = (decode(path.read_bytes(), DecodeLimits()) for path in labelled.train[:train])
    peer = fit_peer("PatchCore", [prepare(each, preparation) for each in pixels])
    exported = _exported(peer, preparation.size_px)
    found["PatchCore torch"] = _timed(preparation, peer.judge)
    found["PatchCore OpenVINO"] = _timed(preparation, exported)
    return found


def _ours(labelled: LabelledProduct, train: int, profile: str, engine: Engine) -> Judge:
    sources = [ImageSource.of(path) for path in labelled.train[:train]]
    asked = EnrolmentOptions(profile=profile, measures_detectability=False)
    content = enrol(labelled.name, sources, asked, engine).artifact
    contender = Contender.open(content, engine, product=labelled.name, n_images=len(sources), enroll_s=None)
    arena = Arena({labelled.name: contender}, RoutingPass.on(engine), DecodeLimits(), is_routed=True)
    return lambda image: arena.judge(labelled.name, image).ms


def _exported(peer: PeerModel, size_px: int) -> Callable[[np.ndarray], object]:
    """The peer's graph as OpenVINO compiles it for the least latency."""
    example = peer_tensor([np.zeros((size_px, size_px, 3), np.uint8)])
    graph = openvino.convert_model(_Tupled(peer.model), example_input=example)
    compiled = openvino.Core().compile_model(graph, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    print("PatchCore in OpenVINO computes in", compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    return lambda square: compiled(peer_tensor([square]).numpy())


class _Tupled(torch.nn.Module):
    """The same model with outputs that can be traced: score and map."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._model(planes)
        return found.pred_score, found.anomaly_map


def _timed(preparation: Preparation, score: Callable[[np.ndarray], object]) -> Judge:
    def judge(image: LabelledImage) -> float:
        payload = image.path.read_bytes()  # in the file cache, as for ours, which reads before it counts
        began = time.perf_counter()
        score(prepare(decode(payload, DecodeLimits()), preparation))
        return (time.perf_counter() - began) * 1e3

    return judge


def _round(judges: dict[str, Judge], images: Sequence[LabelledImage]) -> dict[str, float]:
    """Milliseconds an image, by method."""
    return {name: statistics.mean(judge(image) for image in images) for name, judge in judges.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in MVTec AD layout")
    parser.add_argument("--product", default="bottle")
    parser.add_argument("--train", type=int, default=60, help="good images that every method is fitted on")
    parser.add_argument("--images", type=int, default=20, help="test images of a round")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
