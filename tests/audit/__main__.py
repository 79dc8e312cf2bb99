"""`python -m tests.audit`: licences and vulnerabilities. Exits 1 for a licence not in the lists or a known fault.

`python -m tests.audit lock` writes requirements.lock anew, from pip's index. `lock FOLDER` prints the lock of a folder
of wheels, the one of this software included.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path

from tests.audit import licences, lock, vulnerabilities

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "lock"), default="all")
    parser.add_argument("folder", nargs="?", type=Path, help="of wheels; without it the project's own lock is written")
    parser.add_argument("--pip-audit", default=sys.executable, help="a Python that has pip-audit installed")
    asked = parser.parse_args()
    if asked.what == "all":
        return max(_licences(), _vulnerabilities(asked.pip_audit))
    if asked.folder is None:
        LOCK.write_text(lock.text_of(lock.resolved(ROOT, ROOT / "constraints.txt")), encoding="utf-8")
    else:
        print(lock.text_of(lock.of_folder(asked.folder)), end="")
    return 0


def _licences() -> int:
    installed = list(metadata.distributions())
    needed = licences.needed_by("inspector", installed)
    found = licences.judged(installed, needed)
    refused = [each for each in found if not each.is_allowed]
    for each in refused:
        print(f"licence: {each.name}: {each.licence}: {each.why}")
    print(f"licences: {len(found)} distributions, {len(needed)} of them an agent's; {len(refused)} not in the lists")
    return 1 if refused else 0


def _vulnerabilities(python: str) -> int:
    answer = vulnerabilities.look(LOCK, (python, "-m", "pip_audit"))
    for each in answer.found:
        print(f"vulnerability: {each}")
    if answer.why_not is not None:
        print(f"vulnerabilities: NOT CHECKED: {answer.why_not}")
    else:
        print(f"vulnerabilities: {len(answer.found)} known ones in {LOCK.name}")
    return 1 if answer.found else 0


if __name__ == "__main__":
    sys.exit(main())
