"""`inspector enroll`: a new product, or a new version of one, from good images only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.config.config import Config
    from inspector.enrolment.service import Enrolled
    from inspector.training.dataset.folders import ImageSource, NotTaken, Offered
    from inspector.training.dataset.framing import Framing

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
        str, typer.Option(help="prototype, protoad (as published), student, or auto: the good images choose.")
    ] = "prototype",
    profile: Annotated[str, typer.Option(help="fast, standard or fine: what a frame may cost.")] = "standard",
    camera: Annotated[
        str | None, typer.Option(help="Take bit depth, black level and limits of this camera; with --count its frames.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Take so many frames from the running camera.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option(min=1, max=86_400, help="Give up when no new frame has come for so long.")
    ] = 60.0,
    add: Annotated[
        bool,
        typer.Option(
            "--add", help="Together with the images of the live version, and as that was enrolled; name --camera again."
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
        typer.Option(help="auto, as_is, normalised (one brightness and contrast) or levelled (and no large shadows)."),
    ] = "auto",
    input_px: Annotated[
        int | None, typer.Option(min=32, max=4096, help="Side of the square that the backbone sees; else 256.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="A timm model by name; needs --weights.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The backbone's weights: .pth or .safetensors.")] = None,
    clustering: Annotated[
        str | None, typer.Option(help="spherical-kmeans or first-neighbour: how protoad makes its prototypes.")
    ] = None,
    detectability: Annotated[
        bool,
        typer.Option(help="Draw defects on held-out images: how small a one is found. Takes as long as the rest."),
    ] = True,
    full_speed: Annotated[
        bool, typer.Option("--full-speed", help="Take all cores; else a line that runs on this box comes first.")
    ] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Store beside the live version, never decide.")] = False,
    insist: Annotated[
        bool, typer.Option("--insist", help="Make it live even where frames are misrouted, or images dark or tiny.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="File for the HTML report; else in the state folder, named at the end.")
    ] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.enrolment.service import EnrolmentOrder, enrol_into, ensure_name
    from inspector.errors import UsageError
    from inspector.training.choice.exposure import parse_exposure
    from inspector.training.enrol import EnrolmentOptions
    from inspector.training.heads.recipes import ONE_PROFILE
    from inspector.vision.networks.backbone import named_backbone

    loaded = load(config)
    ensure_name(product)
    offered = _offered(images)
    sources = offered.images
    if strict and (refused := offered.refused):
        rest = f" ({len(refused)} in all)" if len(refused) > 1 else ""
        raise UsageError(f"{refused[0].name}: {refused[0].reason}{rest}; --strict asks that nothing is enrolled then.")
    if "profile" in _named(ctx) and head in ONE_PROFILE and ONE_PROFILE[head] != profile:
        raise UsageError(f"The head {head} comes in one profile, {ONE_PROFILE[head]}; leave --profile out.")
    options = EnrolmentOptions(
        head=head,
        profile=profile,
        framing=_framing(tiles, roi, mask, input_px),
        backbone=named_backbone(backbone, weights),
        clustering=clustering,
        exposure=parse_exposure(exposure),
        is_strict=strict,
        measures_detectability=detectability,
        **limits_of_camera(loaded, camera),
    )
    with console.progress(f"Enrolling {product}", quiet=as_json) as tell:
        if count is not None:
            sources += _from_camera(loaded, product, camera, count, timeout_s, tell)
        if not sources and not add:
            raise UsageError("Name good images, or take them from a running camera with --camera and --count.")
        order = EnrolmentOrder(
            console.user(),
            shadow,
            add,
            report,
            tuple(offered.not_taken),
            tuple(exclude or ()),
            gives_way=not full_speed,
            insists=insist,
            named=_named(ctx),
        )
        done = asyncio.run(enrol_into(loaded, product, sources, options, order, tell))
    if as_json:
        console.print_json(_document(done, offered.not_taken))
    else:
        from inspector.config.loading import find

        _print(done, offered.not_taken, loaded.agent.state_dir if find(config) is None else None)
    leave_if_held_back([done])


def said_of_others(not_taken: Sequence[NotTaken]) -> dict[str, Any]:
    """What was in the folders besides the images, for `--json`; `other_kinds` without what a system left there."""
    return {
        "other_kinds": [each.name for each in not_taken if not each.is_litter],
        "not_taken": [{"name": each.name, "reason": each.reason} for each in not_taken],
    }


def _named(ctx: typer.Context) -> frozenset[str]:
    """Which settings the person said; with --add the others are the live version's."""
    from inspector.enrolment.inheriting import NAMEABLE

    sources = {name: ctx.get_parameter_source(name) for name in NAMEABLE}
    return frozenset(name for name, source in sources.items() if source is not None and source.name != "DEFAULT")


def leave_if_held_back(enrolled: Sequence[Enrolled]) -> None:
    """Exit code 1 with a sentence for each version that was stored but not made live."""
    held = [each for each in enrolled if each.objections]
    for each in held:
        version = each.version
        console.err.print(
            f"{version.product} version {version.version} is stored but not live: {'; '.join(each.objections)}. "
            f"Look at its images; if it is right, `inspector products activate {version.product} {version.version}` "
            "makes it live.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if held:
        raise typer.Exit(1)


def _offered(images: list[Path] | None) -> Offered:
    from inspector.training.dataset.folders import load_paths

    return load_paths(images or [])


def _from_camera(
    loaded: Config, product: str, camera: str | None, count: int, timeout_s: float, tell: Any
) -> list[ImageSource]:
    from inspector.agent.telemetry import configure_logging
    from inspector.enrolment.camera_frames import Wish, collect, folder_for
    from inspector.enrolment.enrolled_images import folder_of
    from inspector.errors import UsageError
    from inspector.training.dataset.folders import ImageSource

    if camera is None:
        raise UsageError("--count takes frames from a running camera; name it with --camera.")
    configure_logging("error")  # what keeps frames from coming is said once, at the end
    folder = folder_for(folder_of(loaded.agent.state_dir, product), camera)
    files = asyncio.run(collect(loaded, Wish(camera, count, folder, timeout_s), tell))
    console.err.print(
        f"{len(files)} frames of {camera} are kept in {folder}", highlight=False, markup=False, soft_wrap=True
    )
    return [ImageSource.of(file) for file in files]


def limits_of_camera(loaded: Config, camera: str | None) -> dict[str, Any]:
    """The keyword `limits` for options, or nothing where no camera is named. Raises UsageError."""
    from inspector.agent.limits import limits_of
    from inspector.errors import UsageError

    if camera is None:
        return {}
    try:
        return {"limits": limits_of(loaded.camera_named(camera))}
    except KeyError:
        known = ", ".join(each.name for each in loaded.camera) or "none"
        raise UsageError(f"There is no camera {camera!r} in the configuration; configured: {known}.") from None


def _framing(tiles: str | None, roi: str | None, mask: Path | None, input_px: int | None) -> Framing:
    from inspector.errors import UsageError
    from inspector.training.dataset.framing import Framing, parse_roi, parse_tiles

    where, is_px = parse_roi(roi) if roi else (None, False)
    try:
        content = mask.read_bytes() if mask else None
    except OSError as error:
        raise UsageError(f"The mask {mask} can't be read ({error.strerror}).") from error
    return Framing(parse_tiles(tiles) if tiles else (1, 1), where, is_px, content, input_px)


def _document(done: Enrolled, not_taken: Sequence[NotTaken]) -> dict[str, Any]:
    from inspector.domain import printable

    report = done.report
    return {
        "product": report.product,
        "version": done.version.version,
        "live": done.version.is_live,
        "shadow": done.version.is_shadow,
        "objections": list(done.objections),
        "digest": done.version.digest,
        "head": done.version.head,
        "profile": done.version.profile,
        "images": report.n_images,
        "used": report.n_used,
        "unreadable": [{"image": name, "reason": reason} for name, reason in report.unreadable],
        **said_of_others(not_taken),
        "duplicates": [{"image": name, "of": of} for name, of in report.duplicates],
        "left_out": [{"image": name, "reason": reason} for name, reason in report.left_out],
        "suspects": list(report.suspects),
        "look_alikes": [{"product": name, "likeness": round(likeness, 3)} for name, likeness in done.alike],
        "warnings": list(report.warnings),
        "statement": report.statement,
        "threshold": report.threshold,
        "seconds": report.seconds,
        "passes": {phase.name: phase.passes for phase in report.phases},
        "evidence": done.version.manifest["evidence"],
        "report": printable(str(done.page)),
        "backbone_passes": report.backbone_passes,
    }


def _print(done: Enrolled, not_taken: Sequence[NotTaken], store: Path | None) -> None:
    """`store`: the state folder, where nobody chose it."""
    report, version = done.report, done.version
    state = state_of(done)
    say = console.out.print
    offered = report.n_images + sum(not each.is_litter for each in not_taken)
    say(f"[bold]{report.product}[/] version {version.version} is {state}: {report.n_used} of {offered} images.")
    say(f"  {report.statement}", highlight=False)
    for line in (*_choices(done), *_detectability(done)):
        say(f"  {line}", highlight=False)
    for name, reason in report.unreadable:
        say(f"  [yellow]left out[/] {escape(name)}: {escape(reason)}", highlight=False)
    for each in not_taken:
        say(f"  [yellow]not taken[/] {escape(each.name)}: {escape(each.reason)}", highlight=False)
    for name, reason in report.left_out:
        say(f"  [yellow]left out[/] {escape(name)}: {escape(reason)}", highlight=False)
    for name, of in report.duplicates:
        say(f"  [yellow]counted once[/] {escape(name)}: the same image as {escape(of)}", highlight=False)
    say_findings(done)
    if report.backbone_passes != 1.0:
        say(f"  a frame costs {report.backbone_passes:g} backbone passes instead of one", highlight=False)
    took = ", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in report.phases)
    total = sum(phase.passes for phase in report.phases)
    say(
        f"  [dim]{took}; {total:.1f} backbone passes over the images; {version.size_bytes / 1e6:.1f} MB[/]",
        highlight=False,
    )
    say(f"  report: {done.page}", highlight=False, soft_wrap=True)
    if store is not None:
        say(f"  store: {store} (there is no inspector.toml here, nor --config)", highlight=False, soft_wrap=True)


def say_findings(done: Enrolled) -> None:
    """What a person should look at before the version is trusted."""
    report, say = done.report, console.out.print
    if report.suspects:
        named_ones = escape(", ".join(report.suspects))
        say(f"  [yellow]look at[/] {named_ones}: they score oddly among the good ones", highlight=False)
    for name, likeness in done.alike:
        say(f"  [yellow]looks like[/] {name} ({likeness:.2f}): the router may take one for the other", highlight=False)
    named = {*report.suspects, *(name for name, _ in (*report.unreadable, *report.left_out, *report.duplicates))}
    for warning in report.warnings:
        if any(warning.startswith(f"{name} ") for name in named):
            continue  # said above
        say(f"  [yellow]note[/] {escape(warning)}", highlight=False)


def state_of(done: Enrolled) -> str:
    """In a word or two, whether the version judges."""
    if done.objections:
        return "stored, not live"
    return "shadow" if done.version.is_shadow else "live"


def _choices(done: Enrolled) -> list[str]:
    """One line for each thing that the good images chose, with what each candidate tells of drawn defects."""
    lines = []
    for choice in done.version.manifest["evidence"]["choices"]:
        told = ", ".join(f"{name} {value:.3f}" for name, value in choice["evidence"].items())
        if told:
            lines.append(f"chosen {choice['what']}: {choice['chosen']} (AUROC of drawn defects: {told})")
        elif choice["what"] == "head":
            lines.append(f"chosen {choice['what']}: {choice['chosen']} ({choice['reason']})")
    return lines


def _detectability(done: Enrolled) -> list[str]:
    """From which length on drawn defects are found, and which are not."""
    found = done.version.manifest["evidence"]["detectability"]
    if found is None:
        return []
    smallest = {_KINDS.get(kind, kind): step for kind, step in found["smallest_found"].items()}
    sizes = [f"{kind} from {step['size_px']:.0f} px" for kind, step in smallest.items() if step is not None]
    never = [kind for kind, step in smallest.items() if step is None]
    lines = [f"drawn defects found in 90 % and more: {', '.join(sizes)}"] if sizes else []
    return [*lines, *([f"drawn defects found less often at every size: {', '.join(never)}"] if never else [])]


_KINDS = {"cut_paste": "piece in the wrong place", "missing": "missing piece"}
