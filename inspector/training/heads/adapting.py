"""Fits a recipe to a backbone that has other strides than the default one: nothing is assumed of its layers.

Imports no torch: the strides are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inspector.errors import UsageError
from inspector.training.heads.recipes import MemberRecipe, Recipe
from inspector.vision.networks.graphs import Embedding


def adapted(recipe: Recipe, strides: Sequence[int], backbone: str) -> Recipe:
    """`recipe` on features that exist: each stride becomes the nearest there is, banks that coincide become one.

    The input shrinks to the next multiple of what the strides need (256 px to 252 at a patch of 14). A recipe
    whose strides are all there stays as it is. Raises UsageError for a student whose strides are not.
    """
    wanted = {stride for embedding in recipe.embeddings for stride in embedding.strides}
    if recipe.student is not None and wanted - set(strides):
        raise UsageError(
            f"The student head needs features at strides {_listed(wanted)}; {backbone} has {_listed(strides)}. "
            "Choose another head."
        )
    members: dict[tuple[object, ...], MemberRecipe] = {}
    for member in recipe.members:
        fitted = replace(member, embedding=_nearest(member.embedding, strides))
        key = (fitted.embedding, fitted.whiten, fitted.unit_length, fitted.clustering)
        members[key] = _merged(members[key], fitted) if key in members else fitted
    found = replace(recipe, members=tuple(members.values()))
    return replace(found, preparation=replace(recipe.preparation, size_px=_whole(found)))


def check_size(recipe: Recipe, backbone: str) -> None:
    """Raises UsageError where the input's side is not a whole number of every cell."""
    unit = _unit(recipe)
    if recipe.preparation.size_px % unit:
        raise UsageError(f"With {backbone} the input's side must be a multiple of {unit} pixels.")


def _nearest(embedding: Embedding, strides: Sequence[int]) -> Embedding:
    def near(stride: int) -> int:
        return min(strides, key=lambda each: (abs(math.log(each / stride)), each))

    own = tuple(sorted({near(stride) for stride in embedding.strides}))
    return replace(embedding, strides=own, grid_stride=near(embedding.grid_stride))


def _merged(one: MemberRecipe, other: MemberRecipe) -> MemberRecipe:
    return replace(
        one,
        prototypes=max(one.prototypes, other.prototypes),
        covers=max(one.covers, other.covers),
        in_decision=max(one.in_decision, other.in_decision),
        in_map=one.in_map + other.in_map,
    )


def _unit(recipe: Recipe) -> int:
    """A side that every stride and grid divides."""
    return math.lcm(*(each for item in recipe.embeddings for each in (*item.strides, item.grid_stride)))


def _whole(recipe: Recipe) -> int:
    unit, size_px = _unit(recipe), recipe.preparation.size_px
    return max(unit, size_px // unit * unit)


def _listed(strides: Sequence[int] | set[int]) -> str:
    return ", ".join(str(stride) for stride in sorted(strides))
