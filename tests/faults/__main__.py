"""`python -m tests.faults`: every fault with real processes, a table, `faults.json`; exits 1 where a promise broke."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.agents import enrol, make_parts
from tests.faults.outcome import Fault, Outcome, all_faults
from tests.faults.running import run_fault
from tests.kafka_broker import Kafka, own_kafka

HEADINGS = ("fault", "deliveries", "rows", "missed", "double", "no row", "recovery s")


class Bench:
    """The workshop of one run, in a folder that an ordinary user may enter as well."""

    def __init__(self, folder: Path, enrolled: Path | None) -> None:
        self._folder = folder
        self._kafka: Kafka | None = None
        self.enrolled = enrolled or enrol(folder / "enrolled", make_parts(folder / "parts"))

    def kafka(self) -> Kafka:
        if self._kafka is None:
            self._kafka = own_kafka(self._folder / "kafka")
        self._kafka.ensure_running()
        return self._kafka

    def close(self) -> None:
        if self._kafka is not None:
            self._kafka.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where everything held, 1 where something did not, 2 where nothing was chosen."""
    options = _options(arguments)
    chosen = [fault for fault in all_faults() if _is_chosen(fault, options)]
    if options.list or not chosen:
        print("\n".join(f"{fault.name}{' (fast)' if fault.is_fast else ''}" for fault in chosen))
        return 0 if chosen else 2
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the cameras': they speak of the brokers we end
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    folder.chmod(0o755)
    began = time.monotonic()
    bench = Bench(folder, options.enrolled)
    outcomes: list[Outcome] = []
    skipped: list[str] = []
    try:
        _print_row(HEADINGS)
        for number, fault in enumerate(chosen):
            try:
                outcomes.append(run_fault(fault, folder / f"{number:02}", bench))
            except pytest.skip.Exception as reason:
                skipped.append(f"{fault.name}: not run: {reason}")
                print(skipped[-1], flush=True)
                continue
            _print(outcomes[-1])
    finally:
        bench.close()
    options.out.write_text(json.dumps([outcome.record() for outcome in outcomes], indent=2) + "\n")
    failed = [outcome.fault for outcome in outcomes if not outcome.holds]
    minutes = (time.monotonic() - began) / 60
    print(f"{len(outcomes)} faults in {minutes:.1f} min, {len(failed)} failed, {len(skipped)} not run; {options.out}")
    if failed:
        print(f"what they left is in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed or skipped else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="faults with this in their name; may be repeated")
    parser.add_argument("--fast", action="store_true", help="those that `make test` runs as well")
    parser.add_argument("--list", action="store_true", help="name them, run none")
    parser.add_argument("--enrolled", type=Path, help="a state folder with products to use in place of a new one")
    parser.add_argument("--out", type=Path, default=Path("faults.json"), help="where the numbers go")
    return parser.parse_args(arguments)


def _is_chosen(fault: Fault, options: argparse.Namespace) -> bool:
    if options.fast and not fault.is_fast:
        return False
    return not options.only or any(part in fault.name for part in options.only)


def _print(outcome: Outcome) -> None:
    recovery = "never" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f}"
    numbers = (outcome.deliveries, outcome.rows, outcome.missed, outcome.double_rows, outcome.rejects_without_row)
    _print_row((outcome.fault, *numbers, recovery))
    for broken in outcome.broken[:5]:
        print(f"    BROKEN: {broken.splitlines()[0]}", flush=True)


def _print_row(cells: Sequence[object]) -> None:
    name, *numbers = map(str, cells)
    print(f"{name:<58}" + "".join(f"{number:>11}" for number in numbers), flush=True)


if __name__ == "__main__":
    sys.exit(main())
