"""What `--head auto` takes for each product, and what it loses against the best head that test images would name.

    python -m benchmarks.head_choice ROOT [--products a,b] [--kept figures.json] [--out table.md]

Each head is enrolled and judged on the product's own test images (oracle mode); `auto` chooses on good images alone,
as an enrolment does. `--kept` holds what was measured, product by product and head by head: a run that was stopped
goes on from there. The last column asks what the margin would be if it were set on the other products only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inspector.evaluation.evaluate import EvaluationOptions, evaluate
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.training.choice.head import LEAST_LEAD, leading
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.factory import AUTO, DEFAULT, heads
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine

HEADS = heads()
LEADS = tuple(round(0.01 * step, 2) for step in range(21))
"""Margins that the other products may ask for."""


def main() -> None:
    options = _options()
    products = tuple(options.products.split(",")) if options.products else None
    kept: dict[str, dict[str, Any]] = {}
    if options.kept is not None and options.kept.is_file():
        kept = json.loads(options.kept.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), threads=1)
        folders = read_layout(options.root, products)
        for name in ("choice", *HEADS):  # the student last: it takes longest
            for labelled in folders:
                figures = kept.setdefault(labelled.name, {})
                if name not in figures:
                    figures[name] = _measured(name, labelled, options, engine)
                    print(labelled.name, name, json.dumps(figures[name]), flush=True)
                    if options.kept is not None:
                        options.kept.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    text = table(kept)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _measured(name: str, labelled: LabelledProduct, options: argparse.Namespace, engine: Engine) -> Any:
    """The evidence of `auto`, or the image AUROC of a head on the test images."""
    if name == "choice":
        return _chosen(labelled, engine)
    asked = EvaluationOptions(products=(labelled.name,), mode="oracle", head=name)
    if options.training is not None:
        asked = replace(asked, training=replace(asked.training, folder=options.training))
    return evaluate(options.root, asked, engine)["products"][labelled.name]["image_auroc"]


def _chosen(labelled: LabelledProduct, engine: Engine) -> dict[str, Any]:
    images = [ImageSource.of(path) for path in labelled.train]
    done = enrol(labelled.name, images, EnrolmentOptions(head=AUTO), engine)
    choice = next(each for each in done.evidence.choices if each["what"] == "head")
    costs = {phase.name: phase.passes for phase in done.evidence.phases}
    return {"evidence": choice["evidence"], "chosen": choice["chosen"], "passes": costs["choice_of_head"]}


def table(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: AUROC on test images, AUROC of drawn defects on good ones, the choice, and its loss."""
    lines = [
        f"| product | on test images: {', '.join(HEADS)} | drawn defects: the same | auto | loss | "
        "passes of the choice | loss at the others' margin |",
        "|---|---|---|---|---|---|---|",
    ]
    losses, left_out = [], []
    for name, figures in kept.items():
        found = figures["choice"]["evidence"]
        loss = loss_of(figures, LEAST_LEAD)
        other = loss_of(figures, _margin_of([each for key, each in kept.items() if key != name]))
        losses.append(loss)
        left_out.append(other)
        drawn = " / ".join(f"{found[head]:.3f}" if head in found else "-" for head in HEADS)
        lines.append(
            f"| {name} | {' / '.join(f'{figures[head]:.3f}' for head in HEADS)} | {drawn} "
            f"| {chosen(figures, LEAST_LEAD)} | {loss:.3f} | {figures['choice']['passes']:.0f} | {other:.3f} |"
        )
    means = [float(np.mean([each[head] for each in kept.values()])) for head in HEADS]
    lines.append(
        f"| mean | {' / '.join(f'{each:.3f}' for each in means)} | | | {np.mean(losses):.3f} | "
        f"| {np.mean(left_out):.3f} |"
    )
    return "\n".join(lines)


def chosen(figures: Mapping[str, Any], least_lead: float) -> str:
    """What auto takes with this margin; the default head where it had nothing to choose by."""
    found = {head: figures["choice"]["evidence"][head] for head in HEADS if head in figures["choice"]["evidence"]}
    return leading(found, least_lead) if found else DEFAULT


def loss_of(figures: Mapping[str, Any], least_lead: float) -> float:
    """Of image AUROC, against the best of the heads on the test images."""
    return float(max(figures[head] for head in HEADS) - figures[chosen(figures, least_lead)])


def _margin_of(others: Sequence[Mapping[str, Any]]) -> float:
    """The margin with the least mean loss over these products, the largest of equals."""
    return min(LEADS, key=lambda lead: (sum(loss_of(each, lead) for each in others), -lead))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--products", help="some of the folder's, by comma")
    parser.add_argument("--kept", type=Path, help="JSON file of what was measured")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--training", type=Path, help="folder that keeps an interrupted training")
    parser.add_argument("--out", type=Path, help="file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
