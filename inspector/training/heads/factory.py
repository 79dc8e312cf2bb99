"""The heads that can be enrolled, by name. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inspector.errors import UsageError
from inspector.training.heads.banks import MEANS
from inspector.training.heads.base import HeadRecipe
from inspector.training.heads.prototype import protoad_recipe, prototype_recipe
from inspector.training.heads.student import student_recipe

AUTO = "auto"
"""This name stands for the default head, whichever that is; see `choice.head`."""
DEFAULT = "prototype"
PROFILES = ("fast", "standard", "fine")


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """One head that can be enrolled.

    `recipe`: makes the head's recipe from a profile and a clustering (None for the head's own). `profiles`: profiles
    that the head has; a head with one profile always uses it. `clusterings`: clusterings that a person may name.
    """

    recipe: Callable[..., HeadRecipe]
    profiles: tuple[str, ...] = PROFILES
    clusterings: tuple[str, ...] = ()


_HEADS: dict[str, HeadEntry] = {
    "prototype": HeadEntry(prototype_recipe),
    "protoad": HeadEntry(protoad_recipe, ("standard",), MEANS),
    "student": HeadEntry(student_recipe, ("fine",)),
}


def heads() -> tuple[str, ...]:
    return tuple(_HEADS)


def one_profile(head: str) -> str | None:
    """The profile of a head that has only one; None for other heads and for unknown names."""
    entry = _HEADS.get(head)
    return entry.profiles[0] if entry is not None and len(entry.profiles) == 1 else None


@contextlib.contextmanager
def registered(head: str, entry: HeadEntry) -> Iterator[None]:
    """Register a head for enrolments until the end of the block. Raises ValueError where the name is taken."""
    if head in _HEADS or head == AUTO:
        raise ValueError(f"there is a head {head}")
    _HEADS[head] = entry
    try:
        yield
    finally:
        del _HEADS[head]


def recipe_for(head: str, profile: str, clustering: str | None = None) -> HeadRecipe:
    """The recipe of a head. For `auto` it is the recipe of the default head.

    `clustering`: how the head makes its prototypes, where that is a choice. Raises UsageError.
    """
    if profile not in PROFILES:
        raise UsageError(f"There is no profile {profile!r}; choose one of {', '.join(PROFILES)}.")
    entry = _HEADS.get(DEFAULT if head == AUTO else head)
    if entry is None:
        raise UsageError(f"There is no head {head!r}; choose one of {AUTO}, {', '.join(_HEADS)}.")
    if clustering is not None and clustering not in entry.clusterings:
        choosers = [
            f"{name}: one of {', '.join(other.clusterings)}" for name, other in _HEADS.items() if other.clusterings
        ]
        raise UsageError(f"The clustering is a choice of the head {'; '.join(choosers)}.")
    return entry.recipe(profile if profile in entry.profiles else entry.profiles[0], clustering)
