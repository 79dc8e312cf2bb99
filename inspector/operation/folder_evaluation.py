"""Measures heads and routing on a folder of labelled images, and writes the report of it.

Heads are fitted from the folder's good images, or the live versions of the registry are judged as agents use them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inspector.config.config import Config
from inspector.domain import ProductVersion, printable
from inspector.errors import UsageError
from inspector.evaluation.evaluate import EvaluationOptions, examine
from inspector.files import write_text
from inspector.operation.cameras import decode_limits
from inspector.operation.engines import engine_of
from inspector.operation.opening import registry_of
from inspector.operation.report_page import ensure_page
from inspector.reports.evaluation import evaluation_html
from inspector.training.dataset.framing import Framing, parse_tiles
from inspector.vision.artifacts.thresholds import moved_note
from inspector.vision.networks.backbone import named_backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What to measure, in the words of the command line. None stands for what the person left out.

    `products`: names, separated by commas. `tiles` as typed. `page`: file of the HTML report. `judges_live`: the live
    versions are measured and nothing is fitted.
    """

    root: Path
    products: str | None = None
    head: str = "prototype"
    profile: str = "standard"
    backbone: str | None = None
    weights: Path | None = None
    tiles: str | None = None
    input_px: int | None = None
    camera: str | None = None
    mode: str = "oracle"
    layout: str | None = None
    page: Path | None = None
    judges_live: bool = False


@dataclass(frozen=True, slots=True)
class FolderEvaluation:
    """The figures as `inspector evaluate --json` prints them.

    `moved`: product -> how its threshold was moved. `notes`: what a person should know before trusting the figures.
    `page_fault`: the reason why the report was not written, in a sentence; empty if it was written or not wanted.
    """

    figures: dict[str, Any]
    moved: dict[str, str]
    notes: tuple[str, ...]
    page_fault: str = ""


@dataclass(frozen=True, slots=True)
class _LiveVersions:
    artifacts: Mapping[str, bytes]
    versions: Mapping[str, ProductVersion] = field(default_factory=dict)


def evaluate_folder(
    config: Config, request: EvaluationRequest, progress: Callable[[str, int, int], None]
) -> FolderEvaluation:
    """Measure a folder, and write the report if one is wanted. Blocks for minutes, so not for an event loop.

    Raises UsageError before any work, and otherwise raises as `examine` does.
    """
    page = request.page
    ensure_page(page)
    if request.judges_live and (request.head, request.profile) != ("prototype", "standard"):
        raise UsageError("--registry judges the live versions as they are; leave --head and --profile out.")
    options = _options(config, request)
    fault = ""
    versions: Mapping[str, ProductVersion] = {}
    if request.judges_live:
        live = asyncio.run(_live_versions(config))
        versions = live.versions
        thresholds = {name: version.threshold for name, version in versions.items()}
        options = replace(options, artifacts=live.artifacts, thresholds=thresholds)
    with engine_of(config) as engine:
        evaluation = examine(request.root, options, engine, progress)
        figures = evaluation.figures
        moved = {name: moved_note(versions[name]) for name in figures["products"] if name in versions}
        moved = {name: note for name, note in moved.items() if note}
        for name, note in moved.items():  # the enrolment's statement holds for its own threshold only
            figures["products"][name]["calibration"] = note
        if page is not None:
            title = f"Evaluation of {request.root.resolve().name}"
            fault = _written(page, evaluation_html(evaluation, title))
    return FolderEvaluation(figures, moved, tuple(evaluation.notes), fault)


def _written(page: Path, text: str) -> str:
    """Writes the report; returns why it can't be, so that minutes of figures are shown all the same."""
    try:
        write_text(page, text)
    except OSError as error:
        return f"The report {printable(str(page))} can't be written ({error.strerror or error}); the figures are right."
    return ""


def _options(config: Config, request: EvaluationRequest) -> EvaluationOptions:
    names = [name.strip() for name in (request.products or "").split(",")]
    return EvaluationOptions(
        products=tuple(name for name in names if name) if request.products else None,
        mode=request.mode,
        head=request.head,
        profile=request.profile,
        layout=request.layout,
        backbone=named_backbone(request.backbone, request.weights),
        framing=Framing(parse_tiles(request.tiles) if request.tiles else (1, 1), size_px=request.input_px),
        limits=decode_limits(config, request.camera),
    )


async def _live_versions(config: Config) -> _LiveVersions:
    async with registry_of(config) as registry:
        live = (await registry.live()).versions
        artifacts = {version.product: await registry.artifact(version.product, version.version) for version in live}
        return _LiveVersions(artifacts, {version.product: version for version in live})
