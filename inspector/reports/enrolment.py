"""The report of one enrolment, in one HTML file. A quality engineer reads it before the version is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from markupsafe import Markup

from inspector.domain import ProductVersion
from inspector.reports.charts import Axis, Series, level_histogram, line_chart
from inspector.reports.page import render
from inspector.reports.pictures import frame_uri, heat_uri
from inspector.training.dataset.folders import NotTaken
from inspector.training.defects.drawing import KIND_NAMES, DefectKind
from inspector.training.enrol import Enrolment
from inspector.training.evidence.detectability import SIZES, BlindSpots, Detectability, Exhibit
from inspector.training.evidence.evidence import Oddity, Shown
from inspector.training.evidence.known_bad import MOST_SHOWN, JudgedPart
from inspector.training.evidence.pictures import blind_heat, encoded, ringed
from inspector.training.evidence.report import asked, beyond_signing
from inspector.training.evidence.trade import NOT_SUPPORTED, TradePoint, promised, remark_on
from inspector.vision.health.statement import health_statement

RING_SHARE = 0.08
"""Radius of the ring around the oddest place of a suspect image, as a share of its longer side."""


def enrolment_page(
    enrolment: Enrolment, version: ProductVersion, not_taken: Sequence[NotTaken] = (), signer: str = ""
) -> str:
    """The page as HTML. `not_taken`: the offered files that are no images. `signer`: empty for an unsigned version."""
    report, evidence, manifest = enrolment.report, enrolment.evidence, enrolment.manifest
    found = evidence.detectability
    levels = [evidence.calibration.level(score) for _, score in evidence.held_out]
    return render(
        "enrolment.html.j2",
        title=f"Enrolment of {report.product}, version {version.version}",
        report=report,
        version=version,
        manifest=manifest,
        signer=signer,
        calibration=evidence.calibration,
        statement=report.statement,
        keystone=evidence.keystone,
        histogram=level_histogram(levels, []),
        examples=[_shown(example) for example in evidence.examples],
        oddities=[_oddity(oddity) for oddity in evidence.oddities],
        not_taken=list(not_taken),
        hygiene=evidence.hygiene,
        pose=evidence.pose,
        detectability=found,
        kinds=[] if found is None else [_kind(found, kind) for kind in DefectKind if found.of(kind)],
        exhibits=[] if found is None else [_exhibit(exhibit) for exhibit in found.exhibits],
        trade=None if found is None or not found.trade else _trade(found.trade),
        blind=None if found is None or found.blind_spots is None else _blind(found.blind_spots),
        routing=evidence.routing,
        known_bad=evidence.known_bad,
        passing=[_passing(each) for each in evidence.known_bad.passing[:MOST_SHOWN]],
        objections=evidence.objections,
        eyesight=evidence.eyesight,
        advice=evidence.advice,
        asked=asked(evidence.calibration),
        beyond=beyond_signing(evidence),
        choices=_table(evidence.choices),
        health=manifest["frame_health"],
        health_statement=health_statement(manifest),
        phases=evidence.phases,
    )


def _shown(shown: Shown) -> dict[str, Any]:
    return {"name": _file(shown.name), "uri": frame_uri(encoded(shown.picture))}


def _passing(judged: JudgedPart) -> dict[str, Any]:
    return {"said": judged.part.said, "level": judged.level, "uri": frame_uri(encoded(judged.picture))}


def _file(name: str) -> str:
    """The last part of the path, because there is no room for more under a picture."""
    return PurePath(name).name


def _oddity(oddity: Oddity) -> dict[str, Any]:
    picture = oddity.suspect.picture
    if oddity.at is not None:
        height, width = picture.shape[:2]
        picture = ringed(picture, (oddity.at[0] * width, oddity.at[1] * height), RING_SHARE * max(height, width))
    return {
        "name": _file(oddity.suspect.name),
        "uri": frame_uri(encoded(picture)),
        "neighbour": _file(oddity.neighbour.name),
        "neighbour_uri": frame_uri(encoded(oddity.neighbour.picture)),
        "spreads": oddity.spreads,
    }


def _kind(found: Detectability, kind: DefectKind) -> dict[str, Any]:
    steps = found.of(kind)
    sizes = [100 * step.size_share for step in steps]
    across = Axis("size, % of the longer side", 0.0, 100 * SIZES[0])
    chart = line_chart(
        [
            Series("", sizes, [step.interval[0] for step in steps], "faint"),
            Series("", sizes, [step.interval[1] for step in steps], "faint"),
            Series("found, with 95 % interval", sizes, [step.share for step in steps], "defect", with_dots=True),
        ],
        across,
        Axis("share found"),
        low_legend=True,
    )
    return {"name": KIND_NAMES[kind], "steps": steps, "smallest": found.smallest_found(kind), "chart": chart}


def _trade(points: Sequence[TradePoint]) -> dict[str, Any]:
    """The table and the curve of the trade, over all kinds and for each size."""
    sizes = points[0].sizes
    overkills = [100 * point.overkill for point in points]
    curves = [Series("all sizes", overkills, [point.total.share or 0.0 for point in points], "defect", with_dots=True)]
    for size in sizes:
        curves.append(Series("", overkills, [point.of_size(size).share or 0.0 for point in points], "faint"))
    return {
        "kinds": [(KIND_NAMES[kind], kind) for kind in DefectKind if kind in points[0].by_kind_and_size],
        "sizes": sizes,
        "points": [(point, promised(stored), remark_on(stored)) for point, stored in _stored(points)],
        "note": NOT_SUPPORTED if any(point.needs_images for point in points) else "",
        "chart": line_chart(
            curves,
            Axis("good parts that may be rejected, %", 0.0, overkills[-1]),
            Axis("drawn defects found"),
            low_legend=True,
        ),
    }


def _stored(points: Sequence[TradePoint]) -> list[tuple[TradePoint, Mapping[str, Any]]]:
    return [(point, point.to_manifest()) for point in points]


def _exhibit(exhibit: Exhibit) -> dict[str, Any]:
    x, y, size = exhibit.at
    return {
        "kind": KIND_NAMES[exhibit.step.kind],
        "size_px": exhibit.step.size_px,
        "of_size": f"{exhibit.step.found} of {exhibit.step.n}",
        "is_found": exhibit.is_found,
        "level": exhibit.level,
        "uri": frame_uri(encoded(ringed(exhibit.frame, (x, y), 0.75 * size))),
        "heat_uri": heat_uri(encoded(exhibit.frame), exhibit.heat),
    }


def _blind(spots: BlindSpots) -> dict[str, Any]:
    picture = spots.frame
    shares = spots.found.astype(np.float64) / spots.n
    return {
        "uri": heat_uri(encoded(picture), blind_heat(shares, (picture.shape[0], picture.shape[1]))),
        "rows": [[f"{int(cell)}/{spots.n}" for cell in row] for row in spots.found],
        "spots": spots,
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One row for each choice, with a column for every key that any choice has."""
    if not rows:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {
        "columns": [column.replace("_", " ") for column in columns],
        "rows": [[_cell(row.get(column)) for column in columns] for row in rows],
    }


def _cell(value: Any) -> str | Markup:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_cell(each) for each in value)
    return str(value)
