"""`inspector products`: which versions are enrolled, and which of them judge."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.domain import ProductVersion
    from inspector.store.registry.registry import SqlRegistry

NAME: Final = "products"
HELP: Final = "Show enrolled products and choose which version of each judges."
T = TypeVar("T")

ProductArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="Name of the product.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")]

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector products list")


@app.command("list", epilog="Example: inspector products list")
def list_(
    config: console.ConfigOption = None,
    every: Annotated[bool, typer.Option("--all", help="All versions, also those that don't judge.")] = False,
    as_json: console.JsonOption = False,
) -> None:
    """The products and the version of each that is live."""
    versions = _with_registry(config, lambda registry: registry.products())
    if as_json:
        console.print_json([_document(version) for version in versions])
        return
    from inspector.cli.terminal import products_view

    products_view.print_list(versions, every=every)


@app.command(epilog="Example: inspector products show bottle")
def show(
    product: ProductArgument,
    version: Annotated[int | None, typer.Option(min=1, help="This version; else the live or newest one.")] = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """All versions of a product, and what one of them was made from."""
    versions = _with_registry(config, lambda registry: _versions_of(registry, product))
    chosen = _chosen(versions, version)
    if as_json:
        manifest = {"manifest": dict(chosen.manifest)}
        console.print_json(_document(chosen) | manifest | {"versions": [_document(v) for v in versions]})
        return
    from inspector.cli.terminal import products_view

    products_view.print_one(versions, chosen)


@app.command(epilog='Example: inspector products activate bottle 3 --reason "new lamp"')
def activate(
    product: ProductArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version that shall judge.")],
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Make a version the live one; running agents load it within seconds."""

    async def change(registry: SqlRegistry) -> ProductVersion:
        chosen = _chosen(await _versions_of(registry, product), version)
        await _ensure_loads(registry, chosen)
        _ensure_plausible(chosen.manifest, chosen.threshold, reason)
        return await registry.activate(product, version, by=console.user(), reason=reason)

    _say(_with_registry(config, change), "is live now.", as_json)


@app.command(epilog='Example: inspector products rollback bottle --reason "too many false rejects"')
def rollback(
    product: ProductArgument,
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Go back to the version that was live before."""

    async def change(registry: SqlRegistry) -> ProductVersion:
        versions = await _versions_of(registry, product)
        previous = await registry.previous(product)
        if previous is not None:
            await _ensure_loads(registry, _chosen(versions, previous))
        return await registry.rollback(product, by=console.user(), reason=reason)

    _say(_with_registry(config, change), "is live again.", as_json)


@app.command(epilog='Example: inspector products threshold bottle --level 0.8 --reason "scratches of 3 mm passed"')
def threshold(
    product: ProductArgument,
    level: Annotated[
        float | None,
        typer.Option(min=0.01, max=10, help="Reject from this level on; 1 is where the enrolment put the threshold."),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="This version; else the live or newest one.")] = None,
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Show or move the level from which parts are rejected; running agents follow within seconds."""
    from inspector.errors import UsageError
    from inspector.vision.artifacts.thresholds import EnrolledThreshold

    if level is None and reason:
        raise UsageError("A --reason goes with the --level that the threshold shall move to.")
    if level is not None and not reason.strip():
        raise UsageError("A moved threshold needs its --reason: it decides what passes, and stands in the audit.")

    async def change(registry: SqlRegistry) -> ProductVersion:
        chosen = _chosen(await _versions_of(registry, product), version)
        if level is None:
            return chosen
        score = EnrolledThreshold.of(chosen.manifest).score_at(level)
        return await registry.move_threshold(product, chosen.version, score, by=console.user(), reason=reason)

    found = _with_registry(config, change)
    said = EnrolledThreshold.of(found.manifest).to_document(found.threshold)
    if as_json:
        console.print_json(_document(found) | said)
        return
    where = f"above level {said['level']:g} of its enrolment (score {found.threshold:.4g})"
    line = f"{found.product} version {found.version} rejects {where}: {said['statement']}."
    console.out.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command(epilog='Example: inspector products remove bottle --yes --reason "no longer made"')
def remove(
    product: ProductArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take a product out of judging: its parts are unknown from then on. Its versions and rows stay."""

    async def change(registry: SqlRegistry) -> None:
        await _versions_of(registry, product)
        await registry.remove(product, by=console.user(), reason=reason)

    if not yes:
        _with_registry(config, lambda registry: _versions_of(registry, product))
        _ask(f"Parts of {product} will be unknown to every agent of this store. Go on?")
    _with_registry(config, change)
    if as_json:
        console.print_json({"product": product, "live_version": None})
    else:
        line = f"{product} judges no more; `inspector products rollback {product}` brings it back."
        console.out.print(line, highlight=False, soft_wrap=True)


@app.command(epilog="Example: inspector products export bottle --output bottle.artifact")
def export(
    product: ProductArgument,
    version: Annotated[int | None, typer.Option(min=1, help="This version; else the live or newest one.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; else PRODUCT-VERSION.artifact.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Write a version to a file, to be imported on another line.

    The file ends with the SHA-256 of what it holds; FILE.sha256 beside it has that of the whole file, for `sha256sum`.
    """
    from inspector.cli.imports import digest_file
    from inspector.domain import printable
    from inspector.vision.artifacts.envelope import seal

    async def fetch(registry: SqlRegistry) -> tuple[ProductVersion, bytes]:
        chosen = _chosen(await _versions_of(registry, product), version)
        return chosen, await registry.artifact(product, chosen.version)

    found, content = _with_registry(config, fetch)
    path = output or Path(f"{product}-{found.version}.artifact")
    sealed = seal(content)
    file_sha256 = hashlib.sha256(sealed).hexdigest()
    _write(path, sealed, force)
    _write(digest_file(path), f"{file_sha256}  {path.name}\n".encode("utf-8", "surrogateescape"), force=True)
    if as_json:
        console.print_json(_document(found) | {"file": printable(str(path)), "file_sha256": file_sha256})
    else:
        console.out.print(
            f"{product} version {found.version} is in {path}", highlight=False, markup=False, soft_wrap=True
        )


@app.command("import", epilog="Example: inspector products import bottle-2.artifact --activate")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `products export` wrote.")],
    activate_it: Annotated[bool, typer.Option("--activate", help="Make it the live version.")] = False,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="The file's SHA-256, where neither it nor FILE.sha256 says it.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Take a file that has no SHA-256 to be checked by; needs a --reason.")
    ] = False,
    reason: ReasonOption = "",
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """Take a version from a file as the product's next one; it judges once it is activated.

    The file is checked by the SHA-256 at its end, by FILE.sha256 beside it and by --sha256, as far as they are there.
    A threshold that the version's own good images do not give goes live only with a --reason.
    """
    from inspector.cli.imports import read_export

    offered = read_export(file, sha256, reason.strip() if trust else None)
    if activate_it:
        _ensure_plausible(offered.manifest, offered.threshold, reason)

    async def take_in(registry: SqlRegistry) -> tuple[ProductVersion, bool]:
        by = console.user()
        known = [each for each in await registry.products() if each.product == offered.product]
        was_there = next((each for each in known if each.digest == offered.digest), None)
        if was_there is None:
            artifact, manifest = offered.artifact, offered.manifest
            added = await registry.add_version(offered.product, artifact, manifest, by=by, activate=False)
            await registry.record_origin(offered.product, added.version, offered.origin, by=by, reason=reason)
        else:
            added = was_there
        if activate_it:
            why = reason or ("imported" if was_there is None else "imported again")
            added = await registry.activate(offered.product, added.version, by=by, reason=why)
        return added, was_there is not None

    added, was_there = _with_registry(config, take_in)
    arrived = "was there already" if was_there else "was imported"
    if added.is_live:
        what = f"{arrived} and is live." if was_there else "is live now."
    else:
        what = f"{arrived}; `inspector products activate {added.product} {added.version}` makes it live."
    _say(added, what, as_json)


def _ensure_plausible(manifest: Mapping[str, Any], threshold: float, reason: str) -> None:
    """Raises UsageError for a threshold that needs a reason before it judges, and has none."""
    from inspector.errors import ArtifactError, UsageError
    from inspector.vision.artifacts.thresholds import HIGHEST_LEVEL, LOWEST_LEVEL, EnrolledThreshold

    if reason.strip():
        return
    try:
        enrolled = EnrolledThreshold.of(manifest)
    except ArtifactError:
        return  # nothing to compare it with, and nothing that an agent could load
    if not enrolled.is_plausible(threshold):
        raise UsageError(
            f"Its threshold, {threshold:.4g}, lies at level {enrolled.level_given(threshold):.3g} of what its own good "
            f"images give, not from {LOWEST_LEVEL:g} to {HIGHEST_LEVEL:g}: look at it (`inspector products show`), and "
            "say with --reason why it shall judge all the same."
        )


async def _ensure_loads(registry: SqlRegistry, version: ProductVersion) -> None:
    """Raises ArtifactError for a version that no agent could load."""
    from inspector.errors import ArtifactError
    from inspector.vision.artifacts.format import unpack

    try:
        unpack(await registry.artifact(version.product, version.version))
    except ArtifactError as error:
        raise ArtifactError(
            f"{version.product} version {version.version} is not made live, since no agent could load it: {error}"
        ) from error


def _with_registry(config: Path | None, work: Callable[[SqlRegistry], Awaitable[T]]) -> T:
    from inspector.cli.terminal.opening import registry_of
    from inspector.config.loading import load

    loaded = load(config)

    async def run() -> T:
        async with registry_of(loaded) as registry:
            return await work(registry)

    return asyncio.run(run())


async def _versions_of(registry: SqlRegistry, product: str) -> list[ProductVersion]:
    """Raises RegistryError for an unknown product, naming the known ones."""
    from inspector.errors import RegistryError

    versions = await registry.products()
    found = [version for version in versions if version.product == product]
    if not found:
        known = ", ".join(sorted({version.product for version in versions}))
        there_is = f"the products are {known}." if known else "none is enrolled yet; `inspector enroll` makes one."
        raise RegistryError(f"There is no product {product}; {there_is}")
    return found


def _chosen(versions: Sequence[ProductVersion], number: int | None) -> ProductVersion:
    """That version; else the live one, else the newest. Raises RegistryError where there is none of that number."""
    from inspector.errors import RegistryError

    if number is None:
        return next((version for version in versions if version.is_live), versions[-1])
    for version in versions:
        if version.version == number:
            return version
    numbers = ", ".join(str(version.version) for version in versions)
    raise RegistryError(f"{versions[0].product} has no version {number}; its versions are {numbers}.")


def _write(path: Path, content: bytes, force: bool) -> None:
    """Raises UsageError where a file is in the way or can't be written."""
    from inspector.errors import UsageError

    try:
        with path.open("wb" if force else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise UsageError(f"There is a file {path} already; name another with --output, or use --force.") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}).") from error


def _ask(question: str) -> None:
    """Returns where a person at a terminal agreed; leaves with exit code 1 where not. Raises UsageError without one."""
    from inspector.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("This can't be asked without a terminal; say --yes.")
    if not typer.confirm(question, err=True):
        console.err.print("Nothing was changed.")
        raise typer.Exit(1)


def _say(version: ProductVersion, what: str, as_json: bool) -> None:
    from inspector.vision.artifacts.thresholds import moved_note

    if as_json:
        console.print_json(_document(version))
        return
    console.out.print(f"{version.product} version {version.version} {what}", highlight=False, soft_wrap=True)
    if note := moved_note(version):
        console.out.print(f"  [yellow]note[/] {note}", highlight=False, soft_wrap=True)


def _document(version: ProductVersion) -> dict[str, Any]:
    from inspector.stream.record import format_time
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
        "digest": version.digest,
        "size_bytes": version.size_bytes,
        "created_at": format_time(version.created_at),
        "created_by": version.created_by,
    }
