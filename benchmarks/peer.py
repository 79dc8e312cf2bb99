"""Our heads beside anomalib's PatchCore and PaDiM: same images, same backbone weights, same size, one run.

`python -m benchmarks.peer ROOT --products bottle,cookie --out peer.json`, in an environment with the extra `[peer]`.
Oracle mode: each image meets its own product's model. Every method sees the same prepared squares, and its maps
come back to the original resolution the same way, so that one AUPRO (official, limit 0.3) measures all.
Each figure is written as soon as it is there, and a run that is started again goes on behind it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peer_models import PEERS, fit_peer
from inspector.errors import InspectorError
from inspector.evaluation import metrics
from inspector.evaluation.evaluate import EvaluationOptions, evaluate
from inspector.evaluation.layouts import LabelledProduct, read_layout, read_mask
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.preparation import Preparation, prepare, restore_map

OURS = ("prototype fast", "prototype standard", "prototype fine")
METHODS = (*OURS, *PEERS)
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one product. None where the data can't give a figure; `failure` where it could not be run."""

    product: str
    method: str
    n_train: int
    image_auroc: float | None = None
    aupro: float | None = None
    fit_s: float | None = None
    ms_per_image: float | None = None
    artifact_mib: float | None = None
    failure: str | None = None


def measure(labelled: LabelledProduct, root: Path, method: str, engine: Engine) -> Row:
    """Fits and tests one method. `root`: where `labelled` was read from."""
    try:
        return _ours(labelled, root, method, engine) if method in OURS else _peer(labelled, method)
    except (InspectorError, MemoryError, RuntimeError) as error:  # torch says RuntimeError for want of memory too
        return Row(labelled.name, method, len(labelled.train), failure=f"{type(error).__name__}: {error}")


def _ours(labelled: LabelledProduct, root: Path, method: str, engine: Engine) -> Row:
    head, profile = method.split()
    started = time.perf_counter()
    images = [ImageSource.of(path) for path in labelled.train]
    content = enrol(labelled.name, images, EnrolmentOptions(head=head, profile=profile), engine).artifact
    fit_s = time.perf_counter() - started
    options = EvaluationOptions((labelled.name,), "oracle", artifacts={labelled.name: content})
    figures = evaluate(root, options, engine)["products"][labelled.name]
    return Row(
        labelled.name,
        method,
        len(labelled.train),
        figures["image_auroc"],
        figures["aupro"],
        fit_s,
        figures["ms_per_image"]["p50"],
        len(content) / MIB,
    )


def _peer(labelled: LabelledProduct, method: str) -> Row:
    preparation = Preparation()
    started = time.perf_counter()
    model = fit_peer(method, [prepare(_pixels(path), preparation) for path in labelled.train])
    fit_s = time.perf_counter() - started
    good: list[float] = []
    defective: list[float] = []
    times: list[float] = []
    found: list[tuple[NDArray[np.float16], tuple[int, int], tuple[Path, ...]]] = []
    for image in labelled.test:
        payload = image.path.read_bytes()
        started = time.perf_counter()
        pixels = decode(payload, DecodeLimits())
        score, square_map = model.judge(prepare(pixels, preparation))
        times.append((time.perf_counter() - started) * 1e3)
        (good if image.defect is None else defective).append(score)
        found.append((square_map.astype(np.float16), (pixels.shape[0], pixels.shape[1]), image.masks))

    def maps() -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        for square_map, size, masks in found:
            whole = restore_map(square_map.astype(np.float32), preparation, *size, size)
            yield whole, read_mask(masks, size)

    return Row(
        labelled.name,
        method,
        len(labelled.train),
        image_auroc(np.array(good), np.array(defective)),
        metrics.pixel_figures(maps())[1] if labelled.has_masks else None,
        fit_s,
        float(np.percentile(times, 50)),
        model.size_bytes / MIB,
    )


def _pixels(path: Path) -> NDArray[np.uint8]:
    return decode(path.read_bytes(), DecodeLimits())


def shortened(root: Path, name: str, train: int | None, test: int | None, folder: Path) -> Path:
    """A root with links to the first images of a product: `train` good ones, `test` of every kind."""
    if train is None and test is None:
        return root
    whole = read_layout(root, (name,))[0]
    for path in whole.train[:train]:
        _link(path, folder / name / "train" / "good" / path.name)
    taken: dict[str | None, int] = {}
    for image in whole.test:
        taken[image.defect] = taken.get(image.defect, 0) + 1
        if test is not None and taken[image.defect] > test:
            continue
        _link(image.path, folder / name / "test" / (image.defect or "good") / image.path.name)
        for mask in image.masks:
            _link(mask, folder / name / "ground_truth" / (image.defect or "good") / mask.name)
    return folder


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve())


def table(rows: Sequence[Row]) -> str:
    """Markdown: every product's rows, then the mean of each method over the products that all methods have."""
    lines = [
        "| product | method | image AUROC | AUPRO | fit s | ms per image | artifact MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in sorted(rows, key=lambda row: (row.product, METHODS.index(row.method)))]
    whole = [row for row in rows if row.failure is None]
    per_product = {name: {row.method for row in whole if row.product == name} for name in {r.product for r in whole}}
    everywhere = {name for name, methods in per_product.items() if methods == {row.method for row in whole}}
    for method in METHODS:
        own = [row for row in whole if row.method == method and row.product in everywhere]
        if own:
            auroc, aupro, fit_s, ms, mib = (_mean([getattr(row, key) for row in own]) for key in _FIGURES)
            lines.append(_line(Row(f"mean of {len(own)}", method, 0, auroc, aupro, fit_s, ms, mib)))
    return "\n".join(lines)


_FIGURES = ("image_auroc", "aupro", "fit_s", "ms_per_image", "artifact_mib")
_PLACES = {"image_auroc": 3, "aupro": 3, "artifact_mib": 2}


def _line(row: Row) -> str:
    cells = [row.product, row.method, *(_shown(getattr(row, key), _PLACES.get(key, 1)) for key in _FIGURES)]
    if row.failure is not None:
        cells[2] = f"failed: {row.failure[:80]}"
    return f"| {' | '.join(cells)} |"


def _shown(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


class Results:
    """The rows in a JSON file, written whole after each. Failed ones are tried again by the next run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        stored = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.is_file() else []
        self.rows = [row for row in (Row(**each) for each in stored) if row.failure is None]

    def has(self, product: str, method: str, n_train: int) -> bool:
        return any((row.product, row.method, row.n_train) == (product, method, n_train) for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows = [each for each in self.rows if (each.product, each.method) != (row.product, row.method)] + [row]
        if self._path is not None:
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps([asdict(each) for each in self.rows], indent=1) + "\n", encoding="utf-8")
            partial.replace(self._path)


def main() -> None:
    """Measure what is missing, and print the table."""
    options = _options()
    warnings.simplefilter("ignore")  # the peer's own deprecations
    results = Results(options.out)
    methods = options.methods.split(",") if options.methods else METHODS
    if unknown := set(methods) - set(METHODS):
        raise SystemExit(f"There is no method {sorted(unknown)[0]!r}; choose of: {', '.join(METHODS)}.")
    names = options.products.split(",") if options.products else [item.name for item in read_layout(options.root)]
    with tempfile.TemporaryDirectory() as scratch:
        engine = create_engine("onnxruntime", options.cache or Path(scratch) / "engines")
        for name in names:
            root = shortened(options.root, name, options.limit_train, options.limit_test, Path(scratch) / "short")
            labelled = read_layout(root, (name,))[0]
            for method in methods:
                if not results.has(name, method, len(labelled.train)):
                    results.add(measure(labelled, root, method, engine))
                    if not options.json:
                        print(_line(results.rows[-1]), flush=True)
    wanted = [row for row in results.rows if row.product in names and row.method in methods]
    print(json.dumps([asdict(row) for row in wanted], indent=1) if options.json else "\n" + table(wanted))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in MVTec AD layout")
    parser.add_argument("--products", help="some of them, by comma")
    parser.add_argument("--methods", help=f"some of them, by comma: {', '.join(METHODS)}")
    parser.add_argument("--limit-train", type=int, help="only so many good images, for a quick look")
    parser.add_argument("--limit-test", type=int, help="only so many test images of every kind")
    parser.add_argument("--out", type=Path, help="JSON file of all rows; what stands there is not measured again")
    parser.add_argument("--cache", type=Path, help="folder for exported graphs, kept between runs")
    parser.add_argument("--json", action="store_true", help="print rows as JSON, nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
