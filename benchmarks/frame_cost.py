"""What a frame costs in backbone passes, by profile, part by part: routing, preparation, pass, head.

    python -m benchmarks.frame_cost ROOT [--product bottle] [--exposure levelled] [--images 60] [--rounds 120]

A pass is one of the default backbone at 256 px to stride 16. Every part runs on one thread of ONNX Runtime and is
counted in processor time, beside that pass in the same round; ratios are medians over rounds. The head is enrolled
from so many training images of the product, with the dearest exposure unless told; the products under ROOT vote.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode, keep_opencv_on_the_callers_thread
from inspector.training.choice.exposure import EXPOSURES
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.factory import PROFILES
from inspector.training.routing.product_anchors import anchors_of
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import prepare
from inspector.vision.images.resizing import Pyramid
from inspector.vision.networks.graphs import BackboneFile, Embedding, Graph
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import ProductInspector

ANCHOR_FRAMES = 40
BOUNDS = {"fast": 1.25, "standard": 1.6}
Work = dict[str, Callable[[], object]]


def main() -> None:
    """Prints one row per profile."""
    options = _options()
    keep_opencv_on_the_callers_thread()
    labelled = {each.name: each for each in read_layout(options.root)}
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), threads=1)
        index = AnchorIndex([anchors_of(name, _routed(each, engine)) for name, each in labelled.items()])
        chosen = labelled[options.product]
        frame = _pixels(chosen.test[0].path)
        print(f"One frame of {options.product}, {frame.shape[1]}x{frame.shape[0]} px, {len(labelled)} products vote.\n")
        print("| profile | routing | preparation | pass | head | head with map | all | with map | bound |")
        print("|---|---|---|---|---|---|---|---|---|")
        for profile in PROFILES:
            asked = EnrolmentOptions(profile=profile, exposure=options.exposure, measures_detectability=False)
            work = _work(chosen, asked, options.images, frame, index, engine)
            print(_row(profile, _ratios(work, options.rounds)), flush=True)


def _work(
    labelled: LabelledProduct,
    asked: EnrolmentOptions,
    images: int,
    frame: NDArray[np.uint8],
    index: AnchorIndex,
    engine: Engine,
) -> Work:
    """The parts of a frame's way, each by itself; `unit` is the pass that they are counted in."""
    sources = [ImageSource(path.name, path=path) for path in labelled.train[:images]]
    artifact = unpack(enrol(labelled.name, sources, asked, engine).artifact)
    inspector = ProductInspector(artifact, engine)
    installed = BackboneFile.installed()
    unit = engine.embedder(Graph(installed.backbone.name, installed.sha256, 256, (Embedding((16,), 16, pool=1),)))
    embedder, routing_pass = engine.embedder(artifact.graph), RoutingPass.on(engine)
    square = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    canvas = prepare(frame, artifact.preparation)[None]
    embedded = embedder(canvas)

    shared: list[Pyramid] = []

    def route() -> object:
        shared[:] = [Pyramid(frame)]  # preparation finds it as routing leaves it
        patches = routing_pass.patches(shared[0])
        return index.route(patches)

    def judge() -> Judgement:
        return inspector.judge(embedded)[0]

    return {
        "unit": lambda: unit(square),
        "decode": lambda: decode(labelled.test[0].path.read_bytes(), DecodeLimits()),  # not counted: as it is in life
        "routing": route,
        "preparation": lambda: prepare(shared[0], artifact.preparation),
        "pass": lambda: embedder(canvas),
        "head": judge,
        "head with map": lambda: judge().drawn(),
    }


def _ratios(work: Work, rounds: int) -> dict[str, float]:
    """Medians over rounds of each part's processor time over the unit's in the same round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 5):
        for name, do in work.items():
            began = time.process_time()
            do()
            if turn >= 5:
                seconds[name].append(time.process_time() - began)
    return {
        name: statistics.median(own / unit for own, unit in zip(seconds[name], seconds["unit"], strict=True))
        for name in work
        if name not in ("unit", "decode")
    }


def _row(profile: str, ratios: dict[str, float]) -> str:
    parts = " | ".join(f"{value:.2f}" for value in ratios.values())
    whole = sum(ratios.values()) - ratios["head"]
    ordinary = whole - ratios["head with map"] + ratios["head"]
    return f"| {profile} | {parts} | {ordinary:.2f} | {whole:.2f} | {BOUNDS.get(profile, '-')} |"


def _routed(labelled: LabelledProduct, engine: Engine) -> list[NDArray[np.float32]]:
    """Unit patches of some training frames."""
    routing_pass = RoutingPass.on(engine)
    some = labelled.train[:: max(1, len(labelled.train) // ANCHOR_FRAMES)]
    return [routing_pass.patches(_pixels(path)) for path in some]


def _pixels(path: Path) -> NDArray[np.uint8]:
    return decode(path.read_bytes(), DecodeLimits())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="Folder of products in a known layout.")
    parser.add_argument("--product", default="bottle", help="Whose frame and head.")
    parser.add_argument("--exposure", choices=EXPOSURES, default="levelled", help="The dearest, unless told.")
    parser.add_argument("--images", type=int, default=60, help="Training images of the head.")
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--engines", type=Path, help="Cache of exported graphs.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
