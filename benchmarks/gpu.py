"""What the GPU path gives and costs beside ONNX Runtime on the same machine: parity, frames, training.

    python -m benchmarks.gpu ROOT [--product bottle] [--engine torch-cuda] [--steps 2000]

A head is enrolled on ONNX Runtime and opened on the other engine: its probes must hold there, as when an agent loads
it, and every test image is judged by both. Then frames go through pass and head in batches, each engine in turn, and a
student is trained on the other engine. Exits with 1 where a probe fails.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ParityError
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.artifacts.format import Artifact, unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.preparation import prepare
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import ProductInspector

BATCHES = (1, 4, 16, 64)
ROUNDS = 20


def main() -> None:
    """Prints the tables; exits with 1 where the engines do not agree."""
    options = _options()
    (labelled,) = read_layout(options.root, (options.product,))
    sources = [ImageSource(path.name, path=path) for path in labelled.train]
    with tempfile.TemporaryDirectory() as folder:
        reference = create_engine("onnxruntime", Path(folder))
        other = create_engine(options.engine, Path(folder))
        engines = {"onnxruntime": reference, options.engine: other}
        print(f"{_device(options.engine)}; {labelled.name}: {len(sources)} training, {len(labelled.test)} test images")
        agreed = True
        for head in ("prototype", "protoad"):
            began = time.perf_counter()
            made = unpack(enrol(labelled.name, sources, _asked(head, options.steps), reference).artifact)
            print(f"\n{head}: enrolled on onnxruntime in {time.perf_counter() - began:.1f} s")
            agreed &= _compare(made, labelled, engines)
        _speed(made, engines)
        for head in ("prototype", "student"):
            began = time.perf_counter()
            made = unpack(enrol(labelled.name, sources, _asked(head, options.steps), other).artifact)
            print(f"\n{head}: enrolled on {options.engine} in {time.perf_counter() - began:.1f} s")
            print("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in made.manifest["seconds"].items()))
            agreed &= _compare(made, labelled, engines)
    sys.exit(0 if agreed else 1)


def _asked(head: str, steps: int) -> EnrolmentOptions:
    return EnrolmentOptions(head=head, measures_detectability=False, training=TrainingPlan(steps=steps))


def _compare(artifact: Artifact, labelled: LabelledProduct, engines: dict[str, Engine]) -> bool:
    """Probes and test images on each engine; whether all probes hold."""
    levels: dict[str, NDArray[np.float64]] = {}
    holds = True
    for name, engine in engines.items():
        inspector = ProductInspector(artifact, engine)
        embedder = engine.embedder(artifact.graph)
        try:
            inspector.check_probes(embedder, RoutingPass.on(engine))
            said = "probes hold"
        except ParityError as error:
            said, holds = f"PROBES FAIL: {error}", False
        judged = [inspector.judge(embedder(_prepared(artifact, image.path)))[0] for image in labelled.test]
        levels[name] = np.array([artifact.calibration.level(each.score) for each in judged])
        defective = np.array([image.defect is not None for image in labelled.test])
        auroc = image_auroc(levels[name][~defective], levels[name][defective])
        print(f"  {name}: {said}; AUROC {auroc:.4f}, {np.mean(levels[name][~defective] > 1):.1%} of good rejected")
    one, two = levels.values()
    apart = np.abs(one - two)
    differ = int(((one > 1) != (two > 1)).sum())
    print(f"  levels apart: median {np.median(apart):.4f}, most {apart.max():.4f}; {differ} verdicts differ")
    return holds


def _speed(artifact: Artifact, engines: dict[str, Engine]) -> None:
    """Wall-clock milliseconds of pass and head per frame, engines in turn, by batch; and the ratio."""
    rng = np.random.default_rng(0)
    print("\n| batch | " + " | ".join(f"{name}, ms a frame" for name in engines) + " | ratio |")
    print("|---" * (len(engines) + 2) + "|")
    ready = {name: (ProductInspector(artifact, each), each.embedder(artifact.graph)) for name, each in engines.items()}
    size = artifact.preparation.size_px
    for batch in BATCHES:
        pixels = rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        seconds: dict[str, list[float]] = {name: [] for name in ready}
        for turn in range(ROUNDS + 3):
            for name, (inspector, embedder) in ready.items():
                began = time.perf_counter()
                inspector.judge(embedder(pixels))
                if turn >= 3:
                    seconds[name].append((time.perf_counter() - began) / batch)
        middle = [statistics.median(each) * 1e3 for each in seconds.values()]
        print(f"| {batch} | " + " | ".join(f"{each:.2f}" for each in middle) + f" | {middle[0] / middle[1]:.1f} |")


def _prepared(artifact: Artifact, path: Path) -> NDArray[np.uint8]:
    return prepare(decode(path.read_bytes(), DecodeLimits()), artifact.preparation)[None]


def _device(engine: str) -> str:
    import torch

    return torch.cuda.get_device_name() if engine == "torch-cuda" else f"no GPU, engine {engine}"


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="Folder of products in a known layout.")
    parser.add_argument("--product", default="bottle")
    parser.add_argument("--engine", default="torch-cuda", help="The engine beside onnxruntime.")
    parser.add_argument("--steps", type=int, default=2000, help="Of the student's training.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
