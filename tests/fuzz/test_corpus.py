"""What fuzzing found is run again: a right result or a refusal that callers catch, for every input kept."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from tests.fuzz.runner import bases_of, corpus_of, make_input
from tests.fuzz.targets import TARGETS

KEPT = [pytest.param(name, path, id=f"{name}-{path.stem}") for name in TARGETS for path in corpus_of(name)]


@pytest.mark.parametrize(("name", "path"), KEPT)
def test_corpus_input_is_accepted_or_refused(name: str, path: Path) -> None:
    with contextlib.suppress(*TARGETS[name].refusals):
        TARGETS[name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_accepted(name: str) -> None:
    """Else mutation would start from what is refused at the door, and find nothing."""
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("version", [3, 4])
def test_whole_artifact_of_the_corpus_is_accepted(version: int) -> None:
    """Where the artifact's form has changed, the corpus is made again from `containers`; that of format 3 stays."""
    (whole,) = (path for path in corpus_of("artifact") if path.stem == f"whole-format-{version}")
    TARGETS["artifact"].run(whole.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_accepted_or_refused(name: str) -> None:
    """A few of the long run's, so that a target that no longer runs is seen at once."""
    target = TARGETS[name]
    bases = bases_of(target)
    for index in range(100):
        with contextlib.suppress(*target.refusals):
            target.run(make_input(target, bases, 0, index))


@pytest.mark.parametrize("name", TARGETS)
def test_same_seed_gives_same_inputs(name: str) -> None:
    target = TARGETS[name]
    bases = bases_of(target)
    state = random.getstate()
    first = [make_input(target, bases, 3, index) for index in range(10)]
    random.seed(5)
    assert [make_input(target, bases, 3, index) for index in range(10)] == first
    random.setstate(state)


def test_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for name in TARGETS for path in corpus_of(name)) <= 2**20
