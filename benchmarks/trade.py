"""The trade of an enrolment beside the truth: what it says of drawn defects, and what its thresholds find of real ones.

    python -m benchmarks.trade ROOT [--products bottle,fabric] [--exposure pill=as_is ...] [--out trade.md]

ROOT holds products in MVTec AD layout. Each product is enrolled as `inspector enroll` does it. At each share of good
parts that may be rejected, the table has the share of drawn defects found (from the enrolment alone), the share of the
real defective test images found, and the good test images rejected. Nothing is chosen by this table. `--exposure` names
the exposure that a product's good images would choose, which saves half of the time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.choice.exposure import parse_exposure
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.evidence.trade import TradePoint
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.preparation import prepare
from inspector.vision.serving.product_inspector import ProductInspector

BATCH = 8
HEADER = [
    "| product | pose | large drawn found | overkill | drawn found | real found | good rejected |",
    "|---|---|---|---|---|---|---|",
]


def main() -> None:
    options = _options()
    products = tuple(options.products.split(",")) if options.products else None
    lines = list(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), options.threads)
        exposures = dict(each.split("=") for each in options.exposure)
        for item in read_layout(options.root, products):
            asked = EnrolmentOptions(
                options.head,
                options.profile,
                measures_detectability=True,
                exposure=parse_exposure(exposures.get(item.name, "auto")),
            )
            rows = _rows(item, engine, asked)
            print("\n".join(rows), flush=True)
            lines += rows
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(item: LabelledProduct, engine: Engine, options: EnrolmentOptions) -> list[str]:
    enrolment = enrol(item.name, [ImageSource.of(path) for path in item.train], options, engine)
    found, pose = enrolment.evidence.detectability, enrolment.evidence.pose
    if found is None:
        return [f"| {item.name} | - | - | - | - | - | - |"]
    artifact = unpack(enrolment.artifact)
    inspector = ProductInspector(artifact, engine)
    good = _scores([each.path for each in item.test if each.defect is None], inspector, engine)
    defective = _scores([each.path for each in item.test if each.defect is not None], inspector, engine)
    how = "-" if pose is None or pose.turn_deg is None else f"{pose.turn_deg:.0f}°, {pose.move_share or 0.0:.0%}"
    large = f"{found.large.found} of {found.large.n}"
    return [
        f"| {item.name} | {how} | {large} | {_overkill(point)} | {_share(point.total.found, point.total.n)} "
        f"| {_share(int((defective > point.threshold).sum()), len(defective))} "
        f"| {int((good > point.threshold).sum())} of {len(good)} |"
        for point in found.trade
    ]


def _scores(paths: Sequence[Path], inspector: ProductInspector, engine: Engine) -> NDArray[np.float64]:
    embedder, preparation = engine.embedder(inspector.artifact.graph), inspector.artifact.preparation
    scores: list[float] = []
    for start in range(0, len(paths), BATCH):
        frames = [decode(path.read_bytes(), DecodeLimits()) for path in paths[start : start + BATCH]]
        judged = inspector.judge(embedder(np.stack([prepare(frame, preparation) for frame in frames])))
        scores += [judgement.score for judgement in judged]
    return np.array(scores)


def _overkill(point: TradePoint) -> str:
    return f"{point.overkill:.1%}" + ("" if point.is_signed else " (not signed)")


def _share(found: int, n: int) -> str:
    return f"{found / n:.0%}" if n else "-"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in MVTec AD layout")
    parser.add_argument("--products", help="some of them, by comma")
    parser.add_argument("--head", default="prototype", help="as for enroll")
    parser.add_argument("--profile", default="standard", help="fast, standard or fine")
    parser.add_argument("--exposure", action="append", default=[], help="product=as_is, normalised or levelled")
    parser.add_argument("--threads", type=int, default=0, help="of the engine")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--out", type=Path, help="file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
