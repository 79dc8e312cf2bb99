"""Shows enrolments to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown
from inspector.training.defects.drawing import KIND_NAMES, DefectKind
from inspector.training.evidence.report import asked
from inspector.vision.health.statement import health_statement

if TYPE_CHECKING:
    from inspector.enrolment.enrol_product import Enrolled

WORTH_SAYING = 0.05
"""The gain in found defects from which on another share of rejected good parts is worth a line."""


def print_enrolled(done: Enrolled, store: Path | None) -> None:
    """Everything about one enrolment. `store`: the state folder, to be named if nobody chose it."""
    report, version = done.report, done.version
    state = state_of(done)
    say = console.out.print
    offered = report.n_images + sum(not thing.is_litter for thing in done.not_taken)
    images = f"{report.n_used} of {offered} images"
    say(f"[bold]{shown(report.product)}[/] version {version.version} is {shown(state)}: {shown(images)}.")
    say(f"  {shown(report.statement)}", highlight=False)
    lines = (asked(done.enrolment.evidence.calibration), *_choices(done), *_pose(done), *_detectability(done))
    for line in (*lines, health_statement(done.version.manifest)):
        say(f"  {shown(line)}", highlight=False)
    for name, reason in report.unreadable:
        say(f"  [yellow]left out[/] {shown(name)}: {shown(reason)}", highlight=False, soft_wrap=True)
    for thing in done.not_taken:
        say(f"  [yellow]not taken[/] {shown(thing.name)}: {shown(thing.reason)}", highlight=False, soft_wrap=True)
    for name, reason in report.left_out:
        say(f"  [yellow]left out[/] {shown(name)}: {shown(reason)}", highlight=False, soft_wrap=True)
    for name, of in report.duplicates:
        say(f"  [yellow]counted once[/] {shown(name)}: the same image as {shown(of)}", highlight=False, soft_wrap=True)
    print_findings(done)
    if report.backbone_passes != 1.0:
        say(f"  a frame costs {report.backbone_passes:g} backbone passes instead of one", highlight=False)
    took = ", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in report.phases)
    total = sum(phase.passes for phase in report.phases)
    say(
        f"  [dim]{shown(took)}; {total:.1f} backbone passes over the images; {version.size_bytes / 1e6:.1f} MB[/]",
        highlight=False,
    )
    say(f"  report: {shown(done.page)}", highlight=False, soft_wrap=True)
    if store is not None:
        say(f"  store: {shown(store)} (there is no inspector.toml here, nor --config)", highlight=False, soft_wrap=True)


def print_findings(done: Enrolled) -> None:
    """Everything that a person should look at before the version is trusted."""
    report, say = done.report, console.out.print
    if report.suspects:
        say(
            f"  [yellow]look at[/] {shown(', '.join(report.suspects))}: {shown(_odd(len(report.suspects)))}",
            highlight=False,
        )
    for name, likeness in done.alike:
        say(
            f"  [yellow]looks like[/] {shown(name)} ({likeness:.2f}): the router may take one for the other",
            highlight=False,
        )
    named = {*report.suspects, *(name for name, _ in (*report.unreadable, *report.left_out, *report.duplicates))}
    for warning in report.warnings:
        if any(warning.startswith(f"{name} ") for name in named):
            continue  # said above
        say(f"  [yellow]note[/] {shown(warning)}", highlight=False)


def _odd(count: int) -> str:
    return "it scores oddly among the good ones" if count == 1 else "they score oddly among the good ones"


def state_of(done: Enrolled) -> str:
    """Whether the version judges, in a word or two."""
    if done.objections:
        return "stored, not live"
    if done.insisted:
        return "live, as you insisted"
    return "shadow" if done.version.is_shadow else "live"


def _choices(done: Enrolled) -> list[str]:
    """One line for each choice that the good images made, with every candidate's AUROC on drawn defects."""
    lines = []
    for choice in done.version.manifest["evidence"]["choices"]:
        told = ", ".join(f"{name} {value:.3f}" for name, value in choice["evidence"].items())
        if told:
            lines.append(f"chosen {choice['what']}: {choice['chosen']} (AUROC of drawn defects: {told})")
        elif choice["what"] == "head":
            lines.append(f"chosen {choice['what']}: {choice['chosen']} ({choice['reason']})")
    return lines


def _pose(done: Enrolled) -> list[str]:
    """How the part lies, where that is no warning."""
    pose = done.enrolment.evidence.pose
    return [] if pose is None or pose.advice else [f"pose: {pose.statement}"]


def _detectability(done: Enrolled) -> list[str]:
    """The smallest length at which drawn defects of each kind are found, and the kinds that are not found."""
    found = done.version.manifest["evidence"]["detectability"]
    if found is None:
        return []  # the warnings say why
    smallest = {KIND_NAMES[DefectKind(kind)]: step for kind, step in found["smallest_found"].items()}
    sizes = [f"{kind} from {step['size_px']:.0f} px" for kind, step in smallest.items() if step is not None]
    never = [kind for kind, step in smallest.items() if step is None]
    lines = [f"defects were drawn on {_grounds(done)}"]
    lines += [f"drawn defects found in 90 % and more: {', '.join(sizes)}"] if sizes else []
    lines += [f"drawn defects found less often at every size: {', '.join(never)}"] if never else []
    return [*lines, *_trade(found)]


def _grounds(done: Enrolled) -> str:
    """The images that defects were drawn on, and whether the head knew them."""
    found = done.enrolment.evidence.detectability
    assert found is not None  # noqa: S101 - the manifest's entry is made from it
    images = f"{found.n_images} good {'image' if found.n_images == 1 else 'images'}"
    if found.are_seen:
        return f"{images} that the head has learnt (too few to hold any out); on new images the shares may differ"
    return f"{images} that the head never saw"


def _trade(found: Mapping[str, Any]) -> list[str]:
    """What a larger share of rejected good parts would find, where that is clearly more."""
    points = found.get("trade") or []
    at_own = next((point for point in points if point["is_deployed"]), None)
    if at_own is None or not at_own["total"]["n"] or not points[-1]["total"]["n"]:
        return []
    own, most = (point["total"]["found"] / point["total"]["n"] for point in (at_own, points[-1]))
    if most - own < WORTH_SAYING:
        return []
    overkill = points[-1]["overkill"]
    return [f"drawn defects of all sizes: {own:.0%} are found; with --overkill {overkill:.0%} {most:.0%} would be"]


def leave_if_held_back(enrolled: Sequence[Enrolled]) -> None:
    """Ends the command with exit code 1, and one sentence for each version that is stored but not live."""
    held = [each for each in enrolled if each.objections]
    for each in held:
        version = each.version
        console.err.print(
            f"{version.product} version {version.version} is stored but not live: {'; '.join(each.objections)}. "
            f"Look at its report; if it is right, `inspector products activate {version.product} {version.version} "
            '--insist --reason "..."` makes it live.',
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if held:
        raise typer.Exit(1)
