"""What each head and profile is made of: the few numbers that were chosen by trials, with their reasons.

Compute is counted in passes of the default backbone at 256 px: `fast` is meant to stay within 1.25, which takes a
smaller input, `standard` within 1.6 (docs/measurements.md says what was measured), `fine` is free. A recipe is a list
of members (embedding, banks, weights in the decision and in the map), so that a product may come to choose its
own without a new kind of artifact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from inspector.errors import UsageError
from inspector.vision.heads.base import Reading
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Embedding
from inspector.vision.networks.student_graph import LEVELS, STUDENT_EMBEDDINGS

HEADS = ("prototype", "protoad", "student")
PROFILES = ("fast", "standard", "fine")
ONE_PROFILE = {"protoad": "standard", "student": "fine"}
"""Heads that come in one profile, whatever is asked for."""

Clustering = Literal["farthest-first", "kmeans", "spherical-kmeans", "first-neighbour"]
MEANS: tuple[Clustering, ...] = ("spherical-kmeans", "first-neighbour")
"""Clusterings of unit vectors to their means; ProtoAD's own code for it was never published."""


@dataclass(frozen=True, slots=True)
class MemberRecipe:
    """One member over one embedding: `covers` banks of `prototypes` each, begun elsewhere. `whiten`: decorrelate
    channels, else they are compared as they come.
    """

    embedding: Embedding
    prototypes: int
    whiten: bool = False
    unit_length: bool = False
    in_decision: float = 0.0
    in_map: float = 0.0
    clustering: Clustering = "farthest-first"
    covers: int = 1


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """One student: through SNC or not, and what each level weighs in the decision and in the map."""

    is_coded: bool = True
    low_in_decision: float = 0.5
    high_in_decision: float = 0.5
    low_in_map: float = 0.5
    high_in_map: float = 0.5

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that are trained: those that weigh in anything."""
        weights = {"low": self.low_in_decision + self.low_in_map, "high": self.high_in_decision + self.high_in_map}
        return tuple(level for level in LEVELS if weights[level])


@dataclass(frozen=True, slots=True)
class Recipe:
    """One head at one profile.

    `reading` says how a map becomes an image score: the mean of its highest `top_share`, or the maximum of
    the map smoothed by a Gaussian of `sigma_px` at input resolution. The map that is shown is smoothed either way.
    `is_chosen`: whether a product's good images may choose its exposure.
    """

    head: str
    profile: str
    preparation: Preparation
    members: tuple[MemberRecipe, ...]
    reading: Reading = "top_share"
    top_share: float = 0.03
    sigma_px: float = 0.0
    student: StudentRecipe | None = None
    is_chosen: bool = True

    @property
    def deciding(self) -> Recipe:
        """The same with those banks alone that weigh in the decision."""
        return replace(self, members=tuple(member for member in self.members if member.in_decision))

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """Each embedding once, in order of first use."""
        of_student = () if self.student is None else STUDENT_EMBEDDINGS
        return (*dict.fromkeys(member.embedding for member in self.members), *of_student)


# Means over six products (mean image AUROC / mean AUPRO of the masked four, see docs/experiments.md): the coarse
# grid detects as well as the fine one at a sixth of the cost, channels unscaled, with covers for banks, since means
# lose rare good patterns. Where a cover begins moves one product's AUROC by 0.03: several small covers, whose scores
# are averaged, are steadier and better than one large one. Stride 8 decides as well as 4+8+16 for a quarter of its
# search. Strides 4+8 alone decide worst on the mean and best where
# texture is all there is: as the worst view counts, they have their say. The map is another matter: centres of
# clusters draw it better than picked patches, and the whitened strides 4+8, which detect poorly, localise best.
_DEEP = MemberRecipe(Embedding((16,), 16), prototypes=128, covers=3, in_decision=1.0)
_MIDDLE = MemberRecipe(Embedding((8,), 16), prototypes=128, covers=3, in_decision=1.0)
_SHARP = MemberRecipe(Embedding((4, 8), 16), prototypes=128, covers=3, in_decision=1.0)
_BROAD_MAP = MemberRecipe(Embedding((4, 8, 16), 16), prototypes=256, in_map=1.0, clustering="kmeans")
_SHARP_MAP = MemberRecipe(Embedding((4, 8), 8), prototypes=256, whiten=True, in_map=1.0, clustering="kmeans")
_SHARP_PLAIN_MAP = MemberRecipe(Embedding((4, 8), 8), prototypes=512, in_map=1.0, clustering="kmeans")

_PROTOAD = MemberRecipe(
    Embedding((4, 8, 16), 4, pool=1, join="nearest"),
    prototypes=512,
    unit_length=True,
    in_decision=1.0,
    in_map=1.0,
    clustering="spherical-kmeans",
)

_RECIPES = {
    ("prototype", "fast"): Recipe("prototype", "fast", Preparation(size_px=208), (_DEEP, _MIDDLE, _SHARP, _BROAD_MAP)),
    ("prototype", "standard"): Recipe(
        "prototype", "standard", Preparation(), (_DEEP, _MIDDLE, _SHARP, _BROAD_MAP, _SHARP_MAP)
    ),
    ("prototype", "fine"): Recipe(
        "prototype",
        "fine",
        Preparation(),
        (
            *(replace(each, covers=6) for each in (_DEEP, _MIDDLE, _SHARP)),
            *(replace(each, prototypes=512) for each in (_BROAD_MAP, _SHARP_MAP)),
            _SHARP_PLAIN_MAP,
        ),
    ),
    ("protoad", "standard"): Recipe(
        "protoad",
        "standard",
        Preparation(fit="squash"),
        (_PROTOAD,),
        reading="smoothed_max",
        sigma_px=4.0,
        is_chosen=False,
    ),
    # `fine`, whatever is asked for: its dense convolutions cost more than the pass they stand on. The mean of
    # the highest cells decides better than the maximum of the smoothed map (docs/student.md); the map is smoothed.
    ("student", "fine"): Recipe("student", "fine", Preparation(), (), sigma_px=4.0, student=StudentRecipe()),
}


def recipe_for(head: str, profile: str, clustering: str | None = None) -> Recipe:
    """The recipe; `auto` begins as the prototype head, `protoad` and `student` have one profile each.

    `clustering`: how `protoad` makes its prototypes, which the paper leaves open. Raises UsageError.
    """
    if profile not in PROFILES:
        raise UsageError(f"There is no profile {profile!r}; choose one of {', '.join(PROFILES)}.")
    if head == "auto":
        head = "prototype"
    if head not in HEADS:
        raise UsageError(f"There is no head {head!r}; choose one of auto, {', '.join(HEADS)}.")
    found = _RECIPES[head, ONE_PROFILE.get(head, profile)]
    if clustering is None:
        return found
    if head != "protoad" or clustering not in MEANS:
        raise UsageError(f"The clustering is a choice of the head protoad: one of {', '.join(MEANS)}.")
    return replace(found, members=tuple(replace(each, clustering=clustering) for each in found.members))
