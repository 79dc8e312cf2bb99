"""`inspector evaluate`: figures on labelled folders, with heads fitted from good images only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.terminal import console

NAME = "evaluate"
HELP = "Measure heads and routing on labelled folders: MVTec AD, MPDD, BTAD, VisA, MVTec LOCO."
EXAMPLE = "Example: inspector evaluate datasets/ --products bottle,cookie --mode routed --report out.html"


def command(
    root: Annotated[Path, typer.Argument(help="Folder of products.")],
    products: Annotated[str | None, typer.Option(help="Only these products, separated by commas.")] = None,
    head: Annotated[str, typer.Option(help="prototype, protoad, student or auto.")] = "prototype",
    profile: Annotated[str, typer.Option(help="fast, standard or fine.")] = "standard",
    backbone: Annotated[str | None, typer.Option(help="lite2, or a timm model by name, with --weights.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The backbone's weights: .pth or .safetensors.")] = None,
    tiles: Annotated[
        str | None, typer.Option(metavar="ROWSxCOLUMNS", help="Look at large frames in tiles, for example 4x6.")
    ] = None,
    input_px: Annotated[
        int | None, typer.Option(min=32, max=4096, help="Side of the square that the backbone sees; default 256.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Use bit depth, black level and limits of this camera.")] = None,
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
    from inspector.cli.terminal import evaluation_view
    from inspector.config.loading import load
    from inspector.operation.folder_evaluation import EvaluationRequest, evaluate_folder

    loaded = load(config)
    request = EvaluationRequest(
        root=root,
        products=products,
        head=head,
        profile=profile,
        backbone=backbone,
        weights=weights,
        tiles=tiles,
        input_px=input_px,
        camera=camera,
        mode=mode,
        layout=layout,
        page=report,
        judges_live=registry,
    )
    with console.progress("Evaluating", quiet=as_json) as tell:
        evaluation = evaluate_folder(loaded, request, tell)
    if as_json:
        console.print_json(evaluation.figures)
    else:
        evaluation_view.print_evaluation(evaluation, None if evaluation.page_fault else report)
    if evaluation.page_fault:
        console.err.print(evaluation.page_fault, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)
