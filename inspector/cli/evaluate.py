"""`inspector evaluate`: figures on labelled folders, heads fitted from good images only."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from inspector.cli.enroll import limits_of_camera
from inspector.cli.terminal import console, rendering

if TYPE_CHECKING:
    from rich.table import Table

    from inspector.config.config import Config
    from inspector.domain import ProductVersion

NAME = "evaluate"
HELP = "Measure heads and routing on labelled folders: MVTec AD, MPDD, BTAD, VisA, MVTec LOCO."
EXAMPLE = "Example: inspector evaluate datasets/ --products bottle,cookie --mode routed --report out.html"


def command(
    root: Annotated[Path, typer.Argument(help="Folder of products.")],
    products: Annotated[str | None, typer.Option(help="Only these products, separated by commas.")] = None,
    head: Annotated[str, typer.Option(help="prototype, protoad, student or auto.")] = "prototype",
    profile: Annotated[str, typer.Option(help="fast, standard or fine.")] = "standard",
    backbone: Annotated[str | None, typer.Option(help="A timm model by name; needs --weights.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The backbone's weights: .pth or .safetensors.")] = None,
    tiles: Annotated[
        str | None, typer.Option(metavar="ROWSxCOLUMNS", help="Look at large frames in tiles, for example 4x6.")
    ] = None,
    input_px: Annotated[
        int | None, typer.Option(min=32, max=4096, help="Side of the square that the backbone sees; else 256.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Take bit depth, black level and limits of this camera.")] = None,
    mode: Annotated[
        str,
        typer.Option(help="oracle (the product is told), routed (anchors find it) or unlabelled (nothing is told)."),
    ] = "oracle",
    layout: Annotated[str | None, typer.Option(help="mvtec, btad, visa or loco; else recognised.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write curves and the worst mistakes as one HTML file.")
    ] = None,
    registry: Annotated[bool, typer.Option("--registry", help="Judge the live versions, fit nothing.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.evaluation.evaluate import EvaluationOptions, examine
    from inspector.reports.evaluation import evaluation_html
    from inspector.training.dataset.framing import Framing, parse_tiles
    from inspector.vision.artifacts.thresholds import moved_note
    from inspector.vision.engines.factory import create_engine
    from inspector.vision.networks.backbone import named_backbone

    loaded = load(config)
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {report.parent} to write the report to.")  # before the minutes of work
    if registry and (head, profile) != ("prototype", "standard"):
        raise UsageError("--registry judges the live versions as they are; leave --head and --profile out.")
    chosen = tuple(name.strip() for name in products.split(",") if name.strip()) if products else None
    artifacts, live = asyncio.run(_live(loaded)) if registry else (None, {})
    options = EvaluationOptions(
        products=chosen,
        mode=mode,
        head=head,
        profile=profile,
        artifacts=artifacts,
        thresholds={name: version.threshold for name, version in live.items()},
        layout=layout,
        backbone=named_backbone(backbone, weights),
        framing=Framing(parse_tiles(tiles) if tiles else (1, 1), size_px=input_px),
        **limits_of_camera(loaded, camera),
    )
    with tempfile.TemporaryDirectory() as scratch, console.progress("Evaluating", quiet=as_json) as tell:
        state = loaded.agent.state_dir
        cache = state / "engines" if state.is_dir() else Path(scratch)
        engine = create_engine(loaded.engine.name, cache, loaded.engine.threads)
        evaluation = examine(root, options, engine, tell)
        figures = evaluation.figures
        notes = {name: note for name in figures["products"] if name in live and (note := moved_note(live[name]))}
        for name, note in notes.items():
            figures["products"][name]["calibration"] = note  # what the enrolment promised is of its own threshold
        if report is not None:
            report.write_text(evaluation_html(evaluation, f"Evaluation of {root.resolve().name}"), encoding="utf-8")
    if as_json:
        console.print_json(figures)
    else:
        rendering.show(_table(figures))
        if figures["mode"] != "oracle":
            console.out.print(_routing(figures["routing"]), highlight=False)
        for note in (*(f"{name}: {note}" for name, note in notes.items()), *evaluation.notes):
            console.out.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)
        if report is not None:
            console.out.print(f"report: {report}", highlight=False, markup=False)


async def _live(config: Config) -> tuple[dict[str, bytes], dict[str, ProductVersion]]:
    """Each live product's artifact, and its version with the threshold that agents use."""
    from inspector.cli.terminal.opening import registry_of

    async with registry_of(config) as store:
        live = (await store.live()).versions
        artifacts = {each.product: await store.artifact(each.product, each.version) for each in live}
        return artifacts, {each.product: each for each in live}


def _table(figures: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=f"{figures['head']} on {figures['backbone']}, {figures['engine']}, mode {figures['mode']}")
    columns = {
        "image AUROC": "image_auroc",
        "AP": "image_ap",
        "pixel AUROC": "pixel_auroc",
        "AUPRO": "aupro",
        "good rejected": "false_reject_share",
        "defects missed": "missed_defect_share",
    }
    for column in ("product", "train/good/defect", *columns, "ms p50"):
        table.add_column(column, justify="left" if column == "product" else "right")
    for name, row in figures["products"].items():
        counts = f"{row['n_train']}/{row['n_good']}/{row['n_defect']}"
        values = [_figure(row[key]) for key in columns.values()]
        table.add_row(name, counts, *values, _figure(row["ms_per_image"]["p50"], 1))
    mean = figures["mean"]
    table.add_section()
    table.add_row("mean", "", *(_figure(mean.get(key)) for key in columns.values()), "")
    return table


def _routing(routing: dict[str, Any]) -> str:
    return "routing: " + ", ".join(f"{key} {_figure(value)}" for key, value in routing.items() if value is not None)


def _figure(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"
