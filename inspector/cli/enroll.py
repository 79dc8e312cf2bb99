"""`inspector enroll`: a new product, or a new version of one, from good images only."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.terminal import console
from inspector.operation.user import current_user

NAME = "enroll"
HELP = "Enrol a product from good images; running agents take it up within seconds."
EXAMPLE = "Example: inspector enroll bottle good-bottles/     or: inspector enroll bottle --camera cam1 --count 200"


def command(
    ctx: typer.Context,
    product: Annotated[str, typer.Argument(help="Name of the product.")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Good images: files and folders of JPEG and PNG. EXIF rotation is ignored."),
    ] = None,
    head: Annotated[
        str, typer.Option(help="prototype (the default, as auto), protoad (as published) or student.")
    ] = "prototype",
    profile: Annotated[str, typer.Option(help="fast, standard or fine: what a frame may cost.")] = "standard",
    camera: Annotated[
        str | None,
        typer.Option(help="Use bit depth, black level and limits of this camera; with --count also its frames."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Take this many frames from the running camera.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option(min=1, max=86_400, help="Give up when no new frame has come for this many seconds.")
    ] = 60.0,
    add: Annotated[
        bool,
        typer.Option("--add", help="Add to the images of the live version, with its settings; name --camera again."),
    ] = False,
    with_reviews: Annotated[
        bool,
        typer.Option(
            "--with-reviews",
            help="Also learn parts that people called good; what would pass one that they called bad does not go live. "
            "Without images, adds to those of the live version.",
        ),
    ] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave this image out, by path or file name.")] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop where an image is odd, copied, unreadable or of another product, or a file is no image.",
        ),
    ] = False,
    tiles: Annotated[
        str | None, typer.Option(metavar="ROWSxCOLUMNS", help="Look at large frames in tiles, for example 4x6.")
    ] = None,
    roi: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Region of interest: shares of the frame from 0 to 1, or pixels."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="PNG over the whole frame, dark where nothing counts.")] = None,
    exposure: Annotated[
        str,
        typer.Option(
            help="auto (as_is or levelled, chosen by the good images), as_is, normalised (one brightness and contrast) "
            "or levelled (also no large shadows)."
        ),
    ] = "auto",
    overkill: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Share of good parts that may be rejected, as 1% or 0.01, at most 20%; more finds more. Default 1%.",
        ),
    ] = None,
    input_px: Annotated[
        int | None, typer.Option(min=32, max=4096, help="Side of the square that the backbone sees; default 256.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="lite2 sees more and costs more; or a timm model by name, with --weights.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="The backbone's weights: .pth or .safetensors.")] = None,
    clustering: Annotated[
        str | None, typer.Option(help="spherical-kmeans or first-neighbour: how protoad makes its prototypes.")
    ] = None,
    detectability: Annotated[
        bool,
        typer.Option(help="Draw defects on good images: how small may they be, and is the head blind? Half the time."),
    ] = True,
    full_speed: Annotated[
        bool, typer.Option("--full-speed", help="Use all cores; else a line that runs on this machine comes first.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Store it beside the live version; it never decides.")
    ] = False,
    insist: Annotated[
        bool,
        typer.Option(
            "--insist",
            help="Make it live although something objects (blind, two products, misrouted, dark, tiny); audited.",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="File of the HTML report; else it is in the state folder and named at the end.")
    ] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.agent.telemetry import configure_logging
    from inspector.cli.terminal import enrolment_view
    from inspector.config.loading import find, load
    from inspector.enrolment.enrolled_document import enrolled_document
    from inspector.enrolment.enrolment_request import EnrolmentRequest, enrol_on_request
    from inspector.lifetime import run_to_end

    loaded = load(config)
    request = EnrolmentRequest(
        product=product,
        by=current_user(),
        images=tuple(images or ()),
        camera=camera,
        count=count,
        idle_s=timeout_s,
        head=head,
        profile=profile,
        tiles=tiles,
        roi=roi,
        mask=mask,
        exposure=exposure,
        input_px=input_px,
        backbone=backbone,
        weights=weights,
        clustering=clustering,
        overkill=overkill,
        excluded=tuple(exclude or ()),
        adds=add,
        is_strict=strict,
        measures_detectability=detectability,
        at_low_priority=not full_speed,
        shadow=shadow,
        insists=insist,
        with_reviews=with_reviews,
        page=report,
        named=_named(ctx),
    )
    if count is not None:
        configure_logging("error")  # the error at the end says why no frames came
    # At full speed the work is a thread of this process: only the signal's own effect ends it at once.
    run = asyncio.run if full_speed else run_to_end
    with console.progress(f"Enrolling {product}", quiet=as_json) as tell:
        done = run(enrol_on_request(loaded, request, tell, partial(_say_frames, camera)))
    if as_json:
        console.print_json(enrolled_document(done))
    else:
        enrolment_view.print_enrolled(done, loaded.agent.state_dir if find(config) is None else None)
    enrolment_view.leave_if_held_back([done])


def _named(ctx: typer.Context) -> frozenset[str]:
    """The settings that the person named. With --add the live version decides the other settings."""
    from inspector.enrolment.inherited_options import NAMEABLE

    sources = {name: ctx.get_parameter_source(name) for name in NAMEABLE}
    return frozenset(name for name, source in sources.items() if source is not None and source.name != "DEFAULT")


def _say_frames(camera: str | None, count: int, folder: Path) -> None:
    kept = "1 frame of {} is" if count == 1 else f"{count} frames of {{}} are"
    line = f"{kept.format(camera)} kept in {folder}"
    console.err.print(line, highlight=False, markup=False, soft_wrap=True)
