"""Runs a target over mutated inputs in a child process that may die, hang or run out of memory.

Input `index` of a target and a seed is always the same bytes: the child writes the index into shared memory
before it starts on it, and where the child ends, the parent makes the input again and starts another behind it.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import multiprocessing.queues
import random
import re
import resource
import time
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).with_name("corpus")
MOST_GROWTH_BYTES = 3 * 2**30
"""Of a child's address space, beyond what its libraries and thread stacks reserve at the start."""

INPUT_LIMIT_S = 60.0
"""Several times the agent's own bound on a decode: the machine may be busy with other work."""

_LOOK_S = 0.5


class _Slot(IntEnum):
    """What the child tells through shared memory."""

    INDEX = 0
    ACCEPTED = 1
    REFUSED = 2
    SLOWEST_US = 3
    BASE_KIB = 4
    PEAK_KIB = 5


@dataclass
class Tally:
    """What became of a target's inputs. `crashes`: what happened, and the input's digest."""

    accepted: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    base_mib: float = 0.0
    peak_mib: float = 0.0
    crashes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.accepted + self.refused + len(self.crashes)


def corpus_of(name: str) -> list[Path]:
    """The committed inputs of a target."""
    return sorted((CORPUS / name).glob("*.bin"))


def bases_of(target: Target) -> list[bytes]:
    """What mutation starts from: the seeds, and what was found worth keeping."""
    return [*target.seeds(), *(path.read_bytes() for path in corpus_of(target.name))]


def make_input(target: Target, bases: list[bytes], seed: int, index: int) -> bytes:
    rng = random.Random(f"{target.name} {seed} {index}")
    return target.mutate(rng, rng.choice(bases))


def fuzz(name: str, count: int, seed: int, keep: Path | None = None) -> Tally:
    """Every input once, in as many child processes as it takes. `keep`: where inputs of a new kind are written."""
    context = multiprocessing.get_context("spawn")
    total, first = Tally(), 0
    while first < count:
        told = context.RawArray("q", len(_Slot))
        told[_Slot.INDEX] = first - 1
        crashes = context.SimpleQueue()
        child = context.Process(target=_child, args=(name, range(first, count), seed, keep, told, crashes))
        child.start()
        is_hung = _hangs(child, told, functools.partial(_take, crashes, total))
        _add(total, told)
        first_before, first = first, count
        if child.exitcode != 0 and told[_Slot.INDEX] < first_before:
            raise RuntimeError(f"The seeds of {name} do not run; see `pytest tests/fuzz/test_corpus.py`.")
        if child.exitcode != 0:
            first = told[_Slot.INDEX] + 1
            data = make_input(TARGETS[name], bases_of(TARGETS[name]), seed, first - 1)
            what = f"no end within {INPUT_LIMIT_S:g} s" if is_hung else f"the process ended with {child.exitcode}"
            total.crashes.append((f"{what} at input {first - 1}", kept(data, keep, name)))
    return total


def _take(crashes: multiprocessing.queues.SimpleQueue[tuple[str, str]], total: Tally) -> None:
    while not crashes.empty():
        total.crashes.append(crashes.get())


def _hangs(child: multiprocessing.process.BaseProcess, told: MutableSequence[int], listen: Callable[[], None]) -> bool:
    """Waits for the child's end; kills it where one input takes too long. `listen`: so that it can go on talking."""
    index, since = -1, time.monotonic()
    while child.is_alive():
        child.join(_LOOK_S)
        listen()
        if told[_Slot.INDEX] != index:
            index, since = told[_Slot.INDEX], time.monotonic()
        elif time.monotonic() - since > INPUT_LIMIT_S:
            child.kill()
            child.join()
            return True
    listen()
    return False


def _add(total: Tally, told: MutableSequence[int]) -> None:
    total.accepted += told[_Slot.ACCEPTED]
    total.refused += told[_Slot.REFUSED]
    total.slowest_ms = max(total.slowest_ms, told[_Slot.SLOWEST_US] / 1e3)
    total.base_mib = max(total.base_mib, told[_Slot.BASE_KIB] / 1024)
    total.peak_mib = max(total.peak_mib, told[_Slot.PEAK_KIB] / 1024)


def _child(
    name: str,
    indices: range,
    seed: int,
    keep: Path | None,
    told: MutableSequence[int],
    crashes: multiprocessing.queues.SimpleQueue[tuple[str, str]],
) -> None:
    limit_growth(MOST_GROWTH_BYTES)
    target = TARGETS[name]
    bases = bases_of(target)
    kinds: set[str] = set()
    for base in target.seeds():
        target.run(base)
    told[_Slot.BASE_KIB] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in indices:
        told[_Slot.INDEX] = index
        data = make_input(target, bases, seed, index)
        began = time.perf_counter()
        kind, fault = _run(target, data)
        told[_Slot.SLOWEST_US] = max(told[_Slot.SLOWEST_US], int((time.perf_counter() - began) * 1e6))
        told[_Slot.PEAK_KIB] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if fault is not None:
            crashes.put((f"{kind} at input {index}", kept(data, keep, name)))
            continue
        told[_Slot.REFUSED if kind else _Slot.ACCEPTED] += 1
        if kind not in kinds and keep is not None:
            kinds.add(kind)
            kept(data, keep, name)


def limit_growth(most_bytes: int) -> None:
    """So much more address space for this process; beyond it an allocation fails."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + most_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _run(target: Target, data: bytes) -> tuple[str, Exception | None]:
    """What kind of refusal it was ('' for none), and the exception where it is not one that callers catch."""
    try:
        target.run(data)
    except target.refusals as error:
        return f"{type(error).__name__}: {_without_particulars(str(error))}", None
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        return f"{type(error).__name__}: {_without_particulars(str(error))}", error
    return "", None


def _without_particulars(message: str) -> str:
    """The message with all that differs from input to input taken out."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f ]*\d[\w. ]*", "#", message)[:80]


def kept(data: bytes, folder: Path | None, name: str) -> str:
    """The input's name by its digest; written to `folder` where there is one."""
    digest = hashlib.sha256(data).hexdigest()[:12]
    if folder is not None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{digest}.bin").write_bytes(data)
    return digest
