"""Shows a frame that was judged again. Apart from the other views of results: it loads the engine."""

from __future__ import annotations

from typing import Final

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown
from inspector.operation.replaying import Replay, Sameness

_FINDINGS: Final = {
    Sameness.SAME_BITS: "The same bits",
    Sameness.WITHIN_TOLERANCE: "The same within the tolerance",
    Sameness.DIFFERS: "Another score",
}


def print_replay(found: Replay) -> None:
    """Whether a frame that was judged again got the same score, and what is not as it was."""
    verdict, say = found.verdict, console.out.print
    head = f"{_FINDINGS[found.sameness]}: {verdict.product} version {verdict.product_version}"
    say(f"{head}, result {verdict.result_id}.", highlight=False, markup=False, soft_wrap=True)
    levels = (
        f"level {verdict.level:.6f} then, {found.level:.6f} now: {found.difference:+.2g}, {found.tolerance:g} allowed"
    )
    say(
        f"  {levels}; score {verdict.score!r} then, {found.again.score!r} now",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if not found.has_same_outcome:
        say("  The frame lies so near the threshold that its outcome would be the other one.", highlight=False)
    if found.processor_then is None:
        say("  The processor of then is not recorded.", highlight=False)
    elif found.processor_then == found.processor_now:
        say(f"  as then: the processor, {shown(found.processor_now)}", highlight=False, markup=False, soft_wrap=True)
    for each in found.differs:
        say(f"  not as then: {each}", highlight=False, markup=False, soft_wrap=True)
