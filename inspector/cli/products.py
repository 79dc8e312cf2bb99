"""`inspector products`: which versions are enrolled, and which of them judge."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown
from inspector.operation.user import current_user

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.domain import ProductVersion
    from inspector.signing.vouching import Vouched

NAME: Final = "products"
HELP: Final = "Show enrolled products and choose which version of each judges."

ProductArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="Name of the product.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="The reason; it is kept in the audit.")]
InsistOption = Annotated[
    bool, typer.Option("--insist", help="Make it live although something objects, as `products show` says; audited.")
]
VersionOption = Annotated[int | None, typer.Option(min=1, help="This version; else the live or newest one.")]

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector products list")


@app.command("list", epilog="Example: inspector products list")
def list_(
    config: console.ConfigOption = None,
    every: Annotated[bool, typer.Option("--all", help="All versions, also those that don't judge.")] = False,
    as_json: console.JsonOption = False,
) -> None:
    """The products and the version of each that is live."""
    from inspector.cli.terminal import products_view
    from inspector.config.loading import load
    from inspector.operation.signing_keys import vouching

    found = asyncio.run(vouching(load(config)))
    if as_json:
        console.print_json([_document(version) | _vouched_document(vouched) for version, vouched in found])
    else:
        products_view.print_list(found, every=every)


@app.command(epilog="Example: inspector products show bottle")
def show(
    product: ProductArgument,
    version: VersionOption = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """All versions of a product, and what one of them was made from."""
    from inspector.cli.terminal import products_view
    from inspector.config.loading import load
    from inspector.operation.product_versions import chosen_version, versions_of
    from inspector.operation.signing_keys import vouching

    loaded = load(config)
    chosen = chosen_version(asyncio.run(versions_of(loaded, product)), version)
    found = [each for each in asyncio.run(vouching(loaded)) if each[0].product == product]
    if as_json:
        listed = [_document(each) | _vouched_document(vouched) for each, vouched in found]
        own = next(each for each in listed if each["version"] == chosen.version)
        console.print_json(own | {"manifest": dict(chosen.manifest), "versions": listed})
    else:
        products_view.print_one(found, chosen)


@app.command(epilog='Example: inspector products activate bottle 3 --reason "new lamp"')
def activate(
    product: ProductArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version that shall judge.")],
    *,
    reason: ReasonOption,
    insist: InsistOption = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Make a version the live one; running agents load it within seconds."""
    from inspector.config.loading import load
    from inspector.operation import product_versions

    user = current_user()
    work = product_versions.activate(load(config), product, version, by=user, reason=reason, insists=insist)
    _say(asyncio.run(work), "is live now.", as_json)


@app.command(epilog='Example: inspector products rollback bottle --reason "too many false rejects"')
def rollback(
    product: ProductArgument,
    *,
    reason: ReasonOption,
    insist: InsistOption = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Go back to the version that was live before the live one. A second rollback goes back further, not forward.

    `products activate` makes any version live, also the one that was rolled back.
    """
    from inspector.config.loading import load
    from inspector.operation import product_versions

    work = product_versions.roll_back(load(config), product, by=current_user(), reason=reason, insists=insist)
    changed = asyncio.run(work)
    place = "" if changed.replaced is None else f", in place of version {changed.replaced}"
    further = "There is no earlier version to go back to."
    if changed.earlier is not None:
        further = f"A further rollback would make version {changed.earlier} live."
    _say(changed.version, f"is live again{place}. {further}", as_json)


@app.command(epilog='Example: inspector products shadow bottle 4 --reason "enrolled with the new lamp"')
def shadow(
    product: ProductArgument,
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", min=1, help="The version that shall be scored in shadow.")
    ] = None,
    *,
    off: Annotated[bool, typer.Option("--off", help="Score no version in shadow any more.")] = False,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Score a version on the frames of the live one; it never decides. `products compare` shows what it would change.

    A product has one shadow version at most; a new one takes its place.
    """
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.operation import product_versions

    if (version is None) is not off:
        raise UsageError("Name the VERSION that shall be scored in shadow, or say --off.")
    work = product_versions.set_shadow(load(config), product, version, by=current_user(), reason=reason)
    changed = asyncio.run(work)
    if changed is not None:
        _say(changed, "is scored in shadow now.", as_json)
    elif as_json:
        console.print_json({"product": product, "shadow_version": None})
    else:
        console.out.print(f"{shown(product)} has no shadow version any more.", highlight=False, soft_wrap=True)


@app.command(epilog="Example: inspector products compare bottle --since 2d --report compared.html")
def compare(
    product: ProductArgument,
    since: Annotated[str | None, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="This version, which was scored in shadow; else the shadow version.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Highest number of flips shown.")] = 50,
    report: Annotated[Path | None, typer.Option(help="Also write the flips with pictures as one HTML file.")] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Compare the shadow version with the live one on the frames that both have judged.

    A flip is a frame that one version passes and the other rejects. Only flips that a person has labelled say which
    version is right.
    """
    from datetime import UTC, datetime

    from inspector.cli.results import since_time
    from inspector.cli.terminal import comparison_view
    from inspector.config.loading import load
    from inspector.operation.report_page import ensure_page
    from inspector.operation.version_comparison import compare_versions

    ensure_page(report)
    begin = since_time(since, datetime.now(UTC)) if since else None
    loaded = load(config)
    comparison = asyncio.run(compare_versions(loaded, product, number=version, since=begin, most_flips=limit))
    if report is not None:
        from inspector.files import write_text
        from inspector.reports.comparison import comparison_page

        write_text(report, comparison_page(comparison))
    if as_json:
        console.print_json(comparison.to_document())
    else:
        comparison_view.print_comparison(comparison, report)


@app.command(epilog='Example: inspector products promote bottle --reason "12 of 12 labelled flips were right"')
def promote(
    product: ProductArgument,
    *,
    reason: ReasonOption,
    insist: InsistOption = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Make the shadow version the live one, in one step; `products rollback` goes back."""
    from inspector.config.loading import load
    from inspector.operation import product_versions

    work = product_versions.promote(load(config), product, by=current_user(), reason=reason, insists=insist)
    _say(asyncio.run(work), "was the shadow and is live now.", as_json)


@app.command(epilog='Example: inspector products threshold bottle --level 0.8 --reason "scratches of 3 mm passed"')
def threshold(
    product: ProductArgument,
    level: Annotated[
        float | None,
        typer.Option(min=0.01, max=10, help="Reject from this level on; 1 is where the enrolment put the threshold."),
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Agree to the level that somebody else proposed; needs a --reason.")
    ] = False,
    version: VersionOption = None,
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Show or move the level from which parts are rejected; running agents follow within seconds.

    A level that is further from the last approved one than agent.threshold_share is only proposed: it takes effect once
    a second person says --approve.
    """
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.operation import product_versions
    from inspector.operation.threshold_approval import SecondPersonNeeded, approve_threshold

    if level is None and reason and not approve:
        raise UsageError("A --reason goes with the --level that the threshold shall move to.")
    if level is not None and approve:
        raise UsageError("--approve agrees to the level that was proposed; leave --level out.")
    loaded, user = load(config), current_user()
    if level is None:
        found = asyncio.run(product_versions.version_of(loaded, product, version))
        if approve:
            found = asyncio.run(approve_threshold(loaded, found, by=user, reason=reason))
        _say_threshold(found, as_json)
        return
    try:
        work = product_versions.move_threshold(loaded, product, version, level, by=user, reason=reason)
        _say_threshold(asyncio.run(work), as_json)
    except SecondPersonNeeded as needed:
        _propose(loaded, (product, version), level, reason, str(needed), as_json)


def _propose(
    config: Config, which: tuple[str, int | None], level: float, reason: str, why: str, as_json: bool
) -> NoReturn:
    """Proposes the level to a second person, and leaves with exit code 1: the threshold stays as it is."""
    from inspector.operation import product_versions
    from inspector.operation.threshold_approval import propose_threshold

    version = asyncio.run(product_versions.version_of(config, *which))
    proposal = asyncio.run(propose_threshold(config, version, level, by=current_user(), reason=reason))
    if as_json:
        console.print_json(_document(version) | {"proposed_level": proposal.level, "approved_level": proposal.approved})
    command = f'`inspector products threshold {proposal.product} --version {proposal.version} --approve --reason "..."`'
    console.err.print(
        f"{why} It is proposed, and takes effect when somebody else says {command}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    raise typer.Exit(1)


@app.command(epilog="Example: inspector products drift bottle --since 8h")
def drift(
    product: Annotated[str | None, typer.Argument(metavar="[PRODUCT]", help="Only this product.")] = None,
    since: Annotated[str, typer.Option(help="An age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = "4h",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Compare the levels of accepted parts with those of the good images that set the threshold, camera by camera.

    It says what has changed and where to look first. No threshold is moved.
    """
    from datetime import UTC, datetime

    from inspector.cli.results import since_time
    from inspector.cli.terminal import drift_view
    from inspector.config.loading import load
    from inspector.operation.drift import drift_of_products

    begin = since_time(since, datetime.now(UTC))
    found = asyncio.run(drift_of_products(load(config), begin, product))
    if as_json:
        console.print_json([each.to_document() for each in found])
    else:
        drift_view.print_drift(found)


@app.command(epilog='Example: inspector products remove bottle --yes --reason "no longer made"')
def remove(
    product: ProductArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    reason: ReasonOption,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take a product out of judging: its parts are unknown from then on. Its versions and rows stay."""
    from inspector.config.loading import load
    from inspector.operation import product_versions

    loaded = load(config)
    if not yes:
        asyncio.run(product_versions.versions_of(loaded, product))  # for an unknown product there is no question
        _confirm(f"Parts of {product} will be unknown to every agent of this store. Go on?")
    asyncio.run(product_versions.remove(loaded, product, by=current_user(), reason=reason))
    if as_json:
        console.print_json({"product": product, "live_version": None})
    else:
        back = f'`inspector products rollback {product} --reason "..."`'
        line = f"{product} judges no more; {back} brings it back."
        console.out.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command(epilog="Example: inspector products export bottle --output bottle.artifact")
def export(
    product: ProductArgument,
    version: VersionOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; else PRODUCT-VERSION.artifact.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    graphs: Annotated[
        bool,
        typer.Option(
            " /--no-graphs",
            help="Leave out the exported graphs and the signature, for software that was made before files had them.",
        ),
    ] = True,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Write a version to a file, to be imported on another line.

    The file has the exported graphs that the version runs on, so that the other line needs neither torch nor an export,
    and the version's signature. It has the threshold of the enrolment, not one that was moved here.
    It ends with the SHA-256 of what it holds; FILE.sha256 beside it has that of the whole file, for `sha256sum`.
    """
    from inspector.config.loading import load
    from inspector.domain import printable
    from inspector.operation.artifact_files import write_artifact
    from inspector.operation.product_versions import export_version

    exported = asyncio.run(export_version(load(config), product, version))
    number = exported.version.version
    path = output or Path(f"{product}-{number}.artifact")
    carried = exported.graphs if graphs else ()
    signature = exported.version.signature if graphs else None
    file_sha256 = write_artifact(path, exported.artifact, carried, overwrites=force, signature=signature)
    if as_json:
        file = {"file": printable(str(path)), "file_sha256": file_sha256, "graphs": [graph.key for graph in carried]}
        console.print_json(_document(exported.version) | file)
    else:
        line = f"{product} version {number} is in {path}"
        console.out.print(line, highlight=False, markup=False, soft_wrap=True)
        if graphs and exported.lacks_graphs:
            _say_note("a graph that it runs on is not here: what imports it has to have that graph, or torch")


@app.command("import", epilog='Example: inspector products import bottle-2.artifact --activate --reason "as on line 2"')
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `products export` wrote.")],
    activate_it: Annotated[bool, typer.Option("--activate", help="Make it live; needs a --reason.")] = False,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="The file's SHA-256, where neither it nor FILE.sha256 says it.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Take a file that has no SHA-256, or no signature that counts here; needs a --reason."
        ),
    ] = False,
    insist: InsistOption = False,
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take a version from a file as the product's next one; it judges once it is activated.

    The file is checked by the SHA-256 at its end, by FILE.sha256 beside it and by --sha256, as far as they are there.
    Where this plant has signing keys (`inspector keys`), one of them has to have signed the version. A version with a
    moved threshold does not go live here. One that its enrolment held back goes live only with --insist.
    """
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.operation.artifact_files import read_artifact
    from inspector.operation.product_versions import import_version
    from inspector.vision.artifacts.eyesight import objections_of

    if trust and not reason.strip():
        raise UsageError(
            "--trust takes a file that nothing vouches for; say why with --reason, it stands in the audit."
        )
    offered = read_artifact(file, sha256, is_trusted=trust)
    loaded, user = load(config), current_user()
    work = import_version(loaded, offered, activates=activate_it, by=user, reason=reason, insists=insist)
    imported = asyncio.run(work)
    version = imported.version
    arrived = "was there already" if imported.was_there else "was imported"
    if version.is_live:
        what = f"{arrived} and is live." if imported.was_there else "is live now."
    else:
        insisting = " --insist" if objections_of(version.manifest) else ""
        command = f'`inspector products activate {version.product} {version.version}{insisting} --reason "..."`'
        what = f"{arrived}; {command} makes it live."
    _say(version, what, as_json)
    if imported.lacks_graphs and not as_json:
        _say_note(
            "a graph that it runs on is neither in the file nor here: agents without torch refuse it until one with "
            "torch has exported that graph"
        )


def _say_note(text: str) -> None:
    console.out.print(f"  [yellow]note[/] {shown(text)}", highlight=False, soft_wrap=True)


def _confirm(question: str) -> None:
    """Returns if a person at a terminal agrees, else leaves with exit code 1. Raises UsageError without a terminal."""
    from inspector.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("This can't be asked without a terminal; say --yes.")
    if not typer.confirm(question, err=True):
        console.err.print("Nothing was changed.")
        raise typer.Exit(1)


def _say_threshold(version: ProductVersion, as_json: bool) -> None:
    from inspector.vision.artifacts.thresholds import EnrolledThreshold

    threshold = EnrolledThreshold.of(version.manifest).to_document(version.threshold)
    if as_json:
        console.print_json(_document(version) | threshold)
        return
    where = f"above level {threshold['level']:g} of its enrolment (score {version.threshold:.4g})"
    line = f"{version.product} version {version.version} rejects {where}: {threshold['statement']}."
    console.out.print(line, highlight=False, markup=False, soft_wrap=True)


def _say(version: ProductVersion, what: str, as_json: bool) -> None:
    from inspector.vision.artifacts.eyesight import Eyesight
    from inspector.vision.artifacts.thresholds import moved_note

    if as_json:
        console.print_json(_document(version))
        return
    console.out.print(
        f"{shown(version.product)} version {version.version} {shown(what)}", highlight=False, soft_wrap=True
    )
    for note in (moved_note(version), Eyesight.of(version.manifest).warning):
        if note:
            _say_note(note)


def _vouched_document(found: Vouched) -> dict[str, Any]:
    return {"signature": found.state.value, "signer": found.signer or None}


def _document(version: ProductVersion) -> dict[str, Any]:
    from inspector.stream.verdict_record import format_time
    from inspector.vision.artifacts.eyesight import Eyesight, objections_of
    from inspector.vision.artifacts.thresholds import moved_level

    return {
        "product": version.product,
        "version": version.version,
        "live": version.is_live,
        "shadow": version.is_shadow,
        "head": version.head,
        "profile": version.profile,
        "threshold": version.threshold,
        "threshold_moved_to_level": moved_level(version),
        "eyesight": Eyesight.of(version.manifest).to_document(),
        "objections": list(objections_of(version.manifest)),
        "digest": version.digest,
        "signature_key": None if version.signature is None else version.signature.key,
        "size_bytes": version.size_bytes,
        "created_at": format_time(version.created_at),
        "created_by": version.created_by,
    }
