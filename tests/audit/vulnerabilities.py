"""Known vulnerabilities of the locked distributions, by pip-audit where it and its database can be reached."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TIMEOUT_S: Final = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """`found`: one line for each vulnerability. `why_not`: why not all was looked up, None if it was."""

    found: tuple[str, ...] = ()
    why_not: str | None = None


def look(lock: Path, program: tuple[str, ...] = (sys.executable, "-m", "pip_audit")) -> Answer:
    """Ask about every line of the lock file. It installs nothing and resolves nothing."""
    command = [*program, "--requirement", str(lock), "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(why_not=f"pip-audit can't be asked ({error})")
    try:
        answer: dict[str, Any] = json.loads(asked.stdout)
    except ValueError:
        last = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Answer(why_not=f"pip-audit has no answer ({last[:200]})")
    skipped = [each["name"] for each in answer["dependencies"] if "skip_reason" in each]
    found = tuple(
        f"{each['name']} {each['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'none'}"
        for each in answer["dependencies"]
        for known in each.get("vulns", [])
    )
    # Without its database pip-audit skips everything, says that there is no known vulnerability, and exits 0.
    if not skipped:
        return Answer(found)
    return Answer(
        found, f"the database has no word on {len(skipped)} of {len(answer['dependencies'])}: {skipped[0]}, ..."
    )
