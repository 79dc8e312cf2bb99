"""`python -m tests.fuzz --count 200000 --seed 1`: every target over its share of so many mutated inputs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.runner import Tally, fuzz
from tests.fuzz.targets import TARGETS

_COLUMNS = ("target", "inputs", "refused", "accepted", "crashes", "slowest ms", "memory MiB", "peak MiB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other inputs")
    parser.add_argument("--only", choices=sorted(TARGETS), action="append", help="these targets alone")
    parser.add_argument("--keep", type=Path, help="folder for crashing inputs and for the first of every kind")
    options = parser.parse_args()
    names = options.only or list(TARGETS)
    weights = sum(TARGETS[name].weight for name in names)
    found: dict[str, Tally] = {}
    began = time.monotonic()
    print("| " + " | ".join(_COLUMNS) + " |\n|" + "---|" * len(_COLUMNS), flush=True)
    for name in names:
        share = -(-options.count * TARGETS[name].weight // weights)
        found[name] = tally = fuzz(name, share, options.seed, options.keep)
        print(_row(name, tally), flush=True)
    total = sum(tally.inputs for tally in found.values())
    print(f"\n{total} inputs in {time.monotonic() - began:.0f} s, seed {options.seed}")
    for name, tally in found.items():
        for what, digest in tally.crashes:
            print(f"{name}: {what} ({digest})")
    return 1 if any(tally.crashes for tally in found.values()) else 0


def _row(name: str, tally: Tally) -> str:
    cells = (name, tally.inputs, tally.refused, tally.accepted, len(tally.crashes), f"{tally.slowest_ms:.0f}",
             f"{tally.base_mib:.0f}", f"{tally.peak_mib:.0f}")  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    sys.exit(main())
