"""The report of `inspector evaluate`: curves, histograms, tables and the worst mistakes, one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from markupsafe import Markup

from inspector.domain import printable
from inspector.evaluation.evaluate import Case, Evaluation
from inspector.evaluation.metrics import roc_curve
from inspector.reports.charts import level_histogram, roc_chart
from inspector.reports.page import render
from inspector.reports.pictures import frame_uri, heat_uri
from inspector.store.pictures.overlay import Undrawable
from inspector.training.dataset.folders import ImageSource

WORST = 6
"""Number of pictures for each kind of mistake and product."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A mistake as the template shows it. `uris`: empty if the image can't be drawn."""

    case: Case
    name: str
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Section:
    """One product's part of the report."""

    name: str
    figures: dict[str, Any]
    histogram: Markup
    roc: Markup | None
    missed: list[_Picture]
    n_missed: int
    rejected: list[_Picture]
    n_rejected: int


def evaluation_html(evaluation: Evaluation, title: str) -> str:
    """The whole file. Blocks for a few seconds for each product, to draw its pictures."""
    figures = evaluation.figures
    sections = [_section(evaluation, name) for name in figures["products"]]
    return render(
        "evaluation.html.j2", title=printable(title), figures=figures, sections=sections, notes=evaluation.notes
    )


def _section(evaluation: Evaluation, name: str) -> _Section:
    figures = evaluation.figures["products"][name]
    outcome = evaluation.outcome(name, WORST)
    defective = list(chain.from_iterable(outcome.defective.values()))
    roc = None
    if outcome.good and defective:
        across, up = roc_curve(np.array(outcome.good), np.array(defective))
        roc = roc_chart(across.tolist(), up.tolist(), figures["image_auroc"])
    return _Section(
        name=name,
        figures=figures,
        histogram=level_histogram(outcome.good, defective),
        roc=roc,
        missed=[_picture(case) for case in outcome.missed],
        n_missed=sum(level <= 1.0 for level in defective),
        rejected=[_picture(case) for case in outcome.rejected],
        n_rejected=sum(level > 1.0 for level in outcome.good),
    )


def _picture(case: Case) -> _Picture:
    try:
        payload = ImageSource.of(case.path).read()
        uris: tuple[str, ...] = (frame_uri(payload), heat_uri(payload, case.heat_map))
    except (OSError, Undrawable):
        uris = ()
    return _Picture(case, printable("/".join(case.path.parts[-2:])), uris)
