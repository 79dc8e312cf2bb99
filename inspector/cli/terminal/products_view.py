"""Shows products to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.escapes import shown
from inspector.domain import ProductVersion
from inspector.stream.verdict_record import format_time
from inspector.text import visible

if TYPE_CHECKING:
    from inspector.signing.vouching import Vouched
    from inspector.vision.artifacts.eyesight import Eyesight

_LONGEST_VALUE: Final = 400
"""Most characters shown of one value of the manifest; `--json` has the whole value."""


_LONGEST_LIST: Final = 8
"""Most entries shown of one list of the manifest."""


Found = tuple[ProductVersion, "Vouched"]
"""A version, and who vouches for it."""


def print_list(found: Sequence[Found], *, every: bool) -> None:
    """One row per product, or per version."""
    if not found:
        console.out.print(
            "No product is enrolled yet; `inspector enroll PRODUCT IMAGES...` makes one.", highlight=False
        )
        return
    by_version = {(version.product, version.version): vouched for version, vouched in found}
    versions = [version for version, _ in found]
    listed = versions if every else list(_one_each(versions))
    table = rendering.table(
        "Product", "Version", "State", "Sees drawn defects", "Head", "Profile", "Threshold", "Signed", "Size",
        "Enrolled", "By",
        right=("Version", "Threshold", "Size"),
    )  # fmt: skip
    for version in listed:
        table.add_row(
            version.product,
            str(version.version),
            _state(version),
            _sight(version),
            version.head,
            version.profile,
            _threshold(version),
            _signed(by_version[version.product, version.version]),
            rendering.size(version.size_bytes),
            rendering.local_time(version.created_at),
            version.created_by,
        )
    rendering.show(table)


def print_one(found: Sequence[Found], chosen: ProductVersion) -> None:
    """The versions, then all facts about one version."""
    from inspector.vision.artifacts.eyesight import Eyesight, advice_of, objections_of
    from inspector.vision.artifacts.thresholds import moved_note
    from inspector.vision.health.statement import health_statement

    eyesight = Eyesight.of(chosen.manifest)
    print_list(found, every=True)
    vouched = next(vouched for version, vouched in found if version.version == chosen.version)
    rendering.show("", f"[bold]{shown(chosen.product)} version {chosen.version}[/]")
    known: list[tuple[str, str | Text]] = [
        ("sha-256", chosen.digest),
        ("signature", Text(visible(vouched.words), style="bold red" if vouched.is_doubtful else "")),
        ("enrolled at", format_time(chosen.created_at)),
        ("eyesight", _eyesight_told(eyesight)),
    ]
    if advice := advice_of(chosen.manifest):
        known.append(("what may help", advice))
    for objection in objections_of(chosen.manifest):
        if objection == eyesight.objection:
            continue  # said above
        known.append(("goes live only with --insist", Text(objection, style="yellow")))
    if note := moved_note(chosen):
        known.append(("threshold now", f"{chosen.threshold:.4g}; {note}"))
    known.append(("frame health", health_statement(chosen.manifest)))
    trade, rest = _trade_and_rest(chosen.manifest)
    rendering.show(rendering.facts([*known, *_lines(rest)]))
    if trade:
        _show_trade(trade)


def _trade_and_rest(manifest: Mapping[str, Any]) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    """The rows of the trade, which have tables of their own, and the manifest without them and without what is said."""
    from inspector.training.evidence.trade import completed

    evidence = manifest.get("evidence")
    if not isinstance(evidence, Mapping):
        return (), dict(manifest)
    evidence = {name: value for name, value in evidence.items() if name not in ("eyesight", "objections")}
    found, calibration = evidence.get("detectability"), manifest.get("calibration")
    trade: list[Mapping[str, Any]] = []
    if isinstance(found, Mapping) and "trade" in found:
        trade = [completed(point, calibration if isinstance(calibration, Mapping) else {}) for point in found["trade"]]
        evidence["detectability"] = {name: value for name, value in found.items() if name != "trade"}
    return trade, {**manifest, "evidence": evidence}


def _show_trade(trade: Sequence[Mapping[str, Any]]) -> None:
    """Drawn defects found at several shares of rejected good parts: over all, then by kind and by size."""
    from inspector.training.defects.drawing import KIND_NAMES, DefectKind
    from inspector.training.evidence.trade import NOT_SUPPORTED, promised, remark_on

    kinds, sizes = list(trade[0]["by_kind"]), list(trade[0]["by_size"])
    asked = "May be rejected"
    over_all = [asked, "Level", "Good parts rejected (95 %)", "Drawn defects found", "Remark"]
    rendering.show("", "Drawn defects found, if more or fewer good parts may be rejected (enroll --overkill):")
    table = rendering.table(*over_all, right=over_all[:4])
    for point in trade:
        total = point["total"]
        found = f"{total['found']} of {total['n']} ({_share(total)})"
        style = "dim" if point.get("needs_images") else ""
        level = f"{point['level']:.2f}"
        table.add_row(_asked(point), level, promised(point), found, remark_on(point), style=style)
    rendering.show(table)
    if any(point.get("needs_images") for point in trade):
        rendering.show(f"[dim]{shown(NOT_SUPPORTED)}[/]")
    for title, names, cells in (
        ("The same by kind:", [KIND_NAMES[DefectKind(kind)] for kind in kinds], [("by_kind", kind) for kind in kinds]),
        ("The same by length, as a share of the frame's longer side:", [f"{float(each):.0%}" for each in sizes],
         [("by_size", size) for size in sizes]),
    ):  # fmt: skip
        columns = [asked, *names]
        table = rendering.table(*columns, right=columns)
        for point in trade:
            table.add_row(_asked(point), *(_share(point[key].get(name)) for key, name in cells))
        rendering.show("", title, table)


def _asked(point: Mapping[str, Any]) -> str:
    return f"{100 * point['overkill']:.3g}%"


def _share(cell: Mapping[str, Any] | None) -> str:
    return f"{cell['found'] / cell['n']:.0%}" if cell and cell["n"] else "-"


def _one_each(versions: Sequence[ProductVersion]) -> Iterator[ProductVersion]:
    """The versions of each product that judge; if none does, its newest version."""
    for product in dict.fromkeys(version.product for version in versions):
        own = [version for version in versions if version.product == product]
        judging = [version for version in own if version.is_live or version.is_shadow]
        yield from judging or own[-1:]


def _state(version: ProductVersion) -> Text:
    if version.is_live:
        return Text("live", style="green")
    if version.is_shadow:
        return Text("shadow", style="cyan")
    return Text("off", style="dim")


def _signed(vouched: Vouched) -> Text:
    style = "bold red" if vouched.is_doubtful else "" if vouched.is_signed else "dim"
    return Text(visible(vouched.mark), style=style)


def _sight(version: ProductVersion) -> Text:
    from inspector.vision.artifacts.eyesight import Eyesight, Sight
    from inspector.vision.artifacts.thresholds import moved_level

    eyesight = Eyesight.of(version.manifest)
    styles = {Sight.BLIND: "bold red", Sight.WEAK: "yellow", Sight.NOT_CHECKED: "dim"}
    # The defects were drawn and counted at the threshold of the enrolment, not at one that a person set since.
    mark = f"{eyesight.mark} as enrolled" if eyesight.n and moved_level(version) is not None else eyesight.mark
    return Text(mark, style=styles.get(eyesight.sight, ""))


def _eyesight_told(eyesight: Eyesight) -> Text:
    """The sentence, and what it means for going live."""
    if eyesight.objection is None:
        return Text(eyesight.sentence)
    return Text(f"{eyesight.sentence}; such a version goes live only with --insist", style="yellow")


def _threshold(version: ProductVersion) -> Text:
    from inspector.vision.artifacts.thresholds import moved_level

    score, level = f"{version.threshold:.4g}", moved_level(version)
    return Text(score) if level is None else Text(f"{score} (moved: level {level:.3g})", style="yellow")


def _lines(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The manifest as names and short values. Of a long list only the length is shown."""
    for name, value in manifest.items():
        if isinstance(value, Mapping) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and len(value) > _LONGEST_LIST:
            yield prefix + name, f"{len(value)} entries"
        elif isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
            yield from _lines({str(number): entry for number, entry in enumerate(value, 1)}, f"{prefix}{name}.")
        elif name == "mask" and value is not None:
            yield prefix + name, "given; --json has it"
        else:
            text = _value(value)
            yield prefix + name, text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + " ..."


def _value(value: Any) -> str:
    """One value in words: `-` for none, yes or no for a truth, a list with commas, pairs in it in brackets."""
    if value is None:
        return rendering.ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        entries = [f"({_value(entry)})" if isinstance(entry, list | tuple) else _value(entry) for entry in value]
        return ", ".join(entries) or "none"
    return str(value) if value != {} else "none"
